"""Planted bugs in membership changes."""

from __future__ import annotations

from .configuration import Configuration
from .core import Core
from .mutants import mutant


@mutant(
    "member.no_noop_first",
    "a change may begin before the leader committed in its term",
    "I18",
    "I16",
    bites_with="--faults remove-member,wipe-rejoin",
)
class MemberNoNoopFirst(Core):
    def why_not_change(self) -> str:
        return "another change is under way" if self.change_under_way() else ""


@mutant(
    "member.concurrent_changes",
    "a change may begin while another is not committed",
    "I18",
    "I16",
    bites_with="--faults remove-member,wipe-rejoin",
)
class MemberConcurrentChanges(Core):
    def change_under_way(self) -> bool:
        return False


@mutant(
    "member.no_rollback",
    "a configuration that was cut off the log stays in force",
    "I18",
    bites_with="--faults remove-member,wipe-rejoin",
)
class MemberNoRollback(Core):
    def forget_configurations(self, last_index: int) -> None:
        return


@mutant(
    "member.snapshot_uncommitted",
    "a snapshot holds the newest configuration, committed or not",
    "I18",
    bites_with="--faults remove-member,wipe-rejoin --opt snapshot_every=20",
)
class MemberSnapshotUncommitted(Core):
    def snapshot_configuration(self) -> Configuration:
        return self.configuration


@mutant(
    "member.no_catch_up",
    "a server may vote before it holds the log",
    "liveness",
    bites_with="--faults remove-member,wipe-rejoin",
)
class MemberNoCatchUp(Core):
    def has_caught_up(self, node: str) -> bool:
        return True
