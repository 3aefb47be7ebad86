"""Wing and Gong's search with Lowe's memory, plain: the oracle for histories of middle size.

Wing & Gong, "Testing and verifying concurrent objects" (1993); Lowe, "Testing for linearizability" (2017). Try the
operations that may come first, deepest first, and never visit the same (set of operations done, state) twice. The
set is as wide as the history, so memory grows with its square: use it to check other engines, not to judge runs.
"""

from __future__ import annotations

from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.models.apart import told_apart
from capsize.checker.models.model import Inconsistent, Model
from capsize.checker.outcome import Exhausted, Illegal, Legal, Outcome
from capsize.history import History
from capsize.op import Operation


def decide_wgl(history: History, model: Model[Any], budget: Budget) -> Outcome:
    """Decide the history of one key; a Legal answer names an order.

    Pending operations stand last among the candidates, for they need not happen at all.
    """
    model = told_apart(model, history)
    kept = [(int(row), op) for row, op in zip(history.columns.row, history, strict=True) if op.outcome != "fail"]
    return _Search([row for row, _ in kept], [op for _, op in kept], model, budget).run()


class _Search:
    """One depth-first search; `done` is a bitset of operations by index."""

    def __init__(self, rows: list[int], operations: list[Operation], model: Model[Any], budget: Budget) -> None:
        self.rows, self.operations, self.model, self.budget = rows, operations, model, budget
        self.must = sum(1 << index for index, op in enumerate(operations) if op.ret is not None)
        ends = [(op.ret, index) for index, op in enumerate(operations) if op.ret is not None]
        self.by_return = [index for _, index in sorted(ends)]
        self.steps = 0
        self.bytes = 0

    def run(self) -> Outcome:
        """Search until an order is found or none is left."""
        state = self.model.init()
        done, first = 0, 0
        seen: set[tuple[int, Any]] = set()
        stack = [(done, first, state, self._candidates(done, first))]
        order: list[int] = []
        furthest = 0
        size = 100 + len(self.operations) // 8
        while stack:
            done, first, state, candidates = stack[-1]
            if done & self.must == self.must:
                return Legal(tuple(self.rows[index] for index in order), self.steps, self.bytes)
            furthest = max(furthest, first)
            if not candidates:
                stack.pop()
                if order:
                    order.pop()
                continue
            index = candidates.pop()
            self.steps += 1
            following = self.model.step(state, self.operations[index])
            if isinstance(following, Inconsistent):
                continue
            after = done | 1 << index
            if (after, following) in seen:
                continue
            seen.add((after, following))
            self.bytes += size
            for what, spent, most in (
                ("steps", self.steps, self.budget.steps_or_all),
                ("bytes", self.bytes, self.budget.bytes_or_all),
            ):
                if spent > most:
                    return self._exhausted(what, furthest)
            while first < len(self.by_return) and after >> self.by_return[first] & 1:
                first += 1
            stack.append((after, first, following, self._candidates(after, first)))
            order.append(index)
        stuck = self.by_return[furthest]
        return Illegal(
            "no-configuration", (self.rows[stuck],), {"at": self.rows[stuck]}, steps=self.steps, bytes=self.bytes
        )

    def _candidates(self, done: int, first: int) -> list[int]:
        """Return the operations that may come next, the most urgent one last."""
        if first >= len(self.by_return):
            return []
        limit = self.operations[self.by_return[first]].ret
        assert limit is not None
        open_now: list[tuple[int, int]] = []
        started = (~done & (done + 1)).bit_length() - 1  # all before are done
        for index in range(started, len(self.operations)):
            op = self.operations[index]
            if op.call > limit:
                break
            if not done >> index & 1:
                open_now.append((-op.ret if op.ret is not None else -(1 << 62), index))
        return [index for _, index in sorted(open_now)]

    def _exhausted(self, what: str, furthest: int) -> Exhausted:
        stuck = self.operations[self.by_return[furthest]]
        assert stuck.ret is not None
        before = [op for op in self.operations if op.call < stuck.ret]
        return Exhausted(
            what,
            (stuck.call, stuck.ret),
            sum(1 for op in before if op.ret is not None and op.ret >= stuck.call),
            sum(1 for op in before if op.ret is None),
            "fewer clients on one key, or fewer operations in it",
            self.steps,
            self.bytes,
        )
