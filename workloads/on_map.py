"""Sets, queues and locks for systems that have only a map: each is the value of one key, changed by compare-and-set.

Every change reads the value and replaces it if it is still the same one. A comparison that failed has certainly done
nothing, so trying again with a fresh read is no hidden retry; a read that failed has done nothing either. Only the
compare-and-set itself can have an unknown end, and then the whole operation has.
"""

from __future__ import annotations

from collections.abc import Callable

from capsize.client import Client
from capsize.errors import DefiniteError
from capsize.op import Invocation, Reply, Value

TRIES = 8
FREE = "free"
Change = Callable[[Value], tuple[Value, Value]]
"""What is there -> what shall be there, and what is answered; raises DefiniteError when nothing shall be done."""


class OnMap(Client):
    """A client of a map; words that it does not translate go through as they are."""

    def __init__(self, of_map: Client, process: int) -> None:
        self.of_map = of_map
        self.process = process

    def open(self) -> None:
        self.of_map.timeout_s = self.timeout_s
        self.of_map.open()

    def close(self) -> None:
        self.of_map.close()

    def invoke(self, op: Invocation) -> Reply:
        self.of_map.timeout_s = self.timeout_s
        return self.of_map.invoke(op)

    def change(self, key: Value, changed: Change) -> Reply:
        """Replace the value of `key` by what `changed` makes of it."""
        for _ in range(TRIES):
            try:
                found = self.of_map.invoke(Invocation("read", key))
            except Exception as error:  # a client call: whatever it met, nothing has been written yet
                raise DefiniteError(f"nothing was written: the read before it failed: {error}") from error
            wanted, answer = changed(found.result)
            if wanted == found.result:
                return Reply(answer, found.meta)
            swapped = self.of_map.invoke(Invocation("cas", key, (found.result, wanted)))
            if swapped.result is True:
                return Reply(answer, swapped.meta)
        raise DefiniteError(f"another client was quicker {TRIES} times; nothing was written")

    def items(self, key: Value) -> Reply:
        """Return what is in the set or queue."""
        found = self.of_map.invoke(Invocation("read", key))
        return Reply(_items(found.result), found.meta)


class SetOnMap(OnMap):
    """`add v`; `read`: all elements."""

    def invoke(self, op: Invocation) -> Reply:
        if op.f == "add":
            return self.change(op.key, lambda found: ((*_items(found), op.value), None))
        return self.items(op.key) if op.f == "read" else super().invoke(op)


class QueueOnMap(OnMap):
    """`enqueue v`; `dequeue`: the oldest element, None when empty; `read`: all that is left, the oldest first."""

    def invoke(self, op: Invocation) -> Reply:
        if op.f == "enqueue":
            return self.change(op.key, lambda found: ((*_items(found), op.value), None))
        if op.f == "dequeue":
            return self.change(op.key, _taken)
        return self.items(op.key) if op.f == "read" else super().invoke(op)


class LockOnMap(OnMap):
    """`acquire`: a number larger than every earlier one, or a refusal; `release` by the holder; `read`: that number.

    The lock is never taken away from a holder, however long it is silent: safe, and stuck when the holder is gone.
    """

    def invoke(self, op: Invocation) -> Reply:
        if op.f == "acquire":
            return self.change(op.key, self._acquired)
        if op.f == "release":
            return self.change(op.key, self._released)
        if op.f == "read":
            found = self.of_map.invoke(Invocation("read", op.key))
            return Reply(found.result[0] if isinstance(found.result, tuple) else None, found.meta)
        return super().invoke(op)

    def _acquired(self, found: Value) -> tuple[Value, Value]:
        number, holder = found if isinstance(found, tuple) else (0, FREE)
        if holder != FREE:
            raise DefiniteError(f"it is held by process {holder}")
        token = (number if isinstance(number, int) else 0) + 1
        return (token, self.process), token

    def _released(self, found: Value) -> tuple[Value, Value]:
        number, holder = found if isinstance(found, tuple) else (0, FREE)
        if holder != self.process:
            raise DefiniteError("this process does not hold it")
        return (number, FREE), None


def _items(found: Value) -> tuple[Value, ...]:
    return found if isinstance(found, tuple) else ()


def _taken(found: Value) -> tuple[Value, Value]:
    head, rest = (_items(found)[0], _items(found)[1:]) if _items(found) else (None, found)
    return rest, head
