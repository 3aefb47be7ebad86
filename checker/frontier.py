"""Small domains and repeated values: the frontier of configurations (see `frontier_kernel`), for one key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from capsize.checker import frontier_kernel as kernel
from capsize.checker.automaton import Automaton
from capsize.checker.budget import Budget
from capsize.checker.columns import APPEND, CAS, WRITE, Ints
from capsize.checker.compiled import Kernel, compilation_allowed
from capsize.verdict import Validity

COMPILE_FROM = 2_000
UNCOMPILED_STEPS = 20_000
"""Steps in plain Python after which a hard key waits for the compiler."""


@dataclass(frozen=True, slots=True)
class Search:
    """One way to search: a beam of so many configurations (0: all), shallow, thrifty, or relaxed."""

    name: str
    beam: int = 0
    shallow: bool = False
    thrifty: bool = False
    relaxed: bool = False


EXACT = Search("exact")
RELAXED = Search("relaxed", relaxed=True)
SEARCHES = (
    Search("beam 4, shallow", 4, shallow=True, thrifty=True),
    Search("beam 4", 4, thrifty=True),
    RELAXED,
    Search("beam 16", 16, thrifty=True),
    Search("beam 16, spending", 16),
    Search("beam 128", 128, thrifty=True),
    Search("beam 128, spending", 128),
    EXACT,
)


@dataclass(frozen=True, slots=True)
class FrontierAnswer:
    """What the frontier found. `at` is the operation whose return left no configuration, or where the budget ran out.

    `configurations` are the last ones before it, at most eight: state, open operations linearized, and pending ones
    used. `quiet_at` is the last position at which nothing that returned was open.
    """

    valid: Validity
    mode: str
    steps: int
    peak_bytes: int
    at: int = -1
    open_operations: tuple[int, ...] = ()
    pending_operations: int = 0
    configurations: tuple[dict[str, Any], ...] = ()
    events: int = 0
    quiet_at: int = 0
    exhausted: str = ""


def judge_frontier(automaton: Automaton, budget: Budget, *, compiled: bool | None = None) -> FrontierAnswer:
    """Decide one key: narrow beams first, then relaxed for a quick no, then wider beams, then exactly."""
    if compiled is None:
        compiled = len(automaton) >= COMPILE_FROM and compilation_allowed()
    run = Frontier(automaton, budget, compiled=compiled)
    steps = 0
    for search in SEARCHES:
        if not compiled and steps > UNCOMPILED_STEPS and compilation_allowed():
            run.compiled = True
        answer = run.search(search)
        steps += answer.steps
        if answer.valid != "unknown":
            break
    return replace(answer, steps=steps)


class Frontier:
    """The prepared events of one automaton, ready for searches of several kinds."""

    def __init__(self, automaton: Automaton, budget: Budget, *, compiled: bool) -> None:
        self.automaton = automaton
        self.budget = budget
        self.compiled = compiled
        self._lay_out()

    def _lay_out(self) -> None:
        au = self.automaton
        count = len(au.call)
        returned = np.flatnonzero(au.ret >= 0)
        positions = np.concatenate([au.call, au.ret[returned]])
        events = np.concatenate([np.arange(count) * 2, returned * 2 + 1])
        self.events = events[np.argsort(positions, kind="stable")].astype(np.int64)
        self.slot = np.full(count, -1, dtype=np.int32)
        width = np.zeros(1, dtype=np.int32)
        delta = np.where(self.events & 1 == 1, -1, 1)
        delta[(self.events & 1 == 0) & (au.ret[self.events >> 1] < 0)] = 0
        most = max(int(np.cumsum(delta).max(initial=0)), 1)
        ASSIGN_SLOTS(self.compiled, self.events, au.ret, self.slot, np.zeros(most, dtype=np.int32), width)
        self.most_open = most
        self.words = -(-most // kernel.WORD)
        self.deadline = np.where(au.ret < 0, 1 << 62, au.ret)
        update = (au.kind == WRITE) | (au.kind == CAS) | (au.kind == APPEND)
        scale = int(max(au.a.max(initial=0), au.b.max(initial=0))) + 1
        identity = (au.kind.astype(np.int64) * scale + au.a) * scale + np.where(au.kind == CAS, au.b, 0)
        self.group = np.full(count, -1, dtype=np.int32)
        kinds, first, inverse = np.unique(identity[update], return_index=True, return_inverse=True)
        self.group[update] = inverse
        of_group = np.flatnonzero(update)[first]
        self.group_kind, self.group_a, self.group_b = au.kind[of_group], au.a[of_group], au.b[of_group]
        waiting = np.unique(self.group[update & (au.ret < 0)])
        self.pending_group = waiting.astype(np.int32)
        self.pending_of = np.full(len(kinds) + 1, -1, dtype=np.int32)
        self.pending_of[waiting] = np.arange(len(waiting))
        edges = au.edges[np.argsort(au.edges[:, 0], kind="stable")]
        self.child = np.full(au.states, -1, dtype=np.int32)
        self.sibling = np.arange(1, len(edges) + 1, dtype=np.int32)
        if len(edges):
            last = np.append(edges[1:, 0] != edges[:-1, 0], True)
            self.sibling[last] = -1
            starts = np.append(True, edges[1:, 0] != edges[:-1, 0])
            self.child[edges[starts, 0]] = np.flatnonzero(starts)
        else:
            self.sibling = np.full(1, -1, dtype=np.int32)
            edges = np.zeros((1, 3), dtype=np.int32)
        self.token, self.target = edges[:, 1].copy(), edges[:, 2].copy()
        self.width = 2 + 2 * self.words + len(waiting)

    def search(self, search: Search) -> FrontierAnswer:
        """Run once over all events."""
        words, width, au, beam = self.words, self.width, self.automaton, search.beam
        row_bytes = width * 8 * 3 + 60
        room_max = max(self.budget.bytes_or_all // row_bytes, 16)
        room, work_room = min(1 << 10, room_max), min(1 << 10, room_max)
        if beam:
            room, work_room = 5 * beam + 8, 24 * beam + 64
        head = np.zeros(kernel.HEAD_SIZE, dtype=np.int64)
        head[kernel.COUNT] = 1

        def zeros(size: int, dtype: Any = np.int64) -> npt.NDArray[Any]:
            return np.zeros(size, dtype=dtype)

        available = zeros(max(len(self.pending_group), 1))
        open_ops = zeros(self.most_open + 1, np.int32)
        carried = (
            head, available, open_ops, zeros(words), zeros(au.states * words), zeros(au.states * words),
            zeros(words), zeros(words), zeros(words),
        )  # fmt: skip
        marks = zeros(2 * len(self.group_kind) + 2), zeros(au.states, np.int32), zeros(au.states)
        cur = zeros((room + 1) * width)
        cur[0] = au.initial
        while True:
            table_size, work_table_size = 1 << (2 * room).bit_length(), 1 << (2 * work_room).bit_length()
            status = kernel.ADVANCE(
                self.compiled,
                self.events, len(self.events),
                au.kind, au.a, au.b, self.group, self.slot, self.deadline,
                self.group_kind, self.group_a, self.group_b, self.pending_group, self.pending_of,
                self.child, self.sibling, self.token, self.target,
                *carried,
                cur, zeros((room + 1) * width), zeros((work_room + 2) * width),
                zeros(table_size, np.int32), zeros(table_size), zeros(work_table_size, np.int32), zeros(work_table_size),
                *marks, zeros(room + 1), zeros(room + 1, np.int8),
                words, beam, search.shallow, search.thrifty, search.relaxed, self.budget.steps_or_all,
            )  # fmt: skip
            if status != kernel.OUT_OF_ROOM or room == room_max:
                break
            kept = int(head[kernel.COUNT]) * width
            room = work_room = min(8 * room, room_max)
            cur, before = zeros((room + 1) * width), cur
            cur[:kept] = before[:kept]
        return self._answer(search, head, cur, row_bytes * room)

    def _answer(
        self, search: Search, head: Ints, cur: Ints, peak: int
    ) -> FrontierAnswer:
        status, steps = int(head[kernel.STATUS]), int(head[kernel.STEPS])
        if status == kernel.RUNNING:
            valid: Validity = "unknown" if search.relaxed else True
            return FrontierAnswer(valid, search.name, steps, peak, events=len(self.events))
        at = int(head[kernel.EVENT])
        proven = status == kernel.DEAD_END and search.beam == 0  # a beam also leaves out what is rarely of use
        before = self.events[: at + 1]
        calls = before[before & 1 == 0] >> 1
        running = np.cumsum(np.where(before & 1 == 1, -1, self.automaton.ret[before >> 1] >= 0))
        quiet = np.flatnonzero(running[:-1] == 0)
        quiet_at = 0
        if len(quiet):
            since = int(before[quiet[-1] + 1])
            quiet_at = int((self.automaton.ret if since & 1 else self.automaton.call)[since >> 1])
        is_open = np.zeros(len(self.automaton.call), dtype=bool)
        is_open[calls] = True
        is_open[before[before & 1 == 1][:-1] >> 1] = False
        ret = self.automaton.ret
        still = np.flatnonzero(is_open & (ret >= 0))
        configurations = [
            self._configuration(cur[row * self.width : (row + 1) * self.width], still)
            for row in range(min(int(head[kernel.COUNT]), 8))
        ]
        return FrontierAnswer(
            False if proven else "unknown", search.name, steps, peak,
            at=int(self.events[at] >> 1),
            open_operations=tuple(int(op) for op in still),
            pending_operations=int(np.count_nonzero(is_open & (ret < 0))),
            configurations=tuple(configurations),
            events=at, quiet_at=quiet_at,
            exhausted="steps" if status == kernel.OUT_OF_STEPS else "bytes",
        )  # fmt: skip

    def _configuration(self, row: Ints, still: Ints) -> dict[str, Any]:
        done: list[int] = []
        for op in still:
            slot = int(self.slot[op])
            if int(row[2 + slot // kernel.WORD]) >> (slot % kernel.WORD) & 1:
                done.append(int(op))
        uses = row[2 + 2 * self.words :]
        used = {int(self.pending_group[p]): int(uses[p]) for p in np.flatnonzero(uses)}
        return {"state": int(row[0]), "linearized": done, "pending_used": used}


def assign_slots(events: Any, ret: Any, slot: Any, free: Any, width: Any) -> None:
    """Give every operation that returns a slot of its own while it is open; slots are used again."""
    top = len(free)
    for i in range(top):
        free[i] = top - 1 - i
    for event in events:
        op = event >> 1
        if event & 1:
            free[top] = slot[op]
            top += 1
        elif ret[op] >= 0:
            top -= 1
            slot[op] = free[top]
    width[0] = top


ASSIGN_SLOTS = Kernel(assign_slots)
