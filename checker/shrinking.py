"""From a long impossible history in cells (`cells`) to the few steps that are impossible by themselves.

Only what keeps "the smaller history is impossible" implying "the whole one is" is done:

1. *Window*: what had returned before some moment is left out, and nothing is assumed of what it left behind; what
   was open at that moment may take effect at any time after it, or never. What was called after the end is left out.
2. *Observers* that never change anything may go. They count as writes of what they saw, for so they leave the cells.
3. *Needs* may go: less is asked.
4. *Changes* may go if nobody who stays can have seen their effect: it does not fit what he saw, he had returned
   before, or something that stays set the cell anew wholly between the two. (Take a legal order of everything, drop
   those who go: everyone who stays still finds what he found.)

Windows grow from the end, so that the cost depends on how much is needed and not on the history's length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.cells import Step, judged_in_cells, told_in_cells
from capsize.checker.general import decide_general
from capsize.checker.models.model import Model, typed
from capsize.checker.outcome import Illegal
from capsize.checker.wgl import decide_wgl
from capsize.history import History
from capsize.op import Operation, Value

FIRST_WINDOW = 4
"""Events in the first window; each next one is twice as long."""
LAST_WINDOW = 2_000
EACH = Budget(steps=30_000)
ORACLE = Budget(steps=200_000)
TRIES_MAX = 1_500
OPERATIONS_MAX = 150_000
"""How often the engine is asked, and about how many operations in all."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One operation of a small history: as it was, and as it counts (a cut one never returned)."""

    shown: Operation
    judged: Operation
    step: Step


def shrunk(everything: Sequence[Operation], model: Model[Any], until: int | None = None) -> list[Kept] | None:
    """Return the fewest operations found that are impossible by themselves, which the oracle confirms; else None.

    `everything` are the operations of one key; `until` the position of the return at which it was found impossible.
    """
    operations = sorted((op for op in everything if op.outcome != "fail"), key=lambda op: op.call)
    told = told_in_cells(model, operations)
    if told is None:
        return None
    if until is None:
        until = max((op.ret for op in operations if op.ret is not None), default=-1)
    kept = [
        Kept(op, op if op.ret is not None and op.ret <= until else cut(op), step)
        for op, step in zip(operations, told.steps, strict=True)
        if op.call <= until
    ]
    kept = [one for one in kept if one.judged.ret is not None or one.step.changes]
    shrinking = _Shrinking(told.initial)
    kept, known = shrinking.window(kept)
    if not kept:
        return None
    kept = shrinking.fewer(kept, known=known)
    return kept if shrinking.confirmed(kept, known=known) else None


