"""What the nodes of a Raft cluster say about themselves: their trace events, read, completed and put in order.

A node writes one JSON object a line, an event or several, in the order in which things happened to it, each before the
message it speaks of leaves. Two facts then order events without any clock: a node's own events follow each other
(incarnation, then its counter `lc`), and a message is sent before it is received (both events carry its id).
Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System" (1978).
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from capsize.errors import HistoryError

Position = tuple[int, int]
"""(index, term) of a log entry."""

NOTHING: Mapping[str, Any] = {}


class NodeState(NamedTuple):
    """A node's state as its event leaves it; None where the trace does not say.

    role: L leader, F follower, C candidate, P pre-candidate, else the node's own letter (a learner).
    last, base, dur: last entry of the log, last entry of the snapshot, last entry that is on stable storage.
    """

    term: int = 0
    vote: str | None = None
    role: str | None = None
    commit: int | None = None
    applied: int | None = None
    last: Position | None = None
    base: Position | None = None
    dur: Position | None = None
    cfg: tuple[str, ...] | None = None


class Entry(NamedTuple):
    """A log entry as traces name it: `digest` is the hash of its payload; cid and seq the session it came from."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs of an entry
    term: int
    digest: str | None
    kind: str = "cmd"
    cid: str | None = None
    seq: int | None = None

    def __str__(self) -> str:
        return f"entry {self.index} of term {self.term}" + (f" ({self.digest})" if self.digest else "")


@dataclass(slots=True)
class TraceEvent:
    """One thing that happened to one node; `state` is complete, also where the file only held what changed."""

    node: str
    inc: int
    lc: int
    ev: str
    state: NodeState
    msg: Mapping[str, Any]
    e: Sequence[Any]
    h: str | None
    x: Mapping[str, Any]
    mono: int
    wall: int
    parsed: list[Entry] | None = None

    def entries(self) -> list[Entry]:
        """Return the log entries the event is about."""
        if self.parsed is None:
            self.parsed = [entry_of(item) for item in self.e]
        return self.parsed

    def to_json(self) -> dict[str, Any]:
        """Return the event as one object of the trace file, with its whole state."""
        line: dict[str, Any] = {
            "v": 1,
            "node": self.node,
            "inc": self.inc,
            "lc": self.lc,
            "mono": self.mono,
            "wall": self.wall,
            "ev": self.ev,
        }
        line["st"] = {
            key: list(value) if isinstance(value, tuple) else value for key, value in self.state._asdict().items()
        }
        for key, value in (("msg", dict(self.msg)), ("e", list(self.e)), ("h", self.h), ("x", dict(self.x))):
            if value:
                line[key] = value
        return line

    def __str__(self) -> str:
        return f"{self.node} ({self.inc}.{self.lc}) {self.ev}"


def entry_of(item: Mapping[str, Any]) -> Entry:
    """Return the Entry that one object of an event's `e` names."""
    return Entry(item["i"], item["t"], item.get("h"), item.get("k", "cmd"), item.get("cid"), item.get("seq"))


class StateCarrier:
    """Completes the events of one node: keeps the last state and applies what the next event says changed."""

    __slots__ = ("inc", "state")

    def __init__(self) -> None:
        self.inc: int | None = None
        self.state = NodeState()

    def complete(self, line: Mapping[str, Any]) -> TraceEvent:
        """Return the event of `line`. Raises KeyError, TypeError or ValueError for what is no event."""
        inc: int = line.get("inc", 0)
        if inc != self.inc:
            self.inc, self.state = inc, NodeState()
        changed = line.get("st")
        if changed:
            self.state = merged(self.state, changed)
        return TraceEvent(
            line["node"],
            inc,
            line.get("lc", 0),
            line["ev"],
            self.state,
            line.get("msg") or NOTHING,
            line.get("e") or (),
            line.get("h"),
            line.get("x") or NOTHING,
            line.get("mono", 0),
            line.get("wall", 0),
        )


def one_by_one(event: TraceEvent) -> Sequence[TraceEvent]:
    """Return an `apply` event of several entries as several events of one entry and its state hash each.

    Nodes write entries that they applied in one go, with nothing else between, as one line: x.hashes are the hashes.
    """
    hashes = event.x.get("hashes") if event.ev == "apply" else None
    if hashes is None:
        return (event,)
    return [
        replace(event, state=event.state._replace(applied=item["i"]), e=(item,), h=digest, x=NOTHING)
        for item, digest in zip(event.e, hashes, strict=True)
    ]


