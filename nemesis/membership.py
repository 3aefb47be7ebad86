"""Faults that an operator causes: members removed and taken back, leadership handed over, snapshots taken.

All of them ask the system through its adapter's optional hooks, and look at its status from outside for what came of
it. What the system refuses is skipped: nothing happened then.

Wiping is sound in this order only: the member is removed while it runs, and the removal is committed; then it is
stopped and wiped; then it is taken in again as a new member that catches up before it votes. A voter that is wiped
in place forgets its votes and entries it acknowledged, which no Raft survives: that would be no bug of the system.
For the same reason only one change of the members is under way at a time: after a committed removal one server with
an empty log cannot make a majority with those that have not heard of it, two could.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from capsize.errors import Declined
from capsize.nemesis.fault import Fault, Plan, Probe, Situation, Skip
from capsize.nemesis.holds import Errors, Holds
from capsize.nemesis.process import look, plan_nodes

TELLS_WITHIN_S = 3.0
POLL_S = 0.05


@dataclass(frozen=True)
class RemoveMember(Fault):
    """Members are removed one after the other, and taken back in the end: the cluster shrinks, and grows again."""

    word = "remove-member"
    says = "remove members from the cluster, take them back later"
    needs = frozenset({"processes"})
    hooks = frozenset({"members", "add_member", "remove_member"})
    claims = "members"
    heal_within_s = 25.0

    @property
    def least_nodes(self) -> int:
        return 2

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        voters = holds.operator.voters()
        if voters is None:
            return Skip("no node tells who the members are", passing=True)
        able = tuple(name for name in situation.nodes if name in voters and self._able(name, holds))
        plan = plan_nodes(self, replace(situation, nodes=able), rng)
        if isinstance(plan, Skip):
            return plan
        targets = tuple(name for name in plan.targets if name in able)
        most = max(0, len(voters) - 1)
        if not targets or not most:
            return Skip(f"{', '.join(plan.targets)} is no voter, or held by another fault", passing=True)
        return Plan(targets[:most])

    def _able(self, name: str, holds: Holds) -> bool:
        return not holds.excused(name)

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        refused = holds.expel(number, plan.targets)
        if len(refused) == len(plan.targets):
            raise Declined(f"not removed: {'; '.join(refused.values())}")
        return {}

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        """Some node does not name them any more. That the removal is committed was the answer to the request."""
        deadline = time.monotonic() + TELLS_WITHIN_S
        while True:
            told = holds.operator.accounts()
            removed = [name for name in plan.targets if any(name not in voters for voters in told.values())]
            if removed or time.monotonic() >= deadline:
                voters = min(told.values(), key=len, default=())
                return Probe(bool(removed), {"voters": list(voters), "removed": removed})
            time.sleep(POLL_S)

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.readmit(number, plan.targets)

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        voters = _voters(holds, lambda voters: all(name in voters for name in plan.targets))
        return Probe(all(name in voters for name in plan.targets), {"voters": list(voters)})


def _voters(holds: Holds, wanted: Callable[[tuple[str, ...]], bool]) -> tuple[str, ...]:
    """Return the voters as a leader names them, once they are as wanted, or after a while; () while nobody leads."""
    deadline = time.monotonic() + TELLS_WITHIN_S
    while True:
        voters = holds.operator.voters() or ()
        if (voters and wanted(voters)) or time.monotonic() >= deadline:
            return voters
        time.sleep(POLL_S)


@dataclass(frozen=True)
class WipeAndRejoin(RemoveMember):
    """A member is removed, stopped, and its data destroyed; in the end it comes back empty, as a new member."""

    word = "wipe-rejoin"
    says = "remove a member, empty its data directory, take it back as a new one later"

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        plan = super().plan(situation, rng, holds)
        return Plan(plan.targets[:1]) if isinstance(plan, Plan) else plan

    def _able(self, name: str, holds: Holds) -> bool:
        return super()._able(name, holds) and holds.may_die(name) and not holds.busy_disk(name)

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        holds.keep_disk(number, plan.targets)
        super().inject(number, plan, holds)
        return holds.kill(number, plan.targets) | holds.wipe(number, plan.targets)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        out = super().probe(plan, holds)
        gone = look(plan.targets, holds, lambda state: not state.alive, wait_s=1.0)
        files = {name: holds.files(name) for name in plan.targets}
        emptied = not any(files.values())
        seen: dict[str, Any] = {**out.seen, "processes": dict(gone.seen), "files_left": files, "data_destroyed": True}
        return Probe(out.holds and gone.holds and emptied, seen)

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.readmit(number, plan.targets) or holds.revive(number, plan.targets)

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        out = super().heal_probe(plan, holds)
        up = look(plan.targets, holds, lambda state: state.alive, wait_s=2.0)
        return Probe(out.holds and up.holds, {**out.seen, "processes": dict(up.seen)})


@dataclass(frozen=True)
class Moment(Fault):
    """What requests of an operator have in common: they are over at once, and there is nothing to undo."""

    impairs = False

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return {}

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        return Probe(True, {})


@dataclass(frozen=True)
class TransferLeadership(Moment):
    """The leader is asked to hand over to the target."""

    target: tuple[str, ...] | str = "follower"

    word = "transfer-leader"
    says = "ask the leader to hand over to another node"
    hooks = frozenset({"status", "transfer_leadership"})

    @property
    def least_nodes(self) -> int:
        return 2

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        if situation.leader is None:
            return Skip("nobody leads now", passing=True)
        able = [name for name in situation.nodes if not holds.excused(name) and not holds.held("paused", name)]
        plan = plan_nodes(self, replace(situation, nodes=tuple(able)), rng)
        if isinstance(plan, Skip):
            return plan
        heirs = [name for name in plan.targets if name != situation.leader and name in able]
        if not heirs:
            return Skip(f"{', '.join(plan.targets)} leads already, or is held by another fault", passing=True)
        return Plan((situation.leader, heirs[0]))

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        leader, heir = plan.targets
        try:
            holds.operator.transfer(leader, heir)
        except Exception as error:  # a client call: refused, or not answered, which the probe tells apart
            if holds.operator.leader()[0] != heir:
                raise Declined(f"{leader} did not hand over to {heir}: {error}") from error
        return {}

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        """The old leader leads no more, by its own word or because another one does; who does is told."""
        deadline = time.monotonic() + TELLS_WITHIN_S
        old = plan.targets[0]
        while True:
            leader, term = holds.operator.leader()
            said = holds.operator.statuses().get(old)
            gave_up = said is not None and said.role not in (None, "leader")
            if leader not in (None, old) or time.monotonic() >= deadline:
                seen = {"leader": leader, "term": term, "old_leader_is": said.role if said is not None else None}
                return Probe(leader not in (None, old) or gave_up, seen)
            time.sleep(POLL_S)


@dataclass(frozen=True)
class TakeSnapshot(Moment):
    """Nodes are asked to snapshot their state and drop the log that it covers."""

    word = "snapshot"
    says = "have nodes take a snapshot and compact their log"
    hooks = frozenset({"status", "snapshot"})

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        plan = plan_nodes(self, situation, rng)
        if isinstance(plan, Skip):
            return plan
        told = holds.operator.statuses()
        able = tuple(
            name for name in plan.targets
            if name in told and (told[name].base_index is None or told[name].applied_index != told[name].base_index)
        )  # fmt: skip
        if not able:
            return Skip(f"{', '.join(plan.targets)} does not answer, or has nothing new to snapshot", passing=True)
        holds.bases.update({name: told[name].base_index for name in able})
        return Plan(able)

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        refused = holds.on_each(plan.targets, lambda name: holds.operator.snapshot(name))
        if len(refused) == len(plan.targets):
            raise Declined(f"no snapshot: {'; '.join(refused.values())}")
        return {}

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        """The log of one of them at least begins later; where the system does not tell, that it took the request."""
        deadline = time.monotonic() + TELLS_WITHIN_S
        while True:
            told = holds.operator.statuses()
            before = {name: holds.bases.get(name) for name in plan.targets}
            after = {name: told[name].base_index if name in told else None for name in plan.targets}
            untold = all(base is None for base in (*before.values(), *after.values()))
            later = [name for name in plan.targets if (after[name] or 0) > (before[name] or 0)]
            if untold or later or time.monotonic() >= deadline:
                return Probe(untold or bool(later), {"base_before": before, "base_after": after})
            time.sleep(POLL_S)
