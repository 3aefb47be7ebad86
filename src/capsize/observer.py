"""Watches who leads, and in which term, and records every change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from capsize.recorder import Recorder

log = logging.getLogger(__name__)

Leader = tuple[str | None, int | None]

POLL_S = 0.25


class Observer:
    """A thread that asks the cluster a few times a second. `current` is what it last heard."""

    def __init__(self, ask: Callable[[], Leader], recorder: Recorder) -> None:
        self.current: Leader = (None, None)
        self._ask = ask
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
        while not self._ending.wait(POLL_S):
            try:
                seen = self._ask()
                if seen != self.current:
                    self.current = seen
                    self._recorder.nemesis("leader", {"leader": seen[0], "term": seen[1]})
            except Exception:  # a cluster that does not answer is what faults are for; watching goes on
                log.debug("nobody said who leads", exc_info=True)
