"""Models that may go more than one way, judged by following every way at once (the power set)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Generic

from capsize.checker.models.model import Inconsistent, Model, S
from capsize.history import History
from capsize.op import Operation, Value


class NondeterministicModel(ABC, Generic[S]):
    """Like `Model`, but `init` and `step` give every state that is possible; none means inconsistent."""

    name: str = ""
    words: frozenset[str] = frozenset()
    anonymous: bool = False

    @abstractmethod
    def init(self) -> Iterable[S]:
        """Return every possible first state."""

    @abstractmethod
    def step(self, state: S, op: Operation) -> Iterable[S]:
        """Return every state that `op`, answered as it was, may lead to from `state`."""

    def partition(self, history: History) -> Iterable[tuple[Value, History]]:
        """Split a history into parts that can be judged apart. Default: by the operations' key."""
        for key, rows in history.split():
            yield key, history.take(rows)

    def describe_state(self, state: S) -> str:
        """Return `state` in words."""
        return repr(state)

    def to_model(self) -> Model[frozenset[S]]:
        """Return the deterministic model over sets of states that every engine can judge."""
        return PowerSet(self)


class PowerSet(Model[frozenset[S]]):
    """The deterministic model whose state is the set of states that a non-deterministic one may be in."""

    def __init__(self, model: NondeterministicModel[S]) -> None:
        self.model = model
        self.name = model.name
        self.words = model.words
        self.anonymous = model.anonymous

    def init(self) -> frozenset[S]:
        """Return the possible first states."""
        return frozenset(self.model.init())

    def step(self, state: frozenset[S], op: Operation) -> frozenset[S] | Inconsistent:
        """Return the states that any of the states may lead to."""
        after = frozenset(following for one in state for following in self.model.step(one, op))
        return after or Inconsistent(f"{self.describe(op)} is possible in none of {self.describe_state(state)}")

    def partition(self, history: History) -> Iterable[tuple[Value, History]]:
        """Split as the model inside does."""
        return self.model.partition(history)

    def describe_state(self, state: frozenset[S]) -> str:
        """Return the states, sorted as text."""
        return "{" + ", ".join(sorted(map(self.model.describe_state, state))) + "}"
