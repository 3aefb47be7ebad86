"""Lay a history of registers or maps out as `KeyColumns`, where the fast engines can judge it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from capsize.checker import encoding_kernel as kernel
from capsize.checker.columns import APPEND, CAS, READ, WRITE, KeyColumns, Slots
from capsize.checker.compiled import sealed, worth_compiling
from capsize.history import History
from capsize.op import Value

KINDS = {"read": READ, "get": READ, "write": WRITE, "put": WRITE, "delete": WRITE, "cas": CAS, "append": APPEND}
"""The f words that the fast engines know."""

COMPILE_FROM = 4_000
"""Operations from which the compiled kernels pay for loading them."""


def encode(
    history: History, initial: Value, *, compiled: bool | None = None
) -> tuple[KeyColumns, npt.NDArray[np.bool_]] | None:
    """Return the columns of a history of registers that start as `initial`, and which keys hold an append.

    `a` of an APPEND row, and of every row of such a key, is a code of the value table, not yet a slot.
    None if an operation is of a kind, or answers in a way, that only the general engine can judge.
    """
    columns, table, count = history.columns, history.table, len(history)
    if not count:
        return None
    if compiled is None:
        compiled = worth_compiling(kernel.ENCODE_ROWS, count, COMPILE_FROM)
    kinds = np.array([KINDS.get(word, -1) for word in history.words], dtype=np.int8)
    deletes = np.array([word == "delete" for word in history.words], dtype=np.int8)
    false, true = table.find(False), table.find(True)
    pairs = table.pairs().reshape(-1) if CAS in kinds else np.full(1, -1, dtype=np.int32)
    number = np.zeros(int(columns.key.max()) + 1, dtype=np.int32)
    key, a, b = (np.empty(count, dtype=np.int32) for _ in range(3))
    kind = np.empty(count, dtype=np.int8)
    call, ret, row = (np.empty(count, dtype=np.int64) for _ in range(3))
    kept: int = kernel.ENCODE_ROWS(
        compiled,
        kinds, deletes,
        *(sealed(each) for each in (
            columns.f, columns.outcome, columns.value, columns.result, columns.key, columns.call, columns.ret,
        )),
        pairs, -1 if false is None else false, -1 if true is None else true,
        key, kind, a, b, call, ret, row, number,
    )  # fmt: skip
    if kept < 0:
        return None
    found = table.find(initial)
    start = len(table) if found is None else found
    keys = tuple(table[code] for code in np.flatnonzero(number).tolist())
    appends = np.zeros(len(keys), dtype=bool)
    if APPEND in kinds:
        appends[key[:kept][kind[:kept] == APPEND]] = True
    return KeyColumns(
        key[:kept], kind[:kept], a[:kept], b[:kept], call[:kept], ret[:kept], row[:kept],
        np.full(len(keys), start, dtype=np.int32), len(table) + 1, keys,
    ), appends  # fmt: skip


def slotted(columns: KeyColumns, *, compiled: bool | None = None) -> KeyColumns:
    """Return the columns with value codes turned into slots, one for each (key, value)."""
    count, keys = len(columns), len(columns.keys)
    if compiled is None:
        compiled = worth_compiling(kernel.NUMBER_SLOTS, count, COMPILE_FROM)
    a, b, initial = (np.empty(size, dtype=np.int32) for size in (count, count, keys))
    slots: int = kernel.NUMBER_SLOTS(
        compiled,
        columns.kind, columns.a, columns.b, columns.initial, *by_key(columns, compiled=compiled),
        np.full(columns.slots, -1, dtype=np.int32), np.empty(columns.slots, dtype=np.int32), a, b, initial,
    )  # fmt: skip
    return KeyColumns(
        columns.key, columns.kind, a, b, columns.call, columns.ret, columns.row, initial, slots, columns.keys
    )


def by_key(columns: KeyColumns, *, compiled: bool | None = None) -> tuple[Slots, Slots]:
    """Return the rows sorted by key, and where the rows of each key begin (one entry more than keys)."""
    order, start = np.empty(len(columns), dtype=np.int32), np.zeros(len(columns.keys) + 1, dtype=np.int32)
    if compiled is None:
        compiled = worth_compiling(kernel.ORDER_BY_KEY, len(columns), COMPILE_FROM)
    kernel.ORDER_BY_KEY(compiled, columns.key, order, start)
    return order, start
