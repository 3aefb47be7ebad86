"""A value that was seen again after another one had been there, though nobody can have brought it back.

The one pattern of cells that needs no unique values: registers, maps, transactions over several registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from capsize.checker.anomalies.case import Case, Found, by_call, ends_before, name, short
from capsize.checker.cells import Step, judged_in_cells, told_in_cells
from capsize.checker.models import Model, MultiRegister
from capsize.checker.models.model import typed
from capsize.checker.reduction import Item
from capsize.op import Operation, Value


def find(case: Case, model: Model[Any], among: Sequence[Operation]) -> Found | None:
    """Return two of the operations `among` that show it, the later one as early as possible."""
    told = told_in_cells(model, case.happened)
    if told is None:
        return None
    steps = dict(zip((op.identity for op in case.happened), told.steps, strict=True))
    ops = [op for op in by_call(among) if op.outcome == "ok" and op.ret is not None and op.identity in steps]
    for read in ops:
        for cell, word, value in steps[read.identity].needs:
            if word != "is":
                continue
            for proof in reversed(ops):
                if not ends_before(proof, read):
                    continue
                left = _left(steps[proof.identity], cell)
                if left is None or typed(left[0]) == typed(value):
                    continue
                writers = _writers(case, steps, cell, value, but=(proof, read))
                if not any(op.call < (read.ret or 0) and not ends_before(op, proof) for op in writers):
                    initial = typed(told.initial) == typed(value)
                    return _tell(case, model, proof, read, cell, left[0], value, writers, steps, initial=initial)
    return _both(case, model, ops, steps)


def _both(
    case: Case, model: Model[Any], ops: Sequence[Operation], steps: dict[tuple[int, int], Step]
) -> Found | None:  # fmt: skip
    """Return two reads at one time of two values, of which neither can have been written meanwhile."""
    readers = [op for op in ops if not steps[op.identity].changes]
    for one, other in combinations(readers, 2):
        if ends_before(one, other) or ends_before(other, one) or one.ret is None or other.ret is None:
            continue
        start, end = min(one.call, other.call), max(one.ret, other.ret)
        for cell, word, value in steps[one.identity].needs:
            found = _left(steps[other.identity], cell)
            if word != "is" or found is None or typed(found[0]) == typed(value):
                continue
            sources = [_writers(case, steps, cell, seen, but=(one, other)) for seen in (value, found[0])]
            if any(op.call < end and (op.ret is None or op.ret > start) for ops in sources for op in ops):
                continue
            earlier = [[op for op in ops if op.ret is not None and op.ret < start] for ops in sources]
            last = [max(before, key=lambda op: op.ret or 0) for before in earlier if before]
            first, second = short(value), short(found[0])
            because = [
                f"{name(one)} found {first} and {name(other)} found {second}, though neither can have been written "
                "meanwhile.",
                *[f"{case.told(op)}." for op in (*last, one, other)],
                f"Whichever of {first} and {second} was written last, it had replaced the other one for good.",
            ]
            needs = [Step(((cell, "is", value),), ((cell, "to", value),), False) for value in (value, found[0])]
            judged, cells = judged_in_cells([one, other], needs, None, known=False)
            items = tuple(Item(shown, op) for shown, op in zip((one, other), judged, strict=True))
            return Found("stale-read", because, items, cells, tuple(last))
    return None


def _tell(
    case: Case, model: Model[Any], proof: Operation, read: Operation, cell: Value, left: Value, value: Value,
    writers: Sequence[Operation], steps: dict[tuple[int, int], Step], *, initial: bool,
) -> Found:  # fmt: skip
    new, old = short(left), short(value)
    of = f" of {short(cell)}" if isinstance(model, MultiRegister) else ""
    wrote = steps[proof.identity].changes
    did = "deleted it" if proof.f == "delete" else f"replaced it by {new}" if wrote else f"found {new} since"
    had = f"{name(proof)} had {did}"
    verb = "read" if read.f in ("read", "get", "txn") else "found"
    because = [f"{name(read)} {verb} {old}{of}{case.brief(read)}, though {had}.", f"{case.told(proof)}."]
    because.append(f"After that, {case.told(read)}.")
    because.append(f"{case.before(proof, read)}.")
    earlier = [op for op in writers if ends_before(op, proof)]
    context: list[Operation] = []
    if earlier:
        last = max(earlier, key=lambda op: op.ret or 0)
        context.append(last)
        times = f"{len(earlier)} times, the last time" if len(earlier) > 1 else "only"
        because.append(f"{old} had been written {times} by {name(last)}: {case.before(last, proof)}.")
    elif initial:
        because.append(f"{old} was there at the start only.")
    because.append(f"Nobody else can have brought {old} back between the two.")
    if not wrote:
        source = [op for op in _writers(case, steps, cell, left, but=(read,)) if op.call < (proof.ret or 0)]
        context += source[-1:]
    judged, cells = judged_in_cells(
        [proof, read], [Step(effects=((cell, "to", left),)), Step(((cell, "is", value),))], None, known=False
    )
    items = tuple(Item(one, other) for one, other in zip((proof, read), judged, strict=True))
    return Found("stale-read", because, items, cells, tuple(context))


def _left(step: Step, cell: Value) -> tuple[Value] | None:
    """Return what a step certainly left in the cell."""
    for changed, how, value in step.effects:
        if how == "to" and typed(changed) == typed(cell):
            return (value,)
    return None


def _writers(
    case: Case, steps: dict[tuple[int, int], Step], cell: Value, value: Value, *, but: Sequence[Operation]
) -> list[Operation]:
    """Return who may have brought the cell to that value."""
    skipped = {op.identity for op in but}
    return [
        op
        for op in case.happened
        if op.identity not in skipped
        and steps[op.identity].changes
        and any(
            typed(changed) == typed(cell) and (how != "to" or typed(to) == typed(value))
            for changed, how, to in steps[op.identity].effects
        )
    ]
