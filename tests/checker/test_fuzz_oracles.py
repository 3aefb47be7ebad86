"""Twenty thousand random histories: every engine against oracles that share no code with it.

Tiny histories are judged by trying every order; those of middle size by plain Wing-Gong-Lowe, whose agreement with
the permutations is part of the same tests. `bench/fuzz.py` runs a million. A failure prints the seed and the history.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from capsize.checker.budget import Budget
from capsize.checker.general import decide_general
from capsize.checker.linearizability import check_linearizable
from capsize.checker.models import MODELS
from capsize.checker.outcome import Exhausted, Legal
from capsize.checker.wgl import decide_wgl
from capsize.history import History

from .permutations import linearizable_by_permutation
from .random_histories import DRAW, UNIQUE, draw, mutate

BUDGET = Budget(steps=100_000)
TINY, MIDDLE = 1_100, 500
"""Histories for each model; with unique values as many again: 20,800 in all."""
LONGEST = {"queue": 16, "list": 18}
"""Operations of a history of middle size; 40 for the other models, whose states come back."""

Seen = Counter[str]


def judge(name: str, seed: str, *, sizes: tuple[int, int], tiny: bool, unique: bool, seen: Seen) -> None:
    """Draw one history and compare every engine on it; counts verdicts and engines in `seen`."""
    dice = random.Random(seed)
    clients = dice.randrange(1, 5 if tiny else 8)
    pending = dice.choice([0, 0.05, 0.2, 0.4] if tiny else [0, 0.05, 0.1])
    operations = draw(name, dice, count=dice.randrange(*sizes), clients=clients, pending=pending, unique=unique)
    legal_for_certain = True
    if dice.random() < 0.7:
        for _ in range(dice.randrange(1, 3)):
            operations = mutate(operations, dice)
        legal_for_certain = False
    history, model = History.of(operations), MODELS[name]()
    oracle = decide_wgl(history, model, BUDGET)
    if isinstance(oracle, Exhausted):
        seen["exhausted"] += 1
        return
    expected = isinstance(oracle, Legal)
    told = f"{name}, seed {seed!r}: " + "".join(f"\n  {op}" for op in history)
    if tiny:
        assert linearizable_by_permutation(history, model) is expected, f"wgl against permutations: {told}"
    assert expected or not legal_for_certain, f"legal by construction: {told}"
    general = decide_general(history, model, BUDGET)
    assert isinstance(general, Exhausted) or isinstance(general, Legal) is expected, f"general against wgl: {told}"
    verdict = check_linearizable(history, model, budget=BUDGET)
    assert verdict.valid in (expected, "unknown"), f"{verdict.figures['engines']} against wgl: {told}"
    if isinstance(general, Exhausted) or verdict.valid == "unknown":
        seen["exhausted"] += 1
    seen["legal" if expected else "illegal"] += 1
    seen.update(verdict.figures["engines"])


@pytest.mark.parametrize("name", DRAW)
def test_tiny_histories_are_judged_as_by_every_order(name: str) -> None:
    seen = Seen()
    for number in range(TINY):
        judge(name, f"tiny/{name}/{number}", sizes=(1, 8), tiny=True, unique=False, seen=seen)
    assert seen["exhausted"] == 0
    assert seen["illegal"] > (5 if name == "mutex" else TINY // 20), seen


@pytest.mark.parametrize("name", DRAW)
def test_histories_of_middle_size_are_judged_as_by_wing_gong_and_lowe(name: str) -> None:
    seen = Seen()
    for number in range(MIDDLE):
        judge(name, f"middle/{name}/{number}", sizes=(8, LONGEST.get(name, 40)), tiny=False, unique=False, seen=seen)
    assert seen["exhausted"] <= MIDDLE // 50, seen
    assert seen["illegal"] > (0 if name == "mutex" else MIDDLE // 20), seen


@pytest.mark.parametrize("name", sorted(UNIQUE))
def test_histories_of_unique_values_are_judged_alike(name: str) -> None:
    seen = Seen()
    for number in range(TINY):
        judge(name, f"unique/tiny/{name}/{number}", sizes=(1, 8), tiny=True, unique=True, seen=seen)
    for number in range(MIDDLE):
        judge(name, f"unique/middle/{name}/{number}", sizes=(8, 40), tiny=False, unique=True, seen=seen)
    assert seen["unique-values"] > (TINY + MIDDLE) // 4, seen
    assert seen["illegal"] > (TINY + MIDDLE) // 12, seen
