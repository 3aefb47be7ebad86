"""Faults that take processes down and bring them back in a certain way: asked to stop, again and again, in turn.

A graceful stop lets a system hand over and flush, which a kill never does; a crash loop lets it recover from every
half-done recovery; a rolling restart is what every upgrade does.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capsize.errors import UsageError
from capsize.nemesis.fault import Fault, Plan, Probe, Situation, Skip, Wait
from capsize.nemesis.holds import Errors, Holds
from capsize.nemesis.process import Kill, look, plan_nodes

UP_WITHIN_S = 10.0


@dataclass(frozen=True)
class Stop(Kill):
    """SIGTERM, and SIGKILL for what still runs after `grace_s`; how each process ended is told."""

    grace_s: float = 3.0

    word = "stop"
    says = "SIGTERM the system's process (SIGKILL when it does not end), start it again later"

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.stop(number, plan.targets, grace_s=self.grace_s)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        probe = super().probe(plan, holds)
        return Probe(probe.holds, {**probe.seen, "ended_by": {name: holds.ended_by.get(name) for name in plan.targets}})


@dataclass(frozen=True)
class CrashLoop(Kill):
    """SIGKILL, start, SIGKILL again after `every_s`, as long as it lasts: also in the middle of recovering."""

    every_s: float = 0.4

    word = "crash-loop"
    says = "SIGKILL the process again and again, each time shortly after its start"

    def during(self, number: int, plan: Plan, holds: Holds, wait: Wait) -> Mapping[str, Any]:
        kills = dict.fromkeys(plan.targets, 1)
        while not wait(self.every_s):
            started = holds.bounce(number, plan.targets)
            if wait(self.every_s):
                break
            running = [name for name in plan.targets if name not in started and holds.may_die(name)]
            errors = holds.kill(number, running)
            for name in running:
                kills[name] += name not in errors
        return {"kills": kills}


@dataclass(frozen=True)
class KillInOrder(Kill):
    """SIGKILL at once, start again one by one: forward, reverse, shuffled, or in the order of these names."""

    target: tuple[str, ...] | str = "all"
    order: tuple[str, ...] | str = "shuffled"
    gap_s: float = 0.3

    word = "kill-in-order"
    says = "SIGKILL the processes at once, start them again one by one in a given order"

    def __post_init__(self) -> None:
        if isinstance(self.order, str) and self.order not in ("forward", "reverse", "shuffled"):
            raise UsageError(
                f"order of the fault {self.word} is {self.order!r}; expected forward, reverse, shuffled, or a list of "
                "node names"
            )

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        plan = super().plan(situation, rng, holds)
        if not isinstance(plan, Plan):
            return plan
        targets = plan.targets
        if self.order == "shuffled":
            targets = tuple(rng.sample(targets, len(targets)))
        elif self.order == "reverse":
            targets = targets[::-1]
        elif not isinstance(self.order, str):
            targets = tuple(sorted(targets, key=lambda name: self._place(name)))
        return Plan(targets)

    def _place(self, name: str) -> int:
        return self.order.index(name) if name in self.order else len(self.order)

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        errors: Errors = {}
        for place, name in enumerate(plan.targets):
            if place:
                time.sleep(self.gap_s)
            errors |= holds.revive(number, [name])
        return errors

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        probe = super().heal_probe(plan, holds)
        return Probe(probe.holds, {"order": list(plan.targets), **probe.seen})


@dataclass(frozen=True)
class RollingRestart(Fault):
    """Stop and start one node after the other, in order; the next only when the one before runs for `pause_s`."""

    target: tuple[str, ...] | str = "all"
    pause_s: float = 0.3
    grace_s: float = 3.0

    word = "rolling-restart"
    says = "stop and start one node after the other, never two at once"
    needs = frozenset({"processes"})
    impairs = False

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        plan = plan_nodes(self, situation, rng)
        if isinstance(plan, Plan):
            able = tuple(name for name in plan.targets if not holds.excused(name) and holds.may_die(name))
            told = f"{', '.join(plan.targets)} is down or cannot be stopped now"
            return Plan(able) if able else Skip(told, passing=True)
        return plan

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return self._restart(number, plan.targets[0], holds)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        return _restarted(plan.targets[:1], holds)

    def during(self, number: int, plan: Plan, holds: Holds, wait: Wait) -> Mapping[str, Any]:
        """Go on with the others, all of them, also when the time is over: half a rolling restart is none."""
        told: dict[str, str] = {}
        for name in plan.targets[1:]:
            wait(self.pause_s)
            if holds.excused(name) or not holds.may_die(name):
                told[name] = "left out: another fault holds it"
                continue
            errors = self._restart(number, name, holds)
            told[name] = errors.get(name, holds.ended_by.get(name, ""))
        return {"restarted": told}

    def _restart(self, number: int, name: str, holds: Holds) -> Errors:
        errors = holds.stop(number, [name], grace_s=self.grace_s) | holds.revive(number, [name])
        look([name], holds, lambda state: state.alive, wait_s=UP_WITHIN_S)
        return errors

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.revive(number, plan.targets)

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        return _restarted([name for name in plan.targets if name in holds.pid_before], holds)


def _restarted(names: Sequence[str], holds: Holds) -> Probe:
    """Look whether these nodes run as another process than before they were stopped."""
    free = [name for name in names if not holds.excused(name)]
    probe = look(free, holds, lambda state: state.alive, wait_s=UP_WITHIN_S)
    before = {name: holds.pid_before.get(name) for name in free}
    same = [name for name in free if before[name] is not None and probe.seen[name].get("pid") == before[name]]
    return Probe(probe.holds and not same, {**probe.seen, "pid_before": before})
