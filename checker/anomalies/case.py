"""One contradiction as it is told: its operations, their numbers, what surrounds it, and the parts of sentences.

Operations are written `#93`: their number in the history. Times stand where the history has any.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from capsize.checker.enumeration import joined
from capsize.checker.models.model import Model, plain, same
from capsize.checker.reduction import Item, observed, written
from capsize.checker.surroundings import Surroundings, at, fate_of, place_of
from capsize.op import Operation, Value

READS = ("read", "get")
DONE = {
    "add": "{} was added",
    "remove": "{} was removed",
    "append": "{} was appended",
    "enqueue": "{} was put in",
    "release": "the lock was released",
}
"""How an operation that answers nothing is told once it is done."""
LONGEST = 80
"""Characters of a value in a sentence; long answers are told by what counts in them."""


@dataclass(frozen=True, slots=True)
class Found:
    """A pattern that was recognised: its name, its argument, and the operations that prove it, as they are judged.

    `judge` is the model that has to find them impossible: one that allows no less than the history's own.
    `context` are operations shown with them that prove nothing by themselves.
    """

    name: str
    because: list[str]
    items: tuple[Item, ...]
    judge: Model[Any]
    context: tuple[Operation, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Case:
    """All there is to tell of: the proof, every operation on the key, its numbers, and what surrounds it.

    `until` is the position at which the engine had found no order any more.
    """

    key: Value
    proof: tuple[Item, ...]
    everything: tuple[Operation, ...]
    numbers: Mapping[tuple[int, int], int]
    around: Surroundings
    timed: bool = True
    until: int | None = None

    def no(self, op: Operation) -> str:
        """Return the operation's number: "#93"."""
        return f"#{self.numbers[op.process, op.call]}"

    @property
    def on_key(self) -> str:
        """Return " key 7", or nothing where there are no keys."""
        return "" if self.key is None else f" key {plain(self.key)}"

    @cached_property
    def happened(self) -> tuple[Operation, ...]:
        """Return what took effect, or may have."""
        return tuple(op for op in self.everything if op.outcome != "fail")

    @cached_property
    def failed(self) -> tuple[Operation, ...]:
        """Return what certainly did not happen."""
        return tuple(op for op in self.everything if op.outcome == "fail")

    # --- sentences ---

    def at(self, time_ns: int | None, before: str = " at ") -> str:
        """Return " at 12.377 s"; nothing where the history has no times."""
        return "" if time_ns is None or not self.timed else f"{before}{at(time_ns)}"

    def told(self, op: Operation) -> str:
        """Return what a client was told, by whom, when."""
        about = f"{self.no(op)}{_evidence(op)}"
        who = f"{name(op)}{f' on {op.node}' if op.node else ''}"
        when = self.at(op.return_ns)
        to = f" to{self.on_key}" if self.key is not None else ""
        if op.f in READS:
            of = f" of{self.on_key}" if self.key is not None else ""
            times = f"; called{self.at(op.call_ns)}, answered{when}" if self.timed else ""
            return f"{who} read {short(op.result)}{of} ({about}{times})"
        if op.f not in ("write", "put", "cas", "delete"):
            return self._told_of_others(op, who, when, about)
        if op.f == "delete":
            what = f"key {plain(self.key)}" if self.key is not None else "the key"
            if op.outcome == "info":
                when = self.at(op.call_ns)
                return f"{who} asked{when} that {what} be deleted, and never learnt the outcome ({about})"
            return f"{who} was told{when} that {what} was deleted ({about})"
        value = written(op)
        done = "was set by compare-and-set" if op.f == "cas" else "was written"
        what = short(value[0] if value else op.value)
        if op.outcome == "info":
            wish = "be written"
            if op.f == "cas" and observed(op):
                wish = f"be set by compare-and-set where {short(observed(op)[0])} is"
            return f"{who} asked{self.at(op.call_ns)} that {what} {wish}{to}, and never learnt the outcome ({about})"
        if op.f == "cas" and op.result is False:
            assert isinstance(op.value, tuple)
            return f"{who} was told{when} that the value was not {short(op.value[0])} ({about})"
        if op.f == "cas" and observed(op):
            done += f" where {short(observed(op)[0])} was"
        return f"{who} was told{when} that {what} {done}{to} ({about})"

    def _told_of_others(self, op: Operation, who: str, when: str, about: str) -> str:
        to = f" to{self.on_key}" if self.key is not None else ""
        value = short(op.value) if op.value is not None else ""
        if op.outcome != "ok":
            asked = f"{op.f}{' ' + value if value else ''}{to.replace(' to', ' on', 1)}"
            return f"{who} asked for {asked}{self.at(op.call_ns)} and never learnt the outcome ({about})"
        if op.f == "dequeue":
            took = "found the queue empty" if op.result is None else f"took {short(op.result)} out"
            return f"{who} {took}{when} ({about})"
        if op.f == "acquire":
            token = "" if op.result is None else f" with token {short(op.result)}"
            return f"{who} was granted the lock{token}{when} ({about})"
        done = DONE.get(op.f)
        if done is not None and op.result is None:
            return f"{who} was told{when} that {done.format(value)}{to} ({about})"
        asked = f"{op.f}{' ' + value if value else ''}{to.replace(' to', ' on', 1)}"
        return (
            f"{who} asked for {asked} and was told{when}: {'done' if op.result is None else short(op.result)} ({about})"
        )

    def brief(self, op: Operation) -> str:
        """Return " (12.377 s, n2, term 4, index 93)", as far as known."""
        words = [at(op.return_ns)] if op.return_ns is not None and self.timed else []
        words += [str(op.meta.get("served_by") or op.node)] if op.meta.get("served_by") or op.node else []
        words += [f"term {op.meta['term']}"] if isinstance(op.meta.get("term"), int) else []
        words += [f"index {op.meta['log_index']}"] if isinstance(op.meta.get("log_index"), int) else []
        return f" ({', '.join(words)})" if words else ""

    def before(self, one: Operation, other: Operation) -> str:
        """Return "#3 was answered at 1.000 s, before #5 was called at 1.200 s"."""
        when = self.at(one.return_ns)
        comma = "," if when else ""
        return f"{self.no(one)} was answered{when}{comma} before {self.no(other)} was called{self.at(other.call_ns)}"

    def fate(self, op: Operation, until_ns: int | None) -> list[str]:
        """Return what the nodes' own events say about the log entry of a change, from its answer on."""
        place = place_of(op)
        return [] if place is None or op.return_ns is None else fate_of(place, op.return_ns, until_ns, self.around)

    def several(self, operations: Sequence[Operation], most: int = 4) -> str:
        """Return "#1, #2 and #3"; of many the first few, and how many more."""
        names = [self.no(op) for op in operations[:most]]
        if len(operations) > most:
            return f"{', '.join(names)} and {len(operations) - most:,} more"
        return joined(names)


