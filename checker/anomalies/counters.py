"""Counters: between two moments at which the number is known, it must have moved by what was asked for meanwhile."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from capsize.checker.anomalies.case import Case, Found, by_call, counted, ends_before, name
from capsize.checker.cells import Step, judged_in_cells, told_in_cells
from capsize.checker.models import Counter, KeyValue, Model
from capsize.checker.reduction import READS, Item
from capsize.op import Operation

NEAREST = 6
"""Moments before each one that it is compared with."""
PAIRS_MAX = 3_000
"""Pairs of moments that are compared, each by a pass over the key."""


@dataclass(frozen=True, slots=True)
class Between:
    """What was asked for between `start` (None: the beginning) and `end`: certainly, and perhaps."""

    start: Operation | None
    end: Operation
    surely: tuple[Operation, ...]
    maybe: tuple[Operation, ...]
    moved: int
    least: int
    most: int


def find(case: Case, model: Model[Any]) -> Found | None:
    """Return the first pattern that the counter shows: the two moments that the fewest operations argue."""
    initial = _initial(case, model)
    if initial is None or told_in_cells(model, case.happened) is None:
        return None
    best: Between | None = None
    fewest = 0
    for number, pair in enumerate(_pairs(case)):
        between = _between(case, initial, *pair)
        if between is not None and not between.least <= between.moved <= between.most:
            size = len(_counting(between, too_much=between.moved > between.most))
            if best is None or size < fewest:
                best, fewest = between, size
            if size == 0:
                break
        if number >= PAIRS_MAX:
            break
    return None if best is None else _tell(case, initial, best)


def _initial(case: Case, model: Model[Any]) -> int | None:
    """Return what a counter, or a key of a map that is only counted and read, begins with; None for what is neither."""
    if type(model) is Counter:
        return model.initial
    words = {op.f for op in case.happened}
    if type(model) is not KeyValue or "incr" not in words or not words <= {"incr", *READS}:
        return None
    initial = model.init()
    return 0 if initial is None else initial if type(initial) is int else None


def _pairs(case: Case) -> Iterator[tuple[Operation | None, Operation]]:
    """Yield pairs of moments at which the number is known, the ones nearest to the contradiction first."""
    known = [op for op in by_call(case.happened) if op.outcome == "ok" and _after(op) is not None]
    returned = sorted(known, key=lambda op: op.ret or 0)
    returns = [op.ret or 0 for op in returned]
    end = case.until if case.until is not None else 0
    for op in sorted(known, key=lambda op: abs((op.ret or 0) - end)):
        at = bisect_left(returns, op.call)
        for before in reversed(returned[max(0, at - NEAREST) : at]):
            yield before, op
        yield None, op


def _after(op: Operation) -> int | None:
    """Return the number right after `op`, if it told."""
    if op.f in READS and op.result is None:
        return 0
    return op.result if type(op.result) is int else None


def _amount(op: Operation) -> int:
    if op.f in READS:
        return 0
    amount = 1 if op.value is None else op.value
    assert isinstance(amount, int)
    return -amount if op.f == "decr" else amount


def _between(case: Case, initial: int, start: Operation | None, end: Operation) -> Between | None:
    after = _after(end)
    assert after is not None
    assert end.ret is not None
    at_start = initial if start is None else _after(start)
    assert at_start is not None
    surely: list[Operation] = []
    maybe: list[Operation] = []
    for op in case.happened:
        if op.f in READS or op is start or op is end or op.call > end.ret:
            continue
        if start is not None and ends_before(op, start):
            continue
        certain = ends_before(op, end) and (start is None or ends_before(start, op))
        (surely if certain else maybe).append(op)
    moved = after - _amount(end) - at_start
    fixed = sum(map(_amount, surely))
    least = fixed + sum(min(0, _amount(op)) for op in maybe)
    most = fixed + sum(max(0, _amount(op)) for op in maybe)
    return Between(start, end, tuple(surely), tuple(maybe), moved, least, most)


def _tell(case: Case, initial: int, found: Between) -> Found:
    start, end = found.start, found.end
    after = _after(end)
    assert after is not None
    at_end, origin = after - _amount(end), initial if start is None else _after(start)
    assert origin is not None
    too_much = found.moved > found.most
    counting = _counting(found, too_much=too_much)
    bound = origin + sum(map(_amount, counting))
    since = "from the start" if start is None else f"since {case.no(start)}"
    if found.moved < 0 and not counting:
        told = "stale-read"
        first = f"The counter went backwards: {name(end)} found {at_end}{case.brief(end)}, after it had been {origin}."
    elif too_much:
        told = "double-increment"
        first = (
            f"{name(end)} found {at_end}{case.brief(end)}, more than was ever asked for: {origin} and all that can "
            f"have been counted {since} make {bound}."
        )
    else:
        told = "lost-increment"
        first = (
            f"{name(end)} found {at_end}{case.brief(end)}, less than was acknowledged: {origin} and what certainly was "
            f"counted {since} make {bound}."
        )
    because = [first]
    if start is not None:
        because += [f"{case.told(start)}.", f"{case.told(end)}.", case.before(start, end) + "."]
    else:
        because.append(f"{case.told(end)}.")
    if end.f not in READS:
        because.append(f"{case.no(end)} made it {after}: it found {at_end}.")
    surely = [op for op in counting if op in found.surely]
    maybe = [op for op in counting if op not in found.surely]
    if surely:
        because.append(f"Between the two, {_amounts(surely)} certainly took effect ({case.several(surely)}).")
    if maybe:
        because.append(f"{_amounts(maybe).capitalize()} may have taken effect between the two ({case.several(maybe)}).")
    if not counting:
        because.append("Nobody asked for a change that can have made up for it between the two.")
    if not too_much:
        acknowledged = [op for op in (start, *surely) if op is not None and _amount(op) != 0 and op.outcome == "ok"]
        because += case.fate(acknowledged[-1], end.return_ns) if acknowledged else []
    return Found(told, because, *_items(initial, found, counting, sign=-1 if too_much else 1))


def _amounts(operations: Sequence[Operation]) -> str:
    total = sum(map(_amount, operations))
    return f"{counted(len(operations), 'change')} by {total:+} in all"


def _counting(found: Between, *, too_much: bool) -> list[Operation]:
    """Return what the bound rests on: what may have helped, and as little as possible of what certainly hindered."""
    sign = -1 if too_much else 1
    helping = [op for op in (*found.surely, *found.maybe) if sign * _amount(op) < 0]
    hindering = sorted((op for op in found.surely if sign * _amount(op) > 0), key=lambda op: -abs(_amount(op)))
    total = sign * sum(map(_amount, helping))
    kept: list[Operation] = []
    for op in hindering:
        if total > sign * found.moved:
            break
        kept.append(op)
        total += sign * _amount(op)
    return by_call([*helping, *kept])


def _items(
    initial: int, found: Between, counting: Sequence[Operation], *, sign: int
) -> tuple[tuple[Item, ...], Model[Any]]:
    """Return what counts: the two moments and `counting`; the number found is a bound, so the rest may be left out.

    With sign -1 everything is counted downwards, and the bound is one from below.
    """
    shown = by_call([op for op in (found.start, *counting, found.end) if op is not None])
    end_after = _after(found.end)
    assert end_after is not None
    bound = sign * (end_after - _amount(found.end)) + 1
    steps: list[Step] = []
    for op in shown:
        if op is found.start:  # it stands for all before it
            steps.append(Step(effects=((None, "to", sign * (_after(op) or 0)),)))
        elif op is found.end:
            steps.append(Step(needs=((None, "below", bound),)))
        else:
            steps.append(Step(effects=((None, "by", sign * _amount(op)),)))
    judged, cells = judged_in_cells(shown, steps, sign * initial, known=found.start is None)
    return tuple(Item(one, other) for one, other in zip(shown, judged, strict=True)), cells
