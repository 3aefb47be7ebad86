"""Appends and increments for stores that have none: read, then write only if the revision is still the one read.

A write whose revision did not match has certainly done nothing, so trying again with a fresh read is no hidden
retry: whatever the last write may have done is done once. Only comparisons that failed are tried again; any other
error ends the operation with its outcome as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from capsize.errors import DefiniteError
from capsize.op import Invocation, Reply, Value

TRIES = 8


@dataclass(frozen=True, slots=True)
class Found:
    """What a store holds under a key: the value (None when absent), and its revision (0 when it never was)."""

    value: Value
    revision: int


class RevisionStore(Protocol):
    """A store whose writes can be bound to the revision that was read."""

    def latest(self, key: Value) -> Found:
        """Read; as fresh as the store can."""
        ...

    def write_if(self, key: Value, value: Value, revision: int) -> Mapping[str, Value] | None:
        """Write if `revision` is still the key's; return the evidence of the write, or None: nothing was done."""
        ...


def change(store: RevisionStore, op: Invocation) -> Reply:
    """Carry out append, incr or cas as a change of what is there; raises DefiniteError when others were always quicker.

    A cas that finds another value than the expected one answers False, as the read it then is.
    """
    changed: Callable[[Value], tuple[Value, Value]] = CHANGES[op.f](op.value)
    for _ in range(TRIES):
        try:
            found = store.latest(op.key)
        except Exception as error:  # a client call: whatever it met, nothing has been written yet
            raise DefiniteError(f"nothing was written: the read before it failed: {error}") from error
        value, result = changed(found.value)
        if op.f == "cas" and result is False:
            return Reply(False, {"revision": found.revision})
        meta = store.write_if(op.key, value, found.revision)
        if meta is not None:
            return Reply(result, meta)
    raise DefiniteError(f"another client was quicker {TRIES} times; nothing was written")


def _append(item: Value) -> Callable[[Value], tuple[Value, Value]]:
    return lambda value: (joined(value, item), None)


def _incr(by: Value) -> Callable[[Value], tuple[Value, Value]]:
    def changed(value: Value) -> tuple[Value, Value]:
        before, amount = 0 if value is None else value, 1 if by is None else by
        if type(before) is not int or type(amount) is not int:
            raise DefiniteError(f"{value!r} cannot be incremented by {by!r}; nothing was written")
        return before + amount, before + amount

    return changed


def _cas(pair: Value) -> Callable[[Value], tuple[Value, Value]]:
    assert isinstance(pair, tuple)
    old, new = pair
    return lambda value: (new, same(value, old))


def same(one: Value, other: Value) -> bool:
    """Return whether two values are the same one in JSON: 1 and 1.0 are, 1 and true are not.

    >>> same(1, 1.0), same(1, True), same((1, 2), (True, 2))
    (True, False, False)
    """
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def joined(value: Value, item: Value) -> Value:
    """Return what appending `item` makes of `value`: text joins text, and anything may join an array.

    >>> joined(None, "3;"), joined("3;", "5;"), joined((3,), 5), joined((3,), (5, 8))
    ('3;', '3;5;', (3, 5), (3, 5, 8))
    """
    if value is None or item is None:
        return item if value is None else value
    if isinstance(value, str) and isinstance(item, str):
        return value + item
    if isinstance(value, tuple):
        return value + item if isinstance(item, tuple) else (*value, item)
    raise DefiniteError(f"{item!r} cannot be appended to {value!r}; nothing was written")


CHANGES: Mapping[str, Callable[[Value], Callable[[Value], tuple[Value, Value]]]] = {
    "append": _append,
    "incr": _incr,
    "cas": _cas,
}
