"""What judges a history: a name, and a pure function of the history and a budget."""

from __future__ import annotations

from typing import Protocol

from capsize.checker.budget import Budget
from capsize.history import History
from capsize.verdict import Verdict


class Checker(Protocol):
    """Judges one history. Pure: no clock, no randomness, no I/O; out of budget is "unknown", never valid."""

    @property
    def name(self) -> str:
        """What its figures are filed under."""
        ...

    def check(self, history: History, budget: Budget) -> Verdict:
        """Return the verdict on the axes this checker has something to say on."""
        ...
