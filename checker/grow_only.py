"""Sets that only grow: decided exactly and in linear time, whatever is pending.

Every element is added once, nothing is removed, a read answers all elements. So the answers of the reads must form a
chain by inclusion, and the chain fixes the order of everything: the elements that the first reading holds, that
reading, the elements that the next one has more, and so on; acknowledged elements that nobody read come last, those
that were neither acknowledged nor read never need to have happened. Within one such group any order will do. The
history is linearizable if and only if no operation of a later group returned before one of an earlier group was
called, which one pass over the groups shows.

An `info` add that was seen is an add without a return; an add that failed must never be seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from capsize.checker.budget import Budget
from capsize.checker.models.model import plain
from capsize.checker.surroundings import ActiveFault, at, faults_between, landed_faults
from capsize.history import History
from capsize.op import Operation, Value
from capsize.verdict import Anomaly, Axis, Finding, Verdict

NAME = "set"
MOST_NAMED = 12
"""Elements named in one sentence; the rest are counted."""


class GrowOnlySet:
    """The checker of the workload `set`: `add v` with unique values, `read` of all of them."""

    name = NAME

    def check(self, history: History, budget: Budget) -> Verdict:
        """Judge every key. Cost: linear in the elements of all readings together."""
        del budget
        anomalies: list[Anomaly] = []
        totals: dict[str, int] = dict.fromkeys(("acknowledged", "unknown", "unknown_but_seen", "reads", "lost"), 0)
        keys = 0
        faults = landed_faults(history.faults)
        for key, rows in history.split():
            keys += 1
            one = judge_set(history.take(rows), key)
            anomalies += [with_surroundings(anomaly, faults) for anomaly in one.anomalies]
            for word, count in one.figures.items():
                totals[word] += count
        because = tuple(f"{_of(anomaly.key)}{anomaly.because[0]}" for anomaly in anomalies)
        return Verdict(
            NAME,
            {Axis.SAFETY: Finding(not anomalies, because)},
            tuple(anomalies),
            {"operations": len(history), "keys": keys, **totals},
        )


@dataclass(slots=True)
class JudgedSet:
    """What was found out about one set."""

    anomalies: list[Anomaly] = field(default_factory=list[Anomaly])
    figures: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Reading:
    """One answered read, and the elements it held."""

    op: Operation
    held: frozenset[Value]


def judge_set(operations: Iterable[Operation], key: Value = None) -> JudgedSet:
    """Decide one key. Of each kind of contradiction the first is told, with everything that is lost."""
    adds: dict[Value, Operation] = {}
    failed: dict[Value, Operation] = {}
    readings: list[Reading] = []
    for op in operations:
        if op.f == "add":
            (failed if op.outcome == "fail" else adds)[op.value] = op
        elif op.f == "read" and op.outcome == "ok":
            readings.append(Reading(op, frozenset(op.result if isinstance(op.result, tuple) else ())))
    seen = frozenset[Value]().union(*(reading.held for reading in readings))
    found = JudgedSet()
    impossible = _never_added(readings, adds, failed)
    lost, lost_count = _lost(readings, adds)
    found.anomalies += [_named(name, key, because, ops) for name, because, ops in (*impossible, *lost)]
    known = [Reading(reading.op, reading.held & adds.keys()) for reading in readings]
    if not found.anomalies:
        found.anomalies += [_named(name, key, because, ops) for name, because, ops in _out_of_order(known, adds)]
    found.figures = {
        "acknowledged": sum(op.outcome == "ok" for op in adds.values()),
        "unknown": sum(op.outcome == "info" for op in adds.values()),
        "unknown_but_seen": sum(op.outcome == "info" and value in seen for value, op in adds.items()),
        "reads": len(readings),
        "lost": lost_count,
    }
    return found


Told = tuple[str, tuple[str, ...], tuple[Operation, ...]]


def _never_added(
    readings: Sequence[Reading], adds: dict[Value, Operation], failed: dict[Value, Operation]
) -> list[Told]:
    for reading in readings:
        for value in sorted(reading.held - adds.keys(), key=plain):
            if value in failed:
                told = f"{_read(reading)} holds {plain(value)}, whose only add was answered `fail`."
                return [("dirty-read", (told, f"{_added(failed[value])}."), (failed[value], reading.op))]
            return [("garbage-read", (f"{_read(reading)} holds {plain(value)}, which nobody added.",), (reading.op,))]
        for value in reading.held:
            if _before(reading.op, adds[value]):
                told = f"{_read(reading)} holds {plain(value)}, which was added only later."
                return [("future-read", (told, f"{_added(adds[value])}."), (reading.op, adds[value]))]
    return []


def _lost(readings: Sequence[Reading], adds: dict[Value, Operation]) -> tuple[list[Told], int]:
    """Return what was acknowledged and is not in the last reading of any node, told once for all; and how much.

    Only what some last reading could have held counts: without reads nothing is known to be lost.
    """
    lasts: dict[str | None, Reading] = {}
    for reading in readings:
        if reading.op.node not in lasts or lasts[reading.op.node].op.call < reading.op.call:
            lasts[reading.op.node] = reading
    if not lasts:
        return [], 0
    latest = max(lasts.values(), key=lambda reading: reading.op.call)
    left = frozenset[Value]().union(*(reading.held for reading in lasts.values()))
    gone = [op for value, op in adds.items() if value not in left and _before(op, latest.op)]
    if not gone:
        return [], 0
    gone.sort(key=lambda op: op.call)
    values = _values([op.value for op in gone])
    first = gone[0]
    what = f"{len(gone)} acknowledged elements are" if len(gone) > 1 else f"the acknowledged element {values} is"
    because = [f"{what} gone: in no node's last read" + (f" are {values}." if len(gone) > 1 else ".")]
    because.append(f"{_added(first)}.")
    seen = [r for r in readings if first.value in r.held]
    if seen:
        because.append(f"{_read(max(seen, key=lambda r: r.op.call))} still holds {plain(first.value)}.")
    told = latest.op.meta.get("stream")
    because.append(
        f"{_read(latest)} holds {len(latest.held)} elements, without {plain(first.value)}"
        + (f"; what it was told of the stream: {told}." if told is not None else ".")
    )
    return [("lost-write", tuple(because), (first, latest.op))], len(gone)


def _out_of_order(readings: Sequence[Reading], adds: dict[Value, Operation]) -> list[Told]:
    """Return the first contradiction of the chain of readings and real time."""
    chain = sorted(readings, key=lambda reading: (len(reading.held), reading.op.call))
    for smaller, larger in itertools.pairwise(chain):
        if not smaller.held <= larger.held:
            one, other = min(smaller.held - larger.held, key=plain), min(larger.held - smaller.held, key=plain)
            told = (
                f"two reads each miss what the other one holds: {_read(smaller)} holds {plain(one)} and not "
                f"{plain(other)}, {_read(larger)} holds {plain(other)} and not {plain(one)}."
            )
            ops = (adds[one], adds[other], smaller.op, larger.op)
            return [("not-linearizable", (told, f"{_added(adds[one])}; {_added(adds[other])}."), ops)]
    groups: list[list[Operation]] = []
    before = frozenset[Value]()
    for reading in chain:
        if reading.held != before or not groups:
            groups.append([adds[value] for value in reading.held - before])
            groups.append([])
            before = reading.held
        groups[-1].append(reading.op)
    groups.append([op for value, op in adds.items() if value not in before and op.outcome == "ok"])
    latest: Operation | None = None
    for group in groups:
        if latest is not None:
            for op in group:
                if _before(op, latest):
                    return [_overtaken(op, latest, chain, adds)]
        for op in group:
            if latest is None or op.call > latest.call:
                latest = op
    return []


def _overtaken(early: Operation, late: Operation, chain: Sequence[Reading], adds: dict[Value, Operation]) -> Told:
    """Tell why `early`, which returned before `late` was called, must come after it by what was read."""
    if late.f == "read":
        held = next(reading for reading in chain if reading.op is late)
        value = early.value if early.f == "add" else None
        if early.f == "read":
            more = next(reading for reading in chain if reading.op is early).held - held.held
            value = min(more, key=plain)
            told = f"{_read(held)} misses {plain(value)}, which {_who(early)} had read before."
            return "stale-read", (told, f"{_added(adds[value])}."), (adds[value], early, late)
        told = f"{_read(held)} misses {plain(value)}, which had been acknowledged before."
        return "stale-read", (told, f"{_added(early)}."), (early, late)
    reading = next(r for r in chain if late.value in r.held and (early.f == "read" or early.value not in r.held))
    if early.f == "read":
        told = f"{_who(early)} must come after {_added(late)}, which began only later."
        return "future-read", (told,), (early, late, reading.op)
    told = (
        f"{_read(reading)} holds {plain(late.value)} and misses {plain(early.value)}, which had been acknowledged "
        f"before the add of {plain(late.value)} began."
    )
    return "stale-read", (told, f"{_added(early)}; {_added(late)}."), (early, late, reading.op)


def _before(one: Operation, other: Operation) -> bool:
    """Whether `one` returned before `other` was called."""
    return one.ret is not None and one.outcome == "ok" and one.ret < other.call


def with_surroundings(anomaly: Anomaly, faults: Sequence[ActiveFault]) -> Anomaly:
    """Return `anomaly` with a sentence more: which faults were active between its first and its last operation."""
    start = min(op.call_ns for op in anomaly.operations)
    end = max(op.return_ns if op.return_ns is not None else op.call_ns for op in anomaly.operations)
    around = faults_between(faults, start, end)
    if not around:
        return anomaly
    told = f"Active meanwhile: {'; '.join(str(fault) for fault in around)}."
    return replace(anomaly, because=(*anomaly.because, told))


def _named(name: str, key: Value, because: tuple[str, ...], operations: tuple[Operation, ...]) -> Anomaly:
    return Anomaly(name, because, operations, key=key)


def _of(key: Value) -> str:
    return "" if key is None else f"key {plain(key)}: "


def _values(values: Sequence[Value]) -> str:
    shown = ", ".join(plain(value) for value in values[:MOST_NAMED])
    return shown + (f" and {len(values) - MOST_NAMED} more" if len(values) > MOST_NAMED else "")


def _who(op: Operation) -> str:
    return f"p{op.process}" + (f" on {op.node}" if op.node else "")


def _read(reading: Reading) -> str:
    return f"the read of {_who(reading.op)} ({at(reading.op.call_ns)} to {at(reading.op.return_ns or 0)})"


def _added(op: Operation) -> str:
    told = "was not told what became of it" if op.return_ns is None else f"was told {op.outcome} at {at(op.return_ns)}"
    return f"{_who(op)} asked to add {plain(op.value)} at {at(op.call_ns)} and {told}"
