"""Transactions over several registers: one that saw a part of what another one did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from capsize.checker.anomalies.case import Case, Found, as_judged, by_call, ends_before, name, short
from capsize.checker.cells import Need, Step, told_in_cells
from capsize.checker.models import Model, MultiRegister
from capsize.checker.models.model import typed
from capsize.op import Operation, Value


def find(case: Case, model: Model[Any], among: Sequence[Operation]) -> Found | None:
    """Return a read of one register's new value and another one's old value, though one transaction wrote both."""
    if not isinstance(model, MultiRegister):
        return None
    told = told_in_cells(model, case.happened)
    if told is None:
        return None
    steps = dict(zip((op.identity for op in case.happened), told.steps, strict=True))
    for reader in by_call(among):
        needs = steps[reader.process, reader.call].needs if reader.outcome == "ok" else ()
        for cell, _, value in needs:
            writers = _writers(case, steps, cell, value, reader)
            if len(writers) != 1 or typed(value) == typed(told.initial):
                continue
            writer = writers[0]
            for other in needs:
                found = _torn(case, model, steps, writer, reader, (cell, value), other, initial=told.initial)
                if found is not None:
                    return found
    return None


def _torn(
    case: Case, model: Model[Any], steps: dict[tuple[int, int], Step], writer: Operation, reader: Operation,
    seen: tuple[Value, Value], need: Need, *, initial: Value,
) -> Found | None:  # fmt: skip
    cell, _, old = need
    wrote = [
        value for where, how, value in steps[writer.process, writer.call].effects
        if how == "to" and typed(where) == typed(cell)
    ]  # fmt: skip
    if not wrote or typed(wrote[0]) == typed(old):
        return None
    # Whoever wrote the old value did so before the writer: nobody can have brought it back.
    before = _writers(case, steps, cell, old, reader)
    if any(not ends_before(op, writer) for op in before):
        return None
    items = by_call([*before[-1:], writer, reader])
    origin = f"of {case.no(before[-1])}" if before else "from the start"
    because = [
        f"{name(reader)} saw {short(seen[1])} in {short(seen[0])}{case.brief(reader)}, but not {short(wrote[0])} in "
        f"{short(cell)}, which one transaction had written together.",
        *[f"{case.told(op)}." for op in items],
        f"In {short(cell)} {name(reader)} still found {short(old)}, {origin}, which {case.no(writer)} had replaced.",
    ]
    if not before and typed(old) != typed(initial):
        return None
    return Found("fractured-read", because, tuple(as_judged(op) for op in items), model)


def _writers(
    case: Case, steps: dict[tuple[int, int], Step], cell: Value, value: Value, but: Operation
) -> list[Operation]:
    return [
        op
        for op in case.happened
        if op.identity != but.identity
        and steps[op.process, op.call].changes
        and any(
            how == "to" and typed(where) == typed(cell) and typed(to) == typed(value)
            for where, how, to in steps[op.process, op.call].effects
        )
    ]
