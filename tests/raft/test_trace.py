"""The trace: one whole JSON object a line, whatever clients put into it."""

from __future__ import annotations

import json

from capsize.raft.trace import TraceWriter


def test_every_event_is_a_line_of_its_own(tmp_path):
    path = tmp_path / "logs" / "trace.jsonl"
    events = [
        {"ev": "recover", "st": {"term": 1}},
        {"ev": "client_submit", "x": {"key": [None, {"a": ',"",{'}, "\n", "}\n{"]}},
        {"ev": "append", "e": [{"i": 1}, {"i": 2}], "x": {"prev": [0, 0]}},
    ]
    writer = TraceWriter(path, "n1", 3)
    writer.write(events[:1])
    writer.write([])
    writer.write(events[1:])
    writer.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    heads = ("v", "node", "inc", "lc", "mono", "wall")
    assert [{key: value for key, value in line.items() if key not in heads} for line in lines] == events
    assert [tuple(line[key] for key in heads[:4]) for line in lines] == [(1, "n1", 3, n) for n in (1, 2, 3)]


def test_a_later_boot_appends(tmp_path):
    path = tmp_path / "trace.jsonl"
    for boot in (1, 2):
        writer = TraceWriter(path, "n1", boot)
        writer.write([{"ev": "recover"}])
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
