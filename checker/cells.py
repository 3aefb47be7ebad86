"""Operations as needs and effects on cells: what registers, maps, sets, counters and locks have in common.

A read needs a cell to hold what it saw; a cas needs one value and sets another; adding to a set sets its element's
cell; an increment moves a cell by an amount, and an append makes it longer. Said so, one set of rules (`shrinking`)
makes histories of all these models small. `told_in_cells` says an operation of a model in this way, never stronger
than the model says it: a history that is legal by the model is legal by its cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from capsize.checker.models import (
    CasRegister,
    Counter,
    FencedLock,
    Inconsistent,
    KeyValue,
    Model,
    MultiRegister,
    Mutex,
    Register,
    Set,
)
from capsize.checker.models.maps import appended
from capsize.checker.models.model import typed
from capsize.op import Operation, Value

ANY = -1
"""The state of a cell of which nothing is known."""
SOMETHING = -2
"""The state of a cell of which only is known that something was appended to it: it holds no nothing."""

Need = tuple[Value, Literal["is", "not", "below"], Value]
Effect = tuple[Value, Literal["to", "by", "append"], Value]


@dataclass(frozen=True, slots=True)
class Step:
    """What one operation needs and does. `changes` is False for one that never changes anything."""

    needs: tuple[Need, ...] = ()
    effects: tuple[Effect, ...] = ()
    changes: bool = True


@dataclass(frozen=True, slots=True)
class Told:
    """A history of one key in cells: a step for each operation, and what every cell holds at first."""

    steps: tuple[Step, ...]
    initial: Value


class Cells(Model[tuple[int, ...]]):
    """The model of steps; an operation's `value` is the number of its step, and a state has a code for each cell.

    With `known=False` nothing is known of the start: a cell that was not set fits every need.
    """

    name: str = "cells"
    words: frozenset[str] = frozenset({"step"})
    anonymous: bool = True

    def __init__(self, steps: Iterable[Step], initial: Value, *, known: bool = True) -> None:
        self.steps = list(steps)
        self._codes: dict[Any, int] = {}
        self._values: list[Value] = []
        cells: dict[Any, int] = {}
        self._compiled: list[tuple[list[tuple[int, str, Any]], list[tuple[int, str, Any]]]] = []
        for step in self.steps:
            needs: list[tuple[int, str, Any]] = [
                (cells.setdefault(typed(cell), len(cells)), word, value if word == "below" else self._code(value))
                for cell, word, value in step.needs
            ]
            effects: list[tuple[int, str, Any]] = [
                (cells.setdefault(typed(cell), len(cells)), word, self._code(value) if word == "to" else value)
                for cell, word, value in step.effects
            ]
            self._compiled.append((needs, effects))
        self._start = (self._code(initial) if known else ANY,) * len(cells)

    def init(self) -> tuple[int, ...]:
        """Return what the cells hold at first."""
        return self._start

    def step(self, state: tuple[int, ...], op: Operation) -> tuple[int, ...] | Inconsistent:
        """Check every need, then carry out every effect."""
        assert isinstance(op.value, int)
        needs, effects = self._compiled[op.value]
        cells = list(state)
        for cell, word, value in needs:
            held = cells[cell]
            if held in (ANY, SOMETHING):
                if word == "is":
                    if held == SOMETHING and self._values[value] is None:
                        return Inconsistent(f"cell {cell} holds something")
                    cells[cell] = value
                continue
            if word == "below":
                number = self._values[held] or 0
                fits = isinstance(number, int | float) and number < value
            else:
                fits = (held == value) is (word == "is")
            if not fits:
                return Inconsistent(f"cell {cell} holds {self._values[held]!r}")
        for cell, word, value in effects:
            if word == "to":
                cells[cell] = value
            elif word == "append" and cells[cell] in (ANY, SOMETHING):
                cells[cell] = SOMETHING if value is not None else cells[cell]
            elif word == "append":
                longer = appended(self._values[cells[cell]], value)
                if isinstance(longer, Inconsistent):
                    return longer
                cells[cell] = self._code(longer)
            elif cells[cell] == SOMETHING:
                cells[cell] = ANY
            elif cells[cell] != ANY:
                found = self._values[cells[cell]]
                number = 0 if found is None else found
                if not isinstance(number, int | float):
                    return Inconsistent(f"{number!r} cannot be moved by {value}")
                cells[cell] = self._code(number + value)
        return tuple(cells)

    def observes(self, op: Operation) -> bool:
        """Steps do that change nothing, unless a cell is unknown at first."""
        assert isinstance(op.value, int)
        return not self.steps[op.value].changes and ANY not in self._start

    def _code(self, value: Value) -> int:
        code = self._codes.setdefault(typed(value), len(self._values))
        if code == len(self._values):
            self._values.append(value)
        return code


def judged_in_cells(
    operations: Sequence[Operation], steps: Sequence[Step], initial: Value, *, known: bool = True
) -> tuple[list[Operation], Cells]:
    """Return the operations as the cells' model takes them, equal steps under one number, and that model."""
    numbers: dict[Step, int] = {}
    shown: list[Operation] = []
    for op, step in zip(operations, steps, strict=True):
        number = numbers.setdefault(step, len(numbers))
        shown.append(replace(op, f="step", key=None, value=number, result=None, meta={}, error=None))
    return shown, Cells(numbers, initial, known=known)


