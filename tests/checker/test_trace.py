"""Trace files: deltas carried forward, cut files, and an order that needs no clock."""

from __future__ import annotations

import json
from typing import Any

import pytest

from capsize.checker.trace import Entry, TraceEvent, causal_order, parse_trace
from capsize.errors import HistoryError

FIRST = {"v": 1, "node": "n1", "inc": 1, "lc": 1, "ev": "recover", "st": {"term": 3, "vote": None, "last": [4, 2]}}


def line(**fields: Any) -> str:
    return json.dumps({"v": 1, "node": "n1", "inc": 1, "lc": 2, "ev": "x", **fields}) + "\n"


def test_state_that_did_not_change_is_carried_forward() -> None:
    _, event = parse_trace([json.dumps(FIRST) + "\n", line(st={"term": 4, "vote": "n2"})])
    assert (event.state.term, event.state.vote, event.state.last) == (4, "n2", (4, 2))


def test_an_event_without_changes_shares_its_predecessors_state() -> None:
    first, second = parse_trace([json.dumps(FIRST) + "\n", line()])
    assert first.state is second.state


def test_a_new_incarnation_begins_with_nothing_carried_over() -> None:
    _, event = parse_trace([json.dumps(FIRST) + "\n", line(inc=2, st={"term": 3})])
    assert event.state.last is None


def test_keys_of_a_later_version_are_left_aside() -> None:
    (event,) = parse_trace([line(st={"term": 3, "mood": "calm"})])
    assert event.state.term == 3


def test_entries_come_with_their_request() -> None:
    (event,) = parse_trace([line(e=[{"i": 7, "t": 3, "h": "ab", "k": "cmd", "cid": "c1", "seq": 2}])])
    assert event.entries() == [Entry(7, 3, "ab", "cmd", "c1", 2)]


def test_a_last_line_cut_by_the_nodes_death_is_left_out() -> None:
    assert len(list(parse_trace([json.dumps(FIRST) + "\n", '{"v":1,"node":"n1","in']))) == 1


def test_a_broken_line_in_the_middle_is_an_error_with_its_place() -> None:
    with pytest.raises(HistoryError, match=r"n1/trace.jsonl:2: no trace event"):
        list(parse_trace([json.dumps(FIRST) + "\n", "[]\n", line()], name="n1/trace.jsonl"))


def test_several_events_of_a_line_are_numbered_on_and_share_what_stands_beside_them() -> None:
    events = [{"ev": "recv", "st": {"term": 9}}, {"ev": "apply", "e": [{"i": 1, "t": 9}], "h": "ab"}, {"ev": "send"}]
    told = list(parse_trace([json.dumps(FIRST), line(lc=4, mono=7, evs=events)]))
    assert [(item.lc, item.ev, item.state.term) for item in told] == [
        (1, "recover", 3), (4, "recv", 9), (5, "apply", 9), (6, "send", 9),
    ]  # fmt: skip
    assert {item.mono for item in told[1:]} == {7}


@pytest.mark.parametrize("inside", [7, "abc", [7], [["ev"]], {"ev": "send"}, [{"no": "event"}]])
def test_what_are_no_events_is_an_error_with_its_place(inside: Any) -> None:
    with pytest.raises(HistoryError, match=r"trace:2: no trace event"):
        list(parse_trace([json.dumps(FIRST), json.dumps({"node": "n1", "inc": 1, "evs": inside}) + "\n"]))


def test_an_event_survives_the_way_to_json_and_back() -> None:
    (event,) = parse_trace([json.dumps(FIRST) + "\n"])
    (again,) = parse_trace([event.to_json()])
    assert again == event


def event(node: str, lc: int, ev: str, message: str = "", mono: int = 0) -> TraceEvent:
    (built,) = parse_trace(
        [{"node": node, "inc": 1, "lc": lc, "ev": ev, "mono": mono, "msg": {"id": message} if message else {}}]
    )
    return built


def test_a_message_is_sent_before_it_is_received_whatever_the_clocks_say() -> None:
    receiver = [event("n1", 1, "recv", "a", mono=1), event("n1", 2, "commit", mono=2)]
    sender = [event("n2", 1, "send", "a", mono=900)]
    assert [str(item) for item in causal_order([receiver, sender])] == [
        "n2 (1.1) send",
        "n1 (1.1) recv",
        "n1 (1.2) commit",
    ]


def test_concurrent_events_come_as_their_clocks_hint() -> None:
    assert [item.node for item in causal_order([[event("n1", 1, "x", mono=5)], [event("n2", 1, "x", mono=3)]])] == [
        "n2",
        "n1",
    ]


def test_a_receipt_whose_sending_was_not_recorded_waits_for_nothing() -> None:
    assert len(causal_order([[event("n1", 1, "recv", "lost")]])) == 1


def test_a_message_delivered_twice_is_received_twice() -> None:
    receiver = [event("n1", 1, "recv", "a"), event("n1", 2, "recv", "a")]
    assert len(causal_order([receiver, [event("n2", 1, "send", "a", mono=9)]])) == 3


def test_traces_that_contradict_each_other_are_ordered_all_the_same() -> None:
    one = [event("n1", 1, "recv", "b"), event("n1", 2, "send", "a")]
    other = [event("n2", 1, "recv", "a"), event("n2", 2, "send", "b")]
    assert len(causal_order([one, other])) == 4
