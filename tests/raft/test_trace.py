"""The trace: one whole JSON object a line, whatever clients put into it; spelt out by hand as JSON would have it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from capsize.checker.trace import parse_trace
from capsize.raft import trace, wire
from capsize.raft.configuration import Configuration
from capsize.raft.core import Core
from capsize.raft.events import MessageReceived, Persisted, Recovered
from capsize.raft.log import Entry, Position
from capsize.raft.messages import (
    AppendEntries,
    AppendReply,
    Forward,
    ForwardReply,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteReply,
    ReadIndexReply,
    ReadIndexRequest,
    RequestVote,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    describe,
)
from capsize.raft.settings import Settings
from capsize.raft.trace import State, Traced, TraceWriter, as_line

FIRST = State(1, None, "F", 0, 0, Position(0, 0), Position(0, 0), (0, 0), ("n1", "n2"), ())
ODD = 'n"1\\é\n'
HEADS = ("v", "node", "inc", "lc", "mono", "wall")

MESSAGES: list[Message] = [
    AppendEntries("n1.1.1", "n1", "n2", 5, 16, 5, (Entry(17, 5, "noop"),), 12, 3),
    AppendReply("n1.1.2", "n1", "n2", 5, True, 17, 18, None, 0, 3),
    AppendReply("n1.1.3", "n1", "n2", 5, False, 16, 0, None, 9, 3),
    AppendReply("n1.1.3", "n1", "n2", 5, False, 16, 0, 4, 9, 3),
    Forward("n1.1.4", "n1", "n2", 5, "n1.1.7", "cmd", ODD, 1, "[]"),
    ForwardReply("n1.1.5", "n1", "n2", 5, "r", "ok", 1, "", 17),
    ForwardReply("n1.1.5", "n1", "n2", 5, "r", "fail", 1, "", 17),
    ReadIndexRequest("n1.1.6", "n1", "n2", 5, "r"),
    ReadIndexReply("n1.1.7", "n1", "n2", 5, "r", True, 17),
    RequestVote("n1.1.8", "n1", "n2", 5, 16, 4, False),
    VoteReply("n1.1.9", "n1", "n2", 5, True),
    PreVote("n1.1.10", "n1", "n2", 6, 16, 4),
    PreVoteReply("n1.1.11", "n1", "n2", 6, True),
    TimeoutNow("n1.1.12", "n1", "n2", 5),
    InstallSnapshot("n1.1.13", "n1", "n2", 5, 16, 4, '{"values":{},"payload":1}', 3),
    SnapshotReply("n1.1.14", "n1", "n2", 5, 16, 3),
]


def event(name: str, state: State = FIRST, **more: Any) -> Traced:
    return name, state, more.get("msg"), more.get("e"), more.get("h"), more.get("x")


def written(path: Any, events: list[Traced], *, at_once: int = 2) -> list[dict[str, Any]]:
    """Write events through the writer, so many at a time, and read the lines back."""
    writer = TraceWriter(path, "n1", 3)
    for start in range(0, len(events), at_once):
        writer.write(events[start : start + at_once])
    writer.write([])
    writer.close()
    return [json.loads(line) for line in path.read_text().splitlines()]


def told(events: list[Traced]) -> list[dict[str, Any]]:
    """Return what the lines must say."""
    befores = [None, *(item[1] for item in events)]
    lines = [as_line(item, before) for item, before in zip(events, befores, strict=False)]
    return json.loads(json.dumps(lines))


def bodies(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in HEADS} for line in lines]


def test_every_event_is_a_line_of_its_own(tmp_path):
    entries = (Entry(1, 1, "cmd", "[]", ODD, 7), Entry(2, 1, "noop"))
    events = [
        event("recover", x={"term": 1, "vote": None, "last": Position(0, 0)}),
        event("anything", x={"key": [None, {"a": ',"",{'}, "\n", "}\n{"], "f": ODD, "yes": True, "n": 1}),
        event("client_submit", x={"rid": "n1.3.1", "cid": ODD, "seq": 7, "f": ODD, "key": [None, ODD, True]}),
        event("client_submit", x={"rid": "n1.3.2", "cid": "c", "seq": 8, "f": "get", "key": 7}),
        event("client_submit", x={"rid": "n1.3.3", "cid": "c", "seq": 9, "f": "cas", "key": 7, "value": [1, ODD]}),
        event("client_reply", x={"rid": "n1.3.1", "outcome": "info", "index": 0}),
        event("read_index", x={"rid": "n1.3.2", "origin": None, "index": 4, "round": 9}),
        event("read_index", x={"rid": "n1.3.2", "origin": "n2", "index": 4, "lease": True}),
        event("read_served", x={"rid": "n1.3.2", "index": 4, "key": {"a": ODD}, "applied": 5}),
        event("append", FIRST._replace(last=Position(2, 1)), e=entries, x={"prev": Position(0, 0)}),
        event("apply", FIRST._replace(last=Position(2, 1), applied=1, commit=2), e=entries[:1], h="ab"),
        event("apply", FIRST._replace(last=Position(2, 1), applied=2, commit=2), e=entries[1:], h="cd"),
        event("apply", e=entries, h="cd", x={"hashes": ["ab", "cd"]}),
    ]
    lines = written(tmp_path / "logs" / "trace.jsonl", events)
    assert bodies(lines) == told(events)
    assert [tuple(line[key] for key in HEADS[:4]) for line in lines] == [(1, "n1", 3, n) for n in range(1, 14)]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_is_spelt_out_as_json_has_it(message: Message, tmp_path):
    events = [event("recover"), event("send", msg=message)]
    assert bodies(written(tmp_path / "trace.jsonl", events)) == told(events)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_over_the_wire_whole_and_its_head_is_what_traces_show(message: Message):
    text = f"{wire.head(message)}{wire.payload(message)}}}"
    assert wire.decode(json.loads(text)) == message
    assert json.loads(wire.head(message) + "}") == json.loads(json.dumps(describe(message)))
    assert wire.head_of(text) == wire.head(message)


@pytest.mark.parametrize(
    "frame",
    [{"type": "AE"}, {"type": "??"}, {"type": []}, {"type": "RV", "id": "1", "from": "a", "to": "b", "term": 1}],
)
def test_what_is_no_message_is_refused(frame: dict[str, Any]):
    with pytest.raises(ValueError, match="no message"):
        wire.decode(frame)


def test_a_head_known_from_the_wire_is_written_as_it_came_and_forgotten(tmp_path):
    writer = TraceWriter(tmp_path / "trace.jsonl", "n1", 3)
    message = TimeoutNow("n1.1.12", "n1", "n2", 5)
    writer.heads[message.id] = wire.head_of('{"type":"TN",\n"id":"as it came"}')
    writer.write([event("recv", msg=message)])
    writer.write([event("recv", msg=message)])
    writer.close()
    came, spelt = (json.loads(line)["msg"] for line in (tmp_path / "trace.jsonl").read_text().splitlines())
    assert came == {"type": "TN", "id": "as it came"}
    assert spelt == describe(message)


@pytest.mark.parametrize(
    "change",
    [
        {"term": 2}, {"vote": "n2"}, {"role": "L"}, {"commit": 3}, {"applied": 4}, {"last": Position(5, 1)},
        {"base": Position(2, 1)}, {"dur": (4, 1)}, {"dur": (4, None)}, {"voters": ("n1",)}, {"learners": ("n3",)},
        {"commit": 3, "applied": 3, "last": Position(9, 1), "dur": (8, 1)}, {},
    ],
)  # fmt: skip
def test_every_change_of_state_is_told(change: dict[str, Any], tmp_path):
    events = [event("recover"), event("send", FIRST._replace(**change)), event("send", FIRST), event("send", FIRST)]
    assert bodies(written(tmp_path / "trace.jsonl", events)) == told(events)
    state: dict[str, Any] = {}
    for line in told(events)[:2]:
        state.update(line.get("st", {}))
    for name, value in change.items():
        key = {"voters": "cfg"}.get(name, name)
        assert state[key] == (list(value) if isinstance(value, tuple) else value)


def test_a_snapshot_in_a_message_is_named_not_told(tmp_path):
    sent = InstallSnapshot("n1.1.1", "n1", "n2", 5, 16, 4, '{"values":{}}', 3)
    answered = SnapshotReply("n2.1.1", "n2", "n1", 5, 16, 3)
    events = [event("recover"), event("send", msg=sent), event("recv", msg=answered)]
    lines = bodies(written(tmp_path / "trace.jsonl", events))
    assert lines == told(events)
    assert "values" not in json.dumps(lines)


def test_a_later_boot_appends(tmp_path):
    path = tmp_path / "trace.jsonl"
    for boot in (1, 2):
        writer = TraceWriter(path, "n1", boot)
        writer.write([event("recover")])
        writer.close()
    assert [json.loads(line)["inc"] for line in path.read_text().splitlines()] == [1, 2]


def test_state_is_whole_first_and_then_only_what_changed(bench):
    b = bench("n1", "n2", "n3")
    first = b.events["n1"][0]
    assert set(first["st"]) == {
        "term", "vote", "role", "commit", "applied", "last", "base", "dur", "cfg", "learners",
    }  # fmt: skip
    b.elect("n1")
    state = {}
    for event in b.events["n1"]:
        state.update(event.get("st", {}))
    core = b.cores["n1"]
    assert state["term"] == core.term
    assert state["role"] == "L"
    assert tuple(state["last"]) == core.log.last
    assert tuple(state["dur"]) == core.log.last
    assert state["commit"] == core.commit_index


def test_the_state_told_is_the_state_left_also_where_a_tail_was_overwritten():
    core = Core("n1", Configuration(("n1", "n2", "n3")), Settings(), Recovered(), rng=random.Random(7))
    effects = core.start(0)
    old = (Entry(1, 1, "noop"), Entry(2, 1, "noop"))
    new = (Entry(1, 2, "noop"), Entry(2, 2, "noop"))
    steps = [
        MessageReceived(AppendEntries("n2.1.1", "n2", "n1", 1, 0, 0, old, 0, 0)), Persisted(2),
        MessageReceived(AppendEntries("n3.1.1", "n3", "n1", 2, 0, 0, new, 2, 0)), Persisted(5),
    ]  # fmt: skip
    seen: list[State] = []
    for number, step in enumerate(steps):
        effects = core.step(step, number)
        state = effects.trace[-1][1]
        seen.append(state)
        log, members = core.log, core.configuration
        assert state == (
            core.term, core.vote, core.role, core.commit_index, core.applied_index, log.last, log.base,
            (core.durable_index, log.term_at(core.durable_index)), members.voters, members.learners,
        )  # fmt: skip
    assert [state.last for state in seen] == [(2, 1), (2, 1), (2, 2), (2, 2)]
    assert (seen[1].dur, seen[3].dur, seen[3].commit) == ((2, 1), (2, 2), 2)


def test_a_killed_writer_leaves_whole_lines_and_the_next_boot_cuts_off_the_rest(tmp_path):
    path = tmp_path / "trace.jsonl"
    writer = TraceWriter(path, "n1", 1)
    writer.write([event("recover"), event("become_follower")])
    left = path.read_bytes()  # nobody closes it: this is what SIGKILL leaves
    assert left.rstrip(b"\0").count(b"\n") == 2
    assert left.endswith(b"\0")
    assert [item.ev for item in parse_trace(path.open("rb"))] == ["recover", "become_follower"]
    path.write_bytes(left.rstrip(b"\0") + b'{"v":1,"node":"n1","inc":1,"lc":3,"mo' + bytes(100_000))
    writer = TraceWriter(path, "n1", 2)
    writer.write([event("recover")])
    writer.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["inc"], line["ev"]) for line in lines] == [(1, "recover"), (1, "become_follower"), (2, "recover")]


def test_a_trace_longer_than_its_mapping_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(trace, "MAPPED_BYTES", 4096)
    padded = (event("send", FIRST._replace(commit=n), x={"pad": "p" * (n % 300)}) for n in range(500))
    events = [event("recover"), *padded]
    events.append(event("send", x={"pad": "q" * 20_000}))
    assert bodies(written(tmp_path / "trace.jsonl", events, at_once=7)) == told(events)


def test_entries_applied_in_one_go_are_one_line_and_several_events(bench):
    b = bench("n1", "n2", "n3")
    b.elect("n1")
    for number in range(3):
        b.ask("n1", "append", "x", [number])
    b.settle()
    b.pass_time(60)
    b.settle()
    for name in b.names:
        indices = [entry["i"] for line in b.events[name] if line["ev"] == "apply" for entry in line["e"]]
        assert indices == list(range(1, b.cores[name].applied_index + 1))
    lines = [line for name in b.names for line in b.events[name] if line["ev"] == "apply" and len(line["e"]) > 1]
    assert lines
    for line in lines:
        assert len(line["x"]["hashes"]) == len(line["e"])
        assert line["x"]["hashes"][-1] == line["h"]
    many = {"node": "n1", "inc": 1, "lc": 4, "ev": "apply", "st": {"applied": 7, "commit": 9}, "h": "bb",
            "e": [{"i": 6, "t": 1}, {"i": 7, "t": 1}], "x": {"hashes": ["aa", "bb"]}}  # fmt: skip
    told_apart = list(parse_trace([many]))
    assert [(item.state.applied, item.state.commit, item.h, item.e[0]["i"]) for item in told_apart] == [
        (6, 9, "aa", 6), (7, 9, "bb", 7),
    ]  # fmt: skip
