"""The smallest witness: impossible by itself, small, and proof of the whole."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from capsize.checker.budget import Budget
from capsize.checker.counterexample import smallest_witness
from capsize.checker.general import decide_general
from capsize.checker.models import MODELS, CasRegister, Mutex, Register
from capsize.checker.outcome import Illegal, Legal, Outcome
from capsize.history import History
from capsize.op import Operation

from .permutations import linearizable_by_permutation
from .random_histories import DRAW, draw, mutate
from .scripts import history

BUDGET = Budget(steps=100_000)


def witness(text: str, model: Register) -> list[str]:
    found = smallest_witness(history(text), model, lambda some: decide_general(some, model, BUDGET))
    return [model.describe(op) for op in found]


def test_a_stale_read_is_shown_by_the_write_that_it_missed() -> None:
    text = """
    w:1     |--|
    r->1        |--|
    c:1,2           |--|
    c:9,7!             |--|
    w:3                     |--|
    r->1                         |--|
    w:4                               |--|
    r->4                                   |--|
    """
    assert witness(text, CasRegister()) == ["write 3", "read -> 1"]


def test_a_writer_that_the_reader_may_have_seen_stays_pending_if_it_was_open_at_the_cut() -> None:
    text = """
    w:1     |---------------------|
    w:2        |--|
    r->1             |--|
    r->2                  |--|
    """
    assert witness(text, Register()) == ["write 1 -> ?", "write 2", "read -> 1", "read -> 2"]


def test_a_legal_history_has_no_witness() -> None:
    assert witness("r->nil |--|", Register()) == []


def test_a_model_other_than_a_register_keeps_everything_that_changes_the_state() -> None:
    text = """
    acquire   |--|
    release        |--|
    acquire             |--|
    acquire                  |--|
    release                       |--|
    """
    found = smallest_witness(history(text), Mutex(), lambda some: decide_general(some, Mutex(), BUDGET))
    assert [op.f for op in found] == ["acquire", "release", "acquire", "acquire"]


def test_a_long_history_becomes_two_operations_in_few_questions() -> None:
    operations = [Operation(n % 2, "write", None, n % 5, 3 * n, 3 * n + 2, "ok") for n in range(3_000)]
    operations.append(Operation(9, "read", None, None, 9_010, 9_011, "ok", 2))
    asked = 0

    def ask(some: History) -> Outcome:
        nonlocal asked
        asked += 1
        return decide_general(some, Register(), BUDGET)

    found = smallest_witness(History.of(operations), Register(), ask)
    assert [(op.f, op.value, op.result) for op in found] == [("write", 4, None), ("read", None, 2)]
    assert asked < 60


@pytest.mark.parametrize("name", DRAW)
def test_the_witness_of_any_illegal_history_is_illegal_and_part_of_it(name: str) -> None:
    model, found = MODELS[name](), 0
    for number in range(250):
        dice = random.Random(f"witness/{name}/{number}")
        operations = mutate(draw(name, dice, count=dice.randrange(2, 14), clients=3, pending=0.15), dice)
        drawn = History.of(operations)
        small = smallest_witness(drawn, model, lambda some: decide_general(some, model, BUDGET))
        legal = isinstance(decide_general(drawn, model, BUDGET), Legal)
        assert legal is (not small)
        if small:
            found += 1
            whole = {(op.process, op.call): op for op in drawn}
            assert all((op.process, op.call) in whole for op in small)
            if len(small) <= 8:
                assert not linearizable_by_permutation(History.of(small), model)
    assert found > (0 if name == "mutex" else 10)


class Liar:
    """Calls a legal history illegal, and many of its parts, so that every rule is driven on and on; notes real ones."""

    def __init__(self, name: str, dice: random.Random) -> None:
        self.model, self.dice = MODELS[name](), dice
        self.asked = 0
        self.made_illegal: list[History] = []

    def __call__(self, some: History) -> Outcome:
        self.asked += 1
        told = decide_general(some, self.model, BUDGET)
        if isinstance(told, Illegal):
            self.made_illegal.append(some)
        return Illegal("no-configuration", ()) if self.asked == 1 or self.dice.random() < 0.6 else told


@pytest.mark.parametrize("name", ["register", "cas-register", "kv"])
def test_no_rule_turns_a_legal_history_into_an_illegal_one(name: str) -> None:
    for number in range(400):
        dice = random.Random(f"sound/{name}/{number}")
        operations = draw(name, dice, count=dice.randrange(3, 14), clients=4, pending=0.2)
        drawn = History.of([op for op in operations if op.f != "append"])
        liar = Liar(name, dice)
        if len(drawn) and isinstance(decide_general(drawn, liar.model, BUDGET), Legal):
            smallest_witness(drawn, liar.model, liar)
        assert not liar.made_illegal, [liar.model.describe(op) for op in liar.made_illegal[0]]


def test_equal_positions_are_not_needed_to_name_an_operation() -> None:
    one = Operation(0, "write", None, 1, 0, 1, "ok")
    two = replace(one, process=1, value=2)
    found = smallest_witness(
        History.of([one, two, Operation(2, "read", None, None, 5, 6, "ok", 3)]),
        Register(),
        lambda some: decide_general(some, Register(), BUDGET),
    )
    assert len(found) == 1
