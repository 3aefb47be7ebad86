"""Appends of unique strings, turned into compare-and-set: what was read says what each item was appended to.

A read of "3;5;8;" names the put of "3;" and, in this order, the appends of "5;" and "8;". So an append whose item
was seen has one known predecessor, like a compare-and-set, and a state is known by its last item. An append whose
item nobody saw changes nothing that anybody saw: it is a write of a value of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from capsize.checker import strings_kernel as kernel
from capsize.checker.columns import APPEND, CAS, CAS_FAILED, READ, WRITE, Ints, KeyColumns, Slots
from capsize.checker.compiled import sealed, worth_compiling
from capsize.checker.encoding import by_key
from capsize.checker.strings import COMPILE_FROM, Texts, hash_table, texts_of_codes
from capsize.interning import ValueTable

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Chained:
    """The columns without APPEND in the keys of `done`; and reads that disagree on what an item was appended to.

    `disagreeing` maps a key to two rows: both read the same item, after different ones.
    """

    columns: KeyColumns
    done: Mask
    disagreeing: dict[int, tuple[int, int]]


def unchain(columns: KeyColumns, appends: Mask, table: ValueTable, *, compiled: bool | None = None) -> Chained:
    """Rewrite the keys of `appends` whose items are unique strings that can be told apart in what was read."""
    in_chain = appends[columns.key]
    fits = appends.copy()
    fits[columns.key[in_chain & ((columns.kind == CAS) | (columns.kind == CAS_FAILED))]] = False
    fits &= np.array([table[int(code)] in (None, "") if code < len(table) else False for code in columns.initial])
    if compiled is None:
        compiled = worth_compiling(kernel.SPLIT_READINGS, len(columns), COMPILE_FROM)
    told = fits.astype(np.int8)
    order, start = by_key(columns, compiled=compiled)
    once = kernel.WRITTEN_ONCE(
        compiled, columns.kind, columns.a, order, start, np.full(columns.slots, -1, dtype=np.int32), told
    )
    fits = told != 0
    if not once:
        return Chained(columns, fits, {})
    # A read of the initial value says nothing of items.
    initial = int(columns.initial[0])
    used = np.zeros(columns.slots, dtype=bool)
    used[columns.a[fits[columns.key] & ((columns.kind != READ) | (columns.a != initial))]] = True
    laid_out = texts_of_codes(used, table)
    if laid_out is not None:
        chained = _split_readings(columns, fits, (order, start), *laid_out, compiled)
        if chained is not None:
            return chained
    return _unchain_slowly(columns, fits, table)


def _split_readings(
    columns: KeyColumns, fits: Mask, rows_by_key: tuple[Slots, Slots], texts: Texts, codes: Ints, compiled: bool
) -> Chained | None:
    """Rewrite what is compiled for: items that all end with the same character; None for others."""
    count, keys = len(columns), len(columns.keys)
    text_of = np.full(columns.slots, -1, dtype=np.int32)
    text_of[codes] = np.arange(len(codes), dtype=np.int32)
    told = fits.astype(np.int8)
    kind = np.empty(count, dtype=np.int8)
    a, b = np.empty(count, dtype=np.int32), np.empty(count, dtype=np.int32)
    one, other = np.full(keys, -1, dtype=np.int32), np.full(keys, -1, dtype=np.int32)
    unlike = kernel.SPLIT_READINGS(
        compiled,
        columns.key, columns.kind, columns.a, columns.b, columns.initial, told, *rows_by_key,
        sealed(texts.text), texts.begin, texts.finish, text_of, codes.astype(np.int32), hash_table(len(texts)),
        np.full(len(texts), -1, dtype=np.int32), np.empty(len(texts), dtype=np.int32),
        np.empty(int((texts.finish - texts.begin).max(initial=0)), dtype=np.int32),
        np.full(count, -1, dtype=np.int32), np.empty(count, dtype=np.int32),
        kind, a, b, one, other, columns.slots,
    )  # fmt: skip
    if unlike:
        return None
    disagreeing = {int(k): (int(one[k]), int(other[k])) for k in np.flatnonzero(one >= 0)}
    return Chained(replace(columns, kind=kind, a=a, b=b, slots=columns.slots + 1), told != 0, disagreeing)


def _unchain_slowly(columns: KeyColumns, fits: Mask, table: ValueTable) -> Chained:
    """Rewrite in plain Python what is not as the compiled loop expects it."""
    rows = np.flatnonzero(fits[columns.key])
    if not len(rows):
        return Chained(columns, np.zeros(len(fits), dtype=bool), {})
    changing = rows[columns.kind[rows] != READ]
    initial = columns.initial[columns.key]
    reads = rows[(columns.kind[rows] == READ) & (columns.a[rows] != initial[rows])]
    items = np.unique(columns.a[changing])
    texts = [table[int(code)] for code in items]
    seen, which = np.unique(columns.a[reads], return_inverse=True)
    readings = [table[int(code)] for code in seen]
    split = _split(texts, readings)
    if split is None:
        return Chained(columns, np.zeros(len(fits), dtype=bool), {})
    flat, lengths = split
    return _rewrite(columns, fits, changing, reads, which, np.append(items, -1)[flat], lengths)


def _split(
    items: Sequence[object], readings: Sequence[object]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Take each reading apart into items: their numbers one after the other (-1 unknown), and how many for each.

    None if an item is no string, or could be the beginning of another one.
    """
    if not all(type(text) is str for text in items) or not all(type(text) is str for text in readings):
        return None
    texts, wholes = [str(text) for text in items], [str(text) for text in readings]
    ordered = sorted(texts)
    if not ordered[0] or any(after.startswith(text) for text, after in itertools.pairwise(ordered)):
        return None
    number = {text: index for index, text in enumerate(texts)}
    sizes = sorted({len(text) for text in texts})
    flat: list[int] = []
    lengths: list[int] = []
    for whole in wholes:
        at, before = 0, len(flat)
        while at < len(whole):
            for size in sizes:
                found = number.get(whole[at : at + size])
                if found is not None and at + size <= len(whole):
                    flat.append(found)
                    at += size
                    break
            else:
                flat.append(-1)
                break
        lengths.append(len(flat) - before)
    return np.array(flat, dtype=np.int64), np.array(lengths, dtype=np.int64)


