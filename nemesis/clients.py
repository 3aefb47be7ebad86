"""The fault that cuts clients off: nobody but the other nodes is heard, and the nodes still hear each other.

Whoever asks a node from outside is cut off, the tool's own questions of who leads among them: a leader that clients
cannot reach goes on leading, and is not known to lead.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from capsize.nemesis.fault import Fault, Plan, Probe, Situation, Skip
from capsize.nemesis.holds import Errors, Holds
from capsize.nemesis.process import plan_nodes

PROBE_WAIT_S = 2.0


@dataclass(frozen=True)
class CutClients(Fault):
    """Drop what clients send to the target."""

    word = "cut-clients"
    says = "keep clients from reaching a node that its peers still hear"
    needs = frozenset({"clients"})
    impairs = False

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        return plan_nodes(self, situation, rng)

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.conditions.shut_out(number, plan.targets)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        return _look(plan, holds, expected=True)

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.conditions.let_in(number, plan.targets)

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        return _look(plan, holds, expected=False)


def _look(plan: Plan, holds: Holds, *, expected: bool) -> Probe:
    """Try to connect from here; targets that another fault keeps shut are left out of a heal."""
    deadline = time.monotonic() + PROBE_WAIT_S
    while True:
        names = [name for name in plan.targets if expected or not holds.conditions.shut(name)]
        met: dict[str, bool] = {}

        def look(name: str, met: dict[str, bool] = met) -> None:
            met[name] = holds.node(name).clients_shut_out()

        errors = holds.on_each(names, look)
        good = not errors and all(shut is expected for shut in met.values())
        if good or time.monotonic() >= deadline:
            seen = {name: "dropped" if shut else "let through" for name, shut in sorted(met.items())}
            return Probe(good, seen | errors)
        time.sleep(0.02)
