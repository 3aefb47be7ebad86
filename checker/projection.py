"""Queues and lists made small: only a few of their values looked at, and only the reads that matter.

A FIFO queue from which some values are left out, with everything that was done to them, is a FIFO queue of the
others; so is a list. So "the rest is impossible" implies "the whole is". A dequeue that never returned may have
taken anything, so it stays.

A queue that was found empty begins anew there: what had returned before is left out, and what was open may have its
effect at any time after, or never. (What took effect before it was found empty has left nothing behind.)

Of values that repeat, what was put in first is what was taken out first. Where the i-th to j-th enqueue are the same
operations in every order, and the i-th to j-th dequeue that can have taken something as well, the ones took what the
others put in: without both it is the queue of the rest. So is one without what nobody can have come to take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.general import decide_general
from capsize.checker.models import AppendOnlyList, Model, Queue
from capsize.checker.models.model import typed
from capsize.checker.outcome import Illegal
from capsize.checker.reduction import Item, impossible
from capsize.checker.shrinking import cut
from capsize.history import History
from capsize.op import Operation, Value

EACH = Budget(steps=30_000)
TRIES_MAX = 400
OPERATIONS_MAX = 100_000
MOST_STARTS = 40
"""Moments at which a queue was found empty that are tried."""


def projected(everything: Sequence[Operation], model: Model[Any], until: int | None) -> tuple[Item, ...] | None:
    """Return the operations on the fewest values found that are impossible; None if there is no such proof."""
    if type(model) not in (Queue, AppendOnlyList):
        return None
    cut_off = [
        Item(op, op if op.ret is not None and (until is None or op.ret <= until) else cut(op))
        for op in sorted(everything, key=lambda op: op.call)
        if op.outcome != "fail" and (until is None or op.call <= until)
    ]
    narrowing = _Narrowing(cut_off, model)
    values = list({typed(value): value for item in cut_off for value in _values(item.judged)}.values())
    cut_off, start = narrowing.since_empty(values, cut_off)
    if start is None and not narrowing.impossible(values, cut_off):
        return None
    values = fewest(values, lambda some: narrowing.impossible(some, cut_off))
    items = narrowing.restrict(values, cut_off)
    if type(model) is Queue:
        items = narrowing.without_matched(items)
    reads = [item for item in items if model.observes(item.judged) and item.shown is not start]
    needed = fewest(reads, lambda some: narrowing.holds(_without(items, reads, some)))
    items = _without(items, reads, needed)
    items = [item for item in items if item.judged.ret is not None or not model.observes(item.judged)]
    return tuple(items) if impossible([item.judged for item in items], model) else None


@dataclass
class _Narrowing:
    """Asks the general engine about fewer values, a bounded number of times."""

    items: list[Item]
    model: Model[Any]
    tries: int = TRIES_MAX
    operations: int = OPERATIONS_MAX

    def impossible(self, values: Sequence[Value], items: list[Item]) -> bool:
        return self.holds(self.restrict(values, items))

    def holds(self, items: Sequence[Item]) -> bool:
        if self.tries <= 0 or self.operations <= 0 or not items:
            return False
        self.tries -= 1
        self.operations -= len(items)
        history = History.of(item.judged for item in items)
        return isinstance(decide_general(history, self.model, EACH), Illegal)

    def since_empty(self, values: Sequence[Value], items: list[Item]) -> tuple[list[Item], Operation | None]:
        """Return what is impossible since the queue was last found empty, and who found that; else everything."""
        if type(self.model) is not Queue:
            return items, None
        found = [item for item in items if item.judged.ret is not None and _found_empty(item.judged)]
        for start in sorted(found, key=lambda item: item.judged.call, reverse=True)[:MOST_STARTS]:
            window = _since(items, start)
            if self.impossible(values, window):
                return window, start.shown
        return items, None

    def without_matched(self, items: list[Item]) -> list[Item]:
        """Return as few of the operations on a queue as are impossible, what belongs to one another left out."""
        blocks = matched(items)
        kept = fewest(blocks, lambda some: self.holds(_without_blocks(items, blocks, some)))
        rest = _without_blocks(items, blocks, kept)
        return rest if len(kept) == len(blocks) else self.without_matched(rest)

    def restrict(self, values: Sequence[Value], items: list[Item]) -> list[Item]:
        """Return what is left of the operations when only `values` are looked at."""
        wanted = set(map(typed, values))
        found: list[Item] = []
        for item in items:
            op = item.judged
            if op.f in ("enqueue", "append"):
                if typed(op.value) in wanted:
                    found.append(item)
            elif op.f == "read":
                listed = op.result if isinstance(op.result, tuple) else ()
                shown = tuple(value for value in listed if typed(value) in wanted)
                found.append(Item(item.shown, replace(op, result=shown if op.outcome == "ok" else None)))
            elif op.outcome != "ok" or op.result is None or typed(op.result) in wanted:
                found.append(item)
        return found


def _found_empty(op: Operation) -> bool:
    return op.f == "dequeue" and op.outcome == "ok" and op.result is None


def _since(items: Sequence[Item], start: Item) -> list[Item]:
    """Return what follows `start`; what was open when it was called or answered may come later, or never."""
    called, answered = start.judged.call, start.judged.ret
    assert answered is not None
    return [
        item if item is start or item.judged.call > answered else Item(item.shown, cut(item.judged))
        for item in items
        if item.judged.ret is None or item.judged.ret > called
    ]


def _without_blocks(items: list[Item], blocks: list[list[Item]], kept: list[list[Item]]) -> list[Item]:
    going = {id(item) for block in blocks for item in block} - {id(item) for block in kept for item in block}
    return [item for item in items if id(item) not in going]


def matched(items: Sequence[Item]) -> list[list[Item]]:
    """Return groups of operations on a queue of which each may be left out: puts and who took just them, or nobody."""
    puts = [item for item in items if item.judged.f == "enqueue"]
    takes = [item for item in items if item.judged.f == "dequeue" and not _found_empty(item.judged)]
    puts.sort(key=lambda item: item.judged.call)
    takes.sort(key=lambda item: item.judged.call)
    certain = _ranks(puts)
    both = sorted(set(certain) & set(_ranks(takes)))
    groups = [puts[start:end] + takes[start:end] for start, end in pairwise(both)]
    beyond = next((rank for rank in certain if len(takes) <= rank < len(puts)), None)
    return groups if beyond is None else [*groups, puts[beyond:]]


def _ranks(ops: Sequence[Item]) -> list[int]:
    """Return every n for which the same n operations come first in any order; `ops` are in the order of their calls."""
    found, latest = [0], -1
    for number, item in enumerate(ops, 1):
        if item.judged.ret is None:
            break
        latest = max(latest, item.judged.ret)
        if number == len(ops) or latest < ops[number].judged.call:
            found.append(number)
    return found


def _values(op: Operation) -> tuple[Value, ...]:
    if op.f in ("enqueue", "append"):
        return (op.value,)
    if op.f == "read":
        return op.result if isinstance(op.result, tuple) else ()
    return () if op.result is None else (op.result,)


def fewest(items: list[Any], holds: Callable[[list[Any]], bool]) -> list[Any]:
    """Return a part of `items` that holds and from which none can be left out, if `holds` may be asked enough."""
    size = max(1, len(items) // 2)
    while size:
        position = 0
        while position < len(items):
            fewer = items[:position] + items[position + size :]
            if holds(fewer):
                items = fewer
            else:
                position += size
        size //= 2
    return items


def _without(items: list[Item], reads: list[Item], needed: list[Item]) -> list[Item]:
    going = {id(item) for item in reads} - {id(item) for item in needed}
    return [item for item in items if id(item) not in going]
