"""Faults of files: torn tails, flipped bits, lost ends. The node is killed, one file is damaged, the node is started.

What may be done without asking more of a Raft than it can give:

torn-tail   Some bytes behind the end of the file, as a write that was under way leaves them. Nothing that was synced is
            touched, so it may hit any node; the node has to start, and has lost nothing.
bit-flip    One bit in the first half of what the file holds. A checksum tells it from an unfinished write, and the node
            has to refuse to start, or to mend it from the others; to cut there would forget what it acknowledged. It
            is the same minority that is hit for the whole run.
truncate    Bytes off the end of the file: synced entries are gone, and no checksum can tell. A node in this state may
            not vote or acknowledge, in any Raft (Alagappan et al., FAST 2018), so it is cut off from its peers while it
            runs on what is left, and no connection of that time survives: nothing it sends is ever heard. Clients stay
            connected, and nothing that it tells them may be stale.

Heal: a node that runs is left as it is, but for `truncate`, whose data is put back as it was before. One that refused
gets its bit back (its unfinished write taken away) and is started.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from capsize.errors import Declined
from capsize.nemesis.fault import Fault, Plan, Probe, Situation, Skip
from capsize.nemesis.holds import Errors, Holds
from capsize.nemesis.partition import split
from capsize.nemesis.process import look, plan_nodes

REACTION_S = 1.5
"""How long a node is given to refuse what it finds."""
HEAL_WAIT_S = 8.0
NO_FILE = "there is no file with"
"""How a node says that it holds too little to be damaged."""
ANY = ("one", "some", "minority")
"""Targets that name nobody in particular."""


@dataclass(frozen=True)
class DamageFile(Fault):
    """What they have in common. `file`: which file below the data directory, as a pattern; "": the one written last."""

    file: str = ""

    how: ClassVar[str] = ""
    destroys: ClassVar[bool] = True
    """Whether what was synced is lost: then only a minority is hit, the same one for the whole run."""
    needs = frozenset({"processes"})

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        plan = plan_nodes(self, situation, rng)
        if isinstance(plan, Skip):
            return plan
        targets = plan.targets
        if self.destroys and self.target in ANY:  # not whom the draw hit, but so many of those that may be hit
            targets = situation.nodes
        free = [name for name in targets if not holds.excused(name) and not holds.busy_disk(name)]
        if not free:
            return Skip(f"{', '.join(plan.targets)} is down, or another fault holds its disk")
        if self.destroys:
            free = holds.of_the_minority(free, rng, len(plan.targets))
            if not free:
                told = ", ".join(sorted(holds.spoilt))
                return Skip(
                    f"{', '.join(plan.targets)} is spared: only {told or 'nobody'} may lose what was synced in this run"
                )
        return Plan(tuple(free))

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        errors = holds.damage(number, plan.targets, self.how, self.file)
        empty = {name: error for name, error in errors.items() if NO_FILE in error}
        if len(empty) == len(plan.targets):
            raise Declined("; ".join(empty.values()))
        return {name: error for name, error in errors.items() if name not in empty}

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        deadline = time.monotonic() + REACTION_S
        holds.on_each(plan.targets, holds.settled)
        seen = look(plan.targets, holds, lambda state: not state.alive, wait_s=max(0.0, deadline - time.monotonic()))
        told: dict[str, Any] = {}
        for name in plan.targets:
            done = holds.damages.get(name)
            if done is not None:
                runs = seen.seen[name].get("alive")
                told[name] = {"file": done.file, "offset": done.offset, "bytes": done.bytes,
                              "node": "started" if runs else "refused to start"}  # fmt: skip
        return Probe(len(told) == len(plan.targets), told)

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.mend(number, plan.targets)

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        free = [name for name in plan.targets if not holds.excused(name)]
        return look(free, holds, lambda state: state.alive, wait_s=HEAL_WAIT_S)


@dataclass(frozen=True)
class TornTail(DamageFile):
    """An unfinished write behind the end of the file; the node has to start and to have lost nothing."""

    word = "torn-tail"
    says = "kill a node and leave an unfinished write in its newest file, start it"
    how = "torn"
    destroys = False


@dataclass(frozen=True)
class FlipBit(DamageFile):
    """One bit of something synced; the node has to notice. Never more than a minority, always the same."""

    word = "bit-flip"
    says = "kill a node and turn one bit of its newest file over, start it"
    how = "flip"


@dataclass(frozen=True)
class Truncate(DamageFile):
    """The end of the file is lost; the node runs cut off from its peers until its data is put back."""

    word = "truncate"
    says = "kill a node and cut the end off its newest file, start it where only clients reach it"
    how = "cut"
    needs = frozenset({"processes", "network"})

    @property
    def least_nodes(self) -> int:
        return 3

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        plan = super().plan(situation, rng, holds)
        if isinstance(plan, Skip):
            return plan
        rest = [name for name in situation.nodes if name not in plan.targets]
        return Plan(plan.targets, split([*([name] for name in plan.targets), rest]))

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.cut(number, plan.cuts, sever=True) or super().inject(number, plan, holds)

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return super().heal(number, plan, holds) or holds.reopen(number)
