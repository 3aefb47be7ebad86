"""Lay a history of registers or maps out as `KeyColumns`, where the fast engines can judge it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from capsize.checker.columns import APPEND, CAS, CAS_FAILED, READ, WRITE, KeyColumns, slots_of
from capsize.history import FAIL, INFO, OK, History
from capsize.interning import NONE
from capsize.op import Value

KINDS = {"read": READ, "get": READ, "write": WRITE, "put": WRITE, "delete": WRITE, "cas": CAS, "append": APPEND}
"""The f words that the fast engines know."""


def encode(history: History, initial: Value) -> tuple[KeyColumns, npt.NDArray[np.bool_]] | None:
    """Return the columns of a history of registers that start as `initial`, and which keys hold an append.

    `a` of an APPEND row, and of every row of such a key, is a code of the value table, not yet a slot.
    None if an operation is of a kind, or answers in a way, that only the general engine can judge.
    """
    columns, table = history.columns, history.table
    kinds = np.array([KINDS.get(word, -1) for word in history.words], dtype=np.int8)
    if not len(history):
        return None
    kind = kinds[columns.f]
    kept = columns.outcome != FAIL
    if bool(np.any(kind[kept] < 0)):
        return None
    kept &= ~((columns.outcome == INFO) & (kind == READ))
    rows = np.flatnonzero(kept)
    kind, value, result = kind[rows], columns.value[rows], columns.result[rows]
    ok = columns.outcome[rows] == OK
    first = np.where(kind == READ, result, value).astype(np.int32)
    second = np.zeros(len(rows), dtype=np.int32)
    deletes = [code for code, word in enumerate(history.words) if word == "delete"]
    if deletes:
        first[np.isin(columns.f[rows], deletes)] = NONE
    compare = kind == CAS
    if bool(compare.any()):
        pairs = table.pairs()[value[compare]]
        if bool(np.any(pairs < 0)):
            return None
        first[compare], second[compare] = pairs[:, 0], pairs[:, 1]
        false, true = table.find(False), table.find(True)
        answered = result[compare & ok]
        if not bool(np.all((answered == false) | (answered == true))):
            return None
        if false is not None:
            kind[compare & ok & (result == false)] = CAS_FAILED
        kind, kept_too = _settle_equal_cas(kind, first, second, columns.ret[rows])
        if kept_too is not None:
            rows, kind, first, second = rows[kept_too], kind[kept_too], first[kept_too], second[kept_too]
    found = table.find(initial)
    start = len(table) if found is None else found
    codes, key = np.unique(columns.key[rows], return_inverse=True)
    keyed: npt.NDArray[np.int32] = key.astype(np.int32)
    keys = tuple(table[int(code)] for code in codes)
    appends = np.zeros(len(keys), dtype=bool)
    appends[keyed[kind == APPEND]] = True
    columns_of_keys = KeyColumns(
        keyed, kind, first, second, columns.call[rows], columns.ret[rows], rows,
        np.full(len(keys), start, dtype=np.int32), len(table) + 1, keys,
    )  # fmt: skip
    return columns_of_keys, appends


def slotted(columns: KeyColumns) -> KeyColumns:
    """Return the columns with value codes turned into slots, one for each (key, value)."""
    count, keys = len(columns), len(columns.keys)
    changes = columns.kind == CAS
    every_key = np.arange(keys, dtype=np.int32)
    key = np.concatenate([columns.key, columns.key[changes], every_key])
    value = np.concatenate([columns.a, columns.b[changes], columns.initial])
    start = int(columns.initial[0]) if keys else 0
    # Each key reads the initial value, under a code of its own.
    codes = columns.slots
    value = np.where(value == start, codes + key, value).astype(np.int32)
    slot, slots = slots_of(key, value, keys, codes + keys)
    b = np.zeros(count, dtype=np.int32)
    b[changes] = slot[count : len(slot) - keys]
    return KeyColumns(
        columns.key, columns.kind, slot[:count], b, columns.call, columns.ret, columns.row,
        slot[len(slot) - keys :], slots, columns.keys,
    )  # fmt: skip


def _settle_equal_cas(
    kind: npt.NDArray[np.int8],
    first: npt.NDArray[np.int32],
    second: npt.NDArray[np.int32],
    ret: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64] | None]:
    """A cas from a value to itself is a read of it; one that never returned says nothing."""
    same = (kind == CAS) & (first == second)
    if not bool(same.any()):
        return kind, None
    kind = kind.copy()
    kind[same] = READ
    return kind, np.flatnonzero(~(same & (ret < 0)))