class _Shrinking:
    """Asks the general engine, a bounded number of times."""

    def __init__(self, initial: Value) -> None:
        self.initial = initial
        self.tries, self.operations = TRIES_MAX, OPERATIONS_MAX

    def impossible(self, kept: Sequence[Kept], *, known: bool) -> bool:
        if self.tries <= 0 or self.operations <= 0 or not kept:
            return False
        self.tries -= 1
        self.operations -= len(kept)
        history, model = self._history(kept, known=known)
        return isinstance(decide_general(history, model, EACH), Illegal)

    def confirmed(self, kept: Sequence[Kept], *, known: bool) -> bool:
        """Return whether the independent oracle finds them impossible, too."""
        history, model = self._history(kept, known=known)
        return isinstance(decide_wgl(history, model, ORACLE), Illegal)

    def _history(self, kept: Sequence[Kept], *, known: bool) -> tuple[History, Model[Any]]:
        operations, model = judged_in_cells(
            [one.judged for one in kept], [one.step for one in kept], self.initial, known=known
        )
        return History.of(operations), model

    def window(self, kept: list[Kept]) -> tuple[list[Kept], bool]:
        """Return the first window, growing from the end, that is impossible; and whether it has the start in it."""
        ends = [one.judged.call for one in kept]
        ends += [one.judged.ret for one in kept if one.judged.ret is not None]
        ends.sort(reverse=True)
        size = FIRST_WINDOW
        while size < len(ends) and size <= LAST_WINDOW:
            inside = _since(kept, ends[size])
            if self.impossible(inside, known=False):
                return inside, False
            size *= 2
        kept = _without_idle(kept)
        if len(ends) <= LAST_WINDOW and self.impossible(kept, known=True):
            return kept, True
        return [], True

    def fewer(self, kept: list[Kept], *, known: bool) -> list[Kept]:
        """Return what is left when nothing more may go."""
        whole = kept
        before: list[Kept] = []
        while kept != before and self.tries > 0:
            before = kept
            kept = self._without_steps(kept, whole, known=known)
            kept = self._without_needs(kept, known=known)
        return kept

    def _without_steps(self, kept: list[Kept], whole: list[Kept], *, known: bool) -> list[Kept]:
        size = max(1, len(kept) // 2)
        while size:
            position = 0
            while position < len(kept):
                fewer = kept[:position] + kept[position + size :]
                settled = _settled(fewer, whole)
                if settled and len(settled) < len(kept) and self.impossible(settled, known=known):
                    kept = settled
                else:
                    position += size
            size //= 2
        return kept

    def _without_needs(self, kept: list[Kept], *, known: bool) -> list[Kept]:
        position = 0
        while position < len(kept):
            one = kept[position]
            for need in one.step.needs:
                needs = tuple(other for other in one.step.needs if other is not need)
                # What it saw it still stands for, as a write of just that.
                changes = one.step.changes or bool(one.step.effects)
                weaker = replace(one, step=replace(one.step, needs=needs, changes=changes))
                fewer = [*kept[:position], weaker, *kept[position + 1 :]]
                if len(kept) > 1 and self.impossible(fewer, known=known):
                    kept, one = fewer, weaker
            position += 1
        return kept


def _settled(kept: list[Kept], whole: list[Kept]) -> list[Kept]:
    """Return `kept` without everyone who may have seen the effect of somebody who is gone."""
    while True:
        staying = {one.shown.identity for one in kept}
        gone = [one for one in whole if one.step.changes and one.shown.identity not in staying]
        setters = [one for one in kept if one.judged.ret is not None]
        moved = _moved(kept)
        fewer = [one for one in kept if not any(_may_see(one, other, setters, moved) for other in gone)]
        if len(fewer) == len(kept):
            return kept
        kept = fewer


def _may_see(one: Kept, gone: Kept, setters: Sequence[Kept], moved: dict[Any, set[str]]) -> bool:
    """Return whether `one` may have found a cell as `gone` left it, or as others moved it on from there."""
    if one.judged.ret is not None and one.judged.ret < gone.judged.call:
        return False
    for cell, word, needed in one.step.needs:
        for changed, how, value in gone.step.effects:
            if typed(cell) != typed(changed):
                continue
            if not _fits(how, value, word, needed, moved.get(typed(cell), set())):
                continue
            if gone.judged.ret is None or not any(_between(other, gone, one, cell) for other in setters):
                return True
    return False


def _fits(how: str, value: Value, word: str, needed: Value, moved: set[str]) -> bool:
    """Return whether a need can be met by what an effect left, or by what that was moved on to."""
    if word != "is" or "by" in (how, *moved):
        return word != "not" or how != "to" or bool(moved) or typed(value) != typed(needed)
    if how == "append":  # what was appended stands in all that follows from it
        if needed is None:
            return False
        return not isinstance(needed, str) or not isinstance(value, str) or value in needed
    if not moved:
        return typed(value) == typed(needed)
    if isinstance(value, str) and isinstance(needed, str):
        return needed.startswith(value)
    return value is None or needed is not None


def _between(other: Kept, gone: Kept, one: Kept, cell: Value) -> bool:
    """Return whether `other` set the cell anew wholly between the two."""
    assert gone.judged.ret is not None
    assert other.judged.ret is not None
    if other.judged.call <= gone.judged.ret or other.judged.ret >= one.judged.call:
        return False
    return any(how == "to" and typed(c) == typed(cell) for c, how, _ in other.step.effects)


def _since(kept: Sequence[Kept], start: int) -> list[Kept]:
    """Return the window from `start` on: what was open then may have had its effect already, or have it any time."""
    inside: list[Kept] = []
    for one in kept:
        if one.judged.call >= start:
            inside.append(one)
        elif one.step.changes and (one.judged.ret is None or one.judged.ret > start):
            inside.append(replace(one, judged=cut(one.judged)))
    return _without_idle(inside)


def _without_idle(kept: list[Kept]) -> list[Kept]:
    """Return `kept` without what never returned and nobody who stays can have seen."""
    while True:
        moved = _moved(kept)
        seen = [
            one
            for one in kept
            if one.judged.ret is not None or any(other is not one and _may_see(other, one, (), moved) for other in kept)
        ]
        if len(seen) == len(kept):
            return kept
        kept = seen


def _moved(kept: Sequence[Kept]) -> dict[Any, set[str]]:
    """Return how each cell is moved on, other than set anew."""
    moved: dict[Any, set[str]] = {}
    for one in kept:
        for cell, how, _ in one.step.effects:
            if how != "to":
                moved.setdefault(typed(cell), set()).add(how)
    return moved


def cut(op: Operation) -> Operation:
    """Return `op` as if it had never returned: it may have taken effect at any time after its call, or never."""
    return replace(op, ret=None, return_ns=None, outcome="info", result=None)