def told_in_cells(model: Model[Any], operations: Sequence[Operation]) -> Told | None:
    """Return the operations of one key in cells; None for a model or an operation that cannot be said so."""
    translate = TRANSLATIONS.get(type(model))
    return None if translate is None else translate(model, operations)


# --- the translations ---

_ONE: Value = None
"""The cell of models that have only one."""


def _register(model: Model[Any], operations: Sequence[Operation]) -> Told | None:
    steps: list[Step] = []
    for op in operations:
        step = _register_step(op)
        if step is None:
            return None
        steps.append(step)
    return Told(tuple(steps), model.init())


def _register_step(op: Operation) -> Step | None:
    told = op.outcome == "ok"
    match op.f:
        case "read" | "get":
            return _seen({_ONE: op.result}) if told else Step(changes=False)
        case "write" | "put" | "delete":
            return Step(effects=((_ONE, "to", None if op.f == "delete" else op.value),))
        case "cas" if isinstance(op.value, tuple) and len(op.value) == 2:
            old, new = op.value
            if told and op.result is False:
                return Step(needs=((_ONE, "not", old),), changes=False)
            return Step(((_ONE, "is", old),), ((_ONE, "to", new),), typed(old) != typed(new))
        case "incr":
            return _moved(op, 1)
        case "append":
            return Step(effects=((_ONE, "append", op.value),), changes=op.value is not None)
        case _:
            return None


def _counter(model: Model[Any], operations: Sequence[Operation]) -> Told | None:
    steps: list[Step] = []
    for op in operations:
        if op.f == "read":
            steps.append(
                _seen({_ONE: 0 if op.result is None else op.result}) if op.outcome == "ok" else Step((), (), False)
            )
            continue
        step = _moved(op, -1 if op.f == "decr" else 1) if op.f in ("add", "incr", "decr") else None
        if step is None:
            return None
        steps.append(step)
    return Told(tuple(steps), model.init())


def _moved(op: Operation, sign: int) -> Step | None:
    """Return an increment: by its amount, or where it was answered with a number, from one value to another."""
    amount = 1 if op.value is None else op.value
    if isinstance(amount, bool) or not isinstance(amount, int):
        return None
    amount *= sign
    if op.outcome == "ok" and isinstance(op.result, int) and not isinstance(op.result, bool):
        before = op.result - amount
        # Zero may have been absence as well.
        needs: tuple[Need, ...] = () if before == 0 and op.f == "incr" else ((_ONE, "is", before),)
        return Step(needs, ((_ONE, "to", op.result),), amount != 0)
    if op.outcome == "ok" and op.result is not None:
        return None
    return Step(effects=((_ONE, "by", amount),), changes=amount != 0)


def _multi(_: Model[Any], operations: Sequence[Operation]) -> Told | None:
    steps: list[Step] = []
    for op in operations:
        if op.f in ("read", "write"):
            parts: Value = ((op.f, op.key, op.value if op.f == "write" else op.result),)
        else:
            parts = op.result if op.outcome == "ok" else op.value
        step = _transaction(parts, told=op.outcome == "ok")
        if step is None:
            return None
        steps.append(step)
    return Told(tuple(steps), None)


