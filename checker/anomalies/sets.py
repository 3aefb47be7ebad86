"""Sets, judged element by element: an element is a register that is true or false, and nobody else's business."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from capsize.checker.anomalies.case import Before, Case, Found, as_judged, by_call, counted, ends_before, name
from capsize.checker.anomalies.sources import from_nowhere
from capsize.checker.models import Model, Set
from capsize.checker.models.model import plain, typed
from capsize.op import Operation, Value

SET = Set()
MOST_LOOKED_AT = 20_000_000
"""Reads times elements up to which every element is followed through every read."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element: who put it in or took it out (or may have), and who saw it there or not."""

    value: Value
    adds: tuple[Operation, ...]
    removes: tuple[Operation, ...]
    seen: tuple[Operation, ...]
    missed: tuple[Operation, ...]


def find(case: Case, model: Model[Any]) -> Found | None:
    """Return the first pattern that an element shows; then what two reads show."""
    if type(model) is not Set:
        return None
    twice = _listed_twice(case)
    if twice is not None:
        return twice
    for element in _elements(case):
        for pattern in (_from_nowhere, _missing, _still_there):
            found = pattern(case, element)
            if found is not None:
                return found
    return _disagreeing(case)


def _elements(case: Case) -> Iterator[Element]:
    reads = [op for op in by_call(case.happened) if op.outcome == "ok" and op.f in ("read", "contains")]
    shown = [{typed(value): value for value in _listed(op)} for op in reads]
    values: dict[Any, Value] = {typed(op.value): op.value for op in case.happened if op.f in ("add", "remove")}
    for listed in shown:
        values.update(listed)
    if len(values) * len(reads) > MOST_LOOKED_AT:
        return
    changes: dict[Any, tuple[list[Operation], list[Operation]]] = {word: ([], []) for word in values}
    for op in case.happened:
        if op.f in ("add", "remove"):
            changes[typed(op.value)][op.f == "remove"].append(op)
    for word, value in values.items():
        seen: list[Operation] = []
        missed: list[Operation] = []
        for op, listed in zip(reads, shown, strict=True):
            if op.f == "contains":
                if typed(op.value) == word:
                    (seen if op.result is True else missed).append(op)
            else:
                (seen if word in listed else missed).append(op)
        adds, removes = changes[word]
        yield Element(value, tuple(adds), tuple(removes), tuple(seen), tuple(missed))


def _listed(op: Operation) -> tuple[Value, ...]:
    return op.result if op.f == "read" and isinstance(op.result, tuple) else ()


# --- the patterns ---


def _listed_twice(case: Case) -> Found | None:
    for op in case.happened:
        listed = _listed(op) if op.outcome == "ok" else ()
        if len(set(map(typed, listed))) == len(listed):
            continue
        value = next(value for at, value in enumerate(listed) if typed(value) in set(map(typed, listed[:at])))
        adds = [other for other in case.happened if other.f == "add" and typed(other.value) == typed(value)]
        return Found(
            "duplicate-element",
            [
                f"{name(op)} found {plain(value)} more than once{case.brief(op)} in what must be a set.",
                *[f"{case.told(add)}." for add in adds[:3]],
                f"{case.told(op)}: {plain(value)} is listed more than once.",
            ],
            _items([*adds, op], (value,)),
            SET,
        )
    return None


def _from_nowhere(case: Case, element: Element) -> Found | None:
    if not element.seen:
        return None
    read = min(element.seen, key=lambda op: op.ret or 0)
    refused = [op for op in case.failed if op.f == "add" and typed(op.value) == typed(element.value)]
    found = from_nowhere(case, read, element.value, element.adds, refused, "added")
    if found is None:
        return None
    told, because, more = found
    return Found(told, because, _items([*element.adds, read], (element.value,)), SET, tuple(more))


def _missing(case: Case, element: Element) -> Found | None:
    """It was in, nobody can have taken it out since, and it was not there."""
    for proofs in ([op for op in element.adds if op.outcome == "ok"], element.seen):
        before = Before(proofs, best=lambda op: op.call)
        for read in element.missed:
            proof = before.of(read)
            if proof is not None and not _possible(element.removes, proof, read):
                return _tell_missing(case, element, proof, read)
    return None


