"""What went between the nodes around an anomaly: one lane a node, time going down, an arrow for every message.

Drawn are the messages and events that have to do with it: the entries that its operations name, elections, restarts,
the answers to its clients; around a broken rule, whatever the node that broke it sent and got just before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from capsize.report.moments import events_between
from capsize.report.plain import visible

MOST_ROWS = 60
AROUND_NS = 30_000_000
BEFORE_A_BREACH_NS = 150_000_000
AT_ONCE_NS = 2_000_000
ELECTIONS = frozenset({"RV", "RVR", "PV", "PVR", "TN", "IS", "ISR"})
TURNS = frozenset({
    "recover", "stop", "become_leader", "become_candidate", "truncate", "snapshot_installed", "config", "vote_granted",
})  # fmt: skip
WORDS = {
    "recover": "boots", "stop": "stops", "become_leader": "becomes leader", "become_candidate": "stands for election",
    "become_follower": "follows", "truncate": "cuts its log", "snapshot_installed": "installs a snapshot",
    "snapshot_taken": "takes a snapshot", "config": "changes its configuration", "vote_granted": "votes",
    "append": "appends", "commit": "commits", "apply": "applies", "persist": "syncs",
    "read_index": "takes a read index", "read_served": "serves a read",
    "client_reply": "answers its client", "client_submit": "is asked",
    "term_changed": "learns of a newer term",
}  # fmt: skip
NAMES = {
    "AE": "AppendEntries", "AER": "AppendEntries reply", "RV": "RequestVote", "RVR": "vote", "PV": "pre-vote?",
    "PVR": "pre-vote", "IS": "InstallSnapshot", "ISR": "snapshot reply", "TN": "TimeoutNow", "RI": "read index?",
    "RIR": "read index", "FW": "forwards", "FWR": "forwarded answer",
}  # fmt: skip


@dataclass(slots=True)
class Mark:
    """One row of the diagram: something a node did, sent or got, or a client was told."""

    at_ns: int
    node: str
    kind: str
    text: str
    message: str = ""
    to: str = ""
    accused: bool = False
    others: list[str] = field(default_factory=list[str])
    """Further nodes that the same was sent to at once, and that it was not seen to reach."""
    place: tuple[int, int] = (0, 0)
    """Incarnation and number of its event: the node's own order, of what it did within one tick of the clock."""


@dataclass(slots=True)
class Picture:
    """The diagram: its lanes and rows in order, and how much was left out."""

    nodes: list[str]
    marks: list[Mark] = field(default_factory=list[Mark])
    left_out: int = 0
    start_ns: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """A client's question or answer at a node, on the run's clock in nanoseconds."""

    at_ns: int
    node: str
    text: str


