"""The smallest witness that an engine itself finds impossible: fewer operations, with nothing made impossible.

Leaving out operations is allowed only where "the smaller history is illegal" implies "the original is illegal":

1. *Cut* after the return at which no configuration was left. What was open then is pending: it may have happened.
2. *Observers*: an operation that never changes the state (a completed read, a cas that was told false) may go.
3. *Writes*, for registers and maps: an operation that changed the value may go if nobody who stays can have observed
   what it wrote: the value does not fit the answer, the answer was given before the write was called, or another
   write that stays lies wholly between the two. (Take a legal order of everything, drop those who go: everyone who
   stays still follows the writer that it followed before.)

Any other write that is left out can turn a legal history into an illegal one, so no other is. Unlike `reduction`,
this works with any engine and any model, and keeps few operations where values repeat.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from capsize.checker.models import CasRegister, KeyValue, Model, Register
from capsize.checker.models.model import typed
from capsize.checker.outcome import Decide, Illegal
from capsize.history import History
from capsize.op import Operation, Value

TRIES_MAX = 2_000
OPERATIONS_MAX = 4_000_000
"""How often the engine is asked, and about how many operations in all; what is left then is a witness too."""

_NEVER = 1 << 62
_ANY = "any"
_WRITES = frozenset({"write", "put"})
_READS = frozenset({"read", "get"})
_REGISTERS: tuple[type[Model[Any]], ...] = (Register, CasRegister, KeyValue)


def smallest_witness(
    history: History, model: Model[Any], decide: Decide, *, tries: int = TRIES_MAX
) -> tuple[Operation, ...]:
    """Return the operations of an illegal history of one key that are still illegal by themselves, in call order.

    `decide` is asked at most `tries` times; empty if it does not find `history` illegal. An operation that was open
    at the cut stands as `info`.
    """
    found = decide(history)
    if not isinstance(found, Illegal):
        return ()
    shrinking = _Shrinking(model, decide, tries)
    operations = [op for op in history if op.outcome != "fail"]
    operations = shrinking.cut(operations, history, found)
    operations = shrinking.without_observers(operations)
    if type(model) in _REGISTERS and all(_is_plain(op) for op in operations):
        operations = shrinking.without_writes(operations)
        operations = shrinking.without_observers(operations)
    return tuple(operations)


class _Shrinking:
    """Tries smaller histories while the engine may be asked."""

    def __init__(self, model: Model[Any], decide: Decide, tries: int) -> None:
        self.model, self.decide, self.tries = model, decide, tries
        self.operations = OPERATIONS_MAX
        self.original: list[Operation] = []

    def illegal(self, operations: Sequence[Operation]) -> bool:
        """Return whether the engine finds `operations` illegal; False when it may not be asked any more."""
        if self.tries <= 0 or self.operations <= 0 or not operations:
            return False
        self.tries -= 1
        self.operations -= len(operations)
        return isinstance(self.decide(History.of(operations)), Illegal)

    def cut(self, operations: list[Operation], history: History, found: Illegal) -> list[Operation]:
        """Return the shortest prefix that is illegal: after the return that the engine names, else by halving."""
        named = history.columns.ret[history.columns.row == found.reason.get("at", -1)]
        if len(named) and named[0] >= 0:
            prefix = _until(operations, int(named[0]))
            if self.illegal(prefix):
                return prefix
        returns = sorted(op.ret for op in operations if op.ret is not None)
        low, high = 0, len(returns) - 1
        while low < high:
            middle = (low + high) // 2
            if self.illegal(_until(operations, returns[middle])):
                high = middle
            else:
                low = middle + 1
        return _until(operations, returns[high]) if returns else operations

    def without_observers(self, operations: list[Operation]) -> list[Operation]:
        """Return the operations without the observers that the contradiction does not need."""
        return self._dropping(operations, [op for op in operations if self.model.observes(op)], lambda fewer: fewer)

    def without_writes(self, operations: list[Operation]) -> list[Operation]:
        """Return the operations without the writes that the contradiction does not need."""
        self.original = operations
        before = len(operations) + 1
        while len(operations) < before and self.tries > 0:
            before = len(operations)
            operations = self._dropping(operations, [op for op in operations if _wrote(op)], self._settled)
        return operations

    def _dropping(
        self,
        operations: list[Operation],
        droppable: list[Operation],
        settled: Callable[[list[Operation]], list[Operation]],
    ) -> list[Operation]:
        """Drop what may go, many at once first and with all that must go with it, while what stays is illegal."""
        size = max(1, len(droppable) // 2)
        while droppable and size:
            position = 0
            while position < len(droppable):
                going = {op.identity for op in droppable[position : position + size]}
                fewer = settled([op for op in operations if op.identity not in going])
                if len(fewer) < len(operations) and self.illegal(fewer):
                    operations = fewer
                    staying = {op.identity for op in fewer}
                    droppable = [op for op in droppable if op.identity in staying]
                else:
                    position += size
            size //= 2
        return operations

    def _settled(self, kept: list[Operation]) -> list[Operation]:
        """Return `kept` without everything that may have observed an operation that goes."""
        while True:
            staying = {op.identity for op in kept}
            gone = _Gone([op for op in self.original if _wrote(op) and op.identity not in staying], kept)
            fewer = [op for op in kept if not gone.observed_by(op)]
            if len(fewer) == len(kept):
                return kept
            kept = fewer


class _Gone:
    """The writes that go, laid out to be asked who of those who stay can have observed one; log n an answer."""

    def __init__(self, gone: Sequence[Operation], kept: Sequence[Operation]) -> None:
        over = sorted((op.ret, op.call) for op in kept if op.ret is not None and _wrote(op))
        self.returns = [ret for ret, _ in over]
        self.latest_call = list(accumulate((call for _, call in over), max))
        self.by_value: dict[Any, tuple[list[int], list[int]]] = {}
        values: dict[Any, list[Operation]] = {}
        for op in sorted(gone, key=lambda op: op.call):
            values.setdefault(_value_key(_value_written(op)), []).append(op)
            values.setdefault(_ANY, []).append(op)
        for value, writes in values.items():
            ends = (_NEVER if op.ret is None else op.ret for op in writes)
            self.by_value[value] = [op.call for op in writes], list(accumulate(ends, max))

    def observed_by(self, op: Operation) -> bool:
        """Return whether `op` can have found what one of the writes wrote."""
        value = _value_sought(op)
        if value is None or value not in self.by_value:
            return False
        calls, latest_ends = self.by_value[value]
        called = len(calls) if op.ret is None else bisect_left(calls, op.ret)
        overwritten = bisect_left(self.returns, op.call)
        # A write that ended before the call of a write that ended before `op` was called is out of reach.
        reach = self.latest_call[overwritten - 1] if overwritten else -1
        return called > 0 and latest_ends[called - 1] >= reach


def _until(operations: Sequence[Operation], position: int) -> list[Operation]:
    """Return what was called before `position`; what had not returned by then as pending."""
    return [
        op
        if op.ret is not None and op.ret <= position
        else replace(op, ret=None, return_ns=None, outcome="info", result=None)
        for op in operations
        if op.call <= position
    ]


def _is_plain(op: Operation) -> bool:
    return op.f in _READS or op.f in _WRITES or op.f == "delete" or (op.f == "cas" and isinstance(op.value, tuple))


def _wrote(op: Operation) -> bool:
    """Return whether `op` changed the value, or may have."""
    if op.f == "cas":
        return op.outcome == "info" or op.result is not False
    return op.f in _WRITES or op.f == "delete"


def _value_sought(op: Operation) -> Any:
    """Return the key of the value that `op` must have found; _ANY if it denies one; None if it found nothing."""
    if op.f in _READS:
        return _value_key(op.result) if op.outcome == "ok" else None
    if op.f != "cas" or not isinstance(op.value, tuple):
        return None
    return _ANY if op.outcome == "ok" and op.result is False else _value_key(op.value[0])


def _value_written(write: Operation) -> Value:
    if write.f == "cas":
        assert isinstance(write.value, tuple)
        return write.value[1]
    return None if write.f == "delete" else write.value


def _value_key(value: Value) -> Hashable:
    """Return a key under which 1 and True differ; never None."""
    return (typed(value),)
