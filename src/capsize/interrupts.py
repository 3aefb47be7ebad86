"""Ctrl-C and its kin: a run that is asked to end heals, judges what there is, and cleans up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from capsize.errors import CapsizeError

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Raised in the main thread by a signal while nothing can be judged yet. `by` is the signal's name."""

    def __init__(self, by: str) -> None:
        super().__init__(by)
        self.by = by


class EndedEarly(CapsizeError):
    """A signal came before there was anything to judge."""


class Interruption(threading.Event):
    """Set by the first signal; `by` names it. Until `gentle` is set, the signal also raises Interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self.by = ""
        self.gentle = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Take a signal. A further one while the run already ends is ignored: cleaning up is what it is doing."""
        again = self.is_set()
        self.by = self.by or signal.Signals(number).name
        self.set()
        if not self.gentle and not again:
            raise Interrupted(self.by)


@contextmanager
def interruptible() -> Generator[Interruption, None, None]:
    """Catch the ending signals while inside; in a thread other than the main one nothing is caught."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {number: signal.signal(number, interruption.on_signal) for number in ENDING_SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