def _transaction(parts: Value, *, told: bool) -> Step | None:
    if not isinstance(parts, tuple):
        return None
    needs: dict[Any, Need] = {}
    clashing: list[Need] = []
    effects: dict[Any, Effect] = {}
    for part in parts:
        if not isinstance(part, tuple) or len(part) != 3:
            return None
        word, cell, value = part
        if word in ("write", "w"):
            effects[typed(cell)] = (cell, "to", value)
        elif word not in ("read", "r"):
            return None
        elif told:
            written = effects.get(typed(cell))
            known = needs.get(typed(cell))
            if written is not None:
                if typed(written[2]) != typed(value):  # it did not see its own write: impossible whatever was there
                    seen: list[Need] = [(cell, "is", value), (cell, "is", written[2])]
                    clashing += seen
            elif known is None:
                needs[typed(cell)] = (cell, "is", value)
            else:
                clashing.append((cell, "is", value))
    changes = bool(effects)
    for name, (cell, _, value) in needs.items():
        effects.setdefault(name, (cell, "to", value))
    return Step((*needs.values(), *clashing), tuple(effects.values()), changes)


def _set(_: Model[Any], operations: Sequence[Operation]) -> Told | None:
    elements: dict[Any, Value] = {}
    for op in operations:
        for value in (
            op.result if op.f == "read" and isinstance(op.result, tuple) else () if op.f == "read" else (op.value,)
        ):
            elements.setdefault(typed(value), value)
    steps: list[Step] = []
    for op in operations:
        told = op.outcome == "ok"
        if op.f in ("add", "remove"):
            needs: tuple[Need, ...] = ()
            if told and isinstance(op.result, bool):
                needs = ((op.value, "is", op.result is (op.f == "remove")),)
            steps.append(Step(needs, ((op.value, "to", op.f == "add"),)))
        elif op.f == "contains":
            steps.append(_seen({op.value: op.result}) if told else Step(changes=False))
        elif op.f == "read":
            seen = {typed(value) for value in op.result} if isinstance(op.result, tuple) else set[Any]()
            needs = tuple((value, "is", name in seen) for name, value in elements.items())
            steps.append(Step(needs, tuple((c, "to", v) for c, _, v in needs), False) if told else Step(changes=False))
        else:
            return None
    return Told(tuple(steps), False)


def _mutex(_: Model[Any], operations: Sequence[Operation]) -> Told | None:
    steps: list[Step] = []
    for op in operations:
        if op.f not in ("acquire", "release"):
            return None
        takes = op.f == "acquire"
        steps.append(Step(((_ONE, "is", not takes),), ((_ONE, "to", takes),)))
    return Told(tuple(steps), False)


HOLDER, TOKEN = "holder", "token"


def _fenced(_: Model[Any], operations: Sequence[Operation]) -> Told | None:
    steps: list[Step] = []
    for op in operations:
        if op.f == "release":
            steps.append(Step(((HOLDER, "is", op.process),), ((HOLDER, "to", None),)))
        elif op.f == "acquire":
            needs: tuple[Need, ...] = ((HOLDER, "is", None),)
            effects: tuple[Effect, ...] = ((HOLDER, "to", op.process),)
            if op.outcome == "ok" and isinstance(op.result, int):
                needs = ((HOLDER, "is", None), (TOKEN, "below", op.result))
                effects = ((HOLDER, "to", op.process), (TOKEN, "to", op.result))
            steps.append(Step(needs, effects))
        else:
            return None
    return Told(tuple(steps), None)


def _seen(cells: dict[Value, Value]) -> Step:
    """Return an observer of what cells held: setting them to just that changes nothing, and stands for their past."""
    needs: tuple[Need, ...] = tuple((cell, "is", value) for cell, value in cells.items())
    return Step(needs, tuple((cell, "to", value) for cell, _, value in needs), False)


TRANSLATIONS: dict[type[Model[Any]], Callable[[Model[Any], Sequence[Operation]], Told | None]] = {
    Register: _register,
    CasRegister: _register,
    KeyValue: _register,
    Counter: _counter,
    MultiRegister: _multi,
    Set: _set,
    Mutex: _mutex,
    FencedLock: _fenced,
}
