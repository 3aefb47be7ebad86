"""Partial linearizations: orders that the model allows, as long as can be, with the reason why they end."""

from __future__ import annotations

import random

import pytest

from capsize.checker.budget import Budget
from capsize.checker.general import decide_general
from capsize.checker.linearizations import partial_linearizations
from capsize.checker.models import MODELS, Inconsistent
from capsize.checker.outcome import Legal
from capsize.history import History

from .random_histories import DRAW, draw, mutate
from .scripts import history


def test_a_stale_read_is_what_no_order_goes_on_with() -> None:
    found = partial_linearizations(history("w:1 |--|\nw:2      |--|\nr->1           |--|"), MODELS["register"]())
    assert [op.f for op in found[0].operations] == ["write", "write"]
    assert found[0].states == ("1", "2")
    assert [(op.f, why) for op, why in found[0].refused] == [("read", "read 1 but the value was 2")]
    assert not found[0].complete


def test_every_operation_that_fits_somewhere_is_in_an_order() -> None:
    found = partial_linearizations(
        history("w:1 |----|\nw:2 |----|\nr->1  |---------|\nr->2      |-----|"), MODELS["register"]()
    )
    assert {op.process for order in found for op in order.operations} == {0, 1, 2, 3}


@pytest.mark.parametrize("name", DRAW)
def test_an_order_is_complete_exactly_when_the_history_is_linearizable(name: str) -> None:
    model = MODELS[name]()
    for number in range(120):
        dice = random.Random(f"partial/{name}/{number}")
        drawn = History.of(mutate(draw(name, dice, count=dice.randrange(2, 9), clients=3, pending=0.1), dice))
        found = partial_linearizations(drawn, model)
        legal = isinstance(decide_general(drawn, model, Budget(steps=100_000)), Legal)
        assert found[0].complete is legal
        for order in found:
            state = model.init()
            for op in order.operations:
                state = model.step(state, op)
                assert not isinstance(state, Inconsistent)
            placed = {op.call: at for at, op in enumerate(order.operations)}
            for one in order.operations:
                for other in drawn:
                    if other.outcome == "ok" and other.ret is not None and other.ret < one.call:
                        assert placed.get(other.call, len(placed)) < placed[one.call]


def test_a_spent_budget_still_gives_the_longest_found() -> None:
    operations = draw("queue", random.Random(1), count=30, clients=8, pending=0)
    assert partial_linearizations(operations, MODELS["queue"](), budget=Budget(steps=50))
