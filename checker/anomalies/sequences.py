"""Append-only lists, and keys of a map that are appended to: what a read shows, item by item.

Judged on a few items alone: every append of another item is left out, and every read shows only those that stay. What
is legal stays legal so, for the order of some items is part of the order of all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from capsize.checker.anomalies.case import (
    READS,
    Before,
    Case,
    Found,
    as_judged,
    by_call,
    counted,
    ends_before,
    name,
)
from capsize.checker.anomalies.sources import from_nowhere
from capsize.checker.models import AppendOnlyList, KeyValue, Model
from capsize.checker.models.model import plain, typed
from capsize.op import Operation, Value

MOST_ITEMS = 2_000_000
"""Items in all reads together up to which they are compared."""
LIST = AppendOnlyList()
RESETS = frozenset({"put", "write", "delete"})


@dataclass(frozen=True, slots=True)
class Read:
    """A read and the items it showed, in order."""

    op: Operation
    items: tuple[Value, ...]
    place: Mapping[Any, int]


@dataclass(frozen=True)
class Listing:
    """A key as a sequence: its reads in the order of their calls, and who brought each item.

    `resets` are the operations that put another value in the place of all items (themselves one item, or none).
    """

    reads: tuple[Read, ...]
    appends: Mapping[Any, list[Operation]]
    resets: tuple[Operation, ...]

    def reset_between(self, one: Operation, other: Operation) -> bool:
        """Return whether a reset can have taken effect after `one` and before `other`."""
        assert other.ret is not None
        return any(op is not one and op.call < other.ret and not ends_before(op, one) for op in self.resets)

    def once(self, item: Value) -> Operation | None:
        """Return the append of an item that was appended once."""
        found = self.appends.get(typed(item), [])
        return found[0] if len(found) == 1 else None


def listing_of(case: Case, model: Model[Any]) -> Listing | None:
    """Return the key as a sequence of items; None if it is more than that."""
    resetting = RESETS if type(model) is KeyValue else frozenset[str]()
    if any(op.f != "append" and op.f not in READS and op.f not in resetting for op in case.happened):
        return None
    if not any(op.f == "append" for op in case.happened):
        return None
    appends: dict[Any, list[Operation]] = {}
    for op in case.happened:
        if op.f in ("append", "put", "write") and op.value is not None:
            appends.setdefault(typed(op.value), []).append(op)
    reads: list[Read] = []
    written = [op.value for op in case.everything if op.f in ("append", "put", "write") and op.value is not None]
    split = _splitter(model, written)
    total = 0
    for op in by_call(case.happened):
        if op.f in READS and op.outcome == "ok":
            items = split(op.result) if split is not None else None
            total += len(items or ())
            if items is None or total > MOST_ITEMS:
                return None
            reads.append(Read(op, items, {typed(item): at for at, item in enumerate(items)}))
    return Listing(tuple(reads), appends, tuple(op for op in case.happened if op.f in RESETS))


def find(case: Case, model: Model[Any]) -> Found | None:
    """Return the first pattern that the key shows."""
    seen = listing_of(case, model)
    if seen is None:
        return None
    for pattern in (_from_nowhere, _twice, _missing, _gone, _disagreeing, _out_of_order):
        found = pattern(case, seen)
        if found is not None:
            return found
    return None


# --- the patterns ---


def _from_nowhere(case: Case, seen: Listing) -> Found | None:
    refused = [op for op in case.failed if op.f in ("append", "put", "write")]
    for read in seen.reads:
        for item in read.items:
            writers = seen.appends.get(typed(item), [])
            found = from_nowhere(
                case, read.op, item, writers, [op for op in refused if typed(op.value) == typed(item)], "appended"
            )
            if found is not None:
                told, because, more = found
                ops = [*writers, read.op]
                return Found(told, because, _items(ops, (item,), seen), LIST, tuple(more))
    return None


def _twice(case: Case, seen: Listing) -> Found | None:
    for read in seen.reads:
        if len(read.place) == len(read.items):
            continue
        for name_, times in Counter(map(typed, read.items)).items():
            appends = seen.appends.get(name_, [])
            if times > len(appends):
                item = appends[0].value
                return Found(
                    "duplicate-element",
                    [
                        f"{name(read.op)} found {plain(item)} {times} times{case.brief(read.op)}, though it was "
                        f"appended {_times(len(appends))}: one append was applied again.",
                        *[f"{case.told(op)}." for op in appends[:4]],
                        f"{case.told(read.op)}: {plain(item)} stands there {times} times.",
                    ],
                    _items([*appends, read.op], (item,), seen),
                    LIST,
                )
    return None


def _missing(case: Case, seen: Listing) -> Found | None:
    """An append that was answered before a read was called, which does not show it."""
    single = [op for ops in seen.appends.values() for op in ops if len(ops) == 1 and op.outcome == "ok"]
    returns = sorted(op.ret for op in single if op.ret is not None)
    for read in seen.reads:
        shown = [append for append in map(seen.once, read.items) if append is not None]
        if sum(1 for append in shown if ends_before(append, read.op)) < bisect_left(returns, read.op.call):
            missing = [
                op
                for op in single
                if ends_before(op, read.op)
                and typed(op.value) not in read.place
                and not (seen.resets and seen.reset_between(op, read.op))
            ]
            if missing:
                return _tell_missing(case, seen, min(missing, key=lambda op: op.call), read.op)
    return None


def _tell_missing(case: Case, seen: Listing, append: Operation, read: Operation) -> Found:
    word, item = typed(append.value), plain(append.value)
    saw = [other for other in seen.reads if word in other.place]
    after = [other for other in saw if ends_before(append, other.op)]
    without = sum(1 for other in seen.reads if ends_before(append, other.op) and word not in other.place)
    if after:
        because = [
            f"{name(read)} read{case.on_key or ' the list'}{case.brief(read)} without {item}, which had been appended."
        ]
    else:
        told = f"{counted(without, 'read')} asked for after that did not show it, and none did."
        because = [f"{name(append)} was told that {item} was appended{case.brief(append)}; {told}"]
    because += [f"{case.told(append)}.", f"After that, {case.told(read)}: {item} is missing."]
    because.append(case.before(append, read) + ".")
    shown = (after or saw)[:1]
    if after:
        because.append(f"{item} was seen all the same: {case.told(after[0].op)}.")
    elif saw:
        because.append(f"It had been seen before: {case.told(saw[0].op)}.")
    because += case.fate(append, read.return_ns if after else None)
    return Found(
        "stale-read" if after else "lost-element",
        because,
        _items([append, read], (append.value,), seen),
        LIST,
        tuple(other.op for other in shown),
    )


def _gone(case: Case, seen: Listing) -> Found | None:
    """An item that one read showed and a later one did not."""
    by_name = {(read.op.process, read.op.call): read for read in seen.reads}
    longest = Before((read.op for read in seen.reads), lambda op: len(by_name[op.process, op.call].items))
    for read in seen.reads:
        before = longest.of(read.op)
        if before is None:
            continue
        other = by_name[before.process, before.call]
        item = next((item for item in other.items if typed(item) not in read.place), None)
        if item is not None and not seen.reset_between(other.op, read.op):
            appends = seen.appends.get(typed(item), [])
            return Found(
                "stale-read",
                [
                    f"{name(read.op)} did not find {plain(item)}{case.brief(read.op)}, which {name(other.op)} had "
                    "found.",
                    f"{case.told(other.op)}.",
                    f"After that, {case.told(read.op)}: {plain(item)} is missing.",
                    case.before(other.op, read.op) + ".",
                ],
                _items([*appends, other.op, read.op], (item,), seen),
                LIST,
            )
    return None


def _disagreeing(case: Case, seen: Listing) -> Found | None:
    """Two reads of which neither begins as the other does."""
    ordered = [] if seen.resets else sorted(seen.reads, key=lambda read: len(read.items))
    for one, other in pairwise(ordered):
        pair = next(((a, b) for a, b in zip(one.items, other.items, strict=False) if typed(a) != typed(b)), None)
        if pair is None:
            continue
        first, second = by_call([one.op, other.op])
        a, b = pair if first is one.op else (pair[1], pair[0])
        place = next(
            at for at, (x, y) in enumerate(zip(one.items, other.items, strict=False), 1) if typed(x) != typed(y)
        )
        appends = [op for item in pair for op in seen.appends.get(typed(item), [])]
        return Found(
            "diverged-reads",
            [
                f"{name(first)} and {name(second)} read two different lists: at place {place} one shows {plain(a)}, "
                f"the other {plain(b)}.",
                f"{case.told(first)}.",
                f"{case.told(second)}.",
                "Nothing is ever taken out of the list: of two reads, one must begin with all that the other shows.",
            ],
            _items([*appends, one.op, other.op], pair, seen),
            LIST,
        )
    return None


def _out_of_order(case: Case, seen: Listing) -> Found | None:
    """Items in another order than they were appended, though one append had returned before the other was called."""
    for read in [] if seen.resets else sorted(seen.reads, key=lambda one: -len(one.items)):
        latest: Operation | None = None  # the append, of those shown so far, that was called last
        for item in read.items:
            append = seen.once(item)
            if append is None:
                continue
            if latest is not None and ends_before(append, latest):
                return Found(
                    "out-of-order",
                    [
                        f"{name(read.op)} found {plain(latest.value)} before {plain(item)}{case.brief(read.op)}, which "
                        "had been appended first.",
                        f"{case.told(append)}.",
                        f"{case.told(latest)}.",
                        case.before(append, latest) + ".",
                        f"{case.told(read.op)}: there {plain(latest.value)} stands before {plain(item)}.",
                    ],
                    _items([append, latest, read.op], (latest.value, item), seen),
                    LIST,
                )
            if latest is None or append.call > latest.call:
                latest = append
        if latest is None or len(seen.reads) * len(seen.appends) > 10 * MOST_ITEMS:
            continue
        for item, appends in seen.appends.items():
            append = appends[0]
            if item not in read.place and len(appends) == 1 and ends_before(append, latest):
                never = not any(item in other.place for other in seen.reads)
                return Found(
                    "lost-element" if never else "out-of-order",
                    [
                        f"{name(read.op)} found {plain(latest.value)} without {plain(append.value)}"
                        f"{case.brief(read.op)}, which had been appended first.",
                        f"{case.told(append)}.",
                        f"{case.told(latest)}.",
                        case.before(append, latest) + ".",
                        f"{case.told(read.op)}: {plain(latest.value)} is there, {plain(append.value)} is not.",
                    ],
                    _items([append, latest, read.op], (latest.value, append.value), seen),
                    LIST,
                )
    return None


# --- the items that count ---


def _items(operations: Sequence[Operation], items: Sequence[Value], seen: Listing) -> tuple[Any, ...]:
    """Return the operations as they count when only `items` are looked at."""
    wanted = {typed(item) for item in items}
    shown_by = {(read.op.process, read.op.call): read.items for read in seen.reads}
    found: list[Any] = []
    for op in by_call(operations):
        judged = replace(op, f="read" if op.f in READS else "append", key=None, result=None)
        if op.f in READS:
            shown = shown_by.get(op.identity, ())
            judged = replace(judged, result=tuple(item for item in shown if typed(item) in wanted))
        found.append(as_judged(op, judged))
    return tuple(found)


def _splitter(model: Model[Any], appended: Sequence[Value]) -> Any:
    """Return what splits the answer of a read into items (None where it cannot be); None for no sequence."""
    if isinstance(model, AppendOnlyList):
        return _listed
    if type(model) is not KeyValue or model.initial is not None:
        return None
    if all(isinstance(item, tuple) and len(item) == 1 for item in appended):
        return _of_arrays
    texts = sorted({item for item in appended if isinstance(item, str)})
    if len(texts) < len({typed(item) for item in appended}) or "" in texts:
        return None
    if any(after.startswith(before) for before, after in pairwise(texts)):
        return None  # an item that begins another one: answers could be split in two ways
    lengths = sorted({len(text) for text in texts})
    known = set(texts)

    def split(result: Value) -> tuple[Value, ...] | None:
        if result is None:
            return ()
        if not isinstance(result, str):
            return None
        found: list[Value] = []
        at = 0
        while at < len(result):
            item = next((result[at : at + size] for size in lengths if result[at : at + size] in known), None)
            if item is None:
                # The rest is nothing that anybody appended: one item of its own.
                return (*found, result[at:])
            found.append(item)
            at += len(item)
        return tuple(found)

    return split


def _of_arrays(result: Value) -> tuple[Value, ...] | None:
    """Return the items of an array that grew by arrays of one item: an array of one for each."""
    if result is None:
        return ()
    return tuple((item,) for item in result) if isinstance(result, tuple) else None


def _listed(result: Value) -> tuple[Value, ...] | None:
    if result is None:
        return ()
    return result if isinstance(result, tuple) else None


def _times(number: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")
