"""One log entry's way through a cluster, told from the nodes' own events: appended, synced, sent, checked,
acknowledged, committed, answered, applied; and where a follower's log did not fit, the refusals and the overwrite.

    story = tell(causal_order(traces), index=101)
    print(as_text(story))                     as_json(story), capsize.report.diagram.as_html(story)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from capsize.checker.trace import Entry, TraceEvent


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened: to whom, what kind of thing, in words. `to` is set for a message that left.

    `phase` is the place in `PHASES`; `label` says in a word or two what a message carries.
    """

    at_ns: int
    node: str
    kind: str
    text: str
    message: str = ""
    frm: str = ""
    to: str = ""
    phase: str = ""
    label: str = ""


PHASES: dict[str, tuple[str, str]] = {
    "ask": ("client", "A client asks, and the request reaches the leader"),
    "append": ("leader", "Appends (term, index, command) to its log, fsyncs"),
    "send": ("leader", "Sends AppendEntries with prevIndex and prevTerm"),
    "check": ("followers", "Look for the entry at prevIndex with prevTerm; append, fsync, acknowledge"),
    "back-up": ("a follower", "Its log does not fit: it refuses, the leader backs up, the tail is overwritten"),
    "catch-up": ("a follower", "It missed earlier entries: they come first, batch after batch"),
    "commit": ("leader", "A majority holds it: marks it committed, applies"),
    "reply": ("leader", "Answers the client"),
    "learn": ("followers", "Learn the commit index from what comes next; apply"),
    "other": ("", "Servers that start, stop or begin to lead meanwhile"),
}
"""The way of a write, as papers and articles tell it: who acts, and what happens."""


@dataclass(frozen=True, slots=True)
class Story:
    """The entry, who led, who belonged to the cluster, and the steps in an order in which causes come first."""

    entry: Entry
    leader: str
    nodes: tuple[str, ...]
    steps: tuple[Step, ...]
    committed: bool


@dataclass(slots=True)
class _Telling:
    """What is being found out while the events go by."""

    entry: Entry
    leader: str
    steps: list[Step] = field(default_factory=list[Step])
    holds: set[str] = field(default_factory=set[str])
    durable: set[str] = field(default_factory=set[str])
    committed: set[str] = field(default_factory=set[str])
    applied: set[str] = field(default_factory=set[str])
    acknowledged: set[str] = field(default_factory=set[str])
    told_commit: set[str] = field(default_factory=set[str])
    shown: set[str] = field(default_factory=set[str])
    refused: set[str] = field(default_factory=set[str])
    """Servers whose logs did not fit when they were asked."""
    behind: set[str] = field(default_factory=set[str])
    """Servers that are sent earlier entries after this one was committed."""
    asked: dict[tuple[str, int], list[tuple[str, int]]] = field(
        default_factory=dict[tuple[str, int], list[tuple[str, int]]]
    )
    """(follower, prev index): the AppendEntries that asked there, their ids and terms."""
    fitting: set[str] = field(default_factory=set[str])
    """AppendEntries with earlier entries that nobody refused so far: no part of this entry's story."""
    origin: tuple[str, str] | None = None
    """Which server's client asked, and as which request."""
    command: str = ""

    def add(self, event: TraceEvent, kind: str, text: str, phase: str, label: str = "") -> None:
        message = event.msg
        if phase in ("send", "check") and {event.node, message.get("to"), message.get("from")} & self.refused:
            phase = "back-up"
        self.steps.append(
            Step(event.mono or event.wall, event.node, kind, text, message.get("id", ""), message.get("from", ""),
                 message.get("to", ""), phase, label)
        )  # fmt: skip

    def phase_of(self, message: str) -> str:
        """Return the phase in which a message left."""
        return next((step.phase for step in self.steps if step.message == message), "other")


def commands(events: Iterable[TraceEvent]) -> list[tuple[int, int]]:
    """Return (index, term) of the clients' commands that a leader appended, in the order of appending."""
    return [
        (entry.index, entry.term)
        for event in events
        if event.ev == "append" and event.state.role == "L"
        for entry in event.entries()
        if entry.kind == "cmd"
    ]