def events_of(line: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the events of a line. What several have in common stands beside them, with the first one's `lc`.

    Raises TypeError or KeyError for what are no events.

    >>> list(events_of({"node": "n1", "lc": 7, "evs": [{"ev": "recv"}, {"ev": "send"}]}))[1]
    {'node': 'n1', 'lc': 8, 'ev': 'send'}
    """
    inside = line.get("evs")
    if inside is None:
        return (line,)
    common = {name: value for name, value in line.items() if name != "evs"}
    first = common.get("lc", 0)
    return [{**common, "lc": first + place, **event} for place, event in enumerate(inside)]


def merged(state: NodeState, changed: Mapping[str, Any]) -> NodeState:
    """Return `state` with the keys of one event's "st" put over it; unknown keys are left aside.

    >>> merged(NodeState(term=3, vote="n1"), {"term": 4, "vote": None, "last": [7, 3]}).last
    (7, 3)
    """
    known: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in changed.items()
        if key in NodeState._fields
    }
    return state._replace(**known)


def parse_trace(lines: Iterable[str | bytes | Mapping[str, Any]], *, name: str = "trace") -> Iterator[TraceEvent]:
    """Yield the events of one node's trace, given as lines of its file or as objects.

    A last line cut by the node's death is left out. Anything else that is no event raises HistoryError, with
    `name` and the line's number.
    """
    carriers: dict[str, StateCarrier] = {}
    fault: HistoryError | None = None
    for number, line in enumerate(lines, 1):
        if fault is not None:
            raise fault
        try:
            item: Any = json.loads(line) if isinstance(line, str | bytes) else line
            node = str(item["node"])
            if node not in carriers:
                carriers[node] = StateCarrier()
            events = [carriers[node].complete(single) for single in events_of(item)]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problem = f"no trace event ({error!r}); expected an object with node, inc, lc and ev"
            fault = HistoryError(problem, where=f"{name}:{number}")
            if isinstance(line, str | bytes) and line[-1:] not in ("\n", b"\n"):
                continue
            raise fault from error
        for event in events:
            yield from one_by_one(event) if event.ev == "apply" else (event,)


def causal_order(traces: Iterable[Iterable[TraceEvent]]) -> list[TraceEvent]:
    """Return all events in one order in which every message is sent before it is received.

    Between concurrent events the nodes' clocks serve as a hint, never as a proof. A receipt whose sending no
    trace holds waits for nothing. Cost: one heap operation an event.
    """
    by_node: dict[str, list[TraceEvent]] = {}
    for trace in traces:
        for event in trace:
            by_node.setdefault(event.node, []).append(event)
    for events in by_node.values():
        events.sort(key=lambda event: (event.inc, event.lc))
    unsent = {event.msg.get("id") for events in by_node.values() for event in events if event.ev == "send"}
    unsent.discard(None)

    ordered: list[TraceEvent] = []
    position = dict.fromkeys(by_node, 0)
    ready: list[tuple[int, str]] = []
    waiting: dict[str, list[str]] = {}

    def offer(node: str) -> None:
        if position[node] == len(by_node[node]):
            return
        event = by_node[node][position[node]]
        awaited = event.msg.get("id") if event.ev == "recv" else None
        if awaited in unsent:
            waiting.setdefault(str(awaited), []).append(node)
        else:
            heapq.heappush(ready, (event.wall or event.mono, node))

    for node in sorted(by_node):
        offer(node)
    while ready or waiting:
        if not ready:  # ids that were used twice, or traces mixed from several runs: go on rather than stop
            missing, nodes = next(iter(waiting.items()))
            unsent.discard(missing)
            del waiting[missing]
            for node in nodes:
                offer(node)
            continue
        _, node = heapq.heappop(ready)
        event = by_node[node][position[node]]
        ordered.append(event)
        position[node] += 1
        offer(node)
        if event.ev == "send":
            sent = event.msg.get("id")
            unsent.discard(sent)
            for other in waiting.pop(str(sent), ()):
                offer(other)
    return ordered
