"""A fault word of the command line, with what it draws."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from capsize.nemesis.fault import Fault
from capsize.nemesis.target import asks_for_a_leader
from capsize.nemesis.trigger import Failpoint, Trigger


@dataclass(frozen=True)
class Kind:
    """One word. `draw(rng, nth)` returns its nth fault of a run."""

    word: str
    says: str
    phase: float
    draw: Callable[[random.Random, int], Fault]
    when: Callable[[random.Random, int], Trigger] | None = None
    """What its nth fault waits for, once its time has come; None: nothing."""

    @property
    def hooks(self) -> frozenset[str]:
        """The optional hooks of an adapter that its faults and triggers need."""
        triggers = [] if self.when is None else [self.when(random.Random(seed), 0) for seed in range(16)]
        return frozenset[str]().union(
            *(fault.hooks for fault in self.examples()), *(trigger.hooks for trigger in triggers)
        )

    @property
    def needs(self) -> frozenset[str]:
        """The capabilities that its faults need."""
        return frozenset[str]().union(*(fault.needs for fault in self.examples()))

    @property
    def asks_for_a_leader(self) -> bool:
        """Whether any of its faults can only strike while the leader is known."""
        return any(asks_for_a_leader(fault.target) for fault in self.examples())

    def strike(self, rng: random.Random, nth: int) -> tuple[Fault, Trigger | None]:
        """Return its nth fault and what that waits for; at a failpoint, the fault hits the node of the failpoint."""
        fault = self.draw(rng, nth)
        when = self.when(rng, nth) if self.when is not None else None
        return (replace(fault, target=when.node), when) if isinstance(when, Failpoint) else (fault, when)

    def examples(self) -> list[Fault]:
        """Return some of its faults: enough that every variant is among them."""
        return [self.draw(random.Random(seed), nth) for seed in range(16) for nth in range(2)]


def always(fault: Fault) -> Callable[[random.Random, int], Fault]:
    """Draw the same fault every time."""
    return lambda rng, nth: fault
