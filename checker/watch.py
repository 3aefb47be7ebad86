"""Judging a history while it is being written, so that a run can stop at its first anomaly.

A prefix of a history, its open operations taken as pending, is legal whenever the whole is. So prefixes are judged as
they grow, each key by itself (locality: Herlihy & Wing 1990, theorem 1): a key that nobody asks any more costs nothing.
Once a prefix is illegal every longer one is, so the first illegal one is found by halving.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.checker import Checker
from capsize.checker.fifo import FifoQueue
from capsize.checker.grow_only import GrowOnlySet
from capsize.checker.linearizability import Linearizability
from capsize.checker.models.model import Model
from capsize.checker.mutual_exclusion import MutualExclusion
from capsize.history import History, add_event
from capsize.interning import NONE, ValueTable
from capsize.pairing import Pairing
from capsize.verdict import Verdict

__all__ = ["Watch"]

EVERY = 256
"""Events of a key between two judgements at the least, unless `judge` is called."""


@dataclass(slots=True)
class Growing:
    """The events of one key (of all keys, where they cannot be judged apart) and what is known of them."""

    events: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    rows: list[int] = field(default_factory=list[int])
    """The number of each event's operation in the whole history."""
    legal: int = 0
    """So many events were judged and not found illegal."""
    hard: bool = False
    """The budget ran out: it is not judged again."""


class Watch:
    """Feed it the events of `history.jsonl` as they are recorded; `verdict` turns up at the first anomaly.

    Takes a model, or the checker of a workload. An "unknown" on a prefix is passed over, and its key given up. The
    whole history still has to be judged in the end, also because a prefix that ends between two events of one
    nanosecond may look illegal where the whole is not.
    """

    def __init__(self, judged_by: Model[Any] | Checker, *, budget: Budget | None = None, every: int = EVERY) -> None:
        self.checker: Checker = Linearizability(judged_by) if isinstance(judged_by, Model) else judged_by
        self.budget, self.every = budget or Budget(), every
        self.by_key = _by_key(self.checker)
        self.verdict: Verdict | None = None
        self.event_at: Mapping[str, Any] | None = None
        """The event without which the history would not be known to be illegal."""
        self.row_at = -1
        """The number of its operation in the whole history."""
        self._keys = ValueTable()
        self._growing: dict[int, Growing] = {}
        self._open: dict[int, tuple[Growing, int]] = {}
        self._operations = 0

    @property
    def hard(self) -> int:
        """How many keys were given up."""
        return sum(one.hard for one in self._growing.values())

    def event(self, event: Mapping[str, Any]) -> Verdict | None:
        """Take one event; return the verdict if the history so far is known to be illegal."""
        process, ends = event.get("process"), event.get("type") != "invoke"
        if self.verdict is not None or type(process) is not int:
            return self.verdict
        if ends and process in self._open:
            one, row = self._open.pop(process)
        else:
            code = self._keys.code(event.get("key")) if self.by_key else NONE
            one, row = self._growing.setdefault(code, Growing()), self._operations
            self._open[process] = one, row
            self._operations += 1
        one.events.append(event)
        one.rows.append(row)
        if len(one.events) - one.legal >= max(self.every, len(one.events) // 4):
            self._judge(one)
        return self.verdict

    def judge(self, rest: Callable[[], bool] = lambda: False) -> Verdict | None:
        """Judge what there is now of every key that has grown; return the verdict if it is illegal.

        `rest` is called after each key, and ends the judging where it returns True.
        """
        for one in self._growing.values():
            if self.verdict is None and one.legal < len(one.events):
                self._judge(one)
                if rest():
                    break
        return self.verdict

    def _judge(self, one: Growing) -> None:
        if one.hard:
            one.legal = len(one.events)
            return
        verdict = self._verdict(one.events)
        one.hard = verdict.valid == "unknown"
        if verdict.valid is not False:
            one.legal = len(one.events)
            return
        legal, illegal = one.legal, len(one.events)
        while illegal - legal > 1:
            middle = (legal + illegal) // 2
            shorter = self._verdict(one.events[:middle])
            if shorter.valid is False:
                illegal, verdict = middle, shorter
            else:
                legal = middle
        self.verdict, self.event_at, self.row_at = verdict, one.events[illegal - 1], one.rows[illegal - 1]

    def _verdict(self, events: list[Mapping[str, Any]]) -> Verdict:
        pairing = Pairing()
        for number, event in enumerate(events):
            add_event(pairing, event, number)
        return self.checker.check(History(pairing.finish()), self.budget)


def _by_key(checker: Checker) -> bool:
    """Return whether the keys of a history may be judged apart."""
    if isinstance(checker, Linearizability):
        return type(checker.model).partition is Model.partition
    return isinstance(checker, FifoQueue | GrowOnlySet | MutualExclusion)
