"""Sets, queues and locks are judged as the oracle judges them, and what is wrong has the right name.

Sets and locks exactly; queues exactly when every dequeue was answered, and never wrongly invalid when not.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from capsize.checker.budget import Budget
from capsize.checker.checker import Checker
from capsize.checker.fifo import FifoQueue
from capsize.checker.grow_only import GrowOnlySet
from capsize.checker.models import MODELS
from capsize.checker.mutual_exclusion import MutualExclusion
from capsize.history import History
from capsize.op import Operation, Outcome, Value
from capsize.verdict import Anomaly

from .random_containers import ReadableQueue, legal, random_history, well_formed


def op(process: int, f: str, value: Value, when: str, result: Value = None, outcome: Outcome = "ok") -> Operation:
    """One operation of key 0; `when` is "call-return" in seconds, "call-" for one without an answer."""
    call, _, ret = when.partition("-")
    call_ns, return_ns = int(call) * 10**9, int(ret) * 10**9 if ret else None
    return Operation(process, f, 0, value, call_ns, return_ns, outcome if ret else "info", result)


def found(checker: Checker, *operations: Operation) -> list[Anomaly]:
    verdict = checker.check(History.of(list(operations)), Budget())
    assert verdict.valid is (not verdict.anomalies)
    return list(verdict.anomalies)


CHECKERS = {
    "set": (GrowOnlySet(), MODELS["set"]()),
    "queue": (FifoQueue(), ReadableQueue()),
    "lock": (MutualExclusion(), MODELS["fenced-lock"]()),
}


@pytest.mark.parametrize("infos", [False, True], ids=["all answered", "some unanswered"])
@pytest.mark.parametrize("kind", sorted(CHECKERS))
def test_it_agrees_with_the_oracle(kind: str, infos: bool) -> None:
    checker, model = CHECKERS[kind]
    dice = random.Random(f"{kind} {infos}")
    agreed = {True: 0, False: 0}
    for _ in range(2500):
        history = random_history(kind, dice, infos=infos)
        if not len(history) or not well_formed(history):
            continue
        right, valid = legal(history, model), checker.check(history, Budget()).valid
        unknown_taker = any(op.f == "dequeue" and op.outcome == "info" for op in history)
        if unknown_taker and not right:
            continue  # it may be hidden; that it is never wrongly invalid is what is asked
        assert valid is right, list(history)
        agreed[right] += 1
    assert min(agreed.values()) >= 10, "both kinds must have occurred"


# --- sets -----------------------------------------------------------------------------------------------------------


def test_an_acknowledged_element_that_is_in_no_last_read_is_lost() -> None:
    (anomaly,) = found(GrowOnlySet(), op(0, "add", 1, "0-1"), op(1, "add", 2, "0-1"), op(2, "read", None, "2-3", (2,)))
    assert anomaly.name == "lost-write"
    assert anomaly.because[0] == "the acknowledged element 1 is gone: in no node's last read."
    assert [one.value for one in anomaly.operations] == [1, None]


def test_what_was_read_once_and_is_gone_in_the_end_is_lost_too() -> None:
    add, seen, gone = op(0, "add", 1, "0-1"), op(1, "read", None, "2-3", (1,)), op(2, "read", None, "4-5", ())
    (anomaly,) = found(GrowOnlySet(), add, seen, gone)
    assert anomaly.name == "lost-write"
    assert "p1 (2.000 s to 3.000 s) still holds 1" in anomaly.because[2]


def test_an_element_that_only_one_node_misses_in_the_end_was_read_stale() -> None:
    here, there = (replace(op(p, "read", None, when, seen), node=node) for p, when, seen, node in
                   ((1, "2-3", (1,), "n1"), (2, "4-5", (), "n2")))  # fmt: skip
    assert [one.name for one in found(GrowOnlySet(), op(0, "add", 1, "0-1"), here, there)] == ["stale-read"]


def test_an_element_that_a_later_read_holds_again_was_only_read_stale() -> None:
    add, stale, fresh = op(0, "add", 1, "0-1"), op(1, "read", None, "2-3", ()), op(2, "read", None, "4-5", (1,))
    (anomaly,) = found(GrowOnlySet(), add, stale, fresh)
    assert anomaly.name == "stale-read"


@pytest.mark.parametrize(
    ("name", "operations"),
    [
        ("garbage-read", [op(0, "read", None, "0-1", (7,))]),
        ("dirty-read", [op(0, "add", 7, "0-1", outcome="fail"), op(1, "read", None, "2-3", (7,))]),
        ("future-read", [op(1, "read", None, "0-1", (7,)), op(0, "add", 7, "2-3")]),
        # Two reads at once, each with its own half.
        ("not-linearizable", [op(0, "add", 1, "0-9"), op(1, "add", 2, "0-9"),
                              op(2, "read", None, "1-3", (1,)), op(3, "read", None, "1-3", (2,))]),
        # 1 was acknowledged before 2 was begun; a read that began before both sees only 2.
        ("stale-read", [op(0, "add", 1, "1-2"), op(1, "add", 2, "3-4"), op(2, "read", None, "0-5", (2,)),
                        op(2, "read", None, "6-7", (1, 2))]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_set_has_its_name(name: str, operations: list[Operation]) -> None:
    assert [anomaly.name for anomaly in found(GrowOnlySet(), *operations)] == [name]


def test_an_unanswered_add_may_be_seen_or_not_but_not_unseen() -> None:
    add, yes, no = op(0, "add", 1, "0-"), op(1, "read", None, "2-3", (1,)), op(1, "read", None, "4-5", ())
    assert not found(GrowOnlySet(), add, yes)
    assert not found(GrowOnlySet(), add, no)
    assert [one.name for one in found(GrowOnlySet(), add, yes, no)] == ["stale-read"]


# --- queues ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "operations"),
    [
        ("lost-write", [op(0, "enqueue", 1, "0-1"), op(1, "read", None, "2-3", ())]),
        ("garbage-read", [op(0, "dequeue", None, "0-1", 5)]),
        ("taken-twice", [op(0, "enqueue", 1, "0-1"), op(1, "dequeue", None, "2-3", 1),
                         op(2, "dequeue", None, "4-5", 1)]),
        ("stale-read", [op(0, "enqueue", 1, "0-1"), op(1, "dequeue", None, "2-3", 1),
                        op(1, "read", None, "4-5", (1,))]),
        ("out-of-order", [op(0, "enqueue", 1, "0-1"), op(0, "enqueue", 2, "2-3"), op(1, "dequeue", None, "4-5", 2),
                          op(1, "dequeue", None, "6-7", 1)]),
        ("stale-read", [op(0, "enqueue", 1, "0-1"), op(1, "dequeue", None, "2-3", None),
                        op(1, "read", None, "4-5", (1,))]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_queue_has_its_name(name: str, operations: list[Operation]) -> None:
    assert [anomaly.name for anomaly in found(FifoQueue(), *operations)] == [name]


def test_a_dequeue_without_an_answer_excuses_one_missing_element() -> None:
    one, other = op(0, "enqueue", 1, "0-1"), op(0, "enqueue", 2, "2-3")
    taker, read = op(1, "dequeue", None, "4-"), op(2, "read", None, "6-7", ())
    assert not found(FifoQueue(), one, taker, read)
    (anomaly,) = found(FifoQueue(), one, other, taker, read)
    assert anomaly.name == "lost-write"
    assert "can have taken 1 of them" in anomaly.because[-1]


def test_what_delivers_at_least_once_may_deliver_twice_and_out_of_order_but_loses_nothing() -> None:
    def take(when: str, value: Value) -> Operation:
        return replace(op(1, "dequeue", None, when, value), meta={"delivery": "at-least-once"})

    puts = [op(0, "enqueue", 1, "0-1"), op(0, "enqueue", 2, "2-3"), op(0, "enqueue", 3, "4-5")]
    takes = [take("6-7", 2), take("8-9", 1), take("10-11", 2), op(2, "read", None, "12-13", (3,))]
    assert not found(FifoQueue(), *puts, *takes)
    figures = FifoQueue().check(History.of([*puts, *takes]), Budget()).figures
    assert figures["taken_twice"] == 1
    nothing_left = op(2, "read", None, "12-13", ())
    assert [one.name for one in found(FifoQueue(), *puts, *takes[:-1], nothing_left)] == ["lost-write"]


# --- locks ----------------------------------------------------------------------------------------------------------


def test_a_lock_held_twice_is_told_with_both_holders() -> None:
    held = [op(0, "acquire", None, "0-1", 1), op(1, "acquire", None, "2-3", 2), op(0, "release", None, "5-6")]
    (anomaly,) = found(MutualExclusion(), *held)
    assert anomaly.name == "lock-held-twice"
    assert anomaly.because[0] == "p1 was granted the lock at 3.000 s while p0 held it."
    assert "began to give it back only at 5.000 s" in anomaly.because[1]


def test_a_grant_that_nobody_was_told_of_excludes_nobody() -> None:
    assert not found(MutualExclusion(), op(0, "acquire", None, "0-"), op(1, "acquire", None, "2-3", 2))


def test_a_release_counts_from_its_call_even_when_it_failed() -> None:
    back = op(0, "release", None, "2-3", outcome="fail")
    assert not found(MutualExclusion(), op(0, "acquire", None, "0-1"), back, op(1, "acquire", None, "3-4"))


def test_a_token_that_does_not_grow_is_told() -> None:
    grants = [op(0, "acquire", None, "0-1", 5), op(0, "release", None, "2-3"), op(1, "acquire", None, "4-5", 5)]
    assert [one.name for one in found(MutualExclusion(), *grants)] == ["token-out-of-order"]
