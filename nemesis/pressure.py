"""Faults of pressure: less CPU, less memory; given back when they heal.

What a node may use is read back from its kernel, and for CPU a process that wants a whole one is measured beside the
system. A node that wants more memory than is left meets the kernel's killer; it is started again when the fault heals.
"""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from capsize.cluster.node import Limits, Node
from capsize.errors import UsageError
from capsize.nemesis.fault import Fault, Plan, Probe, Situation, Skip
from capsize.nemesis.holds import Errors, Holds
from capsize.nemesis.process import plan_nodes

PROBE_WAIT_S = 3.0
PAGE_BYTES = 1 << 16
MB = 1 << 20


@dataclass(frozen=True)
class Pressure(Fault):
    """What both have in common: one at a time on a node, and no limit afterwards."""

    what: ClassVar[str] = ""
    slack: ClassVar[float] = 0.0
    """By how much the kernel may round a limit."""

    needs = frozenset({"pressure"})
    impairs = False

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        plan = plan_nodes(self, situation, rng)
        if isinstance(plan, Skip):
            return plan
        free = [name for name in plan.targets if holds.conditions.in_charge(self.what, name) is None]
        up = tuple(name for name in free if not holds.excused(name))
        if up:
            return Plan(up)
        told = "down" if free else f"short of {self.what} already"
        return Skip(f"{', '.join(plan.targets)} is {told}", passing=bool(free))

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        def order(node: Node) -> None:
            holds.conditions.limit(node, self.what, self.wanted(node))

        return holds.conditions.take(self.what, number, plan.targets, order)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        return self._look(plan.targets, holds, limited=True)

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        errors = holds.conditions.give(
            self.what, number, plan.targets, lambda node: holds.conditions.limit(node, self.what, None)
        )
        return errors or holds.start_again(plan.targets)

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        free = [name for name in plan.targets if holds.conditions.in_charge(self.what, name) is None]
        return self._look(free, holds, limited=False)

    @abstractmethod
    def wanted(self, node: Node) -> float:
        """Return the limit for this node."""

    @abstractmethod
    def shown(self, limits: Limits) -> float | None:
        """Return the limit that the kernel tells."""

    def obtained(self, node: Node, limit: float) -> dict[str, Any]:
        """Return what was measured, with "too_much" when it is more than the limit allows."""
        return {}

    def _look(self, names: tuple[str, ...] | list[str], holds: Holds, *, limited: bool) -> Probe:
        deadline = time.monotonic() + PROBE_WAIT_S
        told: dict[str, dict[str, Any]] = {}

        def look(name: str) -> None:
            node = holds.node(name)
            shown, wanted = self.shown(node.limits()), holds.conditions.limited(name, self.what)
            told[name] = {"limit": shown, "as_it_should": False}
            if not limited:
                told[name]["as_it_should"] = shown is None
                return
            if shown is not None and wanted is not None and abs(shown - wanted) <= max(0.02, wanted / 100, self.slack):
                told[name] |= self.obtained(node, wanted)
                told[name]["as_it_should"] = not told[name].get("too_much")

        left = list(names)
        while True:
            errors = holds.on_each(left, look)
            left = [name for name in left if name in errors or not told[name]["as_it_should"]]
            if not left or time.monotonic() >= deadline:
                seen: dict[str, Any] = dict(told) | {name: {"error": error} for name, error in errors.items()}
                return Probe(not left, seen)
            time.sleep(0.05)


@dataclass(frozen=True)
class LimitCpu(Pressure):
    """Leave `cpus` of a CPU to the node; timers fire late, and everything takes its time."""

    cpus: float = 0.2

    word = "cpu-limit"
    says = "leave a node a part of a CPU"
    what = "cpu"

    def __post_init__(self) -> None:
        if not 0.05 <= self.cpus <= 64:
            raise UsageError(f"cpus of the fault cpu-limit is {self.cpus!r}; expected 0.05 to 64")

    def wanted(self, node: Node) -> float:
        return self.cpus

    def shown(self, limits: Limits) -> float | None:
        return limits.cpus

    def obtained(self, node: Node, limit: float) -> dict[str, Any]:
        cpus = node.cpu_obtained()
        return {"cpus_obtained": round(cpus, 3)} | ({"too_much": True} if cpus > 1.5 * limit + 0.05 else {})


@dataclass(frozen=True)
class LimitMemory(Pressure):
    """Leave `headroom_mb` beyond what the node uses now: caches go, and what grows is ended by the kernel."""

    headroom_mb: float = 8.0

    word = "memory-limit"
    says = "leave a node little more memory than it uses now"
    what = "memory"
    slack = float(PAGE_BYTES)

    def __post_init__(self) -> None:
        if self.headroom_mb < 1:
            raise UsageError(f"headroom_mb of the fault memory-limit is {self.headroom_mb!r}; expected 1 or more")

    def wanted(self, node: Node) -> float:
        used = node.limits().memory_used or 0
        return float(used + int(self.headroom_mb * MB))

    def shown(self, limits: Limits) -> float | None:
        return None if limits.memory_bytes is None else float(limits.memory_bytes)
