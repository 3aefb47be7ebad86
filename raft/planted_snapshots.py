"""Planted bugs in snapshots."""

from __future__ import annotations

from typing import Any

from .core import Core
from .events import Snapshot
from .log import Position
from .messages import AppendEntries
from .mutants import mutant
from .replication import Progress


@mutant(
    "snap.index_mismatch",
    "a snapshot's label is one entry older than its state",
    "I17",
    bites_with="--opt snapshot_every=20",
)
class SnapshotIndexMismatch(Core):
    def snapshot_base(self) -> Position:
        index = max(self.log.base.index + 1, self.applied_index - 1)
        term = self.log.term_at(index)
        assert term is not None
        return Position(index, term)


@mutant("snap.no_sessions", "snapshots leave the sessions out", "I20", "I17", bites_with="--opt snapshot_every=20")
class SnapshotNoSessions(Core):
    def snapshot_content(self) -> dict[str, Any]:
        return {**super().snapshot_content(), "sessions": []}


@mutant(
    "snap.no_reset_state",
    "an installed snapshot is laid over the old state",
    "I17",
    bites_with="--opt snapshot_every=20",
)
class SnapshotNoResetState(Core):
    def load_snapshot(self, snapshot: Snapshot) -> None:
        kept = dict(self.machine.values)
        super().load_snapshot(snapshot)
        for name, value in kept.items():
            if name not in self.machine.values:
                self.machine.set(name, value)


@mutant(
    "snap.boundary_ae",
    "at the snapshot's edge an empty AppendEntries of term 0 goes out, and is believed",
    "I8",
    bites_with="--opt snapshot_every=20",
)
class SnapshotBoundaryAppend(Core):
    def needs_snapshot(self, progress: Progress) -> bool:
        return progress.next_index < self.log.base.index

    def previous(self, progress: Progress) -> tuple[int, int]:
        if progress.next_index == self.log.base.index:
            return progress.next_index, 0
        return super().previous(progress)

    def conflict_with(self, message: AppendEntries) -> tuple[int | None, int] | None:
        if message.prev_term == 0 and message.prev_index <= self.log.last_index:
            return None
        return super().conflict_with(message)


@mutant(
    "snap.nonatomic_write",
    "the log is dropped at once, its snapshot written five entries later",
    "I13",
    bites_with="--opt snapshot_every=20",
)
class SnapshotNonatomicWrite(Core):
    late: Snapshot | None = None

    def take_snapshot(self) -> bool:
        if self.late is not None or self.applied_index <= self.log.base.index:
            return False
        self.snapshot = self.late = Snapshot(self.snapshot_base(), self.snapshot_data())
        self.compact_log(self.late.base)
        self.trace("snapshot_taken", x={"base": list(self.late.base)}, h=self.machine.state_hash)
        return True

    def applied_advanced(self) -> None:
        super().applied_advanced()
        if self.late is not None and self.applied_index >= self.late.base.index + 5:
            self.save_snapshot(self.late)
            self.late = None


@mutant(
    "snap.keep_conflicting_log",
    "installing keeps entries behind the snapshot that contradict it",
    control=True,
    bites_with="--opt snapshot_every=20",
)
class SnapshotKeepConflictingLog(Core):
    def compact_log(self, base: Position) -> None:
        tail = list(self.log.between(base.index + 1, self.log.last_index)) if base.index >= self.log.base.index else []
        super().compact_log(base)
        if tail and self.log.last_index == base.index and tail[0].term >= base.term:
            self.append_to_log(tail)
