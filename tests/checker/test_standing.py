"""A node is called leader or follower of a term only where its own events, or words, prove it."""

from __future__ import annotations

from typing import Any

from capsize.checker.standing import MARGIN_NS, Standings
from capsize.checker.trace import NodeState, TraceEvent
from capsize.op import Operation

MS = 1_000_000
BASE = 10**12


def event(node: str, ms: int, role: str | None, term: int, inc: int = 1) -> TraceEvent:
    return TraceEvent(node, inc, ms, "commit", NodeState(term=term, role=role), {}, (), None, {}, BASE + ms * MS, 0)


def read(call: int, ret: int, node: str = "n1", **meta: Any) -> Operation:
    return Operation(7, "read", 3, None, call * MS, ret * MS, "ok", 17, call, ret, node=node, meta=meta)


def traced(*events: TraceEvent) -> Standings:
    return Standings.of((), events, (BASE, 0))


def said(*told: tuple[int, str, int]) -> Standings:
    lines = [
        {"f": "status", "time_ns": ms * MS, "value": {"node": "n1", "role": role, "term": term}}
        for ms, role, term in told
    ]
    return Standings.of(lines, (), None)


def test_a_node_that_was_the_same_before_and_after_is_named_with_its_role_and_term() -> None:
    standings = traced(
        event("n1", 10, "L", 5), event("n1", 200, "L", 5), event("n2", 10, "L", 6), event("n2", 300, "L", 6)
    )
    told = standings.sentences([(read(50, 60, served_by="n1"), "#9")])
    assert told == ["By their own events, n1, leader of term 5, answered #9 while n2 was leader of term 6."]
    assert standings.sentences([(read(50, 60, node="n2"), "#9")]) == [
        "By their own events, n2, leader of term 6, was asked for #9."
    ]


def test_nothing_is_said_of_a_node_that_changed_meanwhile_or_was_started_anew_or_fell_silent() -> None:
    asked = [(read(50, 60), "#9")]
    for after in (event("n1", 61, "F", 5), event("n1", 61, "L", 6), event("n1", 61, "L", 5, inc=2)):
        assert (
            traced(
                event("n1", 10, "L", 5), after, event("n1", 200, after.state.role, after.state.term, after.inc)
            ).sentences(asked)
            == []
        )
    assert traced(event("n1", 10, "L", 5)).sentences(asked) == [], "nothing of its own says that it was so until then"
    assert traced(event("n1", 52, "L", 5), event("n1", 200, "L", 5)).sentences(asked) == []
    assert traced(event("n1", 10, None, 0), event("n1", 200, None, 0)).sentences(asked) == []


def test_a_change_right_beside_the_operation_leaves_open_what_the_node_was() -> None:
    standings = traced(event("n1", 10, "F", 5), event("n1", 100, "L", 6), event("n1", 200, "L", 6))
    margin = MARGIN_NS // MS
    assert standings.during("n1", 50 * MS, (100 - margin) * MS) == ("F", 5)
    assert standings.during("n1", 50 * MS, (101 - margin) * MS) is None
    assert standings.during("n1", (100 + margin) * MS, 120 * MS) == ("L", 6)
    assert standings.during("n1", (99 + margin) * MS, 120 * MS) is None


def test_clocks_that_are_placed_roughly_prove_less() -> None:
    events = [event("n1", 10, "L", 5), event("n1", 100, "L", 5)]
    assert Standings.of((), events, (BASE, 20 * MS)).during("n1", 40 * MS, 60 * MS) == ("L", 5)
    assert Standings.of((), events, (BASE, 50 * MS)).during("n1", 40 * MS, 60 * MS) is None
    assert Standings.of((), events, None).during("n1", 40 * MS, 60 * MS) is None


def test_what_a_polled_node_said_is_told_as_its_word_and_with_its_age() -> None:
    asked = [(read(500, 510), "#9")]
    assert said((100, "follower", 3), (200, "leader", 4), (900, "follower", 5)).sentences(asked) == [
        "n1 had said 0.300 s before #9 was called that it was leader of term 4."
    ]
    assert said((200, "leader", 4), (505, "follower", 5)).sentences(asked) == [], "it said another meanwhile"
    assert said((900, "leader", 4)).sentences(asked) == []