def tell(events: Sequence[TraceEvent], index: int, term: int | None = None) -> Story | None:
    """Return the story of the entry that a leader appended at `index` (the newest such, or that of `term`).

    None when no leader's append of it was traced. Cost: linear in the events.
    """
    telling: _Telling | None = None
    begin = 0
    for number, event in enumerate(events):
        if event.ev == "append" and event.state.role == "L":
            for entry in event.entries():
                if entry.index == index and term in (None, entry.term):
                    telling, begin = _Telling(entry, event.node), number
    if telling is None:
        return None
    _asked(telling, events[:begin])
    for event in events[begin:]:
        _take(telling, event)
    nodes = tuple(sorted({event.node for event in events}))
    steps = _lost_once([step for step in telling.steps if step.message not in telling.fitting])
    return Story(telling.entry, telling.leader, nodes, tuple(steps), bool(telling.committed))


def _lost_once(steps: Sequence[Step]) -> list[Step]:
    """Return the steps with one for what a node sent again and again to another that was not seen to get it."""
    got = {step.message for step in steps if step.kind == "recv"}
    groups: dict[tuple[str, str, str, str], list[Step]] = {}
    for step in steps:
        if step.kind == "send" and step.message not in got:
            groups.setdefault((step.node, step.to, step.phase, step.label), []).append(step)
    again = {id(step) for same in groups.values() for step in same[1:]}
    firsts = {id(same[0]): same for same in groups.values() if len(same) > 1}
    told: list[Step] = []
    for step in steps:
        if id(step) in firsts:
            same = firsts[id(step)]
            for_ms = (same[-1].at_ns - step.at_ns) / 1e6
            more = f"; and {len(same) - 1} more like it within {for_ms:.0f} ms, none seen to arrive"
            step = replace(step, text=step.text + more, label=f"{step.label} (×{len(same)})")
        if id(step) not in again:
            told.append(step)
    return told


def _asked(telling: _Telling, before: Sequence[TraceEvent]) -> None:
    """Find the client's request that the entry came from, and how it reached the leader."""
    entry = telling.entry
    for place in range(len(before) - 1, -1, -1):
        event = before[place]
        if event.ev == "client_submit" and (event.x.get("cid"), event.x.get("seq")) == (entry.cid, entry.seq):
            telling.origin = (event.node, event.x.get("rid", ""))
            value = f" = {event.x['value']!r}" if "value" in event.x else ""
            telling.command = f"{event.x.get('f')} {event.x.get('key')!r}{value}"
            text = f"a client asks for {telling.command} (client {entry.cid}, request {entry.seq})"
            telling.add(event, "client", text, "ask", "asked")
            for later in before[place + 1 :]:
                if later.msg.get("type") == "FW":
                    _forward(telling, later)
            return


def _forward(telling: _Telling, event: TraceEvent) -> None:
    """Add the client's request on its way to the leader, or the outcome on its way back."""
    message, asks = event.msg, event.msg["type"] == "FW"
    asked, rid = telling.origin or ("", "")
    if message["rid"] != rid or message["from" if asks else "to"] != asked:
        return
    if asks:
        sent, got = f"forwards the request to {message['to']}, the leader it knows", "gets the request"
    else:
        sent, got = f"sends the outcome to {asked}, whose client asked", f"hears the outcome from {message['from']}"
    phase, label = ("ask", "request") if asks else ("reply", "outcome")
    if event.ev == "send":
        telling.add(event, "send", sent, phase, label)
    else:
        telling.add(event, "recv", got, phase)


def _take(telling: _Telling, event: TraceEvent) -> None:
    """Add what one event says about the entry."""
    if event.ev in ("send", "recv"):
        _message(telling, event)
    elif event.ev == "append":
        _append(telling, event)
    elif event.ev == "truncate":
        to = event.x.get("to", 0)
        if to < telling.entry.index and event.state.term >= telling.entry.term:
            text = f"cuts its log behind index {to}: what followed conflicts with the leader's"
            telling.add(event, "truncate", text, "back-up", f"cut behind {to}")
            telling.holds.discard(event.node)
            telling.durable.discard(event.node)
    elif event.ev == "persist":
        _persist(telling, event)
    elif event.ev == "commit":
        _commit(telling, event)
    elif event.ev == "apply":
        if event.node not in telling.applied and any(entry.index == telling.entry.index for entry in event.entries()):
            telling.applied.add(event.node)
            told = f", state {event.h}" if event.h else ""
            phase = "commit" if event.node == telling.leader else "learn"
            telling.add(event, "apply", f"applies index {telling.entry.index} to its state machine{told}", phase)
    elif event.ev == "client_reply" and (event.node, event.x.get("rid")) == telling.origin:
        telling.add(event, "client", f"answers the client: {event.x.get('outcome')}", "reply", "answers")
        telling.origin = None
    elif event.ev in ("recover", "stop", "become_leader") and event.state.term >= telling.entry.term:
        words = {"recover": "boots", "stop": "stops", "become_leader": f"becomes leader of term {event.state.term}"}
        if len(telling.applied) < len(event.state.cfg or ()):
            text = words[event.ev]
            telling.add(event, event.ev, text, "other", text.replace("becomes leader of", "leads"))


