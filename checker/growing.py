"""Lists, and keys of a map that are only appended to, whatever else was appended: few operations, however long it grew.

In a list that only grows, every read begins with what an earlier one showed, and shows, in order, all that was
appended in between. That holds whoever else appended what, so any append and any read may be left out. (Take a legal
order of everything, drop those who go: who stays still finds what he found.) What is left out may have brought
whatever is shown; so this proves that something is missing or out of order, never that something is there too often.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.general import decide_general
from capsize.checker.models import AppendOnlyList, Inconsistent, KeyValue, Model
from capsize.checker.models.model import plain, typed
from capsize.checker.outcome import Illegal
from capsize.checker.projection import fewest
from capsize.checker.reduction import READS, Item, impossible
from capsize.history import History
from capsize.op import Operation, Value

EACH = Budget(steps=30_000)
TRIES_MAX = 400
OPERATIONS_MAX = 100_000

Grown = str | tuple[Any, ...]


class Growing(Model[tuple[Any, tuple[Any, ...]]]):
    """`append v` and `read`, beside appends by anybody of anything; a state is what was last read, and what came since.

    >>> Growing().init()
    (None, ())
    """

    name: str = "growing"
    words: frozenset[str] = frozenset({"append", "read", "get"})
    anonymous: bool = True

    def __init__(self, *, single: bool = False) -> None:
        self.single = single
        """Whether an append brings one item, even where that is an array itself."""

    def init(self) -> tuple[Any, tuple[Any, ...]]:
        """Return the empty list, of whatever kind."""
        return None, ()

    def step(self, state: tuple[Any, tuple[Any, ...]], op: Operation) -> tuple[Any, tuple[Any, ...]] | Inconsistent:
        """Note what was appended, or compare what was read."""
        known, since = state
        if op.f == "append":
            return known, (*since, self.piece(op.value))
        if op.outcome != "ok":
            return state
        shown = "" if op.result is None else self._whole(op.result)
        at = len(known or ())
        if known and known != shown[:at]:
            return Inconsistent(f"what was read does not begin with {plain(known)}")
        for piece in since:
            at = _end_of(piece, shown, at)
            if at < 0:
                return Inconsistent(f"what was read lacks {plain(piece)}, or shows it too early")
        return shown or None, ()

    def observes(self, op: Operation) -> bool:
        """No operation does: a read says what all later ones begin with."""
        return False

    def extends(self, one: Operation, other: Operation) -> bool:
        """Return whether `one` showed all that `other` did, and more: `other` is the older state."""
        longer, shorter = ("" if op.result is None else self._whole(op.result) for op in (one, other))
        return len(longer) > len(shorter) and (not shorter or longer[: len(shorter)] == shorter)

    def piece(self, value: Value) -> Grown:
        """Return what an append of `value` adds."""
        return (typed(value),) if self.single else self._whole(value)

    def _whole(self, value: Value) -> Grown:
        assert isinstance(value, str | tuple)
        return value if isinstance(value, str) else tuple(map(typed, value))


def _end_of(piece: Grown, shown: Grown, start: int) -> int:
    """Return where `piece` ends the first time that it stands in `shown` from `start` on; -1 if it does not."""
    size = len(piece)
    for at in range(start, len(shown) - size + 1):
        if shown[at : at + size] == piece:
            return at + size
    return -1


def proven_growing(
    everything: Sequence[Operation], model: Model[Any], until: int | None
) -> tuple[tuple[Item, ...], Growing] | None:
    """Return the fewest operations found that no list can explain that only grows, and their model; else None."""
    happened = [op for op in everything if op.outcome != "fail"]
    growing = _growing(model, happened)
    if growing is None:
        return None
    asked = [TRIES_MAX, OPERATIONS_MAX]

    def holds(some: list[Operation]) -> bool:
        if min(asked) <= 0 or not some:
            return False
        asked[0], asked[1] = asked[0] - 1, asked[1] - len(some)
        return isinstance(decide_general(History.of(some), growing, EACH), Illegal)

    told = [
        op
        for op in sorted(happened, key=lambda op: op.call)
        if op.outcome == "ok" and op.ret is not None and (until is None or op.ret <= until)
    ]
    if not holds(told):
        return None
    items = tuple(Item(op, op) for op in fewest(told, holds))
    return (items, growing) if impossible([item.judged for item in items], growing) else None


def _growing(model: Model[Any], happened: Sequence[Operation]) -> Growing | None:
    """Return the model of a key that only grows; None for one that is more than that."""
    if any(op.f != "append" and op.f not in READS for op in happened):
        return None
    values: list[Value] = [
        op.result for op in happened if op.f in READS and op.outcome == "ok" and op.result is not None
    ]
    if type(model) is AppendOnlyList:
        return Growing(single=True) if all(isinstance(value, tuple) for value in values) else None
    if type(model) is not KeyValue or model.initial is not None:
        return None
    values += [op.value for op in happened if op.f == "append"]
    strings = sum(isinstance(value, str) for value in values)
    arrays = sum(isinstance(value, tuple) for value in values)
    return Growing() if len(values) in (strings, arrays) else None
