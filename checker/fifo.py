"""First-in-first-out queues with unique elements, judged by what can never happen.

For histories in which every dequeue was answered, a queue is linearizable if and only if none of these is there
(Henzinger, Sezgin & Vafeiadis, "Aspect-oriented linearizability proofs", CONCUR 2013): an element that was never
enqueued; one taken twice; one taken before another that had been enqueued earlier; "empty" while something was there
all the time. A final read of what is left stands in for the dequeues that never came, and makes a fifth of them: an
acknowledged element that was neither taken nor left is lost.

A dequeue whose answer never came may have taken one element, nobody knows which: so many missing elements are
excused, and counted (`unknown_dequeues`, `excused`). What is found then is certain; what is not found may be hidden
by them.

A queue that says of its own answers that it delivers at least once (`meta.delivery`) promises neither order nor that
nothing comes twice: then both are counted and not held against it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from capsize.checker.budget import Budget
from capsize.checker.grow_only import MOST_NAMED, with_surroundings
from capsize.checker.models.model import plain
from capsize.checker.surroundings import at, landed_faults
from capsize.history import History
from capsize.op import Operation, Value
from capsize.verdict import Anomaly, Axis, Finding, Verdict

NAME = "queue"
AT_LEAST_ONCE = "at-least-once"


class FifoQueue:
    """The checker of the workload `queue`: `enqueue v`, each once; `dequeue`; `read` of all that is left."""

    name = NAME

    def check(self, history: History, budget: Budget) -> Verdict:
        """Judge every queue. Cost: a sort of its elements."""
        del budget
        faults = landed_faults(history.faults)
        anomalies: list[Anomaly] = []
        totals: dict[str, int] = {}
        keys = 0
        for key, rows in history.split():
            keys += 1
            one = JudgedQueue.of(history.take(rows))
            found = [Anomaly(name, because, ops, key=key) for name, because, ops in one.contradictions()]
            anomalies += [with_surroundings(anomaly, faults) for anomaly in found]
            for word, count in one.figures().items():
                totals[word] = totals.get(word, 0) + count
        because = tuple(f"{_of(anomaly.key)}{anomaly.because[0]}" for anomaly in anomalies)
        figures = {"operations": len(history), "keys": keys, **totals}
        return Verdict(NAME, {Axis.SAFETY: Finding(not anomalies, because)}, tuple(anomalies), figures)


Told = tuple[str, tuple[str, ...], tuple[Operation, ...]]


@dataclass(slots=True)
class JudgedQueue:
    """Everything that happened to one queue, by element."""

    put: dict[Value, Operation] = field(default_factory=dict[Value, Operation])
    failed: dict[Value, Operation] = field(default_factory=dict[Value, Operation])
    taken: dict[Value, list[Operation]] = field(default_factory=dict[Value, list[Operation]])
    empty: list[Operation] = field(default_factory=list[Operation])
    unknown: list[Operation] = field(default_factory=list[Operation])
    reads: list[Operation] = field(default_factory=list[Operation])
    at_least_once: bool = False

    @classmethod
    def of(cls, operations: Iterable[Operation]) -> JudgedQueue:
        """Sort the operations of one key."""
        queue = cls()
        for op in operations:
            if op.f == "enqueue":
                (queue.failed if op.outcome == "fail" else queue.put)[op.value] = op
            elif op.outcome == "fail":
                continue
            elif op.f == "read" and op.outcome == "ok":
                queue.reads.append(op)
            elif op.f == "dequeue" and op.outcome == "info":
                queue.unknown.append(op)
            elif op.f == "dequeue" and op.result is None:
                queue.empty.append(op)
            elif op.f == "dequeue":
                queue.taken.setdefault(op.result, []).append(op)
            queue.at_least_once |= op.meta.get("delivery") == AT_LEAST_ONCE
        return queue

    def contradictions(self) -> list[Told]:
        """Return the first contradiction of each kind that counts for this queue."""
        found = [*self._phantoms(), *self._lost()]
        if not self.at_least_once:
            found += [*self._twice(), *self._order(), *self._read_order(), *self._empties()]
        return found

    def figures(self) -> dict[str, int]:
        """Return what was counted."""
        missing, excused = self._missing()
        return {
            "acknowledged": sum(op.outcome == "ok" for op in self.put.values()),
            "taken": len(self.taken),
            "left": len(self._left()),
            "unknown_dequeues": len(self.unknown),
            "lost": len(missing) if len(missing) > excused else 0,
            "excused": min(len(missing), excused),
            "taken_twice": sum(len(ops) > 1 for ops in self.taken.values()),
        }

    # -- what can never happen -------------------------------------------------------------------------------
    def _phantoms(self) -> list[Told]:
        for value, op in self._sightings():
            enqueue = self.put.get(value)
            if enqueue is None and value in self.failed:
                told = f"{_seen(op, value)}, whose only enqueue was answered `fail`."
                return [("dirty-read", (told, f"{_put(self.failed[value])}."), (self.failed[value], op))]
            if enqueue is None:
                return [("garbage-read", (f"{_seen(op, value)}, which nobody enqueued.",), (op,))]
            if op.ret is not None and op.ret < enqueue.call:
                told = f"{_seen(op, value)}, which was enqueued only later."
                return [("future-read", (told, f"{_put(enqueue)}."), (op, enqueue))]
        return []

    def _missing(self) -> tuple[list[Operation], int]:
        """Return what was acknowledged before the last read and is nowhere; how much of it unknown takers excuse."""
        if not self.reads:
            return [], 0
        last = self._last()
        left = set(last.result if isinstance(last.result, tuple) else ())
        gone = [
            op
            for value, op in self.put.items()
            if op.ret is not None and op.ret < last.call and value not in left and value not in self.taken
        ]
        takers = sum(last.ret is not None and op.call < last.ret for op in self.unknown)
        return sorted(gone, key=lambda op: op.call), takers

    def _lost(self) -> list[Told]:
        gone, excused = self._missing()
        if len(gone) <= excused:
            return []
        last = self._last()
        values = ", ".join(plain(op.value) for op in gone[:MOST_NAMED])
        values += f" and {len(gone) - MOST_NAMED} more" if len(gone) > MOST_NAMED else ""
        who = f"{len(gone)} acknowledged elements were" if len(gone) > 1 else f"the acknowledged element {values} was"
        because = [f"{who} neither taken nor left in the end" + (f": {values}." if len(gone) > 1 else ".")]
        because.append(f"{_put(gone[0])}.")
        because.append(f"{_who(last)} read all that was left at {at(last.call_ns)}: {len(self._left())} elements.")
        if excused:
            because.append(f"Dequeues whose answer never came can have taken {excused} of them.")
        return [("lost-write", tuple(because), (*gone[:MOST_NAMED], last))]

    def _twice(self) -> list[Told]:
        for value, ops in self.taken.items():
            if len(ops) > 1:
                told = f"{plain(value)} was taken twice: by {_took(ops[0])}, and by {_took(ops[1])}."
                return [("taken-twice", (told,), (*self._enqueue(value), *ops[:2]))]
            for read in self.reads:
                if ops[0].ret is not None and ops[0].ret < read.call and value in self._held(read):
                    told = f"{plain(value)} was still there for {_who(read)}, although taken by {_took(ops[0])}."
                    return [("stale-read", (told,), (*self._enqueue(value), ops[0], read))]
        return []

    def _order(self) -> list[Told]:
        """Return an element that was taken although one enqueued before it was taken only later, or never."""
        gone_at = self._gone_at()
        # Elements by the end of their enqueue; of those that ended before b's began, the one that was taken last.
        ended = sorted((op.ret, value) for value, op in self.put.items() if op.ret is not None and value in gone_at)
        takes = sorted(
            (self.put[v].call, v) for v, ops in self.taken.items() if v in self.put and ops[0].ret is not None
        )
        number = 0
        slowest: Value = None
        for call, value in takes:
            while number < len(ended) and ended[number][0] < call:
                if number == 0 or gone_at[ended[number][1]] > gone_at[slowest]:
                    slowest = ended[number][1]
                number += 1
            take = self.taken[value][0]
            if number and take.ret is not None and take.ret < gone_at[slowest]:
                later = self.taken.get(slowest, [*self.reads[-1:]])
                then = f"taken only later, by {_took(later[0])}" if slowest in self.taken else "never taken"
                told = f"{plain(value)} overtook {plain(slowest)}, which was enqueued before it and {then}."
                ops = (self.put[slowest], self.put[value], take, *later[:1])
                return [("out-of-order", (told, f"{_put(self.put[slowest])}; {_put(self.put[value])}."), ops)]
        return []

    def _read_order(self) -> list[Told]:
        """Return two elements that a read shows in the other order than they were enqueued in."""
        for read in self.reads:
            held = [value for value in self._held(read) if value in self.put]
            latest: Value = None
            for number, value in enumerate(held):
                op = self.put[value]
                if number and op.ret is not None and op.ret < self.put[latest].call:
                    told = f"{_who(read)} read {plain(latest)} ahead of {plain(value)}, which was enqueued before it."
                    return [
                        ("out-of-order", (told, f"{_put(op)}; {_put(self.put[latest])}."), (op, self.put[latest], read))
                    ]
                if not number or op.call > self.put[latest].call:
                    latest = value
        return []

    def _empties(self) -> list[Told]:
        """Return a dequeue that was told "empty" although at every moment of it some element was surely there."""
        gone_at = self._gone_at()
        there = sorted(
            (op.ret, gone_at[value], value) for value, op in self.put.items() if op.ret is not None and value in gone_at
        )
        for op in self.empty:
            reach, cover = op.call, list[Operation]()
            for start, end, value in there:
                if start > reach:
                    break
                if end > reach:
                    reach, cover = end, [*cover, self.put[value]]
            if op.ret is not None and reach > op.ret and cover:
                values = ", ".join(plain(one.value) for one in cover[:MOST_NAMED])
                when = at(op.return_ns or 0)
                told = f"{_who(op)} was told at {when} that the queue was empty, while {values} was there."
                return [("stale-read", (told, f"{_put(cover[0])}."), (*cover[:MOST_NAMED], op))]
        return []

    def _gone_at(self) -> dict[Value, int]:
        """Return until when each element was surely there: until its taker asked, or it was last seen, or for ever.

        One that was neither taken nor seen may have been taken by somebody unknown: it is left out if there is one.
        """
        at_last = sys.maxsize
        if self.reads:
            at_last = self._last().call
        elif self.unknown:
            at_last = -1
        left = set(self._left()) if self.reads else self.put.keys()
        kept = {value: at_last for value in self.put if value in left and value not in self.taken and at_last >= 0}
        return kept | {value: ops[0].call for value, ops in self.taken.items()}

    # -- what was seen ---------------------------------------------------------------------------------------
    def _sightings(self) -> Iterable[tuple[Value, Operation]]:
        for value, ops in self.taken.items():
            yield value, ops[0]
        for read in self.reads:
            for value in self._held(read):
                yield value, read

    def _last(self) -> Operation:
        return max(self.reads, key=lambda op: op.call)

    def _left(self) -> Sequence[Value]:
        return self._held(self._last()) if self.reads else ()

    @staticmethod
    def _held(read: Operation) -> tuple[Value, ...]:
        return read.result if isinstance(read.result, tuple) else ()

    def _enqueue(self, value: Value) -> tuple[Operation, ...]:
        return (self.put[value],) if value in self.put else ()


def _of(key: Value) -> str:
    return "" if key is None else f"queue {plain(key)}: "


def _who(op: Operation) -> str:
    return f"p{op.process}" + (f" on {op.node}" if op.node else "")


def _took(op: Operation) -> str:
    return f"{_who(op)} at {at(op.return_ns or 0)}"


def _seen(op: Operation, value: Value) -> str:
    return f"{_who(op)} {'took' if op.f == 'dequeue' else 'read'} {plain(value)} at {at(op.return_ns or 0)}"


def _put(op: Operation) -> str:
    told = "was not told what became of it" if op.return_ns is None else f"was told {op.outcome} at {at(op.return_ns)}"
    return f"{_who(op)} asked to enqueue {plain(op.value)} at {at(op.call_ns)} and {told}"
