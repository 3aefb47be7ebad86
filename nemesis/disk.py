"""Faults of disks: writes that block, crawl, find no space or fail, and the loss of power.

One at a time on one disk: a fault whose target's disk is held by another one is skipped.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from capsize.cluster.node import DiskProbe
from capsize.nemesis.fault import Fault, Plan, Probe, Situation, Skip
from capsize.nemesis.holds import Errors, Holds
from capsize.nemesis.process import look, plan_nodes

HEAL_WAIT_S = 5.0
"""The first fsync after a heal carries everything that waited."""
STRIKE_WAIT_S = 2.0
SLOW_FROM_MS = 30.0


@dataclass(frozen=True)
class DiskFault(Fault):
    """What disk faults have in common: whom they may hit, and that a healed disk takes a write."""

    needs = frozenset({"disks"})

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        plan = plan_nodes(self, situation, rng)
        if isinstance(plan, Plan):
            free = tuple(name for name in plan.targets if not holds.busy_disk(name))
            if not free:
                return Skip(f"the disk of {', '.join(plan.targets)} is {holds.busy_disk(plan.targets[0])} already")
            return Plan(free)
        return plan

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        free = tuple(name for name in plan.targets if not holds.busy_disk(name))
        return _soon(free, holds, lambda met: met.outcome == "done", within_s=HEAL_WAIT_S)


@dataclass(frozen=True)
class PauseDisk(DiskFault):
    """FIFREEZE on the data disk, FITHAW when it heals. Reads go on; a leader that answers writes meanwhile lies."""

    word = "pause-disk"
    says = "make writes and fsyncs of the data disk block, let them go on later"

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.freeze(number, plan.targets)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        return _writes(plan.targets, holds, lambda met: met.outcome == "stalled")

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.thaw(number, plan.targets)


@dataclass(frozen=True)
class SlowDisk(DiskFault):
    """The disk takes writes for `run_ms`, then blocks for `stall_ms`, over and over."""

    stall_ms: float = 150.0
    run_ms: float = 5.0

    word = "slow-disk"
    says = "let writes of the data disk through only now and then"

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.slow(number, plan.targets, stall_ms=self.stall_ms, run_ms=self.run_ms)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        # A single write may fall into the time in which the disk runs.
        probes = [_writes(plan.targets, holds, _crawls) for _ in range(3)]
        return next((probe for probe in probes if probe.holds), probes[-1])

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.quicken(number, plan.targets)


@dataclass(frozen=True)
class FullDisk(DiskFault):
    """All free space is taken: writes meet ENOSPC. A system that ends itself for that is started again afterwards."""

    word = "full-disk"
    says = "take all free space of the data disk, give it back later"

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.fill(number, plan.targets)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        return _soon(plan.targets, holds, lambda met: met.outcome == "failed" and "space" in met.said)

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.drain(number, plan.targets)

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        return _runs_on(plan, holds, super().heal_probe(plan, holds))


@dataclass(frozen=True)
class DeadDisk(DiskFault):
    """Every further write fails (EIO). Healed by mounting the disk anew with what had been synced, and a start."""

    word = "dead-disk"
    says = "make every write to the data disk fail, mount it anew later"
    needs = frozenset({"power"})

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.break_disk(number, plan.targets)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        return _soon(plan.targets, holds, lambda met: met.outcome == "failed")

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.replace_disk(number, plan.targets)

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        return _runs_on(plan, holds, super().heal_probe(plan, holds))


@dataclass(frozen=True)
class PowerLoss(DiskFault):
    """The plug is pulled: what was never synced is gone, and the process. Mounted (journal replay), started later."""

    word = "power-loss"
    says = "lose everything that was not synced, and the process; start it again later"
    needs = frozenset({"power"})

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.power_off(number, plan.targets)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        gone = look(plan.targets, holds, lambda state: not state.alive, wait_s=1.0)
        steps = {name: list(holds.steps.get(name, ())) for name in plan.targets}
        cut = all({"disk-cut", "killed", "unmounted"} <= set(confirmed) for confirmed in steps.values())
        return Probe(gone.holds and cut, {"processes": dict(gone.seen), "steps": steps})

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.power_on(number, plan.targets)

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        free = [name for name in plan.targets if not holds.excused(name)]
        return look(free, holds, lambda state: state.alive, wait_s=HEAL_WAIT_S)


def _soon(
    names: Sequence[str], holds: Holds, good: Callable[[DiskProbe], bool], *, within_s: float = STRIKE_WAIT_S
) -> Probe:
    """Write until it meets what is expected everywhere, or time is up: on a busy disk even a failure takes its time."""
    deadline = time.monotonic() + within_s
    while True:
        probe = _writes(names, holds, good)
        if probe.holds or time.monotonic() >= deadline:
            return probe


def _runs_on(plan: Plan, holds: Holds, disk: Probe) -> Probe:
    """Add that the process runs: one may end late of what it met while the disk was bad, and is started once more."""
    free = [name for name in plan.targets if not holds.excused(name)]
    runs = look(free, holds, lambda state: state.alive, wait_s=0.5)
    return Probe(disk.holds and runs.holds, {**disk.seen, "processes": dict(runs.seen)})


def _crawls(met: DiskProbe) -> bool:
    return met.outcome == "stalled" or (met.outcome == "done" and met.elapsed_ms >= SLOW_FROM_MS)


def _writes(names: Sequence[str], holds: Holds, good: Callable[[DiskProbe], bool]) -> Probe:
    """Write and fsync a new file on these nodes' disks, and tell what that met."""
    met: dict[str, DiskProbe] = {}

    def write(name: str) -> None:
        met[name] = holds.node(name).disk_probe()

    errors = holds.on_each(names, write)
    seen: dict[str, Any] = {
        name: {"fsync": probe.outcome, "ms": round(probe.elapsed_ms, 1)} | ({"said": probe.said} if probe.said else {})
        for name, probe in sorted(met.items())
    }
    holds_everywhere = not errors and all(good(probe) for probe in met.values())
    return Probe(holds_everywhere, seen | {name: {"error": error} for name, error in errors.items()})
