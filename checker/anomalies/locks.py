"""Locks: who held one while somebody else did, and tokens that went backwards."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

from capsize.checker.anomalies.case import Before, Case, Found, as_judged, by_call, counted, ends_before, name
from capsize.checker.cells import HOLDER, Step, judged_in_cells
from capsize.checker.models import FencedLock, Model, Mutex
from capsize.checker.reduction import Item
from capsize.checker.shrinking import cut
from capsize.op import Operation

STRETCH_MAX = 64
"""Acquires (or releases) in a row among which more of the others are looked for, before the whole is counted."""


def find(case: Case, model: Model[Any]) -> Found | None:
    """Return the first pattern that the lock shows."""
    if type(model) is FencedLock:
        return _stale_token(case) or _held_by_another(case) or _released_unheld(case)
    if type(model) is Mutex:
        return _too_many(case)
    return None


# --- fencing ---


def _granted(case: Case) -> list[Operation]:
    return [op for op in by_call(case.happened) if op.f == "acquire" and op.outcome == "ok"]


def _stale_token(case: Case) -> Found | None:
    grants = [op for op in _granted(case) if isinstance(op.result, int)]
    largest = Before(grants, best=_token)
    by_token: dict[int, Operation] = {}
    for op in grants:
        token = _token(op)
        other = by_token.setdefault(token, op)
        if other is not op:
            told = f"{name(other)} and {name(op)} were granted the lock with the same token, {token}."
            return Found("duplicate-token", [told, f"{case.told(other)}.", f"{case.told(op)}."], *_tokens([other, op]))
        before = largest.of(op)
        if before is not None and _token(before) > token:
            told = f"{name(op)} was granted the lock with token {token}{case.brief(op)}, after token {_token(before)}."
            because = [told, f"{case.told(before)}.", f"{case.told(op)}.", case.before(before, op) + ".",
                       "Every grant must carry a larger token than all before it."]  # fmt: skip
            return Found("stale-token", because, *_tokens([before, op]))
    return None


def _token(op: Operation) -> int:
    assert isinstance(op.result, int)
    return op.result


def _tokens(operations: Sequence[Operation]) -> tuple[tuple[Item, ...], Model[Any]]:
    """Return the grants with nothing counted but their tokens."""
    steps = [Step((("token", "below", op.result),), (("token", "to", op.result),)) for op in operations]
    judged, cells = judged_in_cells(operations, steps, None)
    return tuple(Item(one, other) for one, other in zip(operations, judged, strict=True)), cells


def _held_by_another(case: Case) -> Found | None:
    """p was granted it while q, granted it before, cannot have given it back."""
    grants = _granted(case)
    latest = Before(grants, best=lambda op: op.call)
    for op in grants:
        before = latest.of(op)
        if before is None or op.ret is None:
            continue
        returns = [
            one
            for one in case.happened
            if one.f == "release" and one.process == before.process
            and one.call < op.ret and not ends_before(one, before)
        ]  # fmt: skip
        if not returns:
            return _tell_two_holders(case, before, op)
    return None


def _tell_two_holders(case: Case, before: Operation, op: Operation) -> Found:
    release = next(
        (one for one in by_call(case.happened)
         if one.f == "release" and one.process == before.process and one.call > before.call),
        None,
    )  # fmt: skip
    if before.process == op.process:
        told = f"{name(op)} was granted the lock{case.brief(op)}, which it held already."
    else:
        told = f"{name(before)} and {name(op)} held the lock at once{case.brief(op)}."
    because = [told, f"{case.told(before)}.", f"{case.told(op)}.", case.before(before, op) + "."]
    if release is None:
        because.append(f"{name(before)} never asked to release it.")
    else:
        because.append(f"{name(before)} asked to release it only{case.at(release.call_ns)} ({case.no(release)}).")
    steps = [Step(effects=((HOLDER, "to", before.process),)), Step(((HOLDER, "is", None),))]
    judged, cells = judged_in_cells([before, op], steps, None)
    items = tuple(Item(one, other) for one, other in zip((before, op), judged, strict=True))
    return Found("two-holders", because, items, cells)


def _released_unheld(case: Case) -> Found | None:
    """A release that was answered, by a process that cannot have held the lock."""
    for op in case.happened:
        if op.f != "release" or op.outcome != "ok" or op.ret is None:
            continue
        mine = [one for one in case.happened if one.process == op.process and one is not op and one.call < op.ret]
        if not any(one.f == "acquire" for one in mine):
            told = f"{name(op)} was told that it released the lock{case.brief(op)}, which it had never asked for."
            return Found("released-unheld", [told, f"{case.told(op)}."], (as_judged(op),), FencedLock())
    return None


# --- a plain mutex, of which only grants and releases are counted ---


def _too_many(case: Case) -> Found | None:
    acquires = [op for op in by_call(case.happened) if op.f == "acquire"]
    releases = [op for op in by_call(case.happened) if op.f == "release"]
    found: list[tuple[int, Found]] = []
    for counted_, others, at_start in ((acquires, releases, 2), (releases, acquires, 1)):
        stretch = _stretch(counted_, others, at_start)
        if stretch is not None:
            inside, over, from_start = stretch
            found.append((len(inside) + len(over), _tell_too_many(case, inside, over, from_start=from_start)))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _stretch(
    ones: list[Operation], others: list[Operation], at_start: int
) -> tuple[list[Operation], list[Operation], bool] | None:
    """Return the fewest operations in a stretch of time in which one word took effect too often for the other.

    In any stretch the two words take turns, so a word that took effect inside it k times needs the other k - 1 times;
    from the start, as often as `at_start` says.
    """
    calls = sorted(op.call for op in others)
    returns = sorted(op.ret for op in others if op.ret is not None)
    best: tuple[int, list[Operation], list[Operation], bool] | None = None
    returned = [op for op in ones if op.ret is not None]
    starts = [-1, *[op.call for op in returned]]
    for number, start in enumerate(starts):
        following = returned if not number else returned[number - 1 : number - 1 + 2 * STRETCH_MAX]
        inside = sorted(following, key=lambda op: op.ret or 0)
        needed = 2 if number else at_start
        for k, last in enumerate(inside, 1):
            end = last.ret or 0
            if k >= bisect_left(calls, end) - bisect_right(returns, start) + needed:
                over = [op for op in others if op.call < end and (op.ret is None or op.ret > start)]
                if best is None or k + len(over) < best[0]:
                    best = (k + len(over), inside[:k], over, not number)
                break
        if best is not None and best[0] <= needed:
            break
    return None if best is None else best[1:]


def _tell_too_many(case: Case, inside: list[Operation], over: list[Operation], *, from_start: bool) -> Found:
    takes = inside[0].f == "acquire"
    last = max(inside, key=lambda op: op.ret or 0)
    if takes and not over and len(inside) == 2:
        first, second = inside
        told = [
            f"{name(first)} and {name(second)} held the lock at once{case.brief(second)}.",
            *[f"{case.told(op)}." for op in inside],
            "Nobody asked for a release that can have taken effect between the two.",
        ]
    elif not takes and not over:
        told = [
            f"{name(last)} was told that it released the lock{case.brief(last)}, which nobody can have held.",
            *[f"{case.told(op)}." for op in inside],
            "No acquire can have taken effect in time.",
        ]
    else:
        what, other = ("acquires", "release") if takes else ("releases", "acquire")
        span = "Up to" if from_start else f"From{case.at(inside[0].call_ns, ' ')} ({case.no(inside[0])}) to"
        told = [
            f"{span}{case.at(last.return_ns, ' ')} ({case.no(last)}) {len(inside)} {what} were answered, but only "
            f"{counted(len(over), other)} can have taken effect meanwhile: the two must take turns.",
            f"The first of them: {case.told(inside[0])}.",
            f"The last of them: {case.told(last)}.",
        ]
    told += _by_owner(case) if takes and over else []
    kept = by_call([*inside, *over])
    inside_names = {op.identity for op in inside}
    # What had been called before the stretch, or had not returned at its end, may have taken effect in it, or not.
    judged = [op if op.identity in inside_names else cut(op) for op in kept]
    steps = [Step(((None, "is", op.f == "release"),), ((None, "to", op.f == "acquire"),)) for op in kept]
    shown, cells = judged_in_cells(judged, steps, False, known=from_start)
    items = tuple(Item(one, other) for one, other in zip(kept, shown, strict=True))
    return Found("two-holders" if takes else "released-unheld", told, items, cells)


def _by_owner(case: Case) -> list[str]:
    """Return where two held it at once, if everyone releases only what he holds himself."""
    holder: Operation | None = None
    events = sorted(
        [(op.ret, True, op) for op in case.happened if op.f == "acquire" and op.ret is not None]
        + [(op.call, False, op) for op in case.happened if op.f == "release"],
        key=lambda event: event[0],
    )
    for _, granted, op in events:
        if not granted:
            holder = None if holder is not None and holder.process == op.process else holder
        elif holder is None or holder.process == op.process:
            holder = op
        else:
            return [
                f"If everyone releases only what he holds himself, two held it earlier: {case.told(holder)}; "
                f"{case.told(op)}, before {name(holder)} had asked to release it."
            ]
    return []
