"""The frontier engine: examples to judge by eye, all searches against an oracle, and dominance broken on purpose."""

from __future__ import annotations

import random

import numpy as np
import pytest

from capsize.checker import frontier, frontier_kernel
from capsize.checker.automaton import Automaton, register_automaton, string_automaton
from capsize.checker.budget import Budget
from capsize.checker.encoding import encode
from capsize.checker.frontier import BEAMS, EXACT, RELAXED, Frontier, FrontierAnswer, judge_frontier
from capsize.checker.models import CasRegister, KeyValue
from capsize.checker.outcome import Legal
from capsize.checker.wgl import decide_wgl
from capsize.history import History

from .random_histories import draw, mutate
from .scripts import history


def automaton(drawn: History) -> Automaton | int | None:
    encoded = encode(drawn, None)
    if encoded is None or not len(encoded[0]):
        return None
    columns, appends = encoded
    rows, initial = np.arange(len(columns)), int(columns.initial[0])
    if appends[0]:
        return string_automaton(columns, rows, initial, None, drawn.table)
    return register_automaton(columns, rows, initial, drawn.table)


def judged(text: str, budget: Budget | None = None) -> FrontierAnswer:
    built = automaton(history(text))
    assert isinstance(built, Automaton)
    return judge_frontier(built, budget or Budget(), compiled=False)


def test_a_write_seen_twice_with_another_in_between_needs_two_writes() -> None:
    once = """
        w:1     |--|
        r->1         |--|
        w:2              |--|
        r->2                  |--|
        r->1                       |--|
    """
    assert judged(once).valid is False
    assert judged(once.replace("w:2 ", "w:1                 |-------------|\n        w:2 ")).valid is True


def test_a_pending_write_may_take_effect_late_but_only_once() -> None:
    text = """
        w:1     |--|...
        w:2              |--|
        r->2                  |--|
        r->1                       |--|
        w:2                             |--|
        r->2                                 |--|
    """
    assert judged(text).valid is True
    assert judged(text.rstrip() + "\n        r->1                                      |--|\n").valid is False


def test_a_covered_append_may_be_seen_by_nobody() -> None:
    assert (
        judged("""
        put:a      |--------|
        append:b   |------------|
        get->a                       |--|
    """).valid
        is True
    )


def test_two_appends_that_end_one_by_one_after_a_put_may_both_be_seen() -> None:
    assert (
        judged("""
        append:b   |---------------------|
        put:c      |------|
        append:b        |------------|
        get->c               |---|
        get->cbb                             |--|
    """).valid
        is True
    )


def test_an_illegal_key_names_the_return_and_what_the_last_configurations_were() -> None:
    answer = judged("""
        w:1     |--|
        w:2         |--|
        r->1             |--|
    """)
    assert answer.valid is False
    assert answer.at == 2
    assert answer.configurations


def test_out_of_steps_is_unknown_with_the_place() -> None:
    lines = [f"        w:{n % 3}     |----------|" for n in range(9)]
    lines += [f"        r->{n % 3}     |----------|" for n in range(9)]
    answer = judged("\n".join(lines), Budget(steps=3))
    assert answer.valid == "unknown"
    assert answer.exhausted == "steps"
    assert len(answer.open_operations) == 18


def disagreements(count: int, *, compiled: bool = False) -> int:
    """How many random histories some search judges otherwise than Wing, Gong and Lowe."""
    wrong = 0
    for number in range(count):
        dice = random.Random(f"frontier/{number}")
        name = dice.choice(["cas-register", "kv"])
        count, pending = dice.randrange(2, 14), dice.choice([0, 0, 0.3])
        operations = draw(name, dice, count=count, clients=5, pending=pending, unique=False)
        for _ in range(number % 3):
            operations = mutate(operations, dice)
        drawn = History.of(operations)
        legal = isinstance(decide_wgl(drawn, CasRegister() if name == "cas-register" else KeyValue(), Budget()), Legal)
        built = automaton(drawn)
        if built is None:
            continue
        if isinstance(built, int):
            wrong += legal
            continue
        run = Frontier(built, Budget(), compiled=compiled)
        exact, relaxed, wide = run.search(EXACT).valid, run.search(RELAXED).valid, run.widening(BEAMS[:3]).valid
        wrong += exact is not legal or (legal and relaxed is False) or (not legal and wide is True)
    return wrong


def test_every_search_agrees_with_the_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontier, "CHECKPOINT_EVENTS", 2)
    assert disagreements(600) == 0


@pytest.mark.slow
def test_the_compiled_form_agrees_with_the_oracle() -> None:
    assert disagreements(200, compiled=True) == 0


def test_it_is_shown_wrong_when_dominance_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def same_state_is_enough(*_: object) -> bool:
        return True

    monkeypatch.setattr(frontier_kernel, "dominates", same_state_is_enough)
    assert disagreements(600) > 0


def test_it_is_shown_wrong_when_dominance_forgets_pending_uses_and_obligations(monkeypatch: pytest.MonkeyPatch) -> None:
    right = frontier_kernel.dominates

    def only_reads(rows: list[int], one: int, other: int, words: int, width: int, *rest: object) -> bool:
        return all(rows[other + 2 + w] & ~rows[one + 2 + w] == 0 for w in range(words)) or right(
            rows, one, other, words, width, *rest
        )

    monkeypatch.setattr(frontier_kernel, "dominates", only_reads)
    assert disagreements(600) > 0
