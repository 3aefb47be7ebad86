"""Clocks of several hosts, put on one by what went between them."""

from __future__ import annotations

from collections.abc import Mapping

import hypothesis.strategies as st
from hypothesis import given

from capsize.checker.clocks import Shift, Ways, on_one_clock, ways_of
from capsize.checker.trace import NodeState, TraceEvent

MS = 1_000_000
AHEAD = {"n1": 0, "n2": 10**15, "n3": -(10**14)}


def exchanged(ahead: Mapping[str, int], *messages: tuple[str, str, int, int]) -> list[TraceEvent]:
    """Return the events of messages (from, to, when it left, how long it took), each on its own host's clock."""
    events: list[TraceEvent] = []
    for number, (one, other, at_ns, took_ns) in enumerate(messages):
        for node, ev, when in ((one, "send", at_ns), (other, "recv", at_ns + took_ns)):
            told = {"id": f"m{number}"}
            events.append(TraceEvent(node, 1, number, ev, NodeState(), told, (), None, {}, when + 1 + ahead[node], 0))
    return events


BOTH_WAYS = [("n1", "n2", 0, MS), ("n2", "n1", 5 * MS, MS), ("n2", "n3", 6 * MS, 2 * MS), ("n3", "n2", 9 * MS, 2 * MS)]


def test_hosts_are_placed_by_messages_both_ways_also_through_another_host() -> None:
    shifts = ways_of(exchanged(AHEAD, *BOTH_WAYS)).shifts()
    assert shifts == {"n1": Shift(0, 0), "n2": Shift(-AHEAD["n2"], MS), "n3": Shift(-AHEAD["n3"], 3 * MS)}


def test_a_host_that_was_only_spoken_to_is_not_placed() -> None:
    events = exchanged(AHEAD, ("n1", "n2", 0, MS), ("n1", "n3", 0, MS), ("n3", "n1", 2 * MS, MS))
    shifts = ways_of(events).shifts()
    assert set(shifts) == {"n1", "n3"}
    assert {event.node for event in on_one_clock(events, shifts)} == {"n1", "n3"}


def test_nodes_of_one_host_agree_and_those_of_several_do_not() -> None:
    assert not ways_of(exchanged(dict.fromkeys(AHEAD, 7), *BOTH_WAYS)).disagree
    assert ways_of(exchanged(AHEAD, *BOTH_WAYS)).disagree


def test_a_clock_that_jumped_places_nothing() -> None:
    ways = Ways()
    ways.send("n1", "a", 0)
    ways.recv("n2", "a", MS)
    ways.send("n2", "b", 10**13)  # its host was booted: its clock began again
    ways.recv("n1", "b", 2 * MS)
    assert set(ways.shifts()) == {"n1"}


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(AHEAD)), st.sampled_from(sorted(AHEAD)), st.integers(0, 10**9),
                  st.integers(1, 10**8)), max_size=30,
    ),
    st.lists(st.integers(-(10**15), 10**15), min_size=3, max_size=3),
)  # fmt: skip
def test_no_host_is_further_off_than_is_said(messages: list[tuple[str, str, int, int]], ahead: list[int]) -> None:
    clocks = dict(zip(sorted(AHEAD), ahead, strict=True))
    ways = ways_of(exchanged(clocks, *messages))
    reference = next(iter(ways.nodes), "")
    for node, shift in ways.shifts().items():
        assert abs(shift.ns - (clocks[reference] - clocks[node])) <= shift.slack_ns + 2  # halves are rounded
