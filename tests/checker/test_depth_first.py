"""The first try: what it calls legal is legal, in both forms of its loop; it is shown wrong when a rule is broken."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from capsize.checker import depth_first_kernel
from capsize.checker.automaton import string_states
from capsize.checker.budget import Budget
from capsize.checker.columns import KeyColumns
from capsize.checker.depth_first import NO_APPENDS, Appends, find_orders, observed_states
from capsize.checker.encoding import encode, slotted
from capsize.checker.models import CasRegister, KeyValue
from capsize.checker.outcome import Legal
from capsize.checker.wgl import decide_wgl
from capsize.history import History

from .random_histories import draw, mutate
from .scripts import history


def states(drawn: History) -> tuple[KeyColumns, Appends, bool] | None:
    """The operations over states, what appending leads to, and whether something impossible was observed."""
    encoded = encode(drawn, None, compiled=False)
    if encoded is None or not len(encoded[0]):
        return None
    columns, appends = encoded
    if not appends.any():
        return observed_states(slotted(columns, compiled=False)), NO_APPENDS, False
    strings = string_states(columns, appends, None, drawn.table)
    if strings is None:
        return None
    return strings[0], strings[1], len(strings[2]) > 0


def found(text: str, *, compiled: bool = False) -> bool:
    """Whether an order is found for a history of one key."""
    told = states(history(text))
    assert told is not None
    assert not told[2]
    return bool(find_orders(told[0], np.ones(1, dtype=bool), told[1], compiled=compiled).found[0])


def test_it_finds_the_order_in_which_a_stale_write_is_covered() -> None:
    text = """
        w:1     |--------|
        w:2       |--|
        r->2             |--|
        w:1                  |--|
        r->1                      |--|
    """
    assert found(text)
    assert found(text, compiled=True)


def test_it_finds_no_order_where_there_is_none() -> None:
    text = """
        w:1     |--|
        w:2         |--|
        w:2                       |--|
        r->1             |--|
    """
    assert not found(text)
    assert not found(text, compiled=True)


def test_an_operation_that_never_returned_is_used_when_nobody_can_do_without() -> None:
    text = """
        append:a    |--|
        append:a         |--|...
        append:b                 |--|
        get->aab                      |--|
    """
    assert found(text)
    assert not found(text.replace("aab", "aaab"))


def test_steps_that_run_out_leave_a_key_undecided() -> None:
    told = states(history("w:1 |--|\nw:1    |--|\nr->1       |--|\n"))
    assert told is not None
    one_key = np.ones(1, dtype=bool)
    assert not find_orders(told[0], one_key, told[1], steps=3, compiled=False).found[0]
    assert find_orders(told[0], one_key, told[1], steps=30, compiled=False).found[0]


def disagreements(count: int, *, compiled: bool = False) -> tuple[int, int]:
    """How many illegal random histories it calls legal; and how many legal ones it leaves undecided."""
    wrong, undecided = 0, 0
    for number in range(count):
        dice = random.Random(f"depth first/{number}")
        name = dice.choice(["cas-register", "kv"])
        count, pending = dice.randrange(2, 14), dice.choice([0, 0, 0.3])
        operations = draw(name, dice, count=count, clients=5, pending=pending, unique=False)
        for _ in range(number % 3):
            operations = mutate(operations, dice)
        drawn = History.of(operations)
        told = states(drawn)
        if told is None:
            continue
        legal = isinstance(decide_wgl(drawn, CasRegister() if name == "cas-register" else KeyValue(), Budget()), Legal)
        if told[2]:
            wrong += legal
            continue
        said = bool(find_orders(told[0], np.ones(1, dtype=bool), told[1], compiled=compiled).found[0])
        wrong += said and not legal
        undecided += legal and not said
    return wrong, undecided


def test_what_it_calls_legal_is_legal_and_little_is_left_undecided() -> None:
    wrong, undecided = disagreements(600)
    assert wrong == 0
    assert undecided < 10


@pytest.mark.slow
def test_the_compiled_form_agrees_with_the_oracle() -> None:
    wrong, undecided = disagreements(200, compiled=True)
    assert wrong == 0
    assert undecided < 5


@pytest.mark.parametrize(
    ("helper", "broken"),
    [
        ("swapped", lambda state, a, b: b),
        ("within_reach", lambda used, available: used <= available),
        ("may_be_covered", lambda kind: kind != 0),
    ],
    ids=["a cas that does not compare", "more than ever were called", "a cas that nobody sees"],
)
def test_it_is_shown_wrong_when_a_rule_is_broken(
    monkeypatch: pytest.MonkeyPatch, helper: str, broken: Callable[..., bool]
) -> None:
    monkeypatch.setattr(depth_first_kernel, helper, broken)
    assert disagreements(600)[0] > 0