def _append(telling: _Telling, event: TraceEvent) -> None:
    entry = telling.entry
    same = [other for other in event.entries() if other.index == entry.index and other.term == entry.term]
    if not same:
        if event.node in telling.behind - telling.holds and event.e:
            reached = max(other.index for other in event.entries())
            telling.add(event, "append", f"the log fits: appends {len(event.e)} up to index {reached}", "catch-up")
        return
    telling.holds.add(event.node)
    others = len(event.e) - 1
    more = f" and {others} more" if others else ""
    if event.node == telling.leader and event.state.role == "L":
        command = f", {telling.command}" if telling.command else ""
        text = f"appends (term {entry.term}, index {entry.index}{command}, payload {entry.digest}){more}"
        telling.add(event, "append", text, "append")
    else:
        text = f"the log fits: appends index {entry.index} of term {entry.term}{more}"
        telling.add(event, "append", text, "check")


def _persist(telling: _Telling, event: TraceEvent) -> None:
    durable = event.state.dur
    node = event.node
    if durable is None or durable[0] < telling.entry.index or node in telling.durable or node not in telling.holds:
        return
    telling.durable.add(node)
    phase = "append" if node == telling.leader and event.state.role == "L" else "check"
    telling.add(event, "persist", f"its disk holds the log up to index {durable[0]} (fsync)", phase)


def _commit(telling: _Telling, event: TraceEvent) -> None:
    index, node = telling.entry.index, event.node
    if (event.state.commit or 0) < index or node in telling.committed or node not in telling.holds:
        return
    telling.committed.add(node)
    if node == telling.leader and event.state.role == "L":
        voters = event.state.cfg or ()
        copies = 1 + len(telling.acknowledged & set(voters))
        telling.add(
            event,
            "commit",
            f"has {copies} of {len(voters)} copies, a majority: index {event.state.commit} is committed",
            "commit",
        )
    else:
        telling.add(event, "commit", f"learns that index {event.state.commit} is committed", "learn")


def _message(telling: _Telling, event: TraceEvent) -> None:
    message, entry = event.msg, telling.entry
    kind, name, sends = message.get("type"), message.get("id", ""), event.ev == "send"
    if kind == "AE" and sends and message["term"] >= entry.term:
        prev, count, commit = message.get("prev", (0, 0)), message.get("n", 0), message.get("commit", 0)
        follower = message["to"]
        carries = prev[0] < entry.index <= prev[0] + count
        news = commit >= entry.index and follower not in telling.told_commit
        probes = follower not in telling.holds and follower not in telling.acknowledged
        telling.asked.setdefault((follower, prev[0]), []).append((name, message["term"]))
        if not (carries or news or probes):
            return
        late = probes and not carries and count > 0 and commit >= entry.index
        if late:
            telling.behind.add(follower)
        elif not (carries or news or follower in telling.refused):
            telling.fitting.add(name)
        if commit >= entry.index:
            telling.told_commit.add(follower)
        telling.shown.add(name)
        what = f"{count} {'entry' if count == 1 else 'entries'}" if count else "no entries"
        telling.add(
            event,
            "send",
            f"sends AppendEntries to {follower}: prev (index {prev[0]}, term {prev[1]}), {what}, commit {commit}",
            "send" if carries else "catch-up" if late else "learn" if news else "back-up",
            f"prev {prev[0]}·{prev[1]}, {count or 'no'} {'entry' if count == 1 else 'entries'}",
        )
    elif kind == "AE" and not sends and name in telling.shown:
        text = f"gets it and looks for index {message['prev'][0]} of term {message['prev'][1]} in its log"
        phase = telling.phase_of(name)
        telling.add(event, "recv", text, "check" if phase == "send" else phase)
    elif kind == "FWR":
        _forward(telling, event)
    elif kind == "AER" and message["term"] >= entry.term:
        _reply(telling, event)
    elif kind == "IS" and message.get("last", (0, 0))[0] >= entry.index:
        telling.shown.add(name)
        deed = f"sends {message['to']} a snapshot" if sends else "gets a snapshot"
        text, label = f"{deed} up to index {message['last'][0]}", f"snapshot up to {message['last'][0]}"
        telling.add(event, "send" if sends else "recv", text, "back-up", label)


