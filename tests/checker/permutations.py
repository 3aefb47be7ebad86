"""The slowest oracle, obviously right: try every order of the operations, for every choice of pending ones."""

from __future__ import annotations

from typing import Any

from capsize.checker.models import Inconsistent, Model
from capsize.history import History
from capsize.op import Operation


def linearizable_by_permutation(history: History, model: Model[Any]) -> bool:
    """Return whether some order of the operations respects real time and the model.

    An operation may come next if no other one that is still to come returned before it was called. Nothing is
    remembered, nothing is pruned: up to about ten operations.
    """
    return _extend([op for op in history if op.outcome != "fail"], model.init(), model)


def _extend(remaining: list[Operation], state: Any, model: Model[Any]) -> bool:
    if all(op.ret is None for op in remaining):
        return True
    for number, op in enumerate(remaining):
        if any(other.ret is not None and other.ret < op.call for other in remaining):
            continue
        following = model.step(state, op)
        if isinstance(following, Inconsistent):
            continue
        if _extend(remaining[:number] + remaining[number + 1 :], following, model):
            return True
    return False
