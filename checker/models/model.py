"""What a model is: the sequential behaviour that a linearizable object must seem to have.

A model says where the object starts and how one operation moves it, and nothing else; docs/models.md shows how to
write one. The words are those of Porcupine (Model: init, step, partition, describe) and the meaning of the
outcomes is Jepsen's. A model whose next state is a matter of choice is a `NondeterministicModel`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from capsize.history import History
from capsize.op import Operation, Value

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Inconsistent:
    """The operation cannot have been answered as it was in this state; `reason` says why, in words."""

    reason: str


class Model(ABC, Generic[S]):
    """A deterministic object. States must be hashable and are never changed in place.

    `step` is asked about operations with outcome `ok`, whose `result` is known and must fit, and `info`, whose
    result is unknown and must not be looked at. Operations that failed are never shown to it.

    `words` are the f words the model knows, for recognising a history's model.
    `anonymous` promises that `step` looks at nothing but f, value, result and outcome. It lets the engine treat
    equal operations of different processes as one, which is what makes pending operations affordable.
    """

    name: str = ""
    words: frozenset[str] = frozenset()
    anonymous: bool = False

    @abstractmethod
    def init(self) -> S:
        """Return the state before the first operation."""

    @abstractmethod
    def step(self, state: S, op: Operation) -> S | Inconsistent:
        """Return the state after `op`, or why `op` cannot have been answered so in `state`."""

    def observes(self, op: Operation) -> bool:
        """Return True if `step` never changes the state for `op`, whatever the state; False when in doubt."""
        return False

    def partition(self, history: History) -> Iterable[tuple[Value, History]]:
        """Split a history into parts that can be judged apart, each with its key. Default: by the operations' key."""
        for key, rows in history.split():
            yield key, history.take(rows)

    def describe(self, op: Operation) -> str:
        """Return `op` in words, for reports: "write 3", "read -> 4", "cas 1 2 -> false"."""
        said = f"{op.f} {_plain(op.value)}" if op.value is not None else op.f
        if op.outcome == "info":
            return f"{said} -> ?"
        return said if op.result is None and not self.observes(op) else f"{said} -> {_plain(op.result)}"

    def describe_state(self, state: S) -> str:
        """Return `state` in words, for reports."""
        return repr(state)


class Whole(Model[S]):
    """A model whose histories cannot be split by key."""

    def partition(self, history: History) -> Iterable[tuple[Value, History]]:
        """Return the whole history as one part."""
        if len(history):
            yield None, history


def answered(op: Operation) -> bool:
    """Return True if the result of `op` is known."""
    return op.outcome == "ok"


def same(one: Value, other: Value) -> bool:
    """Return whether two values are the same one: 1 is not True, though Python calls them equal.

    >>> same(1, True), same(1, 1.0), same((1, 2), (1, 2)), same((1, 2), (True, 2))
    (False, True, True, False)
    """
    return one == other and (one is other or typed(one) == typed(other))


def typed(value: Any) -> Hashable:
    """Return what two values, or two states made of values, share exactly if they are the same one.

    >>> typed(1) == typed(True), typed((1,)) == typed((True,)), typed(1) == typed(1.0)
    (False, False, True)
    """
    if isinstance(value, bool):
        return (bool, value)
    if isinstance(value, tuple):
        return tuple(map(typed, value))
    if isinstance(value, frozenset):
        return frozenset(map(typed, value))
    kept: Hashable = value
    return kept


def _plain(value: Value) -> str:
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + " ".join(_plain(item) for item in value) + "]"
    return str(value)


plain = _plain
"""Write a value as reports show it."""
