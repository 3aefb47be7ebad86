"""The smallest proof: from the operations on one key to the few that are in themselves impossible.

Leaving out operations may not turn a possible history into an impossible one; otherwise the witness would prove
nothing. For registers and maps that holds for a *closed* set: with every value that is observed in it, all
operations of the key that may have written that value are in it too. (Take a legal order of everything; drop the
rest: each observer still follows the last writer of its value, and whoever stood between them is gone.) An answer
"it was not `old`" constrains every writer, so such operations are left out, or else nothing is.

A compare-and-set that succeeded may stand in the proof as a plain write of its new value: that asks less of the
order, and it frees the proof from the writers of what was compared.

The proof is judged by `wgl`, which shares no code with the fast engines.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.models.model import Model, typed
from capsize.checker.outcome import Illegal
from capsize.checker.wgl import decide_wgl
from capsize.history import History
from capsize.op import Operation, Value

READS = frozenset({"read", "get"})
PLAIN_WRITES = {"register": "write", "cas-register": "write", "kv": "put"}
MOST_TRIED = 1_500
"""Operations of a key from which no proof is searched when the engine's own was not closed."""
ORACLE = Budget(steps=200_000)
STEPS_IN_ALL = 100_000
"""Steps of the oracle spent on one proof, all its runs together; what has been reached by then is handed back."""


@dataclass(frozen=True, slots=True)
class Item:
    """One operation of a proof: as it was, and as it is judged (a compare-and-set may count as a write)."""

    shown: Operation
    judged: Operation

    @property
    def weakened(self) -> bool:
        return self.judged is not self.shown


def written(op: Operation) -> tuple[Value, ...]:
    """Return the value that `op` wrote or may have written, if any."""
    if op.outcome == "fail" or op.f in READS:
        return ()
    if op.f == "cas":
        took = op.outcome == "info" or op.result is not False
        return (op.value[1],) if took and isinstance(op.value, tuple) and len(op.value) == 2 else ()
    return (None,) if op.f == "delete" else (op.value,)


def observed(op: Operation) -> tuple[Value, ...]:
    """Return the value that `op` must have found, if any."""
    if op.f in READS:
        return (op.result,) if op.outcome == "ok" else ()
    if op.f == "cas" and written(op):
        assert isinstance(op.value, tuple)
        return (op.value[0],)
    return ()


def reducible(operations: Iterable[Operation], model: Model[Any]) -> bool:
    """Return whether the reasoning above applies: a register or map, of reads, writes, deletes and cas only."""
    words = {"write", "put", "delete", "cas", *READS}
    return model.name in PLAIN_WRITES and all(op.f in words for op in operations)


def impossible(operations: Sequence[Operation], model: Model[Any], budget: Budget = ORACLE) -> bool:
    """Return whether the oracle finds no legal order of `operations`; False also when its budget ran out."""
    return isinstance(decide_wgl(History.of(operations), model, budget), Illegal)


def closed(items: Sequence[Item], everything: Sequence[Operation]) -> bool:
    """Return whether leaving out the rest of `everything` cannot have made `items` impossible."""
    kept = {item.shown.identity for item in items}
    if any(_denies(item.judged) for item in items):
        return all(op.identity in kept for op in everything if written(op))
    needed = {_value_key(value) for item in items for value in observed(item.judged)}
    return all(
        op.identity in kept or not any(_value_key(value) in needed for value in written(op)) for op in everything
    )


def smallest_proof(
    start: Sequence[Operation], everything: Sequence[Operation], model: Model[Any]
) -> tuple[Item, ...] | None:
    """Return the fewest operations found that are in themselves impossible; None if no proof was found.

    `start` is what an engine named; `everything` all operations on that key. One operation less, and the rest is
    possible, or proves nothing; unless `STEPS_IN_ALL` ended the search before.
    """
    everything = [op for op in everything if op.outcome != "fail"]
    if not reducible(everything, model):
        return None
    oracle = _Oracle(model)
    for first in (_close(start, everything), [op for op in everything if not _denies(op)], list(everything)):
        items = [Item(op, op) for op in first]
        if 0 < len(items) <= MOST_TRIED and closed(items, everything) and oracle.impossible(first):
            return tuple(_reduce(items, everything, oracle))
    return None


class _Oracle:
    """`impossible`, with an end to all the steps of its runs together."""

    def __init__(self, model: Model[Any]) -> None:
        self.model, self.left = model, STEPS_IN_ALL

    def impossible(self, operations: Sequence[Operation]) -> bool:
        if self.left <= 0:
            return False
        found = decide_wgl(History.of(operations), self.model, Budget(steps=min(self.left, ORACLE.steps_or_all)))
        self.left -= found.steps + len(operations)
        return isinstance(found, Illegal)


def _close(start: Sequence[Operation], everything: Sequence[Operation]) -> list[Operation]:
    """Return `start` without denials, and with every writer of what is observed."""
    kept = {op.identity: op for op in start if not _denies(op) and op.outcome != "fail"}
    waiting = list(kept.values())
    writers: dict[Any, list[Operation]] = {}
    for op in everything:
        for value in written(op):
            writers.setdefault(_value_key(value), []).append(op)
    while waiting:
        for value in observed(waiting.pop()):
            for op in writers.pop(_value_key(value), ()):  # all of them at the first one who saw it
                if op.identity not in kept:
                    kept[op.identity] = op
                    waiting.append(op)
    return sorted(kept.values(), key=lambda op: op.call)


def _reduce(items: list[Item], everything: Sequence[Operation], oracle: _Oracle) -> list[Item]:
    def holds(some: list[Item]) -> bool:
        return bool(some) and closed(some, everything) and oracle.impossible([item.judged for item in some])

    size = len(items) // 2
    while size >= 4:  # whole stretches of time first
        position = 0
        while position < len(items):
            fewer = _unneeded_out(items[:position] + items[position + size :], everything)
            if len(fewer) < len(items) and holds(fewer):
                items = fewer
            else:
                position += size
        size //= 2
    changed = True
    while changed:
        changed = False
        for item in sorted(items, key=lambda item: (not written(item.judged), -item.judged.call)):
            fewer = [other for other in items if other is not item]
            if holds(fewer):
                items, changed = fewer, True
        for position, item in enumerate(items):
            if item.judged.f == "cas" and item.judged.outcome == "ok" and written(item.judged):
                plain = replace(
                    item.judged, f=PLAIN_WRITES[oracle.model.name], value=written(item.judged)[0], result=None
                )
                weaker = [*items[:position], Item(item.shown, plain), *items[position + 1 :]]
                if holds(weaker):
                    items, changed = weaker, True
                    break
    return items


def _unneeded_out(items: list[Item], everything: Sequence[Operation]) -> list[Item]:
    """Drop observers whose writers are no longer all there, until the rest is closed."""
    while True:
        kept = {item.shown.identity for item in items}
        missing = {_value_key(value) for op in everything if op.identity not in kept for value in written(op)}
        fewer = [item for item in items if not any(_value_key(value) in missing for value in observed(item.judged))]
        if len(fewer) == len(items):
            return items
        items = fewer


def _denies(op: Operation) -> bool:
    return op.f == "cas" and op.outcome == "ok" and op.result is False


def _value_key(value: Value) -> Hashable:
    """Return a key under which 1 and True differ, and 1 and 1.0 do not."""
    return typed(value)
