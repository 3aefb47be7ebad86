"""The run's one clock: monotonic, the controller's, in nanoseconds since the run began."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where times come from; tests inject their own."""

    def now_ns(self) -> int:
        """Return nanoseconds since the clock's origin."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        ...


class MonotonicClock:
    """The monotonic clock of this machine, counted from `origin_ns` (`time.monotonic_ns` at creation)."""

    def __init__(self, origin_ns: int | None = None) -> None:
        self.origin_ns = time.monotonic_ns() if origin_ns is None else origin_ns

    def now_ns(self) -> int:
        return time.monotonic_ns() - self.origin_ns

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))
