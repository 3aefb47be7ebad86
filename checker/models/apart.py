"""States kept apart that Python takes for one: 1 is `True` to a dictionary, and not to a model.

Engines remember states in sets. Where a history holds both a boolean and the number that Python calls equal to it,
they judge this model instead: the same one, its states boxed.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable
from typing import Any

from capsize.checker.models.model import Inconsistent, Model, typed
from capsize.history import History
from capsize.op import Operation, Value


class Box:
    """A state that equals another one only if all values in it are of the same kind, too."""

    __slots__ = ("_known_by", "state")

    def __init__(self, state: Any) -> None:
        self.state = state
        self._known_by: Hashable = typed(state)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and self._known_by == other._known_by

    def __hash__(self) -> int:
        return hash(self._known_by)

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + 2 * sys.getsizeof(self.state)


class Apart(Model[Box]):
    """`model`, its states boxed."""

    def __init__(self, model: Model[Any]) -> None:
        self.model = model
        self.name, self.words, self.anonymous = model.name, model.words, model.anonymous

    def init(self) -> Box:
        """Return the first state of the model inside."""
        return Box(self.model.init())

    def step(self, state: Box, op: Operation) -> Box | Inconsistent:
        """Move the model inside."""
        following = self.model.step(state.state, op)
        return following if isinstance(following, Inconsistent) else Box(following)

    def observes(self, op: Operation) -> bool:
        """Ask the model inside."""
        return self.model.observes(op)

    def partition(self, history: History) -> Iterable[tuple[Value, History]]:
        """Split as the model inside does."""
        return self.model.partition(history)

    def describe(self, op: Operation) -> str:
        """Ask the model inside."""
        return self.model.describe(op)

    def describe_state(self, state: Box) -> str:
        """Ask the model inside."""
        return self.model.describe_state(state.state)


def told_apart(model: Model[Any], history: History) -> Model[Any]:
    """Return `model`, or its like with boxed states if `history` mixes `true` and 1, or `false` and 0."""
    return Apart(model) if history.table.mixes_truth and not isinstance(model, Apart) else model
