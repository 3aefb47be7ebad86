"""Waits for triggers: polls who leads, reads new lines of logs, hears of other steps of the schedule.

Polls are short, so that what is waited for is seen some 20 ms after it happened; a failpoint needs no poll, it holds
the node at the place itself (see `ambush`).
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from capsize.errors import CapsizeError
from capsize.nemesis.holds import Holds
from capsize.nemesis.trigger import ANY, After, AfterHeal, BecomesLeader, LogMatches, TermReaches, Trigger

log = logging.getLogger(__name__)

POLL_S = 0.02
ANSWER_S = 0.15
"""How long a poll waits for nodes that hang."""

Seen = Mapping[str, Any]
Look = Callable[[], Seen | None]


class Lookout:
    """Waits until a trigger comes, or `ending` is set."""

    def __init__(self, holds: Holds, ending: threading.Event) -> None:
        self._holds = holds
        self._ending = ending
        self._lock = threading.Lock()
        self._happened: dict[str, set[str]] = {After.word: set(), AfterHeal.word: set()}

    def note(self, word: str, *names: str) -> None:
        """Take note that a step, by these names, was "injected" or "healed"."""
        with self._lock:
            self._happened[word].update(name for name in names if name)

    def wait(self, trigger: Trigger) -> Seen | None:
        """Return what was seen once the trigger came, its delay over; None when it did not."""
        look = self._look(trigger)
        until = time.monotonic() + trigger.within_s if trigger.within_s else None
        while not self._ending.is_set():
            seen = look()
            if seen is not None:
                return None if self._ending.wait(trigger.delay_ms / 1000) else seen
            if until is not None and time.monotonic() >= until:
                return None
            self._ending.wait(POLL_S)
        return None

    def _look(self, trigger: Trigger) -> Look:
        if isinstance(trigger, BecomesLeader):
            return self._leader(trigger)
        if isinstance(trigger, TermReaches):
            return lambda: self._term(trigger)
        if isinstance(trigger, LogMatches):
            return self._lines(trigger)
        assert isinstance(trigger, After), trigger
        return lambda: self._other(trigger)

    def _leader(self, trigger: BecomesLeader) -> Look:
        before, in_term = self._holds.operator.leader(ANSWER_S)

        def look() -> Seen | None:
            leader, term = self._holds.operator.leader(ANSWER_S)
            new = leader != before or (term is not None and in_term is not None and term > in_term)
            if leader is None or not new or trigger.node not in (ANY, leader):
                return None
            return {"leader": leader, "term": term}

        return look

    def _term(self, trigger: TermReaches) -> Seen | None:
        for name, status in self._holds.operator.statuses(ANSWER_S).items():
            if status.term is not None and status.term >= trigger.term:
                return {"node": name, "term": status.term}
        return None

    def _lines(self, trigger: LogMatches) -> Look:
        names = self._holds.names if trigger.node == ANY else (trigger.node,)
        pattern = re.compile(trigger.pattern)
        logs = {name: LogTail(self._holds, name) for name in names}

        def look() -> Seen | None:
            for name, tail in logs.items():
                for line in tail.new_lines():
                    if pattern.search(line):
                        return {"node": name, "line": line[:500]}
            return None

        return look

    def _other(self, trigger: After) -> Seen | None:
        with self._lock:
            happened = self._happened[trigger.word]
            came = bool(happened) if trigger.step == ANY else trigger.step in happened
        return {trigger.word: trigger.step} if came else None


class LogTail:
    """The lines of a node's log from now on, whole lines only."""

    def __init__(self, holds: Holds, name: str) -> None:
        self._holds, self._name = holds, name
        self._rest = b""
        self._path = holds.operator.log_path(name)
        self._offset = 0
        self.new_lines()
        self._rest = b""

    def new_lines(self) -> list[str]:
        """Return what was written since the last call; nothing where the node cannot be asked now."""
        try:
            data, self._offset = self._holds.node(self._name).read_tail(self._path, self._offset)
        except (CapsizeError, OSError) as error:
            log.debug("the log of %s cannot be read: %s", self._name, error)
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines]