def _rewrite(
    columns: KeyColumns,
    fits: Mask,
    changing: npt.NDArray[np.int64],
    reads: npt.NDArray[np.int64],
    which: npt.NDArray[np.int64],
    flat: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
) -> Chained:
    """Give every read the code of its last item, every append that was seen its predecessor."""
    codes = columns.slots
    starts = np.cumsum(lengths) - lengths
    # One entry for each item of each (key, reading) that occurs.
    pair, back = np.unique(columns.key[reads].astype(np.int64) * len(lengths) + which, return_inverse=True)
    key_of, reading = pair // max(len(lengths), 1), pair % max(len(lengths), 1)
    size = lengths[reading]
    begin = np.cumsum(size) - size
    owner = np.repeat(np.arange(len(pair)), size)
    place = np.arange(len(owner)) - begin[owner]
    item = flat[starts[reading[owner]] + place]
    key = key_of[owner]
    before = np.where(place > 0, np.append(-1, item[:-1]), -1)[: len(item)]
    # Who wrote each item of each key.
    wrote = columns.key[changing].astype(np.int64) * (codes + 1) + columns.a[changing]
    order = np.argsort(wrote, kind="stable")
    sought = key * (codes + 1) + item
    at = np.searchsorted(wrote, sought, sorter=order)
    at[at == len(order)] = 0
    writer = changing[order[at]] if len(order) else np.zeros(len(at), dtype=np.int64)
    known = (item >= 0) & (wrote[order[at]] == sought) if len(order) else np.zeros(len(at), dtype=bool)
    appended = known & (columns.kind[writer] == APPEND)
    possible = known & (appended | (place == 0))
    before = np.where(appended & (place == 0), -2, before)
    # A reading of something impossible becomes a value that nobody wrote.
    hopeless = np.zeros(len(pair), dtype=bool)
    hopeless[owner[~possible]] = True
    predecessor = np.full(len(columns), -1, dtype=np.int64)
    told = appended & ~hopeless[owner]
    predecessor[writer[told]] = before[told]
    disagree = told & (predecessor[writer] != before)
    disagreeing: dict[int, tuple[int, int]] = {}
    if bool(disagree.any()):
        first_row = np.full(len(pair), -1, dtype=np.int64)
        first_row[back[::-1]] = reads[::-1]
        for entry in np.flatnonzero(disagree):
            same = np.flatnonzero(told & (writer == writer[entry]) & (before != before[entry]))
            rows = int(first_row[owner[same[0]]]), int(first_row[owner[entry]])
            disagreeing.setdefault(int(key[entry]), rows)
    last = item[begin + size - 1] if len(pair) else item
    kind, a, b = columns.kind.copy(), columns.a.copy(), columns.b.copy()
    a[reads] = np.where(hopeless, codes, last)[back].astype(np.int32)
    grown = changing[kind[changing] == APPEND]
    seen = grown[predecessor[grown] != -1]
    kind[grown] = WRITE
    kind[seen] = CAS
    b[seen] = a[seen]
    initial = columns.initial[columns.key[seen]]
    a[seen] = np.where(predecessor[seen] == -2, initial, predecessor[seen]).astype(np.int32)
    return Chained(replace(columns, kind=kind, a=a, b=b, slots=codes + 1), fits, disagreeing)
