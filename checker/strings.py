"""Strings of the value table as bytes in one buffer, where the compiled loops can read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from capsize.checker.columns import Ints, Slots
from capsize.interning import ValueTable
from capsize.op import Value

COMPILE_FROM = 4_000
"""Operations from which the compiled kernels pay for loading them."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Strings, one after the other: string number i is `text[begin[i]:finish[i]]`, in UTF-8."""

    text: npt.NDArray[np.uint8]
    begin: Slots
    finish: Slots

    def __len__(self) -> int:
        return len(self.begin)


def texts_of(values: Sequence[Value]) -> Texts | None:
    """Lay strings out; None if one of the values is no string.

    >>> told = texts_of(["ab", "", "c"])
    >>> bytes(told.text), told.begin.tolist(), told.finish.tolist()
    (b'ab\\x00\\x00c', [0, 3, 4], [2, 3, 5])
    """
    try:
        whole = "\0".join(values)  # type: ignore[arg-type]
    except TypeError:
        return None
    text = np.frombuffer(whole.encode("utf-8", "surrogatepass"), dtype=np.uint8)
    gaps = np.flatnonzero(text == 0)
    if len(gaps) != len(values) - 1:
        lengths = np.array([len(str(value).encode("utf-8", "surrogatepass")) for value in values], dtype=np.int64)
        gaps = np.cumsum(lengths + 1)[:-1] - 1
    begin, finish = np.empty(len(values), dtype=np.int32), np.empty(len(values), dtype=np.int32)
    if len(values):
        begin[0], begin[1:] = 0, gaps + 1
        finish[:-1], finish[-1] = gaps, len(text)
    return Texts(text, begin, finish)


def values_of(codes: Ints, table: ValueTable) -> list[Value]:
    """Return the values of many codes."""
    if 8 * len(codes) < len(table) or len(codes) < 2:
        return [table[int(code)] for code in codes]
    return list(itemgetter(*codes.tolist())(list(table)))


def texts_of_codes(used: npt.NDArray[np.bool_], table: ValueTable) -> tuple[Texts, Ints] | None:
    """Lay out the values whose codes are `used`, and perhaps "" for a few others; and return the code of each text.

    None if a value that is used is no string.
    """
    codes = np.flatnonzero(used)
    if 4 * len(codes) < 3 * len(table) or len(used) < len(table):
        texts = texts_of(values_of(codes, table))
        return None if texts is None else (texts, codes)
    values = list(table)
    for code in np.flatnonzero(~used[: len(values)]).tolist():
        values[code] = ""
    texts = texts_of(values)
    return None if texts is None else (texts, np.arange(len(values)))


def hash_table(entries: int) -> Slots:
    """Return an empty table for so many entries, at most half full."""
    return np.full(1 << (2 * entries + 1).bit_length(), -1, dtype=np.int32)
