"""Faults of clocks: the system's process reads another time than its host; libfaketime gives it.

Wall clocks only (Raft is not to depend on them), but for `time-rate`, under which timers and timeouts go faster or
slower as well. The probe reads the clock as the process reads it, in a process of its own with the same library, the
same file and the same beginning, and sees that the library is mapped into the process itself.
"""

from __future__ import annotations

import random
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from capsize.cluster.node import ClockReading, Node
from capsize.errors import Declined, UsageError
from capsize.nemesis.fault import Fault, Plan, Probe, Situation, Skip
from capsize.nemesis.holds import Errors, Holds
from capsize.nemesis.process import plan_nodes

PROBE_WAIT_S = 5.0
"""A node that another fault has killed meanwhile reads its clock again when it runs."""
OFF_S = 0.1
"""A clock that is off by less is right."""
RATE_OFF = 0.1


@dataclass(frozen=True)
class ClockFault(Fault):
    """What clock faults have in common: one at a time on a node that runs, and right again afterwards."""

    needs = frozenset({"clock"})
    impairs = False

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        plan = plan_nodes(self, situation, rng)
        if isinstance(plan, Skip):
            return plan
        free = [name for name in plan.targets if holds.conditions.in_charge("clock", name) is None]
        up = tuple(name for name in free if not holds.excused(name))
        if up:
            return Plan(up)
        why = "is down: it reads no clock" if free else "has a clock that another fault sets"
        return Skip(f"{', '.join(plan.targets)} {why}", passing=bool(free))

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        def order(node: Node) -> None:
            self.set(node, plan.targets.index(node.name), len(plan.targets))

        return holds.conditions.take("clock", number, plan.targets, order)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        def good(name: str, seen: ClockReading) -> bool:
            return seen.preloaded and self.shows(seen, plan.targets.index(name), len(plan.targets))

        wrong, told = _read(list(plan.targets), holds, good, wait_s=PROBE_WAIT_S)
        down = [name for name in wrong if "down" in told[name]]
        if down and len(down) == len(plan.targets):
            raise Declined(f"other faults kept {', '.join(down)} down: nobody read the clock")
        return Probe(len(down) == len(wrong), told)

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.conditions.give("clock", number, plan.targets, lambda node: node.set_clock())

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        free = [name for name in plan.targets if holds.conditions.in_charge("clock", name) is None]
        up = [name for name in free if not holds.excused(name)]
        wrong, told = _read(up, holds, lambda name, seen: self.is_right(seen), wait_s=2.0)
        return Probe(all("down" in told[name] for name in wrong), told)

    @abstractmethod
    def set(self, node: Node, place: int, count: int) -> None:
        """Set the clock of the target that has this place among so many."""

    @abstractmethod
    def shows(self, seen: ClockReading, place: int, count: int) -> bool:
        """Say whether a reading is what was set."""

    def is_right(self, seen: ClockReading) -> bool:
        """Say whether a reading is that of a healed clock."""
        return abs(seen.offset_s) < OFF_S and seen.steps == 0 and abs(seen.rate - 1) < RATE_OFF


@dataclass(frozen=True)
class SkewClock(ClockFault):
    """The clocks of the targets are off by different amounts, `offset_s` ahead at one end and behind at the other."""

    offset_s: float = 1.0

    word = "clock-skew"
    says = "set the wall clocks of several nodes off, each by another amount"

    def _offset(self, place: int, count: int) -> float:
        return self.offset_s * (1.0 if count == 1 else 1.0 - 2.0 * place / (count - 1))

    def set(self, node: Node, place: int, count: int) -> None:
        node.set_clock(offset_s=self._offset(place, count))

    def shows(self, seen: ClockReading, place: int, count: int) -> bool:
        return abs(seen.offset_s - self._offset(place, count)) < OFF_S


@dataclass(frozen=True)
class JumpClock(ClockFault):
    """The clock leaps by `offset_s`, or back by as much, and leaps again when it is healed."""

    offset_s: float = 60.0
    backwards: bool = False

    word = "clock-jump"
    says = "let the wall clock of a node leap, forwards or backwards"

    def set(self, node: Node, place: int, count: int) -> None:
        node.set_clock(offset_s=-self.offset_s if self.backwards else self.offset_s)

    def shows(self, seen: ClockReading, place: int, count: int) -> bool:
        return abs(seen.offset_s - (-self.offset_s if self.backwards else self.offset_s)) < OFF_S


@dataclass(frozen=True)
class StrobeClock(ClockFault):
    """The clock leaps ahead by `offset_s` and back again, every `period_ms`."""

    offset_s: float = 10.0
    period_ms: float = 100.0

    word = "clock-strobe"
    says = "let the wall clock of a node leap to and fro"

    def __post_init__(self) -> None:
        if self.period_ms < 5:
            raise UsageError(f"period_ms of the fault clock-strobe is {self.period_ms!r}; expected 5 or more")

    def set(self, node: Node, place: int, count: int) -> None:
        node.strobe_clock(offset_s=self.offset_s, period_ms=self.period_ms)

    def shows(self, seen: ClockReading, place: int, count: int) -> bool:
        return seen.steps >= 1


@dataclass(frozen=True)
class RateClock(ClockFault):
    """The clock goes `rate` times as fast; what it gained is gone when it is healed."""

    rate: float = 2.0

    word = "clock-rate"
    says = "let the wall clock of a node go faster or slower"

    def __post_init__(self) -> None:
        if not 0.05 <= self.rate <= 20:
            raise UsageError(f"rate of the fault {self.word} is {self.rate!r}; expected 0.05 to 20")

    def set(self, node: Node, place: int, count: int) -> None:
        node.set_clock(rate=self.rate)

    def shows(self, seen: ClockReading, place: int, count: int) -> bool:
        return abs(seen.rate - self.rate) < max(RATE_OFF, 0.15 * self.rate)


@dataclass(frozen=True)
class RateTime(RateClock):
    """All of a process's time goes `rate` times as fast, timers too. What it gained it keeps: time never goes back."""

    word = "time-rate"
    says = "let a node's timers and clocks go faster or slower"
    needs = frozenset({"clock", "monotonic"})

    def is_right(self, seen: ClockReading) -> bool:
        return abs(seen.rate - 1) < RATE_OFF


def _read(
    names: list[str], holds: Holds, good: Callable[[str, ClockReading], bool], *, wait_s: float
) -> tuple[set[str], dict[str, Any]]:
    """Read these nodes' clocks until all were as they should be once, at most `wait_s`; return those that were not."""
    deadline = time.monotonic() + wait_s
    left, told = set(names), dict[str, Any]()
    lock = threading.Lock()

    def read(name: str) -> None:
        if holds.excused(name):
            told[name] = {"down": "by another fault"}
            return
        seen = holds.node(name).read_clock()
        told[name] = {
            "offset_s": round(seen.offset_s, 3), "rate": round(seen.rate, 2), "steps": seen.steps,
            "preloaded": seen.preloaded,
        }  # fmt: skip
        if good(name, seen):
            with lock:
                left.discard(name)

    while True:
        errors = holds.on_each(sorted(left), read)
        told.update({name: {"error": error} for name, error in errors.items()})
        if not left or time.monotonic() >= deadline:
            return left, told
        time.sleep(0.1)
