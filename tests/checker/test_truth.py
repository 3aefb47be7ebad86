"""true is not 1 and 1.0 is 1, in every model and every engine: against objects written down here once more.

The oracle shares nothing with the models: plain Python objects over JSON texts, and every order tried.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from capsize.checker.budget import Budget
from capsize.checker.general import decide_general
from capsize.checker.linearizability import check_linearizable
from capsize.checker.models import MODELS
from capsize.checker.outcome import Legal
from capsize.checker.wgl import decide_wgl
from capsize.history import History
from capsize.op import Operation, Value

from .scripts import history

BUDGET = Budget(steps=100_000)
VALUES: list[Value] = [0, 1, True, False, 1.0, None, (1,), (True,)]


def text(value: Value) -> str:
    """Return a value as JSON, with one spelling for each number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, tuple):
        return "[" + ",".join(map(text, value)) + "]"
    return json.dumps(value)


Next = Callable[[tuple[str, ...], Operation], "tuple[str, ...] | None"]
"""A state is a tuple of JSON texts; None says that the operation does not fit."""


def register(state: tuple[str, ...], op: Operation) -> tuple[str, ...] | None:
    told = op.outcome == "ok"
    if op.f in ("write", "put"):
        return (text(op.value),)
    if op.f == "delete":
        return ("null",)
    if op.f in ("read", "get"):
        return state if not told or state == (text(op.result),) else None
    assert isinstance(op.value, tuple)
    old, new = map(text, op.value)
    if told and op.result is False:
        return state if state != (old,) else None
    return (new,) if state == (old,) else None


def a_set(state: tuple[str, ...], op: Operation) -> tuple[str, ...] | None:
    if op.f == "add":
        return tuple(sorted({*state, text(op.value)}))
    if op.f == "remove":
        return tuple(sorted({*state} - {text(op.value)}))
    assert isinstance(op.result, tuple) or op.outcome != "ok"
    seen = [text(value) for value in op.result] if isinstance(op.result, tuple) else []
    return state if op.outcome != "ok" or sorted(seen) == list(state) else None


def a_queue(state: tuple[str, ...], op: Operation) -> tuple[str, ...] | None:
    if op.f == "enqueue":
        return (*state, text(op.value))
    head = state[0] if state else "null"
    return state[1:] if op.outcome != "ok" or head == text(op.result) else None


def a_list(state: tuple[str, ...], op: Operation) -> tuple[str, ...] | None:
    if op.f == "append":
        return (*state, text(op.value))
    seen = op.result if isinstance(op.result, tuple) else ()
    return state if op.outcome != "ok" or tuple(map(text, seen)) == state else None


OBJECTS: dict[str, tuple[Next, tuple[str, ...], tuple[str, ...]]] = {
    "register": (register, ("null",), ("write", "read")),
    "cas-register": (register, ("null",), ("write", "read", "cas")),
    "kv": (register, ("null",), ("put", "get", "cas", "delete")),
    "set": (a_set, (), ("add", "remove", "read")),
    "queue": (a_queue, (), ("enqueue", "dequeue")),
    "list": (a_list, (), ("append", "read")),
}


def possible(operations: list[Operation], state: tuple[str, ...], step: Next) -> bool:
    """Try every order."""
    if all(op.ret is None for op in operations):
        return True
    for number, op in enumerate(operations):
        if any(other.ret is not None and other.ret < op.call for other in operations):
            continue
        following = step(state, op)
        if following is not None and possible(operations[:number] + operations[number + 1 :], following, step):
            return True
    return False


def confused(value: Value) -> Value:
    """Return what Python takes for equal and JSON does not."""
    if isinstance(value, tuple):
        return tuple(map(confused, value))
    return {"true": 1, "false": 0, "1": True, "0": False}.get(text(value), value)


def drawn(name: str, dice: random.Random) -> History:
    """Draw operations whose answers are taken from a few values, right more often than not."""
    step, state, words = OBJECTS[name]
    operations: list[Operation] = []
    at = 0
    seen: list[Value] = [None]
    for number in range(dice.randrange(2, 7)):
        f = dice.choice(words)
        value: Value = None
        if f == "cas":
            value = (dice.choice(VALUES), dice.choice(VALUES))
        elif f in ("write", "put", "add", "remove", "enqueue", "append"):
            value = dice.choice(VALUES)
            seen.append(value)
        call = max(0, at - dice.randrange(3))
        at = call + dice.randrange(1, 4)
        op = Operation(number, f, None, value, call, at, "ok")
        guesses: list[Value] = [None]
        if f == "cas":
            guesses = [True, False]
        elif f in ("read", "get", "dequeue"):
            guesses = [dice.choice(seen) for _ in range(4)]
            if name in ("set", "list"):
                guesses = [tuple(dice.choice(VALUES) for _ in range(dice.randrange(3))), tuple(seen[1:])]
        fitting = [guess for guess in guesses if step(state, replace(op, result=guess)) is not None]
        result = dice.choice(fitting or guesses)
        op = replace(op, result=confused(result) if dice.random() < 0.3 else result)
        state = step(state, op) or state
        if dice.random() < 0.15:
            op = replace(op, outcome="info", return_ns=None, result=None)
        operations.append(op)
    return History.of(operations)


@pytest.mark.parametrize("name", OBJECTS)
def test_every_engine_agrees_with_every_order_where_booleans_and_numbers_meet(name: str) -> None:
    step, state, _ = OBJECTS[name]
    counts = {True: 0, False: 0}
    for number in range(400):
        some = drawn(name, random.Random(f"truth/{name}/{number}"))
        expected = possible([op for op in some if op.outcome != "fail"], state, step)
        counts[expected] += 1
        model = MODELS[name]()
        told = "".join(f"\n  {op}" for op in some)
        assert isinstance(decide_general(some, model, BUDGET), Legal) is expected, told
        assert isinstance(decide_wgl(some, model, BUDGET), Legal) is expected, told
        assert check_linearizable(some, model, budget=BUDGET).valid is expected, told
    assert min(counts.values()) > 40


def test_two_states_that_python_takes_for_one_are_both_followed() -> None:
    some = history("w:1 |------|\nw:2 |------|\nr->1            |--|")
    operations = [replace(some[0], value=True), replace(some[1], value=1), replace(some[2], result=1)]
    for one in (operations, [operations[1], operations[0], replace(operations[2], result=True)]):
        assert isinstance(decide_general(History.of(one), MODELS["register"](), BUDGET), Legal)
        assert check_linearizable(History.of(one), MODELS["register"](), budget=BUDGET).valid is True
    wrong: Any = [operations[0], replace(operations[1], value=True), operations[2]]
    assert check_linearizable(History.of(wrong), MODELS["register"](), budget=BUDGET).valid is False
