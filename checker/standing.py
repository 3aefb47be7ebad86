"""What a node was when it answered: leader or follower, and of which term; said only where its own evidence proves it.

A trace proves it when the node's events before and after the whole operation, of one boot, agree, with nothing else in
between. What a node said when it was polled is told as what it is: the last that it had said until then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from capsize.checker.surroundings import at
from capsize.checker.trace import TraceEvent
from capsize.op import Operation

MARGIN_NS = 5_000_000
"""How much longer than the operation a node must have been the same: clocks of several hosts are placed by messages."""
WORDS = {"L": "leader", "F": "a follower", "C": "a candidate", "P": "a pre-candidate"}
POLLED = {"leader": "leader", "follower": "a follower", "candidate": "a candidate"}
MOST = 4


@dataclass(slots=True)
class Stretch:
    """A node was the same from one of its events to another, in one boot; nanoseconds of the traces' clock."""

    inc: int
    role: str | None
    term: int
    start: int
    until: int


@dataclass(frozen=True, slots=True)
class Standings:
    """Every node's stretches by its trace, and what it said when it was polled: (time of the run, role, term)."""

    traced: Mapping[str, Sequence[Stretch]] = field(default_factory=dict[str, Sequence[Stretch]])
    said: Mapping[str, Sequence[tuple[int, str, int]]] = field(
        default_factory=dict[str, Sequence[tuple[int, str, int]]]
    )
    placed: tuple[int, int] | None = None

    @classmethod
    def of(
        cls, lines: Iterable[Mapping[str, Any]], traces: Iterable[TraceEvent], placed: tuple[int, int] | None
    ) -> Standings:
        """Gather what nodes were; linear. `placed` is where the run began on the traces' clock, and how far off."""
        traced: dict[str, list[Stretch]] = {}
        for event in traces:
            known = traced.setdefault(event.node, [])
            last, state = known[-1] if known else None, event.state
            if last is not None and last.inc == event.inc and last.until <= event.mono:
                last.until = event.mono
                if (last.role, last.term) == (state.role, state.term):
                    continue
            known.append(Stretch(event.inc, state.role, state.term, event.mono, event.mono))
        return cls(traced, _said(lines), placed)

    def during(self, node: str, start_ns: int, end_ns: int) -> tuple[str, int] | None:
        """Return (role, term) if the node's own events prove that it was that all through these times of the run."""
        if self.placed is None:
            return None
        origin, slack = self.placed
        start, end = origin + start_ns - slack - MARGIN_NS, origin + end_ns + slack + MARGIN_NS
        for stretch in self.traced.get(node, ()):
            if stretch.start <= start and end <= stretch.until and stretch.role in WORDS:
                return stretch.role, stretch.term
        return None

    def last_said(self, node: str, start_ns: int, end_ns: int) -> tuple[int, str, int] | None:
        """Return (when, role, term) that a node without a trace had last said; None if it said another meanwhile."""
        if node in self.traced:
            return None
        before = [one for one in self.said.get(node, ()) if one[0] <= start_ns]
        since = [one for one in self.said.get(node, ()) if start_ns < one[0] <= end_ns]
        if not before or before[-1][1] not in POLLED or any(one[1:] != before[-1][1:] for one in since):
            return None
        return before[-1]

    def sentences(self, operations: Sequence[tuple[Operation, str]]) -> list[str]:
        """Return what is known of those who answered these operations, each given with its name."""
        proven: list[str] = []
        said: list[str] = []
        for op, number in operations:
            node = str(op.meta.get("served_by") or op.node or "")
            if not node or op.outcome != "ok" or op.return_ns is None:
                continue
            was = self.during(node, op.call_ns, op.return_ns)
            told = self.last_said(node, op.call_ns, op.return_ns)
            if was is not None:
                how = "answered" if op.meta.get("served_by") else "was asked for"
                proven.append(f"{node}, {WORDS[was[0]]} of term {was[1]}, {how} {number}{self._led(node, op, was)}")
            elif told is not None:
                when, role, term = told
                earlier = at(op.call_ns - when)
                said.append(
                    f"{node} had said {earlier} before {number} was called that it was {POLLED[role]} of term {term}."
                )
        sentences = [f"By their own events, {'; '.join(proven[-MOST:])}."] if proven else []
        return sentences + said[-MOST:]

    def _led(self, node: str, op: Operation, was: tuple[str, int]) -> str:
        """Return who led a newer term all the while; "" if that is not proven of anybody."""
        assert op.return_ns is not None
        leaders: list[tuple[int, str]] = []
        for other in self.traced:
            its = self.during(other, op.call_ns, op.return_ns) if other != node else None
            if its is not None and its[0] == "L" and its[1] > was[1]:
                leaders.append((its[1], other))
        if not leaders:
            return ""
        term, name = max(leaders)
        return f" while {name} was leader of term {term}"


def _said(lines: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[int, str, int]]]:
    said: dict[str, list[tuple[int, str, int]]] = {}
    for line in lines:
        told, when = line.get("value"), line.get("time_ns")
        if line.get("f") != "status" or not isinstance(told, Mapping) or not isinstance(when, int):
            continue
        node, role, term = told.get("node"), told.get("role"), told.get("term")
        if isinstance(node, str):  # what names no role or term ends what was said before
            said.setdefault(node, []).append((when, str(role), term if isinstance(term, int) else -1))
    return said