def _reply(telling: _Telling, event: TraceEvent) -> None:
    message, index = event.msg, telling.entry.index
    sends, name = event.ev == "send", message.get("id", "")
    if message.get("ok"):
        reached = message.get("idx", 0) >= index
        follower = message["from"]
        if sends and reached and follower not in telling.acknowledged:
            telling.shown.add(name)
            text = f"acknowledges its log up to index {message['idx']}"
            telling.add(event, "send", text, "check", f"ok, up to {message['idx']}")
        elif not sends and name in telling.shown and follower not in telling.acknowledged:
            telling.acknowledged.add(follower)
            telling.add(event, "recv", f"counts {follower}'s copy", "check")
    elif sends:
        _refusal(telling, event)
    elif name in telling.shown:
        telling.add(event, "recv", f"learns that {message['from']} refused, and backs up", "back-up")


def _refusal(telling: _Telling, event: TraceEvent) -> None:
    """Add a refusal: of a log that does not fit, or of a leader whose term is over; not once it has the entry."""
    message, node = event.msg, event.node
    if node in telling.durable and node in telling.holds:
        return
    prev = message.get("idx", 0)
    asked = telling.asked.pop((node, prev), [])
    telling.shown.add(message.get("id", ""))
    telling.fitting.difference_update(name for name, _ in asked)
    term_asked = max((term for _, term in asked), default=message["term"])
    if message["term"] > term_asked:
        text = f"refuses: it is in term {message['term']}, and term {term_asked} is over"
        telling.add(event, "send", text, "other", f"no: term {message['term']}")
        return
    term, first = message.get("conflict") or (None, None)
    why = (
        f"holds term {term} there, which begins at index {first}" if term is not None else f"ends before index {first}"
    )
    telling.refused.add(node)
    label = f"no: term {term} from {first}" if term is not None else f"no: ends before {first}"
    telling.add(event, "send", f"refuses at index {prev}: its log {why}", "back-up", label)


def as_text(story: Story, clocks: str = "") -> str:
    """Return the story as a table for a terminal; `clocks` says what its times are, if not the nodes' own."""
    entry = story.entry
    first = story.steps[0].at_ns if story.steps else 0
    fate = "committed" if story.committed else "not committed within these traces"
    lines = [
        f"Entry {entry.index} of term {entry.term}, appended by {story.leader}: {fate}",
        "",
        f"{'step':>4}  {'ms':>9}  {'who':<6}  what happens",
    ]
    for number, step in enumerate(story.steps, 1):
        who = step.node + ("*" if step.node == story.leader else "")
        lines.append(f"{number:>4}  {(step.at_ns - first) / 1e6:>9.3f}  {who:<6}  {step.text}")
    lines += [
        "",
        f"* appended it as leader of term {entry.term}. Order: causes first. "
        f"{clocks or 'The times are those of the nodes’ one clock'}.",
    ]
    return "\n".join(lines)


def as_json(story: Story) -> dict[str, Any]:
    """Return the story as JSON."""
    entry = story.entry
    return {
        "version": 1,
        "entry": {"index": entry.index, "term": entry.term, "hash": entry.digest, "kind": entry.kind},
        "leader": story.leader,
        "nodes": list(story.nodes),
        "committed": story.committed,
        "steps": [
            {"at_ns": step.at_ns, "node": step.node, "kind": step.kind, "text": step.text, "phase": step.phase}
            | ({"message": step.message, "from": step.frm, "to": step.to} if step.message else {})
            for step in story.steps
        ],
    }
