"""The states that a key can be in, as far as anybody can tell them apart: numbers for the frontier engine.

A register's states are the values that were observed; all others are one. Where strings are appended, a state is
a beginning of something that was observed, reached by items that were written; all others are one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capsize.checker.columns import APPEND, CAS, CAS_FAILED, READ, WRITE, Ints, KeyColumns, Slots
from capsize.checker.models.model import plain
from capsize.interning import ValueTable
from capsize.op import Value


@dataclass(frozen=True, slots=True)
class Automaton:
    """The operations of one key over numbered states; the last state stands for all that nobody ever observes.

    kind, a, b, call, ret    as in KeyColumns, but with states; what APPEND adds is a token
    row                      the operation's row in the columns it was made from
    edges                    (state, token, next state): what appending leads to; anything else leads to the last state
    """

    kind: npt.NDArray[np.int8]
    a: Slots
    b: Slots
    call: Ints
    ret: Ints
    row: Ints
    initial: int
    states: int
    edges: npt.NDArray[np.int32]
    values: tuple[Value, ...] = ()

    def __len__(self) -> int:
        return len(self.call)

    def describe(self, state: int) -> str:
        """Return `state` in words."""
        return plain(self.values[state]) if state < len(self.values) else "a value that nobody observed"

    def why(self, operation: int, state: int) -> str:
        """Say what `operation` needs, seen from `state`."""
        kind, wanted = int(self.kind[operation]), int(self.a[operation])
        if kind in (WRITE, APPEND):
            return "possible, but what follows from it is not"
        if kind == CAS_FAILED:
            return f"needs any value but {self.describe(wanted)}"
        if wanted == state:
            return "possible, but what follows from it is not"
        return f"needs {self.describe(wanted)}; the value was {self.describe(state)}"


NO_EDGES = np.empty((0, 3), dtype=np.int32)


def register_automaton(columns: KeyColumns, rows: Ints, initial: int, table: ValueTable) -> Automaton:
    """Number the values of a register (no APPEND) as states; values that nobody observes become the last one."""
    kind, a = columns.kind[rows], columns.a[rows]
    observed = np.unique(a[kind != WRITE])
    count = len(observed)

    def state(values: Slots) -> Slots:
        at = np.searchsorted(observed, values)
        at[at == count] = 0
        found = observed[at] == values if count else np.zeros(len(values), dtype=bool)
        return np.where(found, at, count).astype(np.int32)

    b = np.where(kind == CAS, state(columns.b[rows]), 0).astype(np.int32)
    first = int(state(np.array([initial], dtype=np.int32))[0])
    return Automaton(
        kind, state(a), b, columns.call[rows], columns.ret[rows], rows, first, count + 1, NO_EDGES,
        tuple(table[code] if code < len(table) else None for code in observed.tolist()),
    )  # fmt: skip


def string_automaton(
    columns: KeyColumns, rows: Ints, initial: int, first: Value, table: ValueTable
) -> Automaton | int | None:
    """Number the beginnings of what was read of a string that is put, appended to, deleted, compared and set.

    Returns the row of an operation that observed what cannot have been there, if there is one; None if a value is no
    string. Cost: linear in the length of the distinct strings that were observed, times the lengths items have.
    """
    kind, a, b, ret = columns.kind[rows], columns.a[rows], columns.b[rows], columns.ret[rows]
    items = {int(code) for code in np.unique(a[kind == APPEND])}
    roots = {initial, *np.unique(a[kind == WRITE]).tolist(), *np.unique(b[kind == CAS]).tolist()}
    watched = np.unique(a[(kind == READ) | (kind == CAS) | (kind == CAS_FAILED)]).tolist()

    def value(code: int) -> Value:
        return first if code == initial else table[code]

    everything = [value(code) for code in {*items, *roots, *watched}]
    strings = all(entry is None or type(entry) is str for entry in everything)
    if not strings or any(value(code) in (None, "") for code in items):
        return None
    tokens = {str(value(code)): code for code in items}
    starts = {value(code) for code in roots}
    states, edges = _beginnings(starts, [value(code) for code in watched], tokens)
    number = {entry: index for index, entry in enumerate(states)}
    last = len(states)
    state_of = {code: number.get(value(code), last) for code in {*roots, *watched}}
    lost = [code for code in watched if state_of[code] == last]
    keep = np.ones(len(rows), dtype=bool)
    if lost:
        hopeless = np.isin(a, lost) & ((kind == READ) | (kind == CAS))
        if bool(np.any(hopeless & (ret >= 0))):
            return int(rows[np.flatnonzero(hopeless & (ret >= 0))[0]])
        keep = ~(np.isin(a, lost) & (kind != APPEND) & (kind != WRITE))
    kinds_and_codes = zip(kind.tolist(), a.tolist(), strict=True)
    mapped = np.array([code if k == APPEND else state_of[code] for k, code in kinds_and_codes])
    target = np.array([state_of[code] if k == CAS else 0 for k, code in zip(kind.tolist(), b.tolist(), strict=True)])
    return Automaton(
        kind[keep], mapped[keep].astype(np.int32), target[keep].astype(np.int32), columns.call[rows][keep], ret[keep],
        rows[keep], state_of[initial], last + 1, np.array(sorted(edges), dtype=np.int32).reshape(-1, 3), tuple(states),
    )  # fmt: skip


def _beginnings(
    starts: set[Value], watched: list[Value], tokens: dict[str, int]
) -> tuple[list[Value], set[tuple[int, int, int]]]:
    """Return the states (beginnings of watched strings that can be reached) and the edges between them."""
    states: list[Value] = []
    number: dict[Value, int] = {}
    edges: set[tuple[int, int, int]] = set()
    sizes = sorted({len(token) for token in tokens})

    def add(state: Value) -> int:
        if state not in number:
            number[state] = len(states)
            states.append(state)
        return number[state]

    empty = add(None) if None in starts else -1
    looked: set[str] = set()
    for whole in watched:
        if not isinstance(whole, str):
            continue
        fresh = len(whole)
        while fresh >= 0 and whole[:fresh] not in looked:
            fresh -= 1
        for length in range(fresh + 1, len(whole) + 1):
            beginning = whole[:length]
            looked.add(beginning)
            if beginning in starts:
                add(beginning)
            if empty >= 0 and beginning in tokens:
                edges.add((empty, tokens[beginning], add(beginning)))
            for size in sizes:
                if size > length:
                    break
                token = beginning[length - size :]
                before = number.get(beginning[: length - size], -1)
                if token in tokens and before >= 0:
                    edges.add((before, tokens[token], add(beginning)))
    return states, edges

