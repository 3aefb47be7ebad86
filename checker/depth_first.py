"""The first try at keys with repeated values: an order found depth first (`depth_first_kernel`), all keys at once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from capsize.checker import depth_first_kernel as kernel
from capsize.checker.columns import WRITE, Ints, KeyColumns, Slots
from capsize.checker.compiled import worth_compiling

COMPILE_FROM = 2_000
PATIENCE = 2_000
"""Steps without getting further after which the search goes back a long way; twice as many each further time."""
ATTEMPTS = 8
"""How often it may do so without getting further."""
EFFORT = 40
"""Steps for each event after which a key is left to the frontier."""
THRIFT = (30, 100)
THRIFT_OF_REGISTERS = (0, 30)
"""Steps without getting further before operations that never returned may be used: they must last. One after another,
for keys that have such operations."""
THREADS_FROM = 100_000
"""Operations from which keys are tried on all cores at once."""


Appends = Slots
"""What appending leads to, in one array: the number of states n; per state the place of its first edge, or -1; per
state the state one item before, or -1; then the edges, each with the place of the next one, the item, the next state.
"""
NO_APPENDS: Appends = np.zeros(1, dtype=np.int32)


def graph_of(edges: Slots, states: int) -> Appends:
    """Return the edges (state, item, next state) as an `Appends`."""
    head = 1 + 2 * states
    graph = np.full(head + 3 * len(edges), -1, dtype=np.int32)
    graph[0] = states
    edges = edges[np.argsort(edges[:, 0], kind="stable")]
    place = head + 3 * np.arange(len(edges), dtype=np.int32)
    first = np.append(True, edges[1:, 0] != edges[:-1, 0])[: len(edges)]
    graph[1 + edges[first, 0]] = place[first]
    graph[1 + states + edges[:, 2]] = edges[:, 0]
    graph[head + 3 * np.flatnonzero(~first) - 3] = place[~first]
    graph[head + 1 :: 3], graph[head + 2 :: 3] = edges[:, 1], edges[:, 2]
    return graph


@dataclass(frozen=True, slots=True)
class FirstTry:
    """Per key: whether an order was found, and the steps spent; and the bytes used for all of them."""

    found: npt.NDArray[np.bool_]
    steps: Ints
    bytes: int


def observed_states(columns: KeyColumns) -> KeyColumns:
    """Return registers in slots as states: -1 is every value that nobody observes."""
    observed = np.zeros(columns.slots, dtype=bool)
    observed[columns.a[columns.kind != WRITE]] = True

    def state(slot: Slots) -> Slots:
        return np.where(observed[slot], slot, np.int32(-1))

    return replace(columns, a=state(columns.a), b=state(columns.b), initial=state(columns.initial))


def find_orders(
    columns: KeyColumns,
    wanted: npt.NDArray[np.bool_],
    appends: Appends = NO_APPENDS,
    *,
    steps: int = 1 << 62,
    compiled: bool | None = None,
) -> FirstTry:
    """Try the `wanted` keys, at most `steps` for each.

    `columns.a` and `.b` are states (-1: never observed) or, for an append, tokens.
    """
    if compiled is None:
        compiled = worth_compiling(kernel.FIND_ORDERS, len(columns), COMPILE_FROM)
    found, spent, kept = np.zeros(len(wanted), dtype=bool), np.zeros(len(wanted), dtype=np.int64), 0
    pending = np.zeros(len(wanted), dtype=bool)
    pending[columns.key[columns.ret < 0]] = True
    every = THRIFT if len(appends) > 1 else THRIFT_OF_REGISTERS
    for thrift in every if compiled else every[:1]:
        tried = _on_all_cores(columns, wanted, appends, thrift, steps - int(spent.max(initial=0)), compiled)
        found |= tried.found
        spent += tried.steps
        kept = max(kept, tried.bytes)
        wanted = wanted & pending & ~tried.found & (spent < steps)
        if not bool(wanted.any()):
            break
    return FirstTry(found, spent, kept)


def _on_all_cores(
    columns: KeyColumns, wanted: npt.NDArray[np.bool_], appends: Appends, thrift: int, steps: int, compiled: bool
) -> FirstTry:
    grouped = _group(columns, wanted, compiled)
    parts = [wanted]
    if compiled and len(columns) >= THREADS_FROM:
        numbers, cores = np.flatnonzero(wanted), usable_cores()
        parts = [np.isin(np.arange(len(wanted)), numbers[one::cores]) for one in range(min(cores, len(numbers)))]
    if len(parts) < 2:
        return _find(columns, grouped, wanted, appends, thrift, steps, compiled)

    def try_part(part: npt.NDArray[np.bool_]) -> FirstTry:
        return _find(columns, grouped, part, appends, thrift, steps, compiled)

    with ThreadPoolExecutor(len(parts)) as pool:
        tries = list(pool.map(try_part, parts))
    found = np.logical_or.reduce([one.found for one in tries])
    return FirstTry(found, np.add.reduce([one.steps for one in tries]), sum(one.bytes for one in tries))


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _group(columns: KeyColumns, wanted: npt.NDArray[np.bool_], compiled: bool) -> tuple[Slots, Slots]:
    """Return where the events of each key begin, and the events."""
    start = np.zeros(len(columns.initial) + 1, dtype=np.int32)
    at, events = np.full(columns.positions, -1, dtype=np.int32), np.empty(2 * len(columns), dtype=np.int32)
    kernel.GROUP_EVENTS(compiled, columns.key, columns.call, columns.ret, wanted.astype(np.int8), at, start, events)
    return start, events


def _find(
    columns: KeyColumns,
    grouped: tuple[Slots, Slots],
    wanted: npt.NDArray[np.bool_],
    appends: Appends,
    thrift: int,
    steps: int,
    compiled: bool,
) -> FirstTry:
    count, keys = len(columns), len(columns.initial)
    start, events = grouped
    wants = wanted.astype(np.int8)
    longest = int(np.diff(start).max(initial=0)) + 2
    pending = int(np.count_nonzero(columns.ret < 0))
    used = 0

    def some(size: int, dtype: type = np.int32) -> np.ndarray:
        nonlocal used
        used += size * np.dtype(dtype).itemsize
        return np.empty(size, dtype=dtype)

    answer, spent = np.full(keys, kernel.UNDECIDED, dtype=np.int8), np.zeros(keys, dtype=np.int64)
    effort = EFFORT if len(appends) > 1 else EFFORT // 2  # what strings say of their past makes it worth while
    patience, effort = (PATIENCE, effort) if compiled else (PATIENCE // 4, effort // 4)
    kernel.FIND_ORDERS(
        compiled,
        columns.kind, columns.a, columns.b, columns.ret, columns.initial, wants,
        appends,
        start, events, some(len(events)),
        some(count, np.int8), some(count + 1), some(count + 1), some(count),
        some(2 * longest),
        some(longest), some(longest), some(longest), some(longest, np.int8), some(longest, np.int64),
        some(longest, np.int64),
        some(pending, np.int8), some(pending), some(pending), some(pending), some(pending), some(2 * pending + 1),
        np.zeros(1 << 14, dtype=np.int64), patience, ATTEMPTS, effort, thrift, steps, answer, spent,
    )  # fmt: skip
    return FirstTry(answer == kernel.LEGAL, spent, used + events.nbytes + (1 << 17))
