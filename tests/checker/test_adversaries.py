"""Answers drawn without regard to what is possible, against objects written down here once more.

Counter, mutex, fenced lock and transactions, with booleans among the numbers, equal times, every outcome. Where a
history is impossible, its witness has to be impossible by the same objects.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from capsize.checker.budget import Budget
from capsize.checker.explain import explain
from capsize.checker.general import decide_general
from capsize.checker.linearizability import check_linearizable
from capsize.checker.models import MODELS
from capsize.checker.outcome import Legal
from capsize.checker.wgl import decide_wgl
from capsize.history import History
from capsize.op import Operation, Value

BUDGET = Budget(steps=100_000)
NO: Any = object()
"""What a step answers when the operation does not fit."""

Step = Callable[[Any, Any], Any]


def kind(value: Value) -> tuple[bool, Value]:
    return isinstance(value, bool), value


def a_counter(number: int, op: Any) -> Any:
    told = op.outcome == "ok"
    if op.f == "read":
        fits = not told or kind(op.result) == kind(number) or (op.result is None and number == 0)
        return number if fits else NO
    after = number + (1 if op.value is None else op.value) * (-1 if op.f == "decr" else 1)
    return after if not told or op.result is None or kind(op.result) == kind(after) else NO


def a_mutex(held: bool, op: Any) -> Any:
    takes = op.f == "acquire"
    return takes if held is not takes else NO


def a_fenced_lock(state: tuple[int | None, int], op: Any) -> Any:
    holder, token = state
    if op.f == "release":
        return (None, token) if holder == op.process else NO
    if holder is not None:
        return NO
    if op.outcome != "ok" or op.result is None:
        return op.process, token + 1
    return (op.process, op.result) if op.result > token else NO


def registers(state: tuple[Any, ...], op: Any) -> Any:
    values = dict(state)
    for number, (word, key, value) in enumerate(op.value):
        if word == "write":
            values[key] = value
        elif op.outcome == "ok" and kind(op.result[number][2]) != kind(values.get(key)):
            return NO
    return tuple(sorted(values.items(), key=repr))


def possible(operations: list[Operation], state: Any, step: Step) -> bool:
    """Try every order."""
    if all(op.ret is None for op in operations):
        return True
    for number, op in enumerate(operations):
        if any(other.ret is not None and other.ret < op.call for other in operations):
            continue
        following = step(state, op)
        if following is not NO and possible(operations[:number] + operations[number + 1 :], following, step):
            return True
    return False


def asked(name: str, dice: random.Random) -> tuple[str, Value, Value]:
    """Return a word, an argument, and an answer that may well be wrong."""
    if name == "counter":
        f = dice.choice(["read", "add", "incr", "decr"])
        value = {"read": None, "add": dice.choice([3, -1])}.get(f, dice.choice([None, 1, 2, 0]))
        return f, value, dice.choice([None, None, 0, 1, 2, 3, True, -1])
    if name == "multi-register":
        parts = [
            ("write", key, dice.choice([0, 1, True])) if dice.random() < 0.5 else ("read", key, None)
            for key in dice.sample("xy", dice.randrange(1, 3))
        ]
        told = [(w, key, value if w == "write" else dice.choice([None, 0, 1, True])) for w, key, value in parts]
        return "txn", tuple(parts), tuple(told)
    f = dice.choice(["acquire", "release"])
    return f, None, dice.choice([None, 1, 2, 3, 4]) if name == "fenced-lock" and f == "acquire" else None


def drawn(name: str, dice: random.Random) -> History:
    operations: list[Operation] = []
    at, free = 0, dict[int, int]()
    for number in range(dice.randrange(2, 7)):
        process = dice.randrange(3) if name == "fenced-lock" else number
        call = max(0, at - dice.randrange(4), free.get(process, 0))
        at = call + dice.randrange(4)
        free[process] = at + 1
        f, value, result = asked(name, dice)
        op = Operation(process, f, None, value, call, at, "ok", result)
        if dice.random() < 0.15:
            op = replace(op, return_ns=None, outcome="info", result=None)
            free[process] = 1_000
        elif dice.random() < 0.05:
            op = replace(op, outcome="fail", result=None)
        operations.append(op)
    return History.of(operations)


OBJECTS: dict[str, tuple[Step, Any]] = {
    "counter": (a_counter, 0),
    "mutex": (a_mutex, False),
    "fenced-lock": (a_fenced_lock, (None, 0)),
    "multi-register": (registers, ()),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_engines_and_witnesses_agree_with_every_order(name: str) -> None:
    step, start = OBJECTS[name]
    model, counts = MODELS[name](), {True: 0, False: 0}
    for number in range(250):
        some = drawn(name, random.Random(f"adversary/{name}/{number}"))
        expected = possible([op for op in some if op.outcome != "fail"], start, step)
        counts[expected] += 1
        told = "".join(f"\n  {op}" for op in some)
        assert isinstance(decide_general(some, model, BUDGET), Legal) is expected, told
        assert isinstance(decide_wgl(some, model, BUDGET), Legal) is expected, told
        verdict = check_linearizable(some, model, budget=BUDGET)
        assert verdict.valid is expected, told
        if not expected:
            found = explain(verdict.anomalies[0], some, model)
            assert found.details["proven_by"] == "wgl", told
            assert not possible([op for op in found.operations if op.outcome != "fail"], start, step), found
    assert min(counts.values()) > 12
