"""Puts the monotonic clocks of several hosts on one, by the messages that went between them both ways.

A message is received after it was sent. What went from a to b bounds how far b's clock is ahead of a's from above, what
went from b to a from below; the quickest message of each way bounds it best (Cristian, "Probabilistic clock
synchronization", 1989). The middle is taken, and half of what lies between the bounds is how far off it may be. A
host that exchanged messages only with some is placed through those.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from capsize.checker.trace import TraceEvent

ONE_CLOCK_NS = 5_000_000
"""Clocks of one host are read before a line is written; a receipt may seem this much earlier than its sending."""
BROKEN_NS = 1_000_000_000
"""Bounds that contradict each other by more than this are those of a clock that jumped: its host was booted again."""


@dataclass(frozen=True, slots=True)
class Shift:
    """What to add to a node's clock to read it on the one of the first node, and how far off that may be."""

    ns: int
    slack_ns: int


class Ways:
    """The quickest message of each way, as the two clocks show it."""

    def __init__(self) -> None:
        self.nodes: dict[str, None] = {}
        self._sent: dict[str, tuple[str, int]] = {}
        self._got: dict[str, list[tuple[str, int]]] = {}
        self.quickest: dict[tuple[str, str], int] = {}

    def send(self, node: str, message: str, at_ns: int) -> None:
        """Take a message that left."""
        self.nodes.setdefault(node)
        self._sent[message] = (node, at_ns)
        for other, got_ns in self._got.pop(message, ()):
            self._pair(node, other, got_ns - at_ns)

    def recv(self, node: str, message: str, at_ns: int) -> None:
        """Take a message that arrived; its sending may come later."""
        self.nodes.setdefault(node)
        sent = self._sent.get(message)
        if sent is None:
            self._got.setdefault(message, []).append((node, at_ns))
        else:
            self._pair(sent[0], node, at_ns - sent[1])

    def _pair(self, one: str, other: str, took_ns: int) -> None:
        if one != other:
            self.quickest[one, other] = min(took_ns, self.quickest.get((one, other), took_ns))

    @property
    def disagree(self) -> bool:
        """Return whether some message arrived before it left: the nodes do not share one clock."""
        return any(took_ns < -ONE_CLOCK_NS for took_ns in self.quickest.values())

    def shifts(self) -> dict[str, Shift]:
        """Return the shift of every node that can be placed; the first node's own is none."""
        if not self.nodes:
            return {}
        reference = next(iter(self.nodes))
        found: dict[str, Shift] = {}
        waiting = [(0, reference, 0)]
        while waiting:
            slack, node, ns = heapq.heappop(waiting)
            if node in found:
                continue
            found[node] = Shift(ns, slack)
            for other in self.nodes:
                there, back = self.quickest.get((node, other)), self.quickest.get((other, node))
                if other in found or there is None or back is None or there + back < -BROKEN_NS:
                    continue
                ahead, open_ns = (there - back) // 2, abs(there + back) // 2  # ahead: other's clock of this one's
                heapq.heappush(waiting, (slack + open_ns, other, ns - ahead))
        return found


def ways_of(events: Iterable[TraceEvent]) -> Ways:
    """Return what the messages of `events` say about their nodes' clocks; linear."""
    ways = Ways()
    for event in events:
        if event.ev in ("send", "recv") and event.mono:
            message = event.msg.get("id")
            if isinstance(message, str):
                (ways.send if event.ev == "send" else ways.recv)(event.node, message, event.mono)
        else:
            ways.nodes.setdefault(event.node)
    return ways


def on_one_clock(events: Sequence[TraceEvent], shifts: Mapping[str, Shift]) -> list[TraceEvent]:
    """Return `events` with their times on one clock, without those of nodes that no message places."""
    return [
        event if not shifts[event.node].ns else replace(event, mono=event.mono + shifts[event.node].ns)
        for event in events
        if event.node in shifts
    ]
