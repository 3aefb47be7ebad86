"""The trace: one whole JSON object a line, whatever clients put into it; spelt out by hand as JSON would have it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from capsize.checker.trace import events_of, parse_trace
from capsize.raft import trace_lines, wire
from capsize.raft.configuration import Configuration
from capsize.raft.core import Core
from capsize.raft.events import MessageReceived, Persisted, Recovered
from capsize.raft.log import Entry, Log, Position
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
from capsize.raft.trace import Tracer, state_changes, state_of
from capsize.raft.trace_lines import LineTracer

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


class Stub:
    """What traces see of a server."""

    def __init__(self) -> None:
        self.term, self.vote, self.role = 1, None, "F"
        self.commit_index = self.applied_index = self.durable_index = 0
        self.log = Log()
        self.configurations = SimpleNamespace(current=Configuration(("n1", "n2")))

    @property
    def configuration(self) -> Configuration:
        return self.configurations.current


class Tee:
    """Tells several tracers the same."""

    def __init__(self, *tracers: Tracer) -> None:
        self.tracers = tracers

    def __getattr__(self, name: str) -> Callable[..., None]:
        def tell(*args: Any) -> None:
            for tracer in self.tracers:
                getattr(tracer, name)(*args)

        return tell


class Both:
    """One server, of which a file of lines and plain dictionaries are told the same."""

    def __init__(self, path: Path, bench: Any) -> None:
        self.path = path
        self.server: Any = Stub()
        self.plain: list[dict[str, Any]] = []
        self.lines = LineTracer(path, "n1", 3)
        self.tracer: Any = Tee(self.lines, bench.noting(self.plain))
        self.tracer.attach(self.server)

    def read(self) -> list[dict[str, Any]]:
        """Return the events of the file."""
        self.lines.write()
        self.lines.close()
        return read(self.path)

    def agree(self) -> None:
        assert bodies(self.read()) == as_json(self.plain)


@pytest.fixture
def both(tmp_path, bench) -> Both:
    return Both(tmp_path / "logs" / "trace.jsonl", bench)


def read(path: Path) -> list[dict[str, Any]]:
    return [dict(event) for line in path.read_text().splitlines() for event in events_of(json.loads(line))]


def as_json(plain: Any) -> Any:
    return json.loads(json.dumps(plain))


def bodies(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in HEADS} for line in lines]


def test_every_event_is_told_as_json_has_it(both):
    first, second = Entry(1, 1, "cmd", "[]", ODD, 7), Entry(2, 1, "noop")
    tell = both.tracer
    tell.note("recover", None, None, "ab", {"term": 1, "vote": None, "last": Position(0, 0)})
    tell.note("anything", None, None, None, {"key": [None, {"a": ',"",{'}, "}\n{"], "f": ODD, "yes": True, "n": 1})
    tell.submitted("n1.3.1", ODD, 7, ODD, [None, ODD, True], None)
    tell.submitted("n1.3.2", "c", 8, "get", 7, None)
    tell.submitted("n1.3.3", "c", 9, "cas", 7, [1, ODD])
    tell.submitted("n1.3.4", "c", 10, "put", ODD, 12)
    tell.submitted("n1.3.5", "c", 11, "put", True, False)
    tell.submitted("n1.3.6", "c", 12, "put", 1.5, "long" * 100)
    tell.replied("n1.3.1", "info", 0)
    tell.read_indexed("n1.3.2", None, 4, 9)
    tell.read_indexed("n1.3.2", "n2", 4, 0)
    tell.read_served("n1.3.2", 4, {"a": ODD}, 5)
    tell.read_served("n1.3.2", 4, 7, 5)
    both.server.log.append([first, second])
    tell.appended([first, second], Position(0, 0))
    both.server.applied_index, both.server.commit_index = 1, 2
    tell.applied(first, "ab")
    tell.note("become_follower")
    tell.applied(first, "cd")
    tell.applied(second, "ef")
    tell.all_applied()
    tell.all_applied()
    tell.note("stop")
    lines = both.read()
    assert bodies(lines) == as_json(both.plain)
    assert [line["ev"] for line in lines][-4:] == ["apply", "become_follower", "apply", "stop"]
    assert [tuple(line[key] for key in HEADS[:4]) for line in lines] == [
        (1, "n1", 3, n) for n in range(1, len(lines) + 1)
    ]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_is_spelt_out_as_json_has_it(message: Message, both):
    both.tracer.note("recover")
    both.tracer.sent(message)
    both.tracer.received(message)
    both.agree()


def test_what_one_turn_brought_is_one_line_and_its_events_are_numbered_on(both):
    for events in (3, 1, 2):
        for _ in range(events):
            both.tracer.note("commit")
        both.lines.write()
    both.lines.write()
    lines = [json.loads(line) for line in both.path.read_text().rstrip("\0").splitlines()]
    assert [(line["lc"], len(line["evs"])) for line in lines] == [(1, 3), (4, 1), (5, 2)]
    assert [event["lc"] for event in both.read()] == [1, 2, 3, 4, 5, 6]


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


def test_a_message_is_shown_as_it_came_and_the_next_one_is_not(both):
    message = TimeoutNow("n1.1.12", "n1", "n2", 5)
    both.lines.came = '{"type":"TN",\n"id":"as it came","payload":[1]}'
    both.lines.received(message)
    both.lines.received(message)
    came, spelt = (event["msg"] for event in both.read())
    assert came == {"type": "TN", "id": "as it came"}
    assert spelt == describe(message)


def test_the_heads_of_what_was_sent_are_kept_in_their_order(both):
    for message in MESSAGES:
        both.tracer.sent(message)
        both.lines.write()
    assert both.lines.heads == [wire.head(message) for message in MESSAGES]


@pytest.mark.parametrize(
    "change",
    [
        {"term": 2}, {"vote": "n2"}, {"role": "L"}, {"commit_index": 3}, {"applied_index": 4},
        {"log": Log([Entry(1, 1, "noop")])}, {"log": Log([], Position(2, 1))}, {"durable_index": 1},
        {"log": Log([Entry(1, 1, "noop")]), "durable_index": 1},
        {"configurations": SimpleNamespace(current=Configuration(("n1",)))},
        {"configurations": SimpleNamespace(current=Configuration(("n1", "n2"), ("n3",)))},
        {"commit_index": 3, "applied_index": 3, "log": Log([Entry(1, 7, "noop")]), "durable_index": 1}, {},
    ],
)  # fmt: skip
def test_every_change_of_state_is_told(change: dict[str, Any], both):
    tell = both.tracer.note
    tell("recover")
    before = vars(both.server).copy()
    for version, values in enumerate((change, before, before), 1):
        vars(both.server).update(values)
        both.server.log.version = version  # a log that changed has another one
        tell("commit")
    both.agree()
    after = {name: value for event in both.plain[:2] for name, value in event.get("st", {}).items()}
    vars(both.server).update(change)
    assert after == as_json(state_changes(None, state_of(both.server)))


def test_what_is_remembered_of_entries_has_a_bound(both, monkeypatch):
    monkeypatch.setattr(trace_lines, "REMEMBERED_MAX", 8)
    entries = [Entry(index, 1, "cmd", "[]", "c", index) for index in range(1, 100)]
    both.tracer.appended(entries[:50], Position(0, 0))
    for entry in entries:  # the later ones were in the log when the server booted
        both.tracer.applied(entry, "ab")
    both.tracer.all_applied()
    assert len(both.lines._entries) <= 8
    both.agree()


def test_a_snapshot_in_a_message_is_named_not_told(both):
    both.tracer.sent(InstallSnapshot("n1.1.1", "n1", "n2", 5, 16, 4, '{"values":{}}', 3))
    both.lines.came = '{"type":"IS","id":"n1.1.1","payload":"{\\"values\\":{}}"}'
    both.lines.received(InstallSnapshot("n1.1.1", "n1", "n2", 5, 16, 4, '{"values":{}}', 3))
    assert "values" not in json.dumps(both.read())


def test_a_later_boot_appends(tmp_path):
    path = tmp_path / "trace.jsonl"
    for boot in (1, 2):
        of(path, boot, "recover").close()
    assert [event["inc"] for event in read(path)] == [1, 2]


def of(path: Path, boot: int, *events: str) -> LineTracer:
    """Return a tracer that has written these events, on one line."""
    tracer = LineTracer(path, "n1", boot)
    tracer.attach(Stub())  # type: ignore[arg-type]
    for event in events:
        tracer.note(event)
    tracer.write()
    return tracer


def test_lines_tell_of_a_whole_life_what_plain_dictionaries_tell(tmp_path, bench):
    """Elections, an overwritten tail, snapshots taken and installed, restarts: both tracers on real cores."""
    lines: dict[str, LineTracer] = {}

    def tee(name: str, inc: int, plain: Tracer) -> Any:
        if name in lines:
            lines[name].write()
            lines[name].close()
        lines[name] = LineTracer(tmp_path / name, name, inc)
        return Tee(plain, lines[name])

    b = bench("n1", "n2", "n3", tracer=tee, settings=replace(bench.plain, snapshot_every=6))
    b.elect("n1")
    for number in range(3):
        b.ask("n1", "append", "x", [number])
    b.settle("n1", "n2")
    for number in range(3):
        b.ask("n1", "put", "y", number)  # nobody hears of them
    b.settle("n1")
    b.elect("n2", "n3")
    b.pass_time(200)
    for number in range(9):
        b.ask("n2", "put", "z", number)
        b.settle("n2", "n3")
    b.ask("n3", "get", "z", None)
    b.pass_time(200)
    b.boot("n1")
    b.pass_time(2000)
    for tracer in lines.values():
        tracer.write()
        tracer.close()
    told = {event["ev"] for name in b.names for event in b.events[name]}
    assert {"truncate", "snapshot_taken", "apply", "persist", "read_served", "term_changed"} <= told
    for name in b.names:
        assert bodies(read(tmp_path / name)) == as_json(b.events[name])


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


def test_the_state_told_is_the_state_left_also_where_a_tail_was_overwritten(both):
    members, rng = Configuration(("n1", "n2", "n3")), random.Random(7)
    core = Core("n1", members, Settings(), Recovered(), rng=rng)
    core.start(0, both.tracer)
    old = (Entry(1, 1, "noop"), Entry(2, 1, "noop"))
    new = (Entry(1, 2, "noop"), Entry(2, 2, "noop"))
    steps = [
        MessageReceived(AppendEntries("n2.1.1", "n2", "n1", 1, 0, 0, old, 0, 0)), Persisted(2),
        MessageReceived(AppendEntries("n3.1.1", "n3", "n1", 2, 0, 0, new, 2, 0)), Persisted(5),
    ]  # fmt: skip
    state: dict[str, Any] = {}
    seen: list[dict[str, Any]] = []
    told = 0
    for number, step in enumerate(steps):
        core.step(step, number)
        for event in both.plain[told:]:
            state.update(event.get("st", {}))
        told = len(both.plain)
        seen.append(state.copy())
        assert state == as_json(state_changes(None, state_of(core)))
    assert [state["last"] for state in seen] == [[2, 1], [2, 1], [2, 2], [2, 2]]
    assert (seen[1]["dur"], seen[3]["dur"], seen[3]["commit"]) == ([2, 1], [2, 2], 2)
    both.agree()


def test_a_killed_writer_leaves_whole_lines_and_the_next_boot_cuts_off_the_rest(tmp_path):
    path = tmp_path / "trace.jsonl"
    tracer = of(path, 1, "recover", "become_follower")
    left = path.read_bytes()  # nobody closes it: this is what SIGKILL leaves
    assert left.rstrip(b"\0").count(b"\n") == 1
    assert left.endswith(b"\0")
    assert [item.ev for item in parse_trace(path.open("rb"))] == ["recover", "become_follower"]
    tracer.close()
    path.write_bytes(left.rstrip(b"\0") + b'{"v":1,"node":"n1","inc":1,"mono":3,"wall":3,"lc":3,"ev' + bytes(100_000))
    of(path, 2, "recover").close()
    assert [(event["inc"], event["ev"]) for event in read(path)] == [
        (1, "recover"), (1, "become_follower"), (2, "recover"),
    ]  # fmt: skip


@pytest.mark.parametrize("advice", [trace_lines.MADV_POPULATE_WRITE, 9_999])
def test_a_trace_longer_than_its_mapping_is_whole_whether_or_not_pages_can_be_fetched(both, monkeypatch, advice):
    monkeypatch.setattr(trace_lines, "MAPPED_BYTES", 4096)
    monkeypatch.setattr(trace_lines, "MADV_POPULATE_WRITE", advice)
    for number in range(500):
        both.server.commit_index = number
        both.tracer.note("commit", None, None, None, {"pad": "p" * (number % 300)})
        if number % 7 == 0:
            both.lines.write()
    both.tracer.note("commit", None, None, None, {"pad": "q" * 20_000})
    both.agree()


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
