"""Objects that hold many values: set, counter, FIFO queue, append-only list."""

from __future__ import annotations

from collections.abc import Hashable

from capsize.checker.models.model import Inconsistent, Model, answered, plain, same, typed
from capsize.op import Operation, Value


class Set(Model[frozenset[Hashable]]):
    """`add v`, `remove v`, `contains v`; `read`, whose result is all elements in any order, each of them once.

    add and remove may answer True or False: whether they changed anything.
    """

    name: str = "set"
    words: frozenset[str] = frozenset({"add", "remove", "contains", "read"})
    anonymous: bool = True

    def init(self) -> frozenset[Hashable]:
        """Return the empty set."""
        return frozenset()

    def step(self, state: frozenset[Hashable], op: Operation) -> frozenset[Hashable] | Inconsistent:
        """Move the set."""
        element = typed(op.value)
        if op.f in ("add", "remove"):
            after = state | {element} if op.f == "add" else state - {element}
            if answered(op) and isinstance(op.result, bool) and op.result != (after != state):
                return Inconsistent(f"{op.f} {plain(op.value)} answered {plain(op.result)}")
            return after
        if op.f == "contains":
            if answered(op) and op.result is not (element in state):
                return Inconsistent(f"contains {plain(op.value)} answered {plain(op.result)}")
            return state
        if op.f != "read":
            return Inconsistent(f"a set has no operation {op.f!r}")
        if not answered(op):
            return state
        listed = op.result if isinstance(op.result, tuple) else ()
        seen = frozenset(map(typed, listed))
        if len(seen) < len(listed):
            return Inconsistent(f"read {plain(op.result)}, in which an element stands more than once")
        if seen == state:
            return state
        missing, extra = sorted(map(_element, state - seen)), sorted(map(_element, seen - state))
        return Inconsistent(
            f"read misses {', '.join(missing) or 'nothing'} and has {', '.join(extra) or 'nothing'} too many"
        )

    def observes(self, op: Operation) -> bool:
        """read and contains do."""
        return op.f in ("read", "contains")

    def describe_state(self, state: frozenset[Hashable]) -> str:
        """Return the elements, sorted as text."""
        return "{" + " ".join(sorted(map(_element, state))) + "}"


def _element(element: Hashable) -> str:
    """Return an element as reports show it."""
    if isinstance(element, tuple):
        if len(element) == 2 and element[0] is bool:
            return plain(bool(element[1]))
        return "[" + " ".join(map(_element, element)) + "]"
    return "nil" if element is None else str(element)


class Counter(Model[int]):
    """`add n`, `incr`, `decr` (by n, or 1), which may answer the new number; `read`."""

    name: str = "counter"
    words: frozenset[str] = frozenset({"add", "incr", "decr", "read"})
    anonymous: bool = True

    def __init__(self, initial: int = 0) -> None:
        self.initial = initial

    def init(self) -> int:
        """Return the initial number."""
        return self.initial

    def step(self, state: int, op: Operation) -> int | Inconsistent:
        """Count."""
        if op.f == "read":
            if answered(op) and not same(op.result, state) and not (op.result is None and state == 0):
                return Inconsistent(f"read {plain(op.result)} but the counter was {state}")
            return state
        amount = 1 if op.value is None else op.value
        if op.f not in ("add", "incr", "decr") or not isinstance(amount, int):
            return Inconsistent(f"a counter has no operation {op.f!r} of {plain(op.value)}")
        after = state - amount if op.f == "decr" else state + amount
        if answered(op) and op.result is not None and not same(op.result, after):
            return Inconsistent(f"{op.f} {plain(amount)} answered {plain(op.result)} but the counter became {after}")
        return after

    def observes(self, op: Operation) -> bool:
        """read does."""
        return op.f == "read"


class Queue(Model[tuple[Value, ...]]):
    """First in, first out: `enqueue v`; `dequeue`, whose result is the oldest element, None when empty."""

    name: str = "queue"
    words: frozenset[str] = frozenset({"enqueue", "dequeue"})
    anonymous: bool = True

    def init(self) -> tuple[Value, ...]:
        """Return the empty queue."""
        return ()

    def step(self, state: tuple[Value, ...], op: Operation) -> tuple[Value, ...] | Inconsistent:
        """Move the queue."""
        if op.f == "enqueue":
            return (*state, op.value)
        if op.f != "dequeue":
            return Inconsistent(f"a queue has no operation {op.f!r}")
        head = state[0] if state else None
        if answered(op) and not same(op.result, head):
            return Inconsistent(f"dequeued {plain(op.result)} but the head was {plain(head)}")
        return state[1:]

    def describe_state(self, state: tuple[Value, ...]) -> str:
        """Return the elements, head first."""
        return plain(state)


class AppendOnlyList(Model[tuple[Value, ...]]):
    """`append v`; `read`, whose result is the whole list in order."""

    name: str = "list"
    words: frozenset[str] = frozenset({"append", "read"})
    anonymous: bool = True

    def init(self) -> tuple[Value, ...]:
        """Return the empty list."""
        return ()

    def step(self, state: tuple[Value, ...], op: Operation) -> tuple[Value, ...] | Inconsistent:
        """Append, or compare what was read."""
        if op.f == "append":
            return (*state, op.value)
        if op.f != "read":
            return Inconsistent(f"a list has no operation {op.f!r}")
        seen = () if op.result is None else op.result
        if answered(op) and not same(seen, state):
            return Inconsistent(f"read {plain(op.result)} but the list was {plain(state)}")
        return state

    def observes(self, op: Operation) -> bool:
        """read does."""
        return op.f == "read"

    def describe_state(self, state: tuple[Value, ...]) -> str:
        """Return the items."""
        return plain(state)