def around_operations(
    traces: Mapping[str, Sequence[Path]], origin: int, nodes: Sequence[str], said: Sequence[Said],
    entries: Iterable[tuple[int, int]], keys: Sequence[Any] = (), shifts: Mapping[str, int] | None = None,
) -> Picture | None:  # fmt: skip
    """Return what the nodes did about `entries` (index, term) while clients asked and were told `said` about `keys`."""
    if not said:
        return None
    start, end = origin + min(item.at_ns for item in said), origin + max(item.at_ns for item in said)
    wanted = {index for index, _ in entries}
    marks = [Mark(item.at_ns, item.node, "client", item.text) for item in said if item.node in nodes]
    seen: set[tuple[str, str, int]] = set()
    served = {item.node for item in said}
    for event in events_between(traces, start - AROUND_NS // 10, end + AROUND_NS, shifts):
        mark = _of_operations(event, wanted, seen, served)
        extra = event.get("x")
        if event["ev"] == "read_served" and isinstance(extra, dict) and extra.get("key") not in keys:
            continue
        if mark is not None and (mark.kind == "recv" or mark.at_ns <= end + AROUND_NS // 10):
            mark.at_ns -= origin
            marks.append(mark)
    return _made(nodes, _ended(marks, end + AROUND_NS // 10 - origin))


def before_a_breach(
    traces: Mapping[str, Sequence[Path]], origin: int, nodes: Sequence[str], accused: Sequence[Mapping[str, Any]],
    shifts: Mapping[str, int] | None = None,
) -> Picture | None:  # fmt: skip
    """Return what the node of the last of these events sent, got and did until it broke the rule."""
    known = [event for event in accused if isinstance(event.get("mono"), int)]
    if not known:
        return None
    last = known[-1]
    names = {(str(event.get("node")), event.get("inc"), event.get("lc")) for event in known}
    who = {str(event.get("node")) for event in known}
    reads = any(str(event.get("ev")).startswith("read") or _kind(event) in ("RI", "RIR") for event in known)
    known_up_to: dict[tuple[str, str], dict[Any, Any]] = {}
    marks: list[Mark] = []
    for event in known:  # an earlier one, of which the last is a breach
        if event["mono"] < last["mono"] - BEFORE_A_BREACH_NS and isinstance(event.get("ev"), str):
            given = {**event, "node": str(event.get("node"))}
            early = _of_anybody(given) or _mark(given, given["ev"], given["ev"].replace("_", " "))
            marks.append(replace(early, at_ns=early.at_ns - origin, kind="turn", accused=True, message=""))
    until = last["mono"] + AROUND_NS // 30
    for event in events_between(traces, last["mono"] - BEFORE_A_BREACH_NS, until + AROUND_NS, shifts):
        if event["mono"] > until and event["ev"] != "recv":  # later on, only whether what was sent arrived
            continue
        mine = (event["node"], event.get("inc"), event.get("lc")) in names
        mark = _of_anybody(event)
        if mine and mark is None:
            mark = _mark(event, event["ev"], str(WORDS.get(event["ev"], event["ev"])).replace("_", " "))
        message = event.get("msg")
        if not reads and not mine and isinstance(message, dict) and _says_nothing_new(message, known_up_to):
            continue
        parties = {str(message.get("from")), str(message.get("to"))} if isinstance(message, dict) else {event["node"]}
        if mark is None or not (parties & who):
            continue
        mark.accused = mine
        mark.at_ns -= origin
        marks.append(mark)
    return _made(nodes, _ended(marks, until - origin), keep_last=True)


def _ended(marks: Sequence[Mark], until_ns: int) -> list[Mark]:
    """Return the marks without what arrived after `until_ns` and was sent after it, too."""
    sent = {mark.message for mark in marks if mark.kind == "send"}
    return [mark for mark in marks if mark.at_ns <= until_ns or mark.kind != "recv" or mark.message in sent]


def _kind(event: Mapping[str, Any]) -> str:
    message = event.get("msg")
    return str(message.get("type")) if isinstance(message, Mapping) else ""


def _says_nothing_new(message: dict[str, Any], known: dict[tuple[str, str], dict[Any, Any]]) -> bool:
    """Return whether a message is a heartbeat that brings nothing, or the answer to one."""
    kind, way = message.get("type"), (str(message.get("from")), str(message.get("to")))
    if kind not in ("AE", "AER") or (kind == "AE" and message.get("n")):
        return False
    word = (kind, message.get("term"), message.get("commit"), message.get("idx"), message.get("ok"))
    seen = known.setdefault(way, {})
    return seen.setdefault(word, message.get("id")) != message.get("id")


def _made(nodes: Sequence[str], marks: list[Mark], *, keep_last: bool = False) -> Picture | None:
    marks = [mark for mark in marks if mark.node in nodes]
    if not any(mark.kind != "client" for mark in marks):
        return None
    marks.sort(key=lambda mark: mark.at_ns)
    arrived = {mark.message: mark for mark in marks if mark.kind == "recv" and mark.message}
    sent = {mark.message for mark in marks if mark.kind == "send" and mark.message}
    told = [mark for mark in marks if mark.kind != "recv" or mark.message not in sent]  # an arrow is one thing
    told = _lost_together(told, arrived)
    cost = [2 if mark.kind == "send" and mark.message in arrived else 1 for mark in told]
    order = range(len(told) - 1, -1, -1) if keep_last else sorted(range(len(told)), key=lambda k: (_rank(told[k]), k))
    kept, room = set[int](), MOST_ROWS
    for place in sorted(order, key=lambda place: not told[place].accused):  # stable: what broke the rule stays
        if cost[place] <= room:
            room -= cost[place]
            kept.add(place)
        elif keep_last:
            break
    left_out = len(told) - len(kept)
    marks = [told[place] for place in sorted(kept)]
    marks += [arrived[mark.message] for mark in marks if mark.kind == "send" and mark.message in arrived]
    marks = in_order(marks)
    lanes = [node for node in nodes if any(node in (mark.node, mark.to, *mark.others) for mark in marks)]
    return Picture(lanes, marks, left_out, marks[0].at_ns if marks else 0)


def in_order(marks: Sequence[Mark]) -> list[Mark]:
    """Return the marks by time; of one instant each node's in its own order, and what was sent before it arrives.

    A node stamps all that it does in one turn alike: by time alone a commit could stand above the answers that allowed
    it. Cost: n log n, and quadratic only in the marks of one instant.
    """
    told: list[Mark] = []
    for _, same in groupby(sorted(marks, key=lambda mark: mark.at_ns), key=lambda mark: mark.at_ns):
        waiting: dict[str, list[Mark]] = {}
        for mark in same:
            waiting.setdefault(mark.node, []).append(mark)
        for queue in waiting.values():
            queue.sort(key=lambda mark: mark.place)
        while waiting:
            leaving = {mark.message for queue in waiting.values() for mark in queue if mark.kind == "send"}
            ready = (n for n, queue in waiting.items() if queue[0].kind != "recv" or queue[0].message not in leaving)
            node = next(ready, next(iter(waiting)))
            told.append(waiting[node].pop(0))
            if not waiting[node]:
                del waiting[node]
    return told


def _lost_together(marks: Sequence[Mark], arrived: Mapping[str, Mark]) -> list[Mark]:
    """Return the marks with one for what a node sent to several at once and none was seen to get."""
    kept: list[Mark] = []
    lost: dict[tuple[str, str], Mark] = {}
    for mark in marks:
        if mark.kind == "send" and mark.message not in arrived and not mark.accused:
            first = lost.get((mark.node, mark.text))
            if first is not None and mark.at_ns - first.at_ns <= AT_ONCE_NS:
                first.others.append(mark.to)
                continue
            lost[mark.node, mark.text] = mark
        kept.append(mark)
    return kept


def _rank(mark: Mark) -> int:
    """Return how much a row tells; the smallest tells most."""
    order = ("client", "turn", "truncate", "read_served", "append", "commit", "send", "apply", "recv")
    return order.index(mark.kind) if mark.kind in order else len(order)


def _of_operations(
    event: dict[str, Any], wanted: set[int], seen: set[tuple[str, str, int]], served: set[str]
) -> Mark | None:
    word, node = event["ev"], event["node"]
    if word in ("send", "recv"):
        message = event.get("msg")
        if not isinstance(message, dict) or not _touches(message, wanted):
            return None
        return _message(event, message)
    if word in TURNS:
        return _of_anybody(event)
    if word in ("append", "apply"):
        places = sorted(wanted & {entry.get("i") for entry in _entries(event)})
        return _mark(event, word, f"{WORDS[word]} {', '.join(map(str, places))}") if places else None
    if word == "commit":
        state = event.get("st")
        reached = state.get("commit") if isinstance(state, dict) else None
        fresh = [i for i in wanted if isinstance(reached, int) and reached >= i and (node, "commit", i) not in seen]
        seen.update((node, "commit", i) for i in fresh)
        return _mark(event, word, f"commits up to {reached}") if fresh else None
    if word == "read_served" and node in served:
        extra = event.get("x")
        told = extra if isinstance(extra, dict) else {}
        return _mark(event, word, f"serves a read, applied {visible(str(told.get('applied', '?')), 20)}")
    return None


def _of_anybody(event: dict[str, Any]) -> Mark | None:
    word, message = event["ev"], event.get("msg")
    if word in ("send", "recv") and isinstance(message, dict):
        return _message(event, message)
    if word in ("client_submit", "client_reply", "persist", "become_follower"):
        return None
    state, extra = event.get("st"), event.get("x")
    told = state if isinstance(state, dict) else {}
    more = extra if isinstance(extra, dict) else {}
    text: str = WORDS.get(word) or visible(word, 40).replace("_", " ")
    if word in ("append", "apply"):
        places = [str(entry.get("i")) for entry in _entries(event)]
        text += f" {places[0]}" + (f" to {places[-1]}" if len(places) > 1 else "") if places else ""
    elif word == "commit" and "commit" in told:
        text += f" up to {visible(str(told['commit']), 20)}"
    elif word == "truncate" and "to" in more:
        text += f" back to {visible(str(more['to']), 20)}"
    elif word == "vote_granted" and "to" in more:
        text += f" for {visible(str(more['to']), 40)}"
    elif word == "read_index" and "index" in more:
        text += f", {visible(str(more['index']), 20)}"
    if word == "recover" and isinstance(more.get("last"), list | tuple) and more["last"]:
        text += f", its log ends at {visible(str(more['last'][0]), 20)}"
    if "term" in told and word in ("become_leader", "become_candidate", "term_changed", "recover"):
        text += f", term {visible(str(told['term']), 20)}"
    return _mark(event, "turn" if word in TURNS else word, text)


def _touches(message: dict[str, Any], wanted: set[int]) -> bool:
    kind = message.get("type")
    if kind in ELECTIONS:
        return True
    prev, count = message.get("prev"), message.get("n")
    if kind == "AE" and isinstance(prev, list) and prev and isinstance(prev[0], int) and isinstance(count, int):
        return any(prev[0] < index <= prev[0] + count for index in wanted)
    if kind == "AER":
        return message.get("idx") in wanted or message.get("ok") is False
    return False


def _message(event: dict[str, Any], message: dict[str, Any]) -> Mark:
    kind = str(message.get("type"))
    text = NAMES.get(kind, visible(kind, 20))
    if kind == "AE":
        prev, count = message.get("prev"), message.get("n")
        if isinstance(prev, list) and prev and isinstance(prev[0], int) and isinstance(count, int) and count:
            last = prev[0] + count
            text += f" {prev[0] + 1}" + (f" to {last}" if count > 1 else "")
        elif count == 0:
            text = "heartbeat"
        text += f", commit {visible(str(message.get('commit')), 20)}"
    elif kind == "AER":
        text = f"has up to {visible(str(message.get('idx')), 20)}" if message.get("ok") else "refuses"
    elif kind in ("RVR", "PVR"):
        text += " granted" if message.get("granted", message.get("ok")) else " refused"
    text += f", term {visible(str(message.get('term')), 20)}" if kind in ELECTIONS else ""
    mark = _mark(event, event["ev"], text)
    mark.message, mark.to = str(message.get("id", "")), str(message.get("to", ""))
    return mark


def _mark(event: dict[str, Any], kind: str, text: str) -> Mark:
    place = tuple(number if isinstance(number := event.get(word), int) else 0 for word in ("inc", "lc"))
    return Mark(int(event["mono"]), str(event["node"]), kind, visible(text, 120), place=(place[0], place[1]))


def _entries(event: dict[str, Any]) -> list[dict[str, Any]]:
    entries = event.get("e")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
