"""FIFO queues, judged on a few elements alone: the queue without the others is a FIFO queue still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capsize.checker.anomalies.case import Case, Found, as_judged, by_call, ends_before, name
from capsize.checker.anomalies.sources import from_nowhere
from capsize.checker.enumeration import joined
from capsize.checker.models import Model, Queue
from capsize.checker.models.model import plain, typed
from capsize.op import Operation

QUEUE = Queue()


@dataclass(frozen=True)
class Line:
    """Who put each element in, who took it out; who found nothing; and who may have taken anything."""

    put: Mapping[Any, list[Operation]]
    taken: Mapping[Any, list[Operation]]
    empty: tuple[Operation, ...]
    pending: tuple[Operation, ...]


def find(case: Case, model: Model[Any]) -> Found | None:
    """Return the first pattern that the queue shows."""
    if type(model) is not Queue:
        return None
    put: dict[Any, list[Operation]] = {}
    taken: dict[Any, list[Operation]] = {}
    empty: list[Operation] = []
    pending: list[Operation] = []
    for op in case.happened:
        if op.f == "enqueue":
            put.setdefault(typed(op.value), []).append(op)
        elif op.outcome != "ok":
            pending.append(op)
        elif op.result is None:
            empty.append(op)
        else:
            taken.setdefault(typed(op.result), []).append(op)
    line = Line(put, taken, tuple(empty), tuple(pending))
    for pattern in (_from_nowhere, _taken_twice, _overtaken, _falsely_empty):
        found = pattern(case, line)
        if found is not None:
            return found
    return None


def _from_nowhere(case: Case, line: Line) -> Found | None:
    for word, takers in line.taken.items():
        taker = min(takers, key=lambda op: op.ret or 0)
        refused = [op for op in case.failed if op.f == "enqueue" and typed(op.value) == word]
        writers = line.put.get(word, [])
        found = from_nowhere(case, taker, taker.result, writers, refused, "enqueued")
        if found is not None:
            told, because, more = found
            return Found(told, because, _items([*writers, taker]), QUEUE, tuple(more))
    return None


def _taken_twice(case: Case, line: Line) -> Found | None:
    for word, takers in line.taken.items():
        puts = line.put[word]
        if len(takers) > len(puts):
            value = plain(takers[0].result)
            times = {1: "once", 2: "twice"}.get(len(puts), f"{len(puts)} times")
            shown = takers[: len(puts) + 1]
            return Found(
                "dequeued-twice",
                [
                    f"{joined([name(op) for op in shown[:5]])} all took {value} out, which was put in only {times}."
                    if len(shown) > 2
                    else f"{name(shown[0])} and {name(shown[1])} both took {value} out, which was put in only once.",
                    *[f"{case.told(op)}." for op in (*puts, *shown)][:8],
                ],
                _items([*puts, *shown]),
                QUEUE,
            )
    return None


def _overtaken(case: Case, line: Line) -> Found | None:
    """b left before a did (or a never did), though a was in before b was asked for."""
    single = {word: ops[0] for word, ops in line.put.items() if len(ops) == 1}
    # From the back: of those put in later, the one that was out first.
    queue = by_call(op for op in single.values() if op.outcome == "ok" or typed(op.value) in line.taken)
    first_out: Operation | None = None
    put_later: list[Operation] = list(reversed(queue))
    position = 0
    for a in sorted(queue, key=lambda op: -(op.ret if op.ret is not None else 1 << 62)):
        while position < len(put_later) and ends_before(a, put_later[position]):
            takers = line.taken.get(typed(put_later[position].value), ())
            for taker in takers:
                if taker.ret is not None and (first_out is None or taker.ret < (first_out.ret or 0)):
                    first_out = taker
            position += 1
        if a.outcome != "ok" or first_out is None or first_out.ret is None:
            continue
        b_taken = first_out
        out_by = first_out.ret
        b = single[typed(b_taken.result)]
        mine = line.taken.get(typed(a.value), [])
        others = [op for op in line.pending if op.call < out_by]
        if mine and out_by < mine[0].call:
            return Found(
                "out-of-order",
                [
                    f"{name(b_taken)} took {plain(b.value)} out{case.brief(b_taken)} before {plain(a.value)}, which "
                    "had been put in first.",
                    *[f"{case.told(op)}." for op in (a, b, b_taken, mine[0])],
                    case.before(a, b) + ".",
                    case.before(b_taken, mine[0]) + ".",
                ],
                _items([a, b, b_taken, mine[0]]),
                QUEUE,
            )
        if not mine and not others:
            return Found(
                "lost-element",
                [
                    f"{name(a)} was told that {plain(a.value)} was put in{case.brief(a)}; nobody ever took it out, "
                    f"and {plain(b.value)}, put in after it, was taken out.",
                    *[f"{case.told(op)}." for op in (a, b, b_taken)],
                    case.before(a, b) + ".",
                ],
                _items([a, b, b_taken]),
                QUEUE,
            )
    return None


def _falsely_empty(case: Case, line: Line) -> Found | None:
    """Somebody found the queue empty while an element must have been in it."""
    for empty in line.empty:
        assert empty.ret is not None
        for word, puts in line.put.items():
            if len(puts) > 1 or puts[0].outcome != "ok" or not ends_before(puts[0], empty):
                continue
            takers = line.taken.get(word, [])
            if takers and takers[0].call < empty.ret:
                continue
            if not takers and any(op.call < empty.ret for op in line.pending):
                continue
            value = plain(puts[0].value)
            then = f"{case.told(takers[0])}." if takers else f"Nobody ever took {value} out."
            return Found(
                "stale-read" if takers else "lost-element",
                [
                    f"{name(empty)} found the queue empty{case.brief(empty)}, though {value} was in it."
                    if takers
                    else f"{name(puts[0])} was told that {value} was put in{case.brief(puts[0])}; after that "
                    f"{name(empty)} found the queue empty, and nobody ever took {value} out.",
                    f"{case.told(puts[0])}.",
                    f"{case.told(empty)}.",
                    then,
                    case.before(puts[0], empty) + ".",
                ],
                _items([puts[0], empty, *takers]),
                QUEUE,
            )
    return None


def _items(operations: Sequence[Operation]) -> tuple[Any, ...]:
    return tuple(as_judged(op) for op in by_call(operations))
