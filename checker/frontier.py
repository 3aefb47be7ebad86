"""Small domains and repeated values: the frontier of configurations (see `frontier_kernel`), for one key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from capsize.checker import frontier_kernel as kernel
from capsize.checker.automaton import Automaton, lists
from capsize.checker.budget import Budget
from capsize.checker.columns import APPEND, CAS, CAS_FAILED, READ, WRITE, Ints
from capsize.checker.compiled import Kernel, compilation_allowed, worth_compiling
from capsize.verdict import Validity

COMPILE_FROM = 2_000
UNCOMPILED_STEPS = 20_000
"""Steps in plain Python after which a hard key waits for the compiler."""
RELAXED_STEPS = 128
"""What a relaxed run may cost for each event; it either ends soon or proves nothing."""


@dataclass(frozen=True, slots=True)
class Search:
    """One way to search: a beam of so many configurations (0: all), shallow, thrifty, or relaxed.

    `back` is how many checkpoints before a dead end a beam starts again.
    """

    name: str
    beam: int = 0
    shallow: bool = False
    thrifty: bool = False
    relaxed: bool = False
    back: int = 0


EXACT = Search("exact")
RELAXED = Search("relaxed", relaxed=True)
BEAMS = (
    Search("beam 4, shallow", 4, shallow=True, thrifty=True),
    Search("beam 4", 4, thrifty=True, back=1),
    Search("beam 16", 16, thrifty=True, back=1),
    Search("beam 16, spending", 16, back=2),
    Search("beam 128", 128, thrifty=True, back=2),
    Search("beam 128, spending", 128, back=8),
    Search("beam 512", 512, thrifty=True, back=32),
    Search("beam 1024, spending", 1024, back=64),
)
"""From narrow to wide. A beam that comes to a dead end goes back a little and tries again with the next one."""
CHECKPOINT_EVENTS = 64
CHECKPOINTS_KEPT = 256


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


def judge_frontier(
    automaton: Automaton, budget: Budget, *, compiled: bool | None = None, legal_only: bool = False
) -> FrontierAnswer:
    """Decide one key: by beams that widen where they must, by a relaxed run for a quick no, else exactly.

    With `legal_only` the answer is True or "unknown", at the cost of the beams.
    """
    if compiled is None:
        compiled = worth_compiling(kernel.ADVANCE, len(automaton), COMPILE_FROM)
    patience = budget
    if not compiled and compilation_allowed():
        patience = replace(budget, steps=min(budget.steps_or_all, UNCOMPILED_STEPS))
    answer, steps = _judge(Frontier(automaton, patience, compiled=compiled), legal_only)
    if answer.valid == "unknown" and patience is not budget:
        # Too hard for plain Python: from the start again, compiled.
        answer, steps = _judge(Frontier(automaton, budget, compiled=True), legal_only)
    return replace(answer, steps=steps)


def _judge(run: Frontier, legal_only: bool) -> tuple[FrontierAnswer, int]:
    """A relaxed run for a quick no, within bounds; beams for a yes; then all configurations."""
    answer = None
    if not legal_only:
        whole = run.budget
        run.budget = replace(whole, steps=min(whole.steps_or_all, RELAXED_STEPS * (len(run.events) + 64)))
        answer = run.search(RELAXED)
        run.budget = whole
    if answer is None or answer.valid == "unknown":
        answer = run.widening(BEAMS)
    if answer.valid == "unknown" and not legal_only:
        answer = run.search(EXACT)
    return answer, run.steps


class Frontier:
    """The prepared events of one automaton, ready for searches of several kinds."""

    def __init__(self, automaton: Automaton, budget: Budget, *, compiled: bool) -> None:
        self.automaton = automaton
        self.budget = budget
        self.compiled = compiled
        self.steps = 0
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
        self.child, self.sibling = lists(edges[:, 0], au.states)
        if not len(edges):
            edges = np.zeros((1, 3), dtype=np.int32)
        self.token, self.target, self.origin = (edges[:, column].copy() for column in (1, 2, 0))
        self.into, self.into_next = lists(self.target[: len(au.edges)], au.states)
        self.width = 2 + 2 * self.words + len(waiting)
        self.row_bytes = self.width * 8 * 3 + 60
        called, returns = self.events & 1 == 0, self.events & 1 == 1
        self.call_event = np.zeros(count, dtype=np.int64)
        self.call_event[self.events[called] >> 1] = np.flatnonzero(called)
        self.return_event = np.zeros(count, dtype=np.int64)
        self.return_event[self.events[returns] >> 1] = np.flatnonzero(returns)

    def open_before(self, event: int) -> Ints:
        """The operations that return, and are open just before `event`."""
        return np.flatnonzero((self.call_event < event) & (self.return_event >= event))

    def search(self, search: Search) -> FrontierAnswer:
        """Run once over all events."""
        walk = Walk(self, search)
        walk.advance(len(self.events))
        return self._answer(search, walk)

    def widening(self, searches: tuple[Search, ...]) -> FrontierAnswer:
        """Run a beam over all events; at a dead end go back to a checkpoint and widen, past it narrow again."""
        end = len(self.events)
        walk = Walk(self, searches[0])
        checkpoints = [walk.checkpoint()]
        level, dead_at = 0, -1
        while walk.event < end:
            if walk.advance(min(walk.event + CHECKPOINT_EVENTS, end)) == kernel.RUNNING:
                checkpoints.append(walk.checkpoint())
                if len(checkpoints) > CHECKPOINTS_KEPT:
                    # Every second one of the older half goes: a wide beam may have to start far back.
                    del checkpoints[1 : CHECKPOINTS_KEPT // 2 : 2]
                if level and walk.event > dead_at + 2 * CHECKPOINT_EVENTS:
                    level = 0
                    walk.use(searches[0])
                continue
            if walk.status != kernel.DEAD_END:
                break
            level = level + 1 if walk.event <= dead_at else max(level, 1)
            dead_at = max(dead_at, walk.event)
            if level == len(searches):
                break
            del checkpoints[max(len(checkpoints) - searches[level].back, 1) :]
            walk.restore(checkpoints[-1], searches[level])
        return self._answer(searches[min(level, len(searches) - 1)], walk)

    def _answer(self, search: Search, walk: Walk) -> FrontierAnswer:
        head, cur = walk.head, walk.cur
        self.steps += int(head[kernel.STEPS])
        status, steps, peak = int(head[kernel.STATUS]), int(head[kernel.STEPS]), walk.bytes
        if status == kernel.RUNNING:
            valid: Validity = "unknown" if search.relaxed else True
            return FrontierAnswer(valid, search.name, steps, peak, events=len(self.events))
        at = int(head[kernel.EVENT])
        proven = status == kernel.DEAD_END and search.beam == 0  # a beam also leaves out what is rarely of use
        before = self.events[: at + 1]
        running = np.cumsum(np.where(before & 1 == 1, -1, self.automaton.ret[before >> 1] >= 0))
        quiet = np.flatnonzero(running[:-1] == 0)
        quiet_at = 0
        if len(quiet):
            since = int(before[quiet[-1] + 1])
            quiet_at = int((self.automaton.ret if since & 1 else self.automaton.call)[since >> 1])
        still = self.open_before(at)
        pending = int(np.count_nonzero((self.call_event < at) & (self.automaton.ret < 0)))
        configurations = [
            self._configuration(cur[row * self.width : (row + 1) * self.width], still)
            for row in range(min(int(head[kernel.COUNT]), 8))
        ]
        return FrontierAnswer(
            False if proven else "unknown", search.name, steps, peak,
            at=int(self.events[at] >> 1),
            open_operations=tuple(int(op) for op in still),
            pending_operations=pending,
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


class Walk:
    """One frontier on its way over the events of a `Frontier`, with what can be taken back."""

    def __init__(self, run: Frontier, search: Search) -> None:
        self.run = run
        words, states = run.words, run.automaton.states
        self.head = np.zeros(kernel.HEAD_SIZE, dtype=np.int64)
        self.head[kernel.COUNT] = 1
        self.available = np.zeros(max(len(run.pending_group), 1), dtype=np.int64)
        self.open_ops = np.zeros(run.most_open + 1, dtype=np.int32)
        self.sets = np.zeros((4, words), dtype=np.int64)
        self.read_at, self.fail_at = np.zeros((2, states * words), dtype=np.int64)
        self.marks = (
            np.zeros(2 * len(run.group_kind) + 2, dtype=np.int64),
            np.zeros(states + 1, dtype=np.int32),
            np.zeros(states, dtype=np.int64),
            np.zeros(states, dtype=np.int64),
        )
        self.cur = np.zeros(run.width, dtype=np.int64)
        self.cur[0] = run.automaton.initial
        self.bytes = 0
        self.steps_max = max(run.budget.steps_or_all - run.steps, 1)
        self.use(search)

    @property
    def event(self) -> int:
        """The event that comes next."""
        return int(self.head[kernel.EVENT])

    @property
    def status(self) -> int:
        """Why the last advance stopped."""
        return int(self.head[kernel.STATUS])

    def use(self, search: Search) -> None:
        """Go on with another kind of search. A narrower beam keeps what it was given until it next chooses."""
        self.kind = search
        count = int(self.head[kernel.COUNT])
        if search.beam:
            self._make_room(max(5 * search.beam, count + 4 * search.beam) + 8, 24 * search.beam + count + 64)
        else:
            self._make_room(max(1 << 9, count), max(1 << 9, count))

    def advance(self, until: int) -> int:
        """Go on to the event `until`; return the kernel's status."""
        run, search = self.run, self.kind
        au = run.automaton
        room_max = max(run.budget.bytes_or_all // run.row_bytes, 16)
        while True:
            status: int = kernel.ADVANCE(
                run.compiled,
                run.events, until,
                au.kind, au.a, au.b, run.group, run.slot, run.deadline,
                run.group_kind, run.group_a, run.group_b, run.pending_group, run.pending_of,
                run.child, run.sibling, run.token, run.target, run.into, run.into_next, run.origin,
                self.head, self.available, self.open_ops, self.sets[0], self.read_at, self.fail_at,
                self.sets[1], self.sets[2], self.sets[3],
                self.cur, *self.buffers, *self.marks, *self.lists,
                run.words, search.beam, search.shallow, search.thrifty, search.relaxed, self.steps_max,
            )  # fmt: skip
            if status != kernel.OUT_OF_ROOM or self.room >= room_max:
                return status
            room = min(8 * self.room, room_max)
            self._make_room(room, room)

    def checkpoint(self) -> Checkpoint:
        """Return all that is needed to come back here."""
        kept = self.cur[: int(self.head[kernel.COUNT]) * self.run.width].copy()
        return Checkpoint(self.head.copy(), self.available.copy(), self.open_ops.copy(), self.sets.copy(), kept)

    def restore(self, point: Checkpoint, search: Search) -> None:
        """Go back to `point`, and on from there with `search`; steps spent stay spent."""
        for name in (kernel.EVENT, kernel.COUNT, kernel.OPEN, kernel.STATUS):
            self.head[name] = point.head[name]
        self.available[:], self.open_ops[:], self.sets[:] = point.available, point.open_ops, point.sets
        self.cur = point.cur
        self.use(search)
        run, words = self.run, self.run.words
        self.read_at[:] = 0
        self.fail_at[:] = 0
        for op in run.open_before(self.event):
            kind, slot = run.automaton.kind[op], int(run.slot[op])
            if kind in (READ, CAS_FAILED):
                at = self.read_at if kind == READ else self.fail_at
                at[int(run.automaton.a[op]) * words + slot // kernel.WORD] |= 1 << (slot % kernel.WORD)

    def _make_room(self, room: int, work_room: int) -> None:
        run, width = self.run, self.run.width
        count = int(self.head[kernel.COUNT]) * width
        self.room = room
        cur, self.cur = self.cur, np.zeros((room + 1) * width, dtype=np.int64)
        self.cur[:count] = cur[:count]
        size, work_size = 1 << (2 * room).bit_length(), 1 << (2 * work_room).bit_length()
        self.buffers = (
            np.zeros((room + 1) * width, dtype=np.int64),
            np.zeros((work_room + 2) * width, dtype=np.int64),
            np.zeros(size, dtype=np.int32),
            np.zeros(size, dtype=np.int64),
            np.zeros(work_size, dtype=np.int32),
            np.zeros(work_size, dtype=np.int64),
        )
        self.lists = np.zeros(room + 1, dtype=np.int64), np.zeros(room + 1, dtype=np.int8)
        self.bytes = max(self.bytes, run.row_bytes * room)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A frontier between two events."""

    head: Ints
    available: Ints
    open_ops: npt.NDArray[np.int32]
    sets: Ints
    cur: Ints


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
