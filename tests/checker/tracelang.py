"""A mini-language for node traces, small enough to judge by eye.

One event a line, `node event words`; the order of lines is the order of events:

    n1 recover                              first event of an incarnation; term= vote= last= … set its state
    n1 append 5.2:a 6.2:b                   entries index.term:payload; moves `last`
    n1 truncate 4                           the new last index
    n1 persist log | meta                   `log` moves `dur` to `last`
    n1 commit 5      n1 apply 5.2:a h=77    moves `commit`, `applied`
    n1 send AER>n2 #x ok idx=5              a message, called x; its term is the sender's unless term= says otherwise
    n2 recv #x
    n1 become_leader term=3                 any of term= vote= role= commit= applied= last= base= dur= cfg=n1,n2
    n1 read_index rid=r1 index=5 round=2    other words go to the event's `x`

`become_candidate` votes for itself; `become_…` sets the role. Positions are index.term. `#` starts a message's name,
`--` a comment. A payload `a/c1.7` is request 7 of client c1; `cfg!n1,n2` is a configuration entry.
"""

from __future__ import annotations

from typing import Any

from capsize.checker.invariants import Judge
from capsize.checker.trace import NodeState, TraceEvent
from capsize.verdict import Verdict

ROLES = {"become_leader": "L", "become_follower": "F", "become_candidate": "C"}
POSITIONS = {"last", "base", "dur"}
NUMBERS = {"term", "commit", "applied"}


def script(text: str) -> list[TraceEvent]:
    """Return the events that `text` tells."""
    writer = _Writer()
    for line in text.strip().splitlines():
        line = line.split("--")[0].strip()
        if line:
            writer.tell(line.split())
    return writer.events


def judge(text: str, *only: str) -> Verdict:
    """Return the verdict on `text`, of all invariants or of those named."""
    judge = Judge(only or None)
    for event in script(text):
        judge.feed(event)
    return judge.verdict()


def position(text: str) -> tuple[int, int]:
    index, term = text.split(".")
    return int(index), int(term)


class _Writer:
    def __init__(self) -> None:
        self.events: list[TraceEvent] = []
        self.states: dict[str, NodeState] = {}
        self.terms: dict[str, dict[int, int]] = {}
        self.counters: dict[str, tuple[int, int]] = {}
        self.messages: dict[str, dict[str, Any]] = {}

    def tell(self, words: list[str]) -> None:
        node, kind, *rest = words
        state = self.states.get(node, NodeState())
        terms = self.terms.setdefault(node, {0: 0})
        inc, lc = self.counters.get(node, (0, 0))
        if kind == "recover":
            inc, lc, state = inc + 1, 0, NodeState(role="F", commit=0, applied=0, last=(0, 0), base=(0, 0), dur=(0, 0))
        self.counters[node] = (inc, lc + 1)
        message: dict[str, Any] = {}
        entries: list[dict[str, Any]] = []
        extra: dict[str, Any] = {}
        digest: str | None = None
        changes: dict[str, Any] = {"role": ROLES[kind]} if kind in ROLES else {}
        for word in rest:
            name, _, value = word.partition("=")
            if ">" in word:
                message["type"], message["to"] = word.split(">")
                message["from"] = node
            elif word.startswith("#"):
                message["id"] = word
            elif value and kind in ("send",) and name not in ("dur",):
                message[name] = _value(name, value)
            elif value and name == "h":
                digest = value
            elif value and name in NodeState._fields:
                changes[name] = _value(name, value)
            elif value:
                extra[name] = _value(name, value)
            elif ":" in word:
                entries.append(_entry(word))
            elif kind == "send":
                message[word] = True
            elif kind == "persist":
                extra["what"] = word
            elif kind == "truncate":
                extra["to"] = int(word)
                changes["last"] = (int(word), terms.get(int(word), 0))
            elif kind == "commit":
                changes["commit"] = int(word)
            else:
                extra[word] = True
        if kind == "become_candidate":
            changes.setdefault("vote", node)
        if kind == "append" and "last" not in changes:
            for entry in entries:
                terms[entry["i"]] = entry["t"]
            changes["last"] = (entries[-1]["i"], entries[-1]["t"])
        if kind == "apply":
            changes.setdefault("applied", entries[-1]["i"])
        if kind == "recover":
            changes.setdefault("dur", changes.get("last", (0, 0)))
            changes.setdefault("applied", changes.get("base", (0, 0))[0])
            changes.setdefault("commit", changes.get("base", (0, 0))[0])
        if changes:
            state = state._replace(**changes)
        if kind == "persist" and extra.get("what") == "log" and "dur" not in changes:
            state = state._replace(dur=state.last)
        if kind == "send":
            message.setdefault("term", state.term)
            self.messages[message.get("id", "")] = message
        if kind == "recv":
            message = self.messages[message["id"]]
        self.states[node] = state
        self.events.append(TraceEvent(node, inc, lc + 1, kind, state, message, entries, digest, extra, 0, 0))


def _value(name: str, text: str) -> Any:
    if name in POSITIONS or name == "prev":
        return position(text)
    if name == "cfg":
        return tuple(text.split(","))
    if text == "none":
        return None
    return int(text) if text.lstrip("-").isdigit() else text


def _entry(word: str) -> dict[str, Any]:
    place, payload = word.split(":", 1)
    index, term = position(place)
    entry: dict[str, Any] = {"i": index, "t": term, "h": payload, "k": "cmd"}
    if payload.startswith("cfg!"):
        entry["k"] = "cfg"
    elif "/" in payload:
        client, seq = payload.split("/")[1].split(".")
        entry.update(cid=client, seq=int(seq))
    return entry
