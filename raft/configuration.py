"""Who belongs to the cluster (§6; thesis chapter 4): voters, learners, and how that changed along the log."""

from __future__ import annotations

import json
from typing import NamedTuple

from .json_text import json_text


class Configuration(NamedTuple):
    """`voters` elect and commit; `learners` only receive the log (thesis §4.2.1)."""

    voters: tuple[str, ...]
    learners: tuple[str, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        return self.voters + self.learners

    def to_json(self) -> str:
        return json_text([list(self.voters), list(self.learners)])

    @classmethod
    def from_json(cls, text: str) -> Configuration:
        voters, learners = json.loads(text)
        return cls(tuple(voters), tuple(learners))


class ConfigurationHistory:
    """The configurations of the log, newest last; the newest counts, committed or not (thesis §4.1)."""

    def __init__(self, initial: Configuration) -> None:
        self._stack: list[tuple[int, Configuration]] = [(0, initial)]
        self.current = initial
        """The newest; kept at hand, since every event asks for it."""

    @property
    def index(self) -> int:
        """The log index of the newest configuration; 0: the one the cluster was started with."""
        return self._stack[-1][0]

    def add(self, index: int, configuration: Configuration) -> None:
        self._stack.append((index, configuration))
        self.current = configuration

    def truncate(self, last_index: int) -> bool:
        """Roll back to what the log up to `last_index` says; return whether that changed anything."""
        before = len(self._stack)
        while len(self._stack) > 1 and self._stack[-1][0] > last_index:
            self._stack.pop()
        self.current = self._stack[-1][1]
        return len(self._stack) != before

    def at(self, index: int) -> Configuration:
        """Return the configuration that the log up to `index` says."""
        for at, configuration in reversed(self._stack):
            if at <= index:
                return configuration
        return self._stack[0][1]

    def index_at(self, index: int) -> int:
        """Return where the configuration stands that the log up to `index` says."""
        return max((at for at, _ in self._stack if at <= index), default=self._stack[0][0])

    def restart_from(self, index: int, configuration: Configuration) -> None:
        """Begin anew with a snapshot's configuration, which stands at `index`."""
        self._stack = [(index, configuration)]
        self.current = configuration