def _tell_missing(case: Case, element: Element, proof: Operation, read: Operation) -> Found:
    value = plain(element.value)
    after = [op for op in element.seen if ends_before(proof, op) and op is not read]
    added = proof.f == "add"
    lost = added and not after and not element.removes
    misses = [op for op in element.missed if ends_before(proof, op)]
    if lost:
        first = (
            f"{name(proof)} was told that {value} was added{case.brief(proof)}; "
            f"{counted(len(misses), 'read')} asked for after that did not show it, and none did."
        )
    else:
        had = "had been added" if added else f"{name(proof)} had found there"
        first = f"{name(read)} did not find {value}{case.brief(read)}, which {had}."
    because = [first, f"{case.told(proof)}{'' if added else f': {value} is there'}."]
    because += [f"After that, {case.told(read)}: {value} is missing.", case.before(proof, read) + "."]
    if element.removes:
        because.append(f"No removal of {value} can have taken effect between the two.")
    if after and added:
        because.append(f"{value} was seen all the same: {case.told(after[0])}.")
    if added:
        because += case.fate(proof, None if lost else read.return_ns)
    ops = [proof, read, *_possible(element.removes, proof, read)]
    if not added:
        ops += element.adds
    return Found("lost-element" if lost else "stale-read", because, _items(ops, (element.value,)), SET)


def _still_there(case: Case, element: Element) -> Found | None:
    """It was out, nobody can have put it in since, and it was there."""
    for proofs in ([op for op in element.removes if op.outcome == "ok"], element.missed):
        before = Before(proofs, best=lambda op: op.call)
        for read in element.seen:
            out = before.of(read)
            if out is not None and not _possible(element.adds, out, read):
                return _tell_still_there(case, element, out, read)
    return None


def _tell_still_there(case: Case, element: Element, out: Operation, read: Operation) -> Found:
    value = plain(element.value)
    was = "had been removed" if out.f == "remove" else f"{name(out)} had not found any more"
    earlier = [op for op in element.adds if ends_before(op, out)][-1:]
    return Found(
        "stale-read",
        [
            f"{name(read)} found {value}{case.brief(read)}, which {was}.",
            f"{case.told(out)}.",
            f"After that, {case.told(read)}: {value} is there.",
            case.before(out, read) + ".",
            f"Nobody can have added {value} between the two.",
        ],
        _items([*earlier, out, read], (element.value,)),
        SET,
    )


def _disagreeing(case: Case) -> Found | None:
    """Two reads of a set that only grows, each with an element that the other one lacks."""
    if any(op.f == "remove" for op in case.happened):
        return None
    reads = [op for op in case.happened if op.f == "read" and op.outcome == "ok"]
    reads.sort(key=lambda op: len(_listed(op)))
    for one, other in pairwise(reads):
        first, second = ({typed(value): value for value in _listed(op)} for op in (one, other))
        alone = [value for word, value in first.items() if word not in second]
        if alone:
            theirs = next(value for word, value in second.items() if word not in first)
            mine = alone[0]
            adds = [op for op in case.happened if op.f == "add" and typed(op.value) in (typed(mine), typed(theirs))]
            return Found(
                "diverged-reads",
                [
                    f"{name(one)} found {plain(mine)} without {plain(theirs)}, and {name(other)} found "
                    f"{plain(theirs)} without {plain(mine)}.",
                    f"{case.told(one)}.",
                    f"{case.told(other)}.",
                    "Nothing was ever removed: of two reads, one must show all that the other one shows.",
                ],
                _items([*adds, one, other], (mine, theirs)),
                SET,
            )
    return None


def _possible(changes: Sequence[Operation], one: Operation, other: Operation) -> list[Operation]:
    assert other.ret is not None
    return [op for op in changes if op not in (one, other) and op.call < other.ret and not ends_before(op, one)]


def _items(operations: Sequence[Operation], elements: Sequence[Value]) -> tuple[Any, ...]:
    """Return the operations as they count when only `elements` are looked at."""
    wanted = {typed(value) for value in elements}
    unique: Mapping[tuple[int, int], Operation] = {op.identity: op for op in operations}
    return tuple(
        as_judged(op, replace(op, result=tuple(value for value in _listed(op) if typed(value) in wanted)))
        if op.f == "read"
        else as_judged(op)
        for op in by_call(unique.values())
    )
