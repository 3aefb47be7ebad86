"""Random histories: legal by construction, then perhaps mutated; small enough for a slow oracle.

`draw` plays operations against a model: each takes effect at a moment inside its interval, so the history is legal
for certain. `mutate` changes an answer, an outcome or a time, after which nobody knows: that is for the oracle.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from capsize.checker.models import MODELS, Inconsistent, Model
from capsize.op import Operation, Value


def _register(dice: random.Random) -> tuple[str, Value]:
    return dice.choice([("read", None), ("write", dice.randrange(3))])


def _cas_register(dice: random.Random) -> tuple[str, Value]:
    cas = ("cas", (dice.choice([None, 0, 1, 2]), dice.randrange(3)))
    return dice.choice([("read", None), ("write", dice.randrange(3)), cas])


def _kv(dice: random.Random) -> tuple[str, Value]:
    kinds = [("get", None), ("put", dice.choice("ab")), ("append", dice.choice("ab")), ("delete", None)]
    return dice.choice([*kinds, ("get", None), ("cas", (dice.choice(["a", "ab", None]), dice.choice("ab")))])


def _multi(dice: random.Random) -> tuple[str, Value]:
    parts = [
        ("write", key, dice.randrange(2)) if dice.random() < 0.5 else ("read", key, None)
        for key in dice.sample("xy", dice.randrange(1, 3))
    ]
    return "txn", tuple(parts)


def _set(dice: random.Random) -> tuple[str, Value]:
    return dice.choice([("read", None), ("add", dice.randrange(3)), ("remove", dice.randrange(3)), ("contains", 1)])


def _counter(dice: random.Random) -> tuple[str, Value]:
    return dice.choice([("read", None), ("add", dice.randrange(1, 3)), ("decr", 1), ("incr", None)])


def _queue(dice: random.Random) -> tuple[str, Value]:
    return dice.choice([("enqueue", dice.randrange(3)), ("dequeue", None)])


def _lock(dice: random.Random) -> tuple[str, Value]:
    return dice.choice([("acquire", None), ("release", None)])


def _list(dice: random.Random) -> tuple[str, Value]:
    return dice.choice([("append", dice.randrange(3)), ("read", None)])


DRAW: dict[str, Callable[[random.Random], tuple[str, Value]]] = {
    "register": _register,
    "cas-register": _cas_register,
    "kv": _kv,
    "multi-register": _multi,
    "set": _set,
    "counter": _counter,
    "queue": _queue,
    "mutex": _lock,
    "fenced-lock": _lock,
    "list": _list,
}
"""What may be asked of each model."""


def answer(name: str, model: Model[Any], state: Any, op: Operation) -> tuple[Any, Value] | None:
    """Return (next state, result) of `op` in `state`, or None if it cannot happen there at all."""
    guesses: list[Value] = [None]
    if op.f in ("read", "get"):
        guesses = [state if name in ("register", "cas-register", "kv", "counter", "list") else tuple(state)]
    elif op.f == "cas":
        guesses = [True, False]
    elif op.f == "incr" and name == "kv":
        guesses = [(state or 0) + (op.value or 1)]
    elif op.f == "contains":
        guesses = [op.value in state]
    elif op.f == "dequeue":
        guesses = [state[0] if state else None]
    elif op.f == "acquire" and name == "fenced-lock":
        guesses = [state[1] + 1]
    elif op.f == "txn":
        registers = dict(state)
        seen: list[Value] = []
        for word, key, value in op.value:  # type: ignore[union-attr, misc]
            if word == "write":
                registers[key] = value
            seen.append((word, key, registers.get(key)))
        guesses = [tuple(seen)]
    for guess in guesses:
        following = model.step(state, replace(op, outcome="ok", result=guess))
        if not isinstance(following, Inconsistent):
            return following, guess
    return None


UNIQUE = frozenset({"register", "cas-register", "kv"})
"""The models of single values, for which `draw` can write every value once (so it can for queues and lists)."""


def _once(f: str, value: Value, number: int, dice: random.Random) -> Value:
    """Return an argument like `value` in which what is written occurs nowhere else."""
    if f in ("write", "put", "enqueue"):
        return number
    if f == "append":
        return f"{number};"
    return (dice.choice([None, *range(max(0, number - 4), number)]), number) if f == "cas" else value


def draw(
    name: str,
    dice: random.Random,
    *,
    count: int,
    clients: int,
    pending: float,
    spread: int = 40,
    unique: bool = False,
) -> list[Operation]:
    """Return a legal history of about `count` operations on model `name`; times repeat, so some are equal.

    A share `pending` never returns; half of those took effect, some of them late. Some operations fail.
    """
    model = MODELS[name]()
    free_at = [0] * clients
    process = list(range(clients))
    drafts: list[tuple[int, int, Operation, bool]] = []
    for _ in range(count):
        client = min(range(clients), key=lambda one: (free_at[one], dice.random()))
        call = free_at[client] + dice.randrange(0, 3)
        ret = call + dice.randrange(0, spread // 4)
        f, value = DRAW[name](dice)
        if unique:
            value = _once(f, value, len(drafts), dice)
        op = Operation(process[client], f, None, value, call, ret, "ok")
        if dice.random() < pending:
            op = replace(op, return_ns=None, outcome="info")
            process[client] += clients
            effect = dice.randrange(call, call + spread) if dice.random() < 0.5 else -1
        else:
            effect = dice.randrange(call, ret + 1)
        drafts.append((effect, len(drafts), op, dice.random() < 0.05))
        free_at[client] = ret + 1
    drafts.sort(key=lambda draft: draft[:2])
    state = model.init()
    operations: list[Operation] = []
    for effect, _, drafted, fails in drafts:
        op = drafted
        if unique and op.f == "cas" and dice.random() < 0.7:
            assert isinstance(op.value, tuple)
            op = replace(op, value=(state, op.value[1]))
        if effect < 0 or (fails and op.outcome == "ok"):
            operations.append(op if effect < 0 else replace(op, outcome="fail"))
            continue
        answered = answer(name, model, state, op)
        if answered is None:
            operations.append(replace(op, outcome="fail") if op.outcome == "ok" else op)
            continue
        state, result = answered
        operations.append(replace(op, result=result) if op.outcome == "ok" else op)
    return operations


def mutate(operations: list[Operation], dice: random.Random) -> list[Operation]:
    """Return the history with one thing changed; it may or may not be legal still."""
    changed = list(operations)
    answering = [number for number, op in enumerate(changed) if op.outcome == "ok" and op.f in ANSWERS]
    if answering and dice.random() < 0.7:
        number = dice.choice(answering)
        changed[number] = replace(changed[number], result=_other_answer(changed[number], changed, dice))
        return changed
    number = dice.randrange(len(changed))
    op = changed[number]
    if op.return_ns is None:
        return changed
    if op.outcome == "ok" and dice.random() < 0.3:
        changed[number] = replace(op, outcome="info", return_ns=None, result=None, process=op.process + 1000)
    else:
        call = max(0, op.call_ns + dice.randrange(-15, 16))
        changed[number] = replace(op, call_ns=call, return_ns=call + dice.randrange(0, 4), process=op.process + 2000)
    return changed


ANSWERS = frozenset({"read", "get", "cas", "contains", "dequeue", "txn", "acquire", "incr"})
"""The words whose answer says something about the state."""


def _other_answer(op: Operation, operations: list[Operation], dice: random.Random) -> Value:
    """Return an answer that `op` did not get."""
    if op.f in ("cas", "contains"):
        return not op.result
    if op.f == "txn":
        assert isinstance(op.result, tuple)
        parts = list(op.result)
        number = dice.randrange(len(parts))
        word, key, value = parts[number]  # type: ignore[misc]
        parts[number] = (word, key, value if word == "write" else dice.choice([None, 0, 1]))
        return tuple(parts)
    told = [other.result for other in operations if other.f == op.f and other.outcome == "ok"]
    asked = [other.value for other in operations if op.f in ("read", "get", "dequeue") and other.f != "cas"]
    if isinstance(op.result, tuple):
        asked = [(*op.result, dice.randrange(3)), op.result[1:], op.result[::-1]]
    fitting = [value for value in (*told, *asked) if value != op.result and _alike(value, op.result)]
    return dice.choice(fitting) if fitting else op.result


def _alike(value: Value, result: Value) -> bool:
    return isinstance(value, tuple) == isinstance(result, tuple) or value is None
