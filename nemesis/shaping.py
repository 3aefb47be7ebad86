"""Faults of links that carry badly: late, unevenly, not all, in another order, twice, damaged, slowly.

Per direction: `in` is what the target hears from everybody else, `out` what everybody else hears from it. Clients are
not touched. The probe sends packets of its own over every link and counts what became of them; a link that another
fault has cut meanwhile is looked at when it is open again, and left out when it stays cut. A fault all of whose links
stay cut did nothing, and is skipped.
"""

from __future__ import annotations

import math
import random
import statistics
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from capsize.cluster.node import Arrivals, Shape
from capsize.errors import Declined, UsageError, no_such
from capsize.nemesis.fault import Fault, Plan, Probe, Situation, Skip
from capsize.nemesis.holds import Errors, Holds

DIRECTIONS = ("in", "out", "both")
PROBE_WAIT_S = 5.0
"""For how long a link is looked at again that shows nothing, or that is cut: a cut lasts 2 to 4 s."""
HEAL_WAIT_S = 4.0
ALMOST_SURE = 14.0
"""-ln of the odds that a series shows nothing of what happens to some of its packets: one in a million."""
PACKET_BYTES = 400
QUICK_MS = 15.0
"""A healed link is at least this quick (or half as slow as it was)."""


@dataclass(frozen=True)
class Shaping(Fault):
    """Degrade links; probabilities are of each packet, 0 to 1; a rate of 0 is no limit."""

    direction: str = "both"
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    rate_kbit: float = 0.0

    word = "shape"
    says = "delay, lose, double, reorder, damage or slow what travels between nodes, per direction"
    needs = frozenset({"shape"})
    impairs = False

    @property
    def least_nodes(self) -> int:
        return 2

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise no_such("direction", self.direction, DIRECTIONS)
        for name in ("loss", "reorder", "duplicate", "corrupt"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} of the fault shape is {getattr(self, name)!r}; expected 0 to 1")
        if self.shape() == Shape():
            raise UsageError(
                "the fault shape changes nothing; expected one of delay_ms, jitter_ms, loss, reorder, duplicate, "
                "corrupt, rate_kbit"
            )

    def shape(self) -> Shape:
        """Return what happens to packets."""
        return Shape(
            self.delay_ms, self.jitter_ms, self.loss, self.reorder, self.corrupt, self.duplicate, self.rate_kbit or None
        )

    def links(self, targets: Iterable[str], names: Iterable[str]) -> list[tuple[str, str]]:
        """Return (receiver, sender) of the links it degrades."""
        hit, everybody = set(targets), list(names)
        return [
            (receiver, sender)
            for receiver in everybody
            for sender in everybody
            if receiver != sender
            and ((receiver in hit and self.direction != "out") or (sender in hit and self.direction != "in"))
        ]

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        targets = situation.whom(self.target, rng)
        if not targets:
            return Skip(f"no node is {self.target!r} now")
        links = self.links(targets, situation.nodes)
        if links and all(holds.cut_now(*link) for link in links):
            return Skip(f"every link of {', '.join(targets)} is cut already: nothing travels there", passing=True)
        return Plan(targets)

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        shapes: dict[str, dict[str, Shape]] = {}
        for receiver, sender in self.links(plan.targets, holds.names):
            shapes.setdefault(receiver, {})[sender] = self.shape()
        return holds.conditions.shape(number, shapes)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        left = self._named_links(plan, holds)
        seen: dict[str, Any] = {}
        deadline = time.monotonic() + PROBE_WAIT_S
        while True:
            for name, told in self._look(left, holds).items():
                seen[name] = told
                if told.get("as_it_should"):
                    del left[name]
            if not left or time.monotonic() >= deadline:
                break
            time.sleep(0.1)
        covered = [name for name in left if "cut" in seen[name]]
        if len(covered) == len(seen):
            raise Declined(f"other faults kept every link of {', '.join(plan.targets)} cut: nothing travelled there")
        return Probe(len(covered) == len(left), seen)

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.conditions.unshape(number)

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        links = self._named_links(plan, holds)
        slowest_ms = max(QUICK_MS, self.delay_ms / 2)
        wrong: dict[str, Any] = {}
        lock = threading.Lock()

        def look(name: str) -> None:
            receiver, sender = links[name]
            deadline = time.monotonic() + HEAL_WAIT_S
            while True:
                if _held(holds, receiver, sender):
                    return
                met = holds.node(receiver).arrivals_from(holds.node(sender), count=15, gap_ms=1.0, wait_ms=60.0)
                clean = not (met.lost or met.doubled or met.damaged or met.overtaken)
                if (clean and statistics.median(met.delays_ms) < slowest_ms) or _held(holds, receiver, sender):
                    return
                if time.monotonic() >= deadline:
                    with lock:
                        wrong[name] = _told(met)
                    return

        errors = holds.on_each(links, look)
        return Probe(not errors and not wrong, {"clean": sorted(set(links) - set(wrong)), **wrong} | errors)

    def _named_links(self, plan: Plan, holds: Holds) -> dict[str, tuple[str, str]]:
        return {f"{link[1]}>{link[0]}": link for link in self.links(plan.targets, holds.names)}

    # -- measuring ---------------------------------------------------------------------------------------------
    def _look(self, links: dict[str, tuple[str, str]], holds: Holds) -> dict[str, dict[str, Any]]:
        """Send a series over each of these links at once, and judge what became of it."""
        count, gap_ms, wait_ms = self._series()
        found: dict[str, dict[str, Any]] = {}

        def look(name: str) -> None:
            receiver, sender = links[name]
            if holds.cut_now(receiver, sender):
                found[name] = {"cut": "by another fault"}
                return
            met = holds.node(receiver).arrivals_from(
                holds.node(sender), count=count, gap_ms=gap_ms, wait_ms=wait_ms, size=PACKET_BYTES
            )
            if holds.cut_now(receiver, sender):
                found[name] = {"cut": "by another fault"}
                return
            lacks = self._lacks(met)
            found[name] = {"as_it_should": not lacks} | _told(met) | ({"lacks": lacks} if lacks else {})

        errors = holds.on_each(links, look)
        return found | {name: {"error": error} for name, error in errors.items()}

    def _series(self) -> tuple[int, float, float]:
        """Return how many packets show it almost surely, how far apart, and how long to wait for the last."""
        odds = [p for p in (self.loss, self.reorder, self.duplicate, self.corrupt) if p]
        count = max([20, *(math.ceil(ALMOST_SURE / -math.log1p(-min(p, 0.999))) for p in odds)])
        gap_ms = max(1.0, self.jitter_ms / 8)
        wait_ms = 50.0 + self.delay_ms + self.jitter_ms
        if self.rate_kbit:
            count = max(count, math.ceil(self.rate_kbit * 500 / (PACKET_BYTES * 8)))
            wait_ms += 1000.0
        return min(count, 700), gap_ms, wait_ms

    def _lacks(self, met: Arrivals) -> list[str]:
        """Return what should be seen in a series and is not."""
        lacks: list[str] = []
        if not met.numbers:
            return [] if self.loss >= 0.9 else ["anything that arrives"]
        if self.delay_ms and statistics.median(met.delays_ms) < 0.8 * (self.delay_ms - self.jitter_ms):
            lacks.append("delay")
        if self.jitter_ms and max(met.delays_ms) - min(met.delays_ms) < 0.3 * self.jitter_ms:
            lacks.append("jitter")
        if self.loss and not met.lost:
            lacks.append("loss")
        if self.reorder and not met.overtaken:
            lacks.append("reorder")
        if self.duplicate and not met.doubled:
            lacks.append("duplicate")
        if self.corrupt and not met.damaged + met.lost:
            lacks.append("corrupt")
        if self.rate_kbit and (met.rate_kbit or 0.0) > 1.5 * self.rate_kbit:
            lacks.append("rate")
        return lacks


def _held(holds: Holds, receiver: str, sender: str) -> bool:
    """Return whether another fault holds this link: then what it shows is not this fault's."""
    return holds.cut_now(receiver, sender) or holds.conditions.shape_now(receiver, sender) is not None


def _told(met: Arrivals) -> dict[str, Any]:
    told: dict[str, Any] = {"sent": met.sent, "lost": met.lost}
    if met.delays_ms:
        told["delay_ms"] = round(statistics.median(met.delays_ms), 1)
        told["spread_ms"] = round(max(met.delays_ms) - min(met.delays_ms), 1)
    told |= {"doubled": met.doubled, "overtaken": met.overtaken, "damaged": met.damaged}
    rate = met.rate_kbit
    return told | ({"rate_kbit": round(rate)} if rate is not None else {})
