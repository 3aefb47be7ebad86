"""The general engine: any model, in plain Python, over a frontier of configurations.

It walks the events in order and keeps every configuration that the history so far allows: the state, which of the
operations now open have already taken effect, and which pending ones (never returned) were used. An operation takes
effect as late as possible, in the step before some return needs it (just-in-time linearization, Lowe 2017), so the
frontier depends on how much is open at once and not on the history's length; where nothing is open it shrinks to
the states alone. Four things keep it small, each of them sound:

- what only observes takes effect as soon as the state allows it;
- among equal open operations the one that returns first goes first (exchange argument);
- equal pending operations are one class with a count, used on demand;
- of two configurations that differ only in pending operations used, the one that used less stays.

The middle two need a model that is `anonymous`.

First it goes with a beam, which keeps a few configurations and forgets the others: an order found so is an order. Only
the search that forgot nothing says that there is none.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.models.apart import told_apart
from capsize.checker.models.model import Inconsistent, Model, typed
from capsize.checker.outcome import Exhausted, Illegal, Legal, Outcome
from capsize.history import History
from capsize.op import Operation

_CONFIGURATION_BYTES = 400
"""What one configuration costs in Python, measured with tracemalloc on small states."""
_LAST_SHOWN = 8
_BEAMS = (16, 256)
_MEMORY_BYTES = 1 << 25
"""How much of answered steps is remembered before all is forgotten; a quarter of the budget if that is less."""

Used = tuple[tuple[int, int], ...]
Configuration = tuple[Any, int, Used]
"""State, bitset of the open slots that took effect, pending classes used (class, count), sorted."""
Configurations = dict[Configuration, None]
"""A set that remembers its order, so that the same history always costs the same."""


def decide_general(history: History, model: Model[Any], budget: Budget) -> Outcome:
    """Decide the history of one key.

    Cost: steps of the model; exponential only in the number of operations open at once and of pending kinds.
    """
    model = told_apart(model, history)
    budget = Budget(budget.steps_in_python, budget.bytes)
    narrow = Budget(max(1, budget.steps_or_all // 4), budget.bytes)
    for beam in _BEAMS:
        search = _Frontier(history, model, narrow, beam)
        outcome = search.run()
        if isinstance(outcome, Legal) or (isinstance(outcome, Illegal) and not search.forgot):
            return outcome
    return _Frontier(history, model, budget, None).run()


class _OutOfBudget(Exception):
    """The search spent what it was given."""


class _Frontier:
    def __init__(self, history: History, model: Model[Any], budget: Budget, beam: int | None) -> None:
        self.model, self.budget, self.beam = model, budget, beam
        self.forgot = False
        self.rows: list[int] = []
        self.operations: list[Operation] = []
        for row, op in zip(history.columns.row, history, strict=True):
            if op.outcome != "fail" and not (op.ret is None and model.observes(op)):
                self.rows.append(int(row))
                self.operations.append(op)
        self.kinds = [self._kind(index) for index in range(len(self.operations))]
        self.observing = [model.observes(op) for op in self.operations]
        self.slots: list[int] = []  # slot -> operation, -1 when free
        self.open: list[int] = []  # open operations that return, the next to return first
        self.available: dict[int, int] = {}  # pending class -> how many were called
        self.example: dict[int, int] = {}  # pending class -> an operation of it
        self.class_of: dict[Hashable, int] = {}
        self.slot_of: dict[int, int] = {}
        self.memory: dict[tuple[Any, Hashable], tuple[Any] | None] = {}
        self.memory_bytes = 0
        self.largest = 0  # bytes of the largest state since things were last quiet
        self.steps = 0
        self.bytes = 0
        self.quiet_at = 0

    def run(self) -> Outcome:
        """Walk the events; answer at the first return that no configuration survives."""
        events = [(op.call, index, False) for index, op in enumerate(self.operations)]
        events += [(op.ret, index, True) for index, op in enumerate(self.operations) if op.ret is not None]
        events.sort()
        frontier: Configurations = {(self.model.init(), 0, ()): None}
        at = 0
        try:
            for position, index, is_return in events:
                at = position
                if not is_return:
                    frontier = self._call(index, frontier)
                    continue
                survivors = self._return(index, frontier)
                if not survivors:
                    return self._illegal(index, position, frontier)
                frontier = survivors
        except _OutOfBudget as spent:
            return self._exhausted(str(spent), at)
        return Legal(None, self.steps, self.bytes)

    def _call(self, index: int, frontier: Configurations) -> Configurations:
        op = self.operations[index]
        if op.ret is None:
            number = self.class_of.setdefault(self.kinds[index], len(self.class_of))
            self.available[number] = self.available.get(number, 0) + 1
            self.example.setdefault(number, index)
            return frontier
        if not self.open:
            self.quiet_at = op.call
            self.largest = max(sys.getsizeof(state) for state, _, _ in frontier)
        slot = self.slots.index(-1) if -1 in self.slots else len(self.slots)
        if slot == len(self.slots):
            self.slots.append(-1)
        self.slots[slot] = index
        self.slot_of[index] = slot
        self.open.append(index)
        self.open.sort(key=self._deadline)
        if not self.observing[index]:
            return frontier
        bit = 1 << slot
        return {
            ((state, done | bit, used) if self._follow(state, index) is not None else (state, done, used)): None
            for state, done, used in frontier
        }

    def _return(self, index: int, frontier: Configurations) -> Configurations:
        """Return the configurations in which operation `index` took effect, its slot freed."""
        slot = self.slot_of[index]
        bit = 1 << slot
        survivors: Configurations = {}
        seen: set[Configuration] = set()
        waiting: list[Configuration] = []
        for configuration in frontier:
            if configuration[1] & bit:
                survivors[configuration[0], configuration[1] & ~bit, configuration[2]] = None
            else:
                waiting.append(configuration)
                seen.add(configuration)
        most = len(frontier)
        waiting.reverse()  # the first ones first: a beam keeps what it finds first
        while waiting:
            if self.beam is not None and len(survivors) >= self.beam:
                self.forgot = True
                break
            state, done, used = waiting.pop()
            for following in reversed(self._successors(state, done, used)):
                if following[1] & bit:
                    survivors[following[0], following[1] & ~bit, following[2]] = None
                elif following not in seen:
                    seen.add(following)
                    waiting.append(following)
            most = max(most, len(seen) + len(survivors))
            self._spend(most)
        self.slots[slot] = -1
        self.open.remove(index)
        return _undominated(survivors)

    def _successors(self, state: Any, done: int, used: Used) -> list[Configuration]:
        found: list[Configuration] = []
        tried: set[Hashable] = set()
        for index in self.open:
            slot = self.slot_of[index]
            if done >> slot & 1 or self.kinds[index] in tried:
                continue
            tried.add(self.kinds[index])
            following = self._follow(state, index)
            if following is not None:
                found.append(self._absorb(following[0], done | 1 << slot, used))
        spent = dict(used)
        for number, count in self.available.items():
            if spent.get(number, 0) >= count:
                continue
            following = self._follow(state, self.example[number])
            if following is not None and following[0] != state:
                used_now = tuple(sorted({**spent, number: spent.get(number, 0) + 1}.items()))
                found.append(self._absorb(following[0], done, used_now))
        return found

    def _absorb(self, state: Any, done: int, used: Used) -> Configuration:
        """Let every open operation that only observes take effect, where the state fits what it saw."""
        for index in self.open:
            if self.observing[index]:
                bit = 1 << self.slot_of[index]
                if not done & bit and self._follow(state, index) is not None:
                    done |= bit
        return (state, done, used)

    def _follow(self, state: Any, index: int) -> tuple[Any] | None:
        """Return the next state in a tuple, or None if the operation does not fit; remembers some answers."""
        question = (state, self.kinds[index])
        if question in self.memory:
            return self.memory[question]
        self.steps += 1
        following = self.model.step(state, self.operations[index])
        answer = None if isinstance(following, Inconsistent) else (following,)
        size = sys.getsizeof(following)
        self.largest = max(self.largest, size)
        self.memory_bytes += size + _CONFIGURATION_BYTES
        if self.memory_bytes > min(_MEMORY_BYTES, self.budget.bytes_or_all // 4):
            self.memory.clear()
            self.memory_bytes = 0
        self.memory[question] = answer
        return answer

    def _kind(self, index: int) -> Hashable:
        """Return what makes operations equal to the model; the operation itself where it may look at more."""
        if not self.model.anonymous:
            return index
        op = self.operations[index]
        told = op.outcome == "ok"
        return (op.f, typed(op.value), told, typed(op.result) if told else None)

    def _deadline(self, index: int) -> int:
        ret = self.operations[index].ret
        assert ret is not None
        return ret

    def _spend(self, configurations: int) -> None:
        self.steps += 1
        self.bytes = max(self.bytes, configurations * (_CONFIGURATION_BYTES + self.largest) + self.memory_bytes)
        if self.steps > self.budget.steps_or_all:
            raise _OutOfBudget("steps")
        if self.bytes > self.budget.bytes_or_all:
            raise _OutOfBudget("bytes")

    def _illegal(self, index: int, position: int, frontier: Configurations) -> Illegal:
        shown = sorted(frontier, key=lambda one: (self.model.describe_state(one[0]), one[1], one[2]))[:_LAST_SHOWN]
        last: list[dict[str, Any]] = []
        # `_return` has already closed the operation: put it back among what is open.
        waiting = sorted({*self.open, index}, key=self._deadline)
        for state, done, _ in shown:
            refused = [other for other in waiting if other == index or not done >> self.slot_of[other] & 1]
            last.append(
                {
                    "state": self.model.describe_state(state),
                    "done": [self.rows[other] for other in waiting if other not in refused],
                    "refused": [{"row": self.rows[other], "why": self._why(state, other)} for other in refused],
                }
            )
        row = self.rows[index]
        reason = {"at": row, "window": [self.quiet_at, position], "configurations": len(frontier), "last": last}
        return Illegal("no-configuration", (row,), reason, steps=self.steps, bytes=self.bytes)

    def _why(self, state: Any, index: int) -> str:
        following = self.model.step(state, self.operations[index])
        if isinstance(following, Inconsistent):
            return following.reason
        return f"possible, and leads to {self.model.describe_state(following)}, from where nothing goes on"

    def _exhausted(self, what: str, position: int) -> Exhausted:
        pending = sum(self.available.values())
        hint = "values written once, fewer clients on a key, or shorter-lived keys"
        if pending:
            hint += "; fewer operations that time out"
        return Exhausted(what, (self.quiet_at, position), len(self.open), pending, hint, self.steps, self.bytes)


def _undominated(configurations: Configurations) -> Configurations:
    """Drop every configuration that another one equals with no more of any pending class used."""
    groups: dict[tuple[Any, int], list[Used]] = {}
    for state, done, used in configurations:
        groups.setdefault((state, done), []).append(used)
    kept: Configurations = {}
    for (state, done), choices in groups.items():
        if len(choices) > 1:
            choices.sort(key=lambda used: sum(count for _, count in used))
        best: list[Used] = []
        for used in choices:
            if not any(_at_most(other, used) for other in best):
                best.append(used)
                kept[state, done, used] = None
    return kept


def _at_most(one: Used, other: Used) -> bool:
    """Return whether `one` uses no class more than `other` does."""
    if not one:
        return True
    spent = dict(other)
    return all(count <= spent.get(number, 0) for number, count in one)
