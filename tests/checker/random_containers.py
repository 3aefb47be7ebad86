"""Random small histories of sets, queues and locks: some right, some bent a little; for comparing with the oracle."""

from __future__ import annotations

import random
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.models.containers import Queue
from capsize.checker.models.model import Inconsistent, Model, answered
from capsize.checker.outcome import Legal
from capsize.checker.wgl import decide_wgl
from capsize.history import History
from capsize.op import Operation, Value

WORDS = {
    "set": ("add", "read"),
    "queue": ("enqueue", "enqueue", "dequeue", "dequeue"),
    "lock": ("acquire", "release"),
}


class ReadableQueue(Queue):
    """The queue of the models, and `read` of all that is left."""

    def step(self, state: tuple[Value, ...], op: Operation) -> tuple[Value, ...] | Inconsistent:
        if op.f == "read":
            return state if not answered(op) or op.result == state else Inconsistent("something else was left")
        return super().step(state, op)


def legal(history: History, model: Model[Any]) -> bool:
    """What the independent oracle says."""
    return isinstance(decide_wgl(history, model, Budget()), Legal)


class _Draft:
    """One operation while it is still open to change."""

    def __init__(self, process: int, call: int, ret: int, info: bool) -> None:
        self.process, self.call, self.ret, self.info = process, call, ret, info
        self.f = ""
        self.value: Value = None
        self.result: Value = None


def random_history(kind: str, dice: random.Random, *, infos: bool) -> History:
    """Return a history of one key, some of them impossible."""
    threads = dice.randint(1, 4)
    clock, names, drafts = [0] * threads, list(range(threads)), list[tuple[float, _Draft]]()
    for _ in range(dice.randint(3, 8)):
        thread = dice.randrange(threads)
        call = clock[thread] + dice.randint(1, 4)
        clock[thread] = call + dice.randint(1, 8)
        draft = _Draft(names[thread], call, clock[thread], infos and dice.random() < 0.15)
        if draft.info:
            names[thread] = max(names) + 1
        drafts.append((dice.uniform(call, clock[thread]), draft))
    done = _carried_out(kind, [draft for _, draft in sorted(drafts, key=lambda pair: pair[0])], dice)
    if dice.random() < 0.7 and done:
        _bend(kind, done, dice)
    return _history(done)


def _carried_out(kind: str, drafts: list[_Draft], dice: random.Random) -> list[_Draft]:
    held: list[Value] = []
    holder, token, holding, done = None, 0, set[int](), list[_Draft]()
    for number, draft in enumerate(drafts, start=1):
        draft.f = dice.choice(WORDS[kind])
        draft.info = draft.info and draft.f != "read"
        happens = not draft.info or dice.random() < 0.5
        if draft.f in ("add", "enqueue"):
            draft.value = number
            held += [number] if happens else []
        elif draft.f == "read":
            draft.result = tuple(held)
        elif draft.f == "dequeue":
            draft.result = held.pop(0) if happens and held else None
        elif draft.process in holding:
            draft.f = "release"
            holding.discard(draft.process)
            holder = None if happens else holder
        else:
            draft.f = "acquire"
            if holder is None and happens:
                holder, token = draft.process, token + 1
                draft.result = token
            elif not draft.info:
                continue  # it was refused
            if not draft.info:
                holding.add(draft.process)
        done.append(draft)
    if kind == "queue" and dice.random() < 0.6:
        last = _Draft(99, 1_000, 1_001, False)
        last.f, last.result = "read", tuple(held)
        done.append(last)
    return done


def _bend(kind: str, done: list[_Draft], dice: random.Random) -> None:
    reads = [draft for draft in done if draft.f == "read" and isinstance(draft.result, tuple)]
    takes = [draft for draft in done if draft.f == "dequeue" and not draft.info]
    if kind == "lock":
        moved, by = dice.choice(done), dice.randint(-6, 6)
        moved.call, moved.ret = moved.call + by, moved.ret + by
    elif kind == "queue" and len(takes) > 1 and dice.random() < 0.6:
        one, other = dice.sample(takes, 2)
        one.result, other.result = other.result, one.result
    elif reads:
        read = dice.choice(reads)
        items = list(read.result) if isinstance(read.result, tuple) else []
        dice.shuffle(items)
        more = [draft.value for draft in done if draft.f == "add" and draft.value not in items]
        if items and dice.random() < 0.5:
            items.pop()
        elif more:
            items.append(dice.choice(more))
        read.result = tuple(items)
    elif takes:
        dice.choice(takes).result = None


def _history(done: list[_Draft]) -> History:
    ends = sorted(
        [(draft.call, 0, number) for number, draft in enumerate(done)]
        + [(draft.ret, 1, number) for number, draft in enumerate(done)]
    )
    at = {(end, number): position for position, (_, end, number) in enumerate(ends)}
    return History.of(
        Operation(
            draft.process, draft.f, 0, draft.value, at[0, number], None if draft.info else at[1, number],
            "info" if draft.info else "ok", None if draft.info else draft.result, at[0, number],
            None if draft.info else at[1, number],
        )
        for number, draft in enumerate(done)
    )  # fmt: skip


def well_formed(history: History) -> bool:
    """Whether every process asks one thing at a time, and gives back what it took before it takes again."""
    last: dict[int, Operation] = {}
    for op in sorted(history, key=lambda op: op.call):
        before = last.get(op.process)
        if before is not None and (before.ret is None or before.ret > op.call):
            return False
        if op.f in ("acquire", "release") and (op.f == "release") != (before is not None and before.f == "acquire"):
            return False
        last[op.process] = op
    return True
