"""Linearizability while the history is being written, so that a run can stop at its first anomaly.

A prefix of a history, its open operations taken as pending, is legal whenever the whole is. So prefixes are judged as
they grow: whenever a quarter has been added, which costs five times the judgement of the whole in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.linearizability import check_linearizable
from capsize.checker.models.model import Model
from capsize.history import History, add_event
from capsize.pairing import Pairing
from capsize.verdict import Verdict

__all__ = ["Watch"]

EVERY = 256
"""Events between two judgements at the least."""


class Watch:
    """Feed it the events of `history.jsonl` as they are recorded; `verdict` turns up at the first anomaly.

    An "unknown" on a prefix is passed over. The whole history still has to be judged in the end.
    """

    def __init__(self, model: Model[Any], *, budget: Budget | None = None, every: int = EVERY) -> None:
        self.model, self.budget, self.every = model, budget or Budget(), every
        self.verdict: Verdict | None = None
        self._events: list[Mapping[str, Any]] = []
        self._next = every

    def event(self, event: Mapping[str, Any]) -> Verdict | None:
        """Take one event; return the verdict if the history so far is known to be illegal."""
        if self.verdict is None:
            self._events.append(event)
            if len(self._events) >= self._next:
                self._next += max(self.every, len(self._events) // 4)
                self.judge()
        return self.verdict

    def judge(self) -> Verdict | None:
        """Judge what there is now; return the verdict if it is illegal."""
        pairing = Pairing()
        for number, event in enumerate(self._events):
            add_event(pairing, event, number)
        verdict = check_linearizable(History(pairing.finish()), self.model, budget=self.budget)
        if verdict.valid is False:
            self.verdict = verdict
        return self.verdict
