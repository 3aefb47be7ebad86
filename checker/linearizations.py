"""Partial linearizations: how far an order of some operations gets, whichever way it is begun.

What Porcupine draws as such. An order may go on with any operation that does not begin after another one, still
missing, has ended. For every operation the longest order that holds it is kept; at the end of each stand the
operations that would be next, and why the model refuses them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.models.apart import told_apart
from capsize.checker.models.model import Inconsistent, Model
from capsize.history import History
from capsize.op import Operation

STEPS = 100_000


@dataclass(frozen=True, slots=True)
class PartialLinearization:
    """Operations in an order that the model allows, the state after each in words, and what could not follow.

    `complete` is True when nothing that must have happened is missing: then the history is linearizable.
    """

    operations: tuple[Operation, ...]
    states: tuple[str, ...]
    refused: tuple[tuple[Operation, str], ...]
    complete: bool


def partial_linearizations(
    operations: Iterable[Operation], model: Model[Any], *, budget: Budget | None = None
) -> tuple[PartialLinearization, ...]:
    """Return the longest orders, longest first, so that every operation that fits into one is in one of them.

    For operations on one key, few enough: a witness. When the budget is spent, the longest found so far.
    """
    history = History.of([op for op in operations if op.outcome != "fail"])
    return _Orders(history, told_apart(model, history), (budget or Budget(steps=STEPS)).steps_or_all).found()


class _Orders:
    """Every order, deepest first; the same operations in the same state are gone on from once."""

    def __init__(self, history: History, model: Model[Any], steps: int) -> None:
        self.operations, self.model, self.steps = list(history), model, steps
        self.must = sum(1 << number for number, op in enumerate(self.operations) if op.ret is not None)

    def found(self) -> tuple[PartialLinearization, ...]:
        start = self.model.init()
        best: dict[int, tuple[int, ...]] = {}  # operation -> the longest order that holds it
        longest: tuple[int, ...] = ()
        seen: set[tuple[int, Any]] = {(0, start)}
        stack: list[tuple[int, Any, tuple[int, ...]]] = [(0, start, ())]
        while stack and self.steps > 0:
            done, state, order = stack.pop()
            for number in order:
                if len(order) > len(best.get(number, ())):
                    best[number] = order
            if len(order) > len(longest):
                longest = order
            if done & self.must == self.must:
                longest = order
                best = dict.fromkeys(range(len(self.operations)), order)
                break
            for number in reversed(self._next(done)):
                self.steps -= 1
                following = self.model.step(state, self.operations[number])
                reached = (done | 1 << number, following)
                if not isinstance(following, Inconsistent) and reached not in seen:
                    seen.add(reached)
                    stack.append((*reached, (*order, number)))
        orders = sorted({longest, *best.values()}, key=lambda order: (-len(order), order))
        return tuple(map(self._told, orders))

    def _next(self, done: int) -> list[int]:
        """Return who may come next, in the order of their calls."""
        ends = [op.ret for number, op in enumerate(self.operations) if op.ret is not None and not done >> number & 1]
        limit = min(ends, default=None)
        return [
            number
            for number, op in enumerate(self.operations)
            if not done >> number & 1 and (limit is None or op.call <= limit)
        ]

    def _told(self, order: tuple[int, ...]) -> PartialLinearization:
        state, done, states = self.model.init(), 0, list[str]()
        for number in order:
            state = self.model.step(state, self.operations[number])
            done |= 1 << number
            states.append(self.model.describe_state(state))
        refused: list[tuple[Operation, str]] = []
        for number in self._next(done):
            following = self.model.step(state, self.operations[number])
            if isinstance(following, Inconsistent):
                refused.append((self.operations[number], following.reason))
        operations = tuple(self.operations[number] for number in order)
        return PartialLinearization(operations, tuple(states), tuple(refused), done & self.must == self.must)
