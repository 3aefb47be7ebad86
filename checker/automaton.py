"""The states that a key can be in, as far as anybody can tell them apart: numbers for the frontier engine.

A register's states are the values that were observed; all others are one. Where strings are appended, a state is
a beginning of something that was observed, reached by items that were written; all others are one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from capsize.checker import strings_kernel as kernel
from capsize.checker.columns import APPEND, CAS, CAS_FAILED, READ, WRITE, Ints, KeyColumns, Slots
from capsize.checker.compiled import sealed, worth_compiling
from capsize.checker.depth_first import Appends, graph_of
from capsize.checker.models.model import plain
from capsize.checker.strings import COMPILE_FROM, Texts, hash_table, texts_of, values_of
from capsize.interning import NONE, ValueTable
from capsize.op import Value

EDGES_MAX = 20_000_000
"""Edges that the beginnings of strings may have; for more there is only the slow way."""


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


ROLE = np.array([2, 1, 2, 2, 0], dtype=np.int64)
"""Per kind of operation: what its `a` is, of the rows of the mask in `string_states`."""


def string_states(
    columns: KeyColumns, keys: npt.NDArray[np.bool_], first: Value, table: ValueTable
) -> tuple[KeyColumns, Appends, Ints] | None:
    """Number the beginnings of what was read of all `keys` alike, for the first try.

    Returns the operations over states, what appending leads to, and the rows that observed what cannot have been
    there; None if a value is no string.
    """
    kind, a, b = columns.kind, columns.a, columns.b
    start, everything = int(columns.initial[0]), bool(keys.all())
    inside = np.True_ if everything else keys[columns.key]
    mask = np.zeros((3, columns.slots + 1), dtype=bool)  # what is appended, what a value may begin as, what was read
    place = ROLE[kind] * (columns.slots + 1) + a
    mask.reshape(-1)[place if everything else place[inside]] = True
    compared = inside & (kind == CAS)
    if bool(compared.any()):
        mask[1, b[compared]] = True
    mask[1, start] = True
    nothing = [code for code in {NONE, start} if (first if code == start else table[code]) is None]
    if bool(mask[0, nothing].any()):
        return None
    can_be_nothing = bool(mask[1, nothing].any())
    mask[:, nothing] = False
    codes = np.flatnonzero(mask.any(axis=0))
    known = codes[codes < len(table)]
    told = values_of(known, table)
    if len(known) < len(codes):
        told.append(first)
    texts = texts_of(told)
    if texts is None or bool(mask[0, codes[texts.begin == texts.finish]].any()):
        return None
    grown = _grow(texts, mask[:, codes], can_be_nothing, len(columns))
    if grown is None:
        return None
    state_of = np.full(columns.slots + 1, -1, dtype=np.int32)
    state_of[codes], edges, count = grown
    if can_be_nothing:
        state_of[nothing] = 0
    edges[:, 1] = codes[edges[:, 1]]
    numbered = np.where(kind == APPEND, a, state_of[a]).astype(np.int32, copy=False)
    states = replace(columns, a=numbered, b=state_of[b], initial=state_of[columns.initial])
    nowhere = inside & (numbered < 0)
    if not bool(nowhere.any()):
        return states, graph_of(edges, count), np.empty(0, dtype=np.int64)
    nowhere &= (kind != APPEND) & (kind != WRITE)
    hopeless = np.flatnonzero(nowhere & (columns.ret >= 0) & (kind != CAS_FAILED))
    # A pending cas from, or a failed cas of, what cannot be there says nothing.
    idle = nowhere & ((kind == CAS) | (kind == CAS_FAILED))
    if bool(idle.any()):
        states = states.take(np.flatnonzero(~idle))
    return states, graph_of(edges, count), hopeless


def _grow(
    texts: Texts, roles: npt.NDArray[np.bool_], can_be_nothing: bool, operations: int
) -> tuple[Slots, Slots, int] | None:
    """Return the state of each text, the edges between states, and how many states there are; None if too many."""
    item, root, watched = roles.astype(np.int8)
    length = texts.finish - texts.begin
    most = int(length[(root | watched) == 1].sum()) + 2
    longest = int(length[item == 1].max(initial=0)) + 1
    per_state = int(np.count_nonzero(np.bincount(length[item == 1], minlength=1))) + 1
    if most * per_state > EDGES_MAX:
        return None
    edges = np.empty((3, most * per_state + 3), dtype=np.int32)
    state_of = np.full(len(texts), -1, dtype=np.int32)
    made: int = kernel.GROW_STATES(
        worth_compiling(kernel.GROW_STATES, operations, COMPILE_FROM),
        sealed(texts.text), texts.begin, texts.finish, item, root, watched, can_be_nothing,
        hash_table(len(texts)), np.zeros(longest, dtype=np.int8),
        np.full(1 << (2 * most).bit_length(), -1, dtype=np.int64),
        np.empty(1 << (2 * most).bit_length(), dtype=np.int32),
        np.full(most, -1, dtype=np.int32), np.zeros(most, dtype=np.int8),
        np.empty(int(length.max(initial=0)) + 1, dtype=np.int32),
        edges[0], edges[1], edges[2], state_of,
    )  # fmt: skip
    if made < 0:
        return None
    return state_of, edges[:, :made].T.copy(), int(edges[0, -1])


def lists(owner: npt.NDArray[np.int32], size: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Chain the entries of each owner: the first entry per owner, and the next one per entry; -1 ends a chain."""
    first = np.full(size, -1, dtype=np.int32)
    following = np.full(max(len(owner), 1), -1, dtype=np.int32)
    order = np.argsort(owner, kind="stable")
    if len(order):
        same = owner[order[1:]] == owner[order[:-1]]
        following[order[:-1][same]] = order[1:][same]
        starts = order[np.append(True, ~same)]
        first[owner[starts]] = starts
    return first, following


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
