"""Faults of disks: every write and fsync blocks until the disk goes on."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any

from capsize.nemesis.fault import Fault, Plan, Probe, Situation, Skip
from capsize.nemesis.holds import Errors, Holds
from capsize.nemesis.process import plan_nodes


@dataclass(frozen=True)
class PauseDisk(Fault):
    """FIFREEZE on the data disk, FITHAW when it heals. Reads go on; a leader that answers writes meanwhile lies."""

    word = "pause-disk"
    says = "make writes and fsyncs of the data disk block, let them go on later"
    needs = frozenset({"disks"})

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        return plan_nodes(self, situation, rng)

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.freeze(number, plan.targets)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        return _stalls(plan.targets, holds, expected=True)

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.thaw(number, plan.targets)

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        free = tuple(name for name in plan.targets if not holds.held("frozen", name))
        deadline = time.monotonic() + 5.0
        while True:  # the first fsync after a thaw carries everything that waited
            probe = _stalls(free, holds, expected=False)
            if probe.holds or time.monotonic() >= deadline:
                return probe


def _stalls(names: tuple[str, ...], holds: Holds, *, expected: bool) -> Probe:
    """Probe with a write and fsync of a new file; "failed" is neither stalled nor going on."""
    seen: dict[str, Any] = {}

    def look(name: str) -> None:
        probe = holds.node(name).disk_probe()
        seen[name] = {"fsync": probe.outcome, "ms": round(probe.elapsed_ms, 1)} | (
            {"said": probe.said} if probe.said else {}
        )

    errors = holds.on_each(names, look)
    word = "stalled" if expected else "done"
    good = not errors and all(seen[name]["fsync"] == word for name in names)
    return Probe(good, seen | {name: {"error": error} for name, error in errors.items()})
