"""Locks: nobody is granted one while somebody else holds it; decided exactly, in the time of a sort.

Who was granted the lock holds it at least from the answer until he begins to give it back; whoever holds it for
exactly that long takes as little as possible from the others. So a history of `acquire` and `release` by their holders
is linearizable if and only if these shortest holdings do not overlap. A release counts from its call, whatever came of
it: its process no longer relies on the lock. A grant that nobody was told of (`info`) excludes nobody.

A grant may carry a number, its fencing token: a later grant must carry a larger one, so that what a lock protects can
turn away the requests of a holder that was overtaken.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from capsize.checker.budget import Budget
from capsize.checker.models.model import plain
from capsize.checker.surroundings import at, faults_between, landed_faults
from capsize.history import History
from capsize.op import Operation, Value
from capsize.verdict import Anomaly, Axis, Finding, Verdict

NAME = "mutual-exclusion"


@dataclass(frozen=True, slots=True)
class Holding:
    """One grant, and the operation with which its holder began to give it back; None: never."""

    acquire: Operation
    release: Operation | None

    @property
    def start(self) -> int:
        assert self.acquire.ret is not None
        return self.acquire.ret

    @property
    def token(self) -> int | None:
        result = self.acquire.result
        return result if isinstance(result, int) and not isinstance(result, bool) else None

    @property
    def end(self) -> int:
        return sys.maxsize if self.release is None else self.release.call


class MutualExclusion:
    """The checker of the workload `lock`."""

    name = NAME

    def check(self, history: History, budget: Budget) -> Verdict:
        """Judge every lock; tells the first overlap and the first token out of order of each."""
        del budget
        faults = landed_faults(history.faults)
        anomalies: list[Anomaly] = []
        grants = overlaps = 0
        for key, rows in history.split():
            held = holdings(history.take(rows))
            grants += len(held)
            pairs = overlapping(held)
            overlaps += len(pairs)
            if pairs:
                one, other = pairs[0]
                around = [str(f) for f in faults_between(faults, one.acquire.call_ns, other.acquire.return_ns or 0)]
                anomalies.append(_held_twice(key, one, other, around))
            for one, other in tokens_out_of_order(held)[:1]:
                anomalies.append(_token(key, one, other))
        because = tuple(f"{_of(anomaly.key)}{anomaly.because[0]}" for anomaly in anomalies)
        figures = {"operations": len(history), "locks": len(history.keys()), "grants": grants, "overlaps": overlaps}
        return Verdict(NAME, {Axis.SAFETY: Finding(not anomalies, because)}, tuple(anomalies), figures)


def holdings(operations: Iterable[Operation]) -> list[Holding]:
    """Return who held the lock of these operations, by the time of the grant."""
    open_: dict[int, Operation] = {}
    held: list[Holding] = []
    for op in sorted(operations, key=lambda op: op.call):
        if op.f == "acquire" and op.outcome == "ok":
            if op.process in open_:
                held.append(Holding(open_.pop(op.process), op))  # asks again: it no longer relies on the first
            open_[op.process] = op
        elif op.f == "release" and op.process in open_:
            held.append(Holding(open_.pop(op.process), op))
    held += [Holding(acquire, None) for acquire in open_.values()]
    return sorted(held, key=lambda one: one.start)


def overlapping(held: list[Holding]) -> list[tuple[Holding, Holding]]:
    """Return each holding that began while an earlier one of another process went on, with that one."""
    pairs: list[tuple[Holding, Holding]] = []
    longest: Holding | None = None
    for one in held:
        if longest is not None and longest.end > one.start and longest.acquire.process != one.acquire.process:
            pairs.append((longest, one))
        if longest is None or one.end > longest.end:
            longest = one
    return pairs


def tokens_out_of_order(held: list[Holding]) -> list[tuple[Holding, Holding]]:
    """Return each grant whose token is not larger than that of a grant that was answered before it was asked for."""
    pairs: list[tuple[Holding, Holding]] = []
    told = [one for one in held if one.token is not None]
    asked = sorted(told, key=lambda one: one.acquire.call)
    largest: Holding | None = None
    number = 0
    for one in asked:
        while number < len(told) and told[number].start < one.acquire.call:
            if largest is None or (told[number].token or 0) > (largest.token or 0):
                largest = told[number]
            number += 1
        if largest is not None and (one.token or 0) <= (largest.token or 0):
            pairs.append((largest, one))
    return pairs


def _held_twice(key: Value, one: Holding, other: Holding, around: list[str]) -> Anomaly:
    first, second = one.acquire, other.acquire
    until = "never gave it back"
    if one.release is not None:
        until = f"began to give it back only at {at(one.release.call_ns)}"
    because = [
        f"{_who(second)} was granted the lock at {at(second.return_ns or 0)} while {_who(first)} held it.",
        f"{_who(first)} had been granted it at {at(first.return_ns or 0)} and {until}.",
    ]
    if around:
        because.append(f"Active meanwhile: {'; '.join(around)}.")
    ops = (first, second) if one.release is None else (first, second, one.release)
    return Anomaly("lock-held-twice", tuple(because), ops, key=key)


def _token(key: Value, one: Holding, other: Holding) -> Anomaly:
    told = (
        f"{_who(other.acquire)} was granted the lock with token {other.token}, after {_who(one.acquire)} had been "
        f"granted it with token {one.token}: what the lock protects would take the older holder for the newer one."
    )
    return Anomaly("token-out-of-order", (told,), (one.acquire, other.acquire), key=key)


def _of(key: Value) -> str:
    return "" if key is None else f"lock {plain(key)}: "


def _who(op: Operation) -> str:
    return f"p{op.process}" + (f" on {op.node}" if op.node else "")
