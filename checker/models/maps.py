"""The key-value map, judged key by key: a state is the value of one key, None when the key is absent."""

from __future__ import annotations

from capsize.checker.models.model import Inconsistent, answered, plain, same
from capsize.checker.models.registers import Register, cas_observes, cas_step, read_step
from capsize.op import Operation, Value


class KeyValue(Register):
    """get, put, delete, cas (old, new), append (of strings or arrays), incr n (the result is the new number).

    A get of an absent key answers None; append and incr start an absent key from nothing.
    `read` and `write` are understood as get and put.
    """

    name: str = "kv"
    words: frozenset[str] = frozenset({"get", "put", "delete", "cas", "append", "incr"})

    def step(self, state: Value, op: Operation) -> Value | Inconsistent:
        """Move the value of one key."""
        match op.f:
            case "get" | "read":
                return read_step(state, op)
            case "put" | "write":
                return op.value
            case "delete":
                return None
            case "cas":
                return cas_step(state, op)
            case "append":
                return appended(state, op.value)
            case "incr":
                return _increment(state, op)
            case _:
                return Inconsistent(f"a {self.name} map has no operation {op.f!r}")

    def observes(self, op: Operation) -> bool:
        """Gets do; so does a cas that cannot change anything."""
        return op.f in ("get", "read") or cas_observes(op)


def appended(state: Value, item: Value) -> Value | Inconsistent:
    """Return what an append makes of a value: strings are joined, an array gets the item, an absent key becomes it."""
    if state is None:
        return item
    if item is None:
        return state
    if isinstance(state, str) and isinstance(item, str):
        return state + item
    if isinstance(state, tuple):
        return state + item if isinstance(item, tuple) else (*state, item)
    return Inconsistent(f"{plain(item)} cannot be appended to {plain(state)}")


def _increment(state: Value, op: Operation) -> Value | Inconsistent:
    before = 0 if state is None else state
    amount = 1 if op.value is None else op.value
    if not isinstance(before, int | float) or not isinstance(amount, int | float):
        return Inconsistent(f"{plain(state)} cannot be incremented by {plain(op.value)}")
    after = before + amount
    if answered(op) and op.result is not None and not same(op.result, after):
        return Inconsistent(f"incr answered {plain(op.result)} but {plain(before)} + {plain(amount)} is {plain(after)}")
    return after
