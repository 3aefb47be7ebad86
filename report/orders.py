"""How far the operations of a witness can be put in an order, and where it ends: Porcupine's picture, as data.

An order may go on with any operation that does not begin after another one, still missing, has ended. Every operation
of the witness gets the longest order that holds it; shown first is the longest that goes by the log indices of the
answers, where they name any. At its end stand the operations that would be next, and why none of them can be: that is
the contradiction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from capsize.checker.models import MODELS, infer_model
from capsize.checker.models.model import Inconsistent, Model
from capsize.history import History
from capsize.op import Operation

MOST_OPERATIONS = 24
ACCUMULATE = frozenset({"append", "incr", "increment", "decrement"})
"""What builds on everything before it: a witness leaves most of that out, and an order of it alone would mislead."""
MOST_TRIED = 60_000
"""Steps of the model after which the longest orders found so far are shown."""
WRITES = {"register": "write", "cas-register": "write", "kv": "put"}


@dataclass(frozen=True, slots=True)
class Order:
    """Operations in an order that the model allows, by their place in the witness, with the state after each of them.

    `refused` are those that would be next: (place, why not).
    """

    places: tuple[int, ...]
    states: tuple[str, ...]
    refused: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Orders:
    """`of[i]` is the longest order that holds operation i, -1 if none does; `longest` the one that is shown first.

    That is the longest of those that agree best with the log indices that the answers name.

    `as_writes` are compare-and-sets that count as plain writes: the witness is impossible whatever they compared.
    """

    found: tuple[Order, ...]
    of: tuple[int, ...]
    longest: int
    start: str
    as_writes: tuple[int, ...] = ()
    complete: bool = True


def model_of(name: Any, operations: Sequence[Operation]) -> Model[Any] | None:
    """Return the model of that name; the simplest that knows all these operations, where the name says nothing."""
    known = infer_model(History.of(operations)) if not isinstance(name, str) or name not in MODELS else name
    return MODELS[known]() if known is not None else None


def orders_of(operations: Sequence[Operation], model: Model[Any]) -> Orders | None:
    """Return how far `operations` can be ordered; None if they can be to the end, are too many, or accumulate."""
    if not 0 < len(operations) <= MOST_OPERATIONS or any(op.f in ACCUMULATE for op in operations):
        return None
    judged, as_writes = list(operations), list[int]()
    for place, op in enumerate(operations):  # what was compared may have been written by somebody who is not shown
        if op.f == "cas" and op.outcome == "ok" and op.result is not False and model.name in WRITES:
            assert isinstance(op.value, tuple)
            weaker = replace(op, f=WRITES[model.name], value=op.value[1], result=None)
            tried = [*judged[:place], weaker, *judged[place + 1 :]]
            if _Search(tried, model).run() is not None:
                judged, as_writes = tried, [*as_writes, place]
    found = _Search(judged, model).run()
    return None if found is None else replace(found, as_writes=tuple(as_writes))


_End = tuple[tuple[int, ...], tuple[Any, ...], tuple[tuple[int, str], ...]]
"""Where an order cannot go on: its places, the states after each of them, and what is refused."""


class _Search:
    def __init__(self, operations: Sequence[Operation], model: Model[Any]) -> None:
        self.operations, self.model = operations, model
        self.must = sum(1 << place for place, op in enumerate(operations) if op.ret is not None and _happened(op))
        self.best: dict[int, _End] = {}
        self.first: _End | None = None
        self.steps = 0

    def run(self) -> Orders | None:
        """Try everything; None when an order reaches the end, or nothing can be said of these operations."""
        start = self.model.init()
        seen: set[tuple[int, Any]] = {(0, start)}
        waiting: list[tuple[int, Any, tuple[int, ...], tuple[Any, ...]]] = [(0, start, (), ())]
        while waiting and self.steps < MOST_TRIED:
            done, state, order, states = waiting.pop()
            if done & self.must == self.must:
                return None
            refused: list[tuple[int, str]] = []
            went_on = False
            for place in self._next(done):
                self.steps += 1
                following = self.model.step(state, self.operations[place])
                if isinstance(following, Inconsistent):
                    refused.append((place, following.reason))
                    continue
                went_on = True
                if (done | 1 << place, following) not in seen:
                    seen.add((done | 1 << place, following))
                    waiting.append((done | 1 << place, following, (*order, place), (*states, following)))
            if not went_on:
                self._keep(order, states, tuple(refused))
        return self._orders(start, complete=not waiting)

    def _next(self, done: int) -> list[int]:
        left = [place for place, op in enumerate(self.operations) if not done >> place & 1 and _happened(op)]
        first = min((ret for place in left if (ret := self.operations[place].ret) is not None), default=None)
        return [place for place in left if first is None or self.operations[place].call <= first]

    def _keep(self, order: tuple[int, ...], states: tuple[Any, ...], refused: tuple[tuple[int, str], ...]) -> None:
        for place in order or (-1,):
            if place not in self.best or len(order) > len(self.best[place][0]):
                self.best[place] = (order, states, refused)
        if self.first is None or self._rank(order) > self._rank(self.first[0]):
            self.first = (order, states, refused)

    def _rank(self, order: tuple[int, ...]) -> tuple[int, int]:
        """Return how good an order is: in the order of the log that the answers name, then the longer one."""
        indices = [index for place in order if isinstance(index := self.operations[place].meta.get("log_index"), int)]
        return -sum(later < index for index, later in combinations(indices, 2)), len(order)

    def _orders(self, start: Any, *, complete: bool) -> Orders | None:
        if self.first is None:
            return None
        kept = [*self.best.values(), self.first]
        kinds = list(dict.fromkeys((order, refused) for order, _, refused in kept))
        states = {order: found for order, found, _ in kept}
        found = tuple(
            Order(order, tuple(map(self.model.describe_state, states[order])), refused) for order, refused in kinds
        )
        place_of = {(order, refused): number for number, (order, refused) in enumerate(kinds)}
        of = tuple(
            place_of[self.best[place][0], self.best[place][2]] if place in self.best else -1
            for place in range(len(self.operations))
        )
        longest = place_of[self.first[0], self.first[2]]
        return Orders(found, of, longest, self.model.describe_state(start), complete=complete)


def _happened(op: Operation) -> bool:
    return op.outcome != "fail"
