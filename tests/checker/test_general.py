"""The general engine and Wing-Gong-Lowe on histories drawn by hand, and what each says when it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from capsize.checker.budget import Budget
from capsize.checker.general import decide_general
from capsize.checker.models import (
    AppendOnlyList,
    CasRegister,
    Counter,
    Inconsistent,
    Model,
    Mutex,
    NondeterministicModel,
    Queue,
    Register,
)
from capsize.checker.outcome import Exhausted, Illegal, Legal, Outcome
from capsize.checker.wgl import decide_wgl
from capsize.history import History
from capsize.op import Operation

from .scripts import history

Engine = Callable[[History, Model[Any], Budget], Outcome]
ENGINES = pytest.mark.parametrize("decide", [decide_general, decide_wgl])

LEGAL = """
w:1      |---|
r->1       |---|
w:2           |----|
r->2            |--|
"""
STALE = """
w:1      |---|
w:2            |---|
r->1                  |---|
"""


@ENGINES
def test_a_read_between_two_writes_is_legal(decide: Engine) -> None:
    assert isinstance(decide(history(LEGAL), Register(), Budget()), Legal)


@ENGINES
def test_a_stale_read_is_illegal_and_named(decide: Engine) -> None:
    outcome = decide(history(STALE), Register(), Budget())
    assert isinstance(outcome, Illegal)
    assert outcome.rows == (2,)
    assert outcome.kind == "no-configuration"


def test_the_reason_says_what_each_last_configuration_would_have_needed() -> None:
    outcome = decide_general(history(STALE), Register(), Budget())
    assert isinstance(outcome, Illegal)
    assert outcome.reason["last"] == [
        {"state": "2", "done": [], "refused": [{"row": 2, "why": "read 1 but the value was 2"}]}
    ]


@ENGINES
def test_herlihy_and_wing_figure_2_queue_that_is_not_linearizable(decide: Engine) -> None:
    # Herlihy & Wing 1990, section 2: y is dequeued though x was enqueued before it and is dequeued by nobody before.
    text = """
    enqueue:x   |--|
    enqueue:y        |--|
    dequeue->y            |--|
    """
    assert isinstance(decide(history(text), Queue(), Budget()), Illegal)
    overlapping = text.replace("x   |--|", "x   |------|")
    assert isinstance(decide(history(overlapping), Queue(), Budget()), Legal)


@ENGINES
def test_touching_intervals_are_concurrent(decide: Engine) -> None:
    text = """
    w:1     |---|
    r->nil      |---|
    """
    assert isinstance(decide(history(text), Register(), Budget()), Legal)
    later = text.replace("r->nil      |", "r->nil       |")
    assert isinstance(decide(history(later), Register(), Budget()), Illegal)


@ENGINES
def test_a_pending_write_may_take_effect_late_or_never(decide: Engine) -> None:
    text = """
    w:1     |---|...
    w:2        |---|
    r->{}             |---|
    """
    for seen, legal in ((1, True), (2, True), (3, False)):
        outcome = decide(history(text.format(seen)), Register(), Budget())
        assert isinstance(outcome, Legal) is legal


@ENGINES
def test_a_pending_write_takes_effect_once(decide: Engine) -> None:
    text = """
    w:1     |---|...
    r->1          |--|
    w:2                |--|
    r->1                    |--|
    """
    assert isinstance(decide(history(text), Register(), Budget()), Illegal)


@ENGINES
def test_two_equal_pending_writes_may_each_be_used_once(decide: Engine) -> None:
    text = """
    w:1     |---|...
    w:1     |---|...
    r->1          |--|
    w:2                |--|
    r->1                    |--|
    """
    assert isinstance(decide(history(text), Register(), Budget()), Legal)
    again = text.rstrip() + f"\n    w:3 {' ' * 30}|--|\n    r->1 {' ' * 35}|--|\n"
    assert isinstance(decide(history(again), Register(), Budget()), Illegal)


@ENGINES
def test_a_cas_that_was_told_false_reads_not_old(decide: Engine) -> None:
    text = """
    w:1       |--|
    c:1,2!          |--|
    """
    assert isinstance(decide(history(text), CasRegister(), Budget()), Illegal)
    assert isinstance(decide(history(text.replace("c:1,2!", "c:3,2!")), CasRegister(), Budget()), Legal)


@ENGINES
def test_a_failed_operation_did_not_happen(decide: Engine) -> None:
    operations = [
        Operation(0, "write", None, 1, 0, 1, "fail"),
        Operation(0, "read", None, None, 2, 3, "ok", 1),
    ]
    assert isinstance(decide(History.of(operations), Register(), Budget()), Illegal)


@ENGINES
def test_two_who_acquired_one_mutex(decide: Engine) -> None:
    text = """
    acquire   |--|
    acquire        |--|
    """
    assert isinstance(decide(history(text), Mutex(), Budget()), Illegal)


@ENGINES
def test_a_small_budget_is_exhausted_never_legal(decide: Engine) -> None:
    lines = [f"w:{number} |{'-' * 40}|" for number in range(12)] + [f"r->{11}{' ' * 50}|--|", f"r->{3}{' ' * 60}|--|"]
    for budget, what in ((Budget(steps=50), "steps"), (Budget(bytes=3_000), "bytes")):
        outcome = decide(history("\n".join(lines)), Register(), budget)
        assert isinstance(outcome, Exhausted)
        assert outcome.what == what
        assert outcome.open >= 1
        assert outcome.hint


def test_a_legal_answer_of_wgl_names_an_order_that_the_model_follows() -> None:
    drawn = history(LEGAL + "w:9 |--|...\n")
    outcome = decide_wgl(drawn, Register(), Budget())
    assert isinstance(outcome, Legal)
    assert outcome.order is not None
    state: Any = Register().init()
    for row in outcome.order:
        state = Register().step(state, drawn[row])
        assert not isinstance(state, Inconsistent)


def test_memory_of_the_general_engine_does_not_grow_with_the_length() -> None:
    operations = [
        Operation(n % 3, *(("write", None, n % 5) if n % 2 else ("read", None, None)), 4 * n, 4 * n + 5, "ok",
                  None if n % 2 else ((n - 1) % 5 if n else None))
        for n in range(4_000)
    ]  # fmt: skip
    short, long = (decide_general(History.of(operations[:n]), Register(), Budget()) for n in (2_000, 4_000))
    assert isinstance(short, Legal)
    assert isinstance(long, Legal)
    assert long.bytes <= 1.1 * short.bytes


def test_many_equal_pending_operations_are_one_class() -> None:
    lines = [f"add:1 |{'-' * n}|..." for n in range(1, 60)] + [f"read->40 {' ' * 70}|--|", f"read->59 {' ' * 75}|--|"]
    outcome = decide_general(history("\n".join(lines)), Counter(), Budget(steps=20_000))
    assert isinstance(outcome, Legal)


def test_a_model_that_looks_at_the_process_is_not_told_that_processes_are_alike() -> None:
    class Owned(Mutex):
        """Only process 0 may have it."""

        anonymous = False

        def step(self, state: bool, op: Operation) -> bool | Inconsistent:
            return Inconsistent("not yours") if op.process else super().step(state, op)

    text = """
    release   |------|...
    acquire   |------|
    """
    assert isinstance(decide_general(history(text), Owned(), Budget()), Illegal)


class Lossy(NondeterministicModel[int]):
    """A counter in which every add may be lost."""

    name = "lossy"
    anonymous = True

    def init(self) -> list[int]:
        return [0]

    def step(self, state: int, op: Operation) -> list[int]:
        if op.f == "add":
            return [state, state + 1]
        return [state] if op.result == state or op.outcome == "info" else []


@ENGINES
def test_a_nondeterministic_model_follows_every_way(decide: Engine) -> None:
    text = """
    add      |--|
    add           |--|
    read->{}            |--|
    """
    for seen, legal in ((0, True), (1, True), (2, True), (3, False)):
        outcome = decide(history(text.format(seen)), Lossy().to_model(), Budget())
        assert isinstance(outcome, Legal) is legal


@ENGINES
def test_a_list_that_forgot_an_item(decide: Engine) -> None:
    text = """
    append:1   |--|
    append:2        |--|
    read->[2]            |--|
    """
    assert isinstance(decide(history(text), AppendOnlyList(), Budget()), Illegal)
    assert isinstance(decide(history(text.replace("[2]", "[1,2]")), AppendOnlyList(), Budget()), Legal)
