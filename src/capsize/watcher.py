"""What a run tells the person who watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a person watching wants to know now."""

    elapsed_s: float
    time_limit_s: float
    phase: str
    outcomes: dict[str, int]
    leader: str | None
    term: int | None
    active: tuple[str, ...]


class Watcher(Protocol):
    """Who is told how a run goes; the command line shows it on stderr."""

    def say(self, text: str) -> None:
        """Take one line that stays."""
        ...

    def show(self, snapshot: Snapshot) -> None:
        """Take the state of now; called a few times a second."""
        ...


class Silent:
    """A watcher that tells nobody."""

    def say(self, text: str) -> None:
        return

    def show(self, snapshot: Snapshot) -> None:
        return
