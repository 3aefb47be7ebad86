"""Unique values: every key whose values each have one writer, judged in linear time (see `unique_kernel`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capsize.checker import unique_kernel as kernel
from capsize.checker.columns import CAS, KeyColumns
from capsize.checker.compiled import worth_compiling
from capsize.checker.unique_kernel import ILLEGAL, NOT_UNIQUE, UNPLACED, VALID

__all__ = ["ILLEGAL", "NOT_UNIQUE", "UNPLACED", "VALID", "Contradiction", "UniqueAnswer", "Zone", "judge_unique"]

COMPILE_FROM = 4_000
"""Operations from which the compiled kernel pays for loading it."""

RULES = {
    kernel.NEVER_WRITTEN: "never-written",
    kernel.TWO_CAS: "two-cas",
    kernel.NO_HEAD: "cycle",
    kernel.TOO_EARLY: "order",
    kernel.OVERLAP: "zones-overlap",
    kernel.INSIDE: "zone-inside",
}


@dataclass(frozen=True, slots=True)
class Zone:
    """One block of operations: a write, the reads of its value, and the chain of cas that starts from it.

    `operations` are rows of the columns: the head, the links, the one with the earliest return, the latest call.
    """

    operations: tuple[int, ...]
    earliest_return: int
    latest_call: int


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Why a key is illegal: the rule, the rows of the operations that contradict each other, the zones of rule 5."""

    rule: str
    operations: tuple[int, ...]
    zones: tuple[Zone, ...] = ()


@dataclass(frozen=True, slots=True)
class UniqueAnswer:
    """Per key: VALID, ILLEGAL, NOT_UNIQUE (a value with two writers) or UNPLACED (rule 6); and why."""

    status: tuple[int, ...]
    contradictions: dict[int, Contradiction]
    seen_until: npt.NDArray[np.int64]
    """Per row: where an operation that never returned must have taken effect before, for it was seen; -1 elsewhere."""


def judge_unique(columns: KeyColumns, *, compiled: bool | None = None) -> UniqueAnswer:
    """Judge every key of `columns`, which hold no APPEND. Linear in operations, slots and positions."""
    count, slots, keys = len(columns), columns.slots, len(columns.initial)
    if compiled is None:
        compiled = worth_compiling(kernel.JUDGE_UNIQUE, count, COMPILE_FROM)

    def per(size: int, fill: int, dtype: type = np.int32) -> np.ndarray:
        return np.full(size, fill, dtype=dtype)

    heads = int(np.count_nonzero(columns.kind == 1)) + keys + 1
    writer, follower, first_read = per(slots, -1), per(slots, -1), per(slots, -1)
    block_f, block_s = per(heads, 0, np.int64), per(heads, 0, np.int64)
    block_first, block_last, block_head = per(heads, -1), per(heads, -1), per(heads, -1)
    status, why, one, other = (per(keys, fill) for fill in (0, 0, -1, -1))
    took_effect = per(count, 0, np.int8)
    kernel.JUDGE_UNIQUE(
        compiled,
        columns.key, columns.kind, columns.a, columns.b, columns.call, columns.ret, columns.initial,
        per(slots, 0, np.int8), writer, follower, first_read, per(slots, -1),
        per(slots, -1, np.int64), per(slots, -1, np.int64), per(slots, -1),
        took_effect, per(count, 0, np.int8),
        per(heads, -1), block_f, block_s, block_first, block_last, block_head,
        per(heads, -1, np.int64), per(heads, kernel.NEVER, np.int64),
        per(columns.positions, -1),
        per(keys, -1, np.int64), per(keys, -1), per(keys, -1),
        status, why, one, other,
    )  # fmt: skip

    def seen_by(row: int) -> list[int]:
        """The rows that prove that the pending `row` took effect, up to one that returned."""
        rows: list[int] = []
        while row >= 0 and columns.ret[row] < 0 and len(rows) <= count:
            slot = columns.a[row] if columns.kind[row] == 1 else columns.b[row]
            row = int(first_read[slot]) if first_read[slot] >= 0 else int(follower[slot])
            if row >= 0:
                rows.append(row)
        return rows

    seen_until = per(count, -1, np.int64)
    if bool(np.any(status == UNPLACED)):
        for row in np.flatnonzero(took_effect):
            witnesses = seen_by(int(row))
            seen_until[row] = columns.ret[witnesses[-1]] if witnesses else -1

    contradictions: dict[int, Contradiction] = {}
    for k in np.flatnonzero(status == ILLEGAL):
        rule, first, second = int(why[k]), int(one[k]), int(other[k])

        def chain(row: int) -> list[int]:
            """The rows that link `row` to the head of its block, the head first."""
            links: list[int] = []
            at = row
            while at >= 0 and len(links) <= count:
                links.append(at)
                if columns.kind[at] == 1:
                    break
                at = int(writer[columns.a[at]])
            links.reverse()
            if columns.ret[row] < 0:
                links += seen_by(row)
            return links

        if rule in (kernel.OVERLAP, kernel.INSIDE):
            zones: list[Zone] = []
            for block in (first, second):
                ends = [int(row) for row in (block_first[block], block_last[block]) if row >= 0]
                rows = dict.fromkeys(row for end in ends for row in chain(end))
                zones.append(Zone(tuple(rows), int(block_f[block]), int(block_s[block])))
            rows_of_both = tuple(dict.fromkeys(row for zone in zones for row in zone.operations))
            contradictions[int(k)] = Contradiction(RULES[rule], rows_of_both, tuple(zones))
            continue
        involved = dict.fromkeys([row for end in (first, second) if end >= 0 for row in chain(end)])
        if rule == kernel.NO_HEAD:
            involved = dict.fromkeys([first, *_cycle(columns, writer, first)])
        contradictions[int(k)] = Contradiction(RULES[rule], tuple(involved))
    return UniqueAnswer(tuple(int(item) for item in status), contradictions, seen_until)


def _cycle(columns: KeyColumns, writer: np.ndarray, start: int) -> list[int]:
    rows: list[int] = []
    at = int(writer[columns.a[start]])
    while at >= 0 and at not in rows and columns.kind[at] == CAS:
        rows.append(at)
        at = int(writer[columns.a[at]])
    return rows
