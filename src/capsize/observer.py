"""Watches who leads, in which term, and whether processes end by themselves; records every change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from capsize.crashes import Crashes
from capsize.recorder import Recorder

log = logging.getLogger(__name__)

Leader = tuple[str | None, int | None]

POLL_S = 0.25
CRASH_EVERY = 4
"""Looks at leaders for one look at processes."""


class Observer:
    """A thread that asks the cluster a few times a second; `ask` is None for a system that does not tell who leads.

    `current` is what it last heard.
    """

    def __init__(self, ask: Callable[[], Leader] | None, crashes: Crashes, recorder: Recorder) -> None:
        self.current: Leader = (None, None)
        self._ask = ask
        self._crashes = crashes
        self._recorder = recorder
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="observer", daemon=True)

    def start(self) -> None:
        """Begin watching."""
        self._thread.start()

    def stop(self) -> None:
        """End watching; waits shortly for a question that is out."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(5.0)

    def _watch(self) -> None:
        looks = 0
        while not self._ending.wait(POLL_S):
            looks += 1
            try:
                if self._ask is not None:
                    self._hear(self._ask())
                if looks % CRASH_EVERY == 0:
                    self._crashes.look()
            except Exception as error:  # a cluster that does not answer is what faults are for; watching goes on
                log.debug("nobody said who leads: %s", error)

    def _hear(self, seen: Leader) -> None:
        if seen != self.current:
            self.current = seen
            self._recorder.nemesis("leader", {"leader": seen[0], "term": seen[1]})