def name(op: Operation) -> str:
    """Return who asked: "p5"."""
    return f"p{op.process}"


def short(value: Value) -> str:
    """Return a value as a sentence shows it; the middle of a long one is left out.

    >>> short(tuple(range(100)))
    '[0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 … 87 88 89 90 91 92 93 94 95 96 97 98 99]'
    """
    text = plain(value)
    if len(text) <= LONGEST + 10:
        return text
    head, tail = text[: LONGEST // 2 + 1], text[-LONGEST // 2 :]
    if isinstance(value, tuple):
        head, tail = head.rpartition(" ")[0], tail.partition(" ")[2]
        return f"{head} … {tail}"
    return f"{head}…{tail}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return "1 operation", "2 operations"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def has(values: tuple[Value, ...], value: Value) -> bool:
    """Return whether `value` is one of `values`."""
    return any(same(item, value) for item in values)


def as_judged(shown: Operation, judged: Operation | None = None) -> Item:
    """Return an item; judged as it was when nothing else is said."""
    return Item(shown, shown if judged is None else judged)


def by_call(operations: Iterable[Operation]) -> list[Operation]:
    """Return the operations in the order of their calls."""
    return sorted(operations, key=lambda op: op.call)


def ends_before(one: Operation, other: Operation) -> bool:
    """Return whether `one` had returned before `other` was called."""
    return one.ret is not None and one.ret < other.call


class Before:
    """Operations laid out to be asked which of those that had returned before a call comes first by some measure."""

    def __init__(self, operations: Iterable[Operation], best: Callable[[Operation], int]) -> None:
        returned = sorted(((op.ret, op) for op in operations if op.ret is not None), key=lambda pair: pair[0])
        self._returns = [ret for ret, _ in returned]
        self._best: list[Operation] = []
        for _, op in returned:
            self._best.append(op if not self._best or best(op) > best(self._best[-1]) else self._best[-1])

    def of(self, op: Operation) -> Operation | None:
        """Return the best of those that had returned before `op` was called."""
        at = bisect_left(self._returns, op.call)
        return self._best[at - 1] if at else None


def _evidence(op: Operation) -> str:
    words = [f"served by {op.meta['served_by']}"] if op.meta.get("served_by") else []
    words += [f"in term {op.meta['term']}"] if isinstance(op.meta.get("term"), int) else []
    words += [f"at log index {op.meta['log_index']}"] if isinstance(op.meta.get("log_index"), int) else []
    return f", {' '.join(words)}" if words else ""
