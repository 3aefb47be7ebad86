"""§8, thesis §6.3: deterministic commands, sessions, and a hash that shows what two servers hold."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsize.raft.log import COMMAND, Entry
from capsize.raft.state_machine import Result, StateMachine


def command(index, f, key, value=None, *, client="", seq=0):
    return Entry(index, 1, COMMAND, json.dumps([f, key, value]), client, seq)


def run(*steps):
    machine = StateMachine()
    return machine, [machine.apply(command(n, *step)) for n, step in enumerate(steps, 1)]


def test_cas_compares_and_says_so():
    machine, results = run(("put", "x", 1), ("cas", "x", [1, 2]), ("cas", "x", [1, 3]), ("cas", "y", [None, 5]))
    assert [result.value for result in results] == [None, True, False, True]
    assert (machine.read("x"), machine.read("y")) == (2, 5)


def test_cas_does_not_take_true_for_one():
    machine, results = run(("put", "x", 1), ("cas", "x", [True, 2]))
    assert results[1].value is False
    assert machine.read("x") == 1


def test_delete_and_put_of_none_leave_nothing():
    machine, _ = run(("put", "x", 1), ("delete", "x"), ("put", "y", 1), ("put", "y", None))
    assert machine.values == {}
    assert machine.state_hash == StateMachine().state_hash


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ([("append", "l", [1]), ("append", "l", [2])], [1, 2]),
        ([("append", "l", "a"), ("append", "l", "b")], "ab"),
        ([("append", "l", [1]), ("append", "l", 2)], [1, 2]),
    ],
)
def test_append_joins(steps, left):
    machine, _ = run(*steps)
    assert machine.read("l") == left


def test_a_command_that_cannot_be_carried_out_changes_nothing():
    machine, results = run(("put", "x", "word"), ("incr", "x", 1), ("append", "x", [1]), ("cas", "x", 3))
    assert [result.outcome for result in results] == ["ok", "fail", "fail", "fail"]
    assert machine.read("x") == "word"


def test_keys_of_different_kinds_are_different_keys():
    machine, _ = run(("put", 1, "number"), ("put", "1", "text"))
    assert (machine.read(1), machine.read("1")) == ("number", "text")


def test_the_session_used_longest_ago_goes_first():
    machine = StateMachine(sessions_max=2)
    for index, client in enumerate(["a", "b", "a", "c"], 1):
        machine.apply(command(index, "incr", "n", 1, client=client, seq=index))
    assert list(machine.sessions) == ["a", "c"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "delete", "append", "incr", "cas"]),
        st.sampled_from(["x", "y", 1]),
        st.one_of(st.none(), st.integers(-3, 3), st.lists(st.integers(0, 2), max_size=2)),
        st.sampled_from(["", "c1", "c2"]),
        st.integers(1, 4),
    ),
    max_size=30,
)


@given(STEPS)
def test_the_hash_depends_on_the_contents_only_not_on_how_they_came(steps):
    """The incremental hash equals that of a machine which loaded the same contents from a snapshot."""
    machine = StateMachine()
    for index, (f, key, value, client, seq) in enumerate(steps, 1):
        machine.apply(command(index, f, key, value, client=client, seq=seq))
    copy = StateMachine()
    copy.load(json.loads(json.dumps(machine.dump())))
    assert copy.state_hash == machine.state_hash
    assert copy.values == machine.values
    assert list(copy.sessions) == list(machine.sessions)


def test_a_lost_session_shows_in_the_hash():
    one, other = StateMachine(), StateMachine()
    one.apply(command(1, "put", "x", 1, client="c", seq=1))
    other.apply(command(1, "put", "x", 1))
    assert one.values == other.values
    assert one.state_hash != other.state_hash


def test_results_survive_a_snapshot():
    machine = StateMachine()
    machine.apply(command(1, "incr", "n", 7, client="c", seq=1))
    copy = StateMachine()
    copy.load(json.loads(json.dumps(machine.dump())))
    assert copy.apply(command(2, "incr", "n", 7, client="c", seq=1)) == Result("ok", 7)
