"""Carries out a schedule: intend, inject, probe, heal, probe again; every step of it goes into the history.

One timeline starts each step at its time in a thread of its own, so that faults overlap and a slow one delays no
other. A step with a trigger is armed at its time, and strikes when the trigger comes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from capsize.clock import Clock
from capsize.nemesis.holds import Holds
from capsize.nemesis.lookout import Lookout
from capsize.nemesis.schedule import Schedule
from capsize.nemesis.strike import LeaderOf, Record, Stage, Strike

log = logging.getLogger(__name__)


class Nemesis:
    """Runs one schedule. `start`, then `stop` (idempotent), which heals everything and waits for it, bounded."""

    def __init__(
        self,
        schedule: Schedule,
        holds: Holds,
        *,
        record: Record,
        leader: LeaderOf,
        clock: Clock,
        on_change: Callable[[], object] = lambda: None,
    ) -> None:
        self.schedule = schedule
        self.active: dict[int, str] = {}
        self._holds = holds
        self._clock = clock
        self._ending = threading.Event()
        self._stage = Stage(
            schedule.seed, holds, record, leader, clock, self._ending, Lookout(holds, self._ending),
            threading.Lock(), self.active, on_change,
        )  # fmt: skip
        self._threads: list[threading.Thread] = []
        self._timeline = threading.Thread(target=self._follow, name="nemesis", daemon=True)
        self._started = False

    def start(self) -> None:
        """Begin; times of the schedule count from now."""
        self._started = True
        self._timeline.start()

    def stop(self, *, timeout_s: float = 30.0) -> None:
        """Begin no further fault, heal all that are active, and then whatever may still be held."""
        self._ending.set()
        deadline_ns = self._clock.now_ns() + int(timeout_s * 1e9)
        if self._started:
            self._timeline.join(timeout_s)
        for thread in list(self._threads):
            thread.join(max(0.0, (deadline_ns - self._clock.now_ns()) / 1e9))
            if thread.is_alive():
                self.report(f"the fault {thread.name} was not healed within {timeout_s:.0f} s")
        errors = self._holds.heal_all()
        for name, error in errors.items():
            self.report(f"{name} was not healed: {error}")

    def report(self, problem: str) -> None:
        """Record that the nemesis could not do what it should have: a harness finding."""
        try:
            self._stage.record("nemesis", {"id": -1, "phase": "error", "detail": {"error": problem}})
        except Exception:  # a full store must not keep anything from being healed; the runner sees the same error
            log.debug("a nemesis line was not recorded: %s", problem)

    def _follow(self) -> None:
        began_ns = self._clock.now_ns()
        for number, step in enumerate(self.schedule.steps, start=1):
            wait_s = step.at_s - (self._clock.now_ns() - began_ns) / 1e9
            if self._ending.wait(max(0.0, wait_s)):
                return
            strike = Strike(number, step, self._stage)
            thread = threading.Thread(target=strike.run, name=f"{number} ({step.kind})", daemon=True)
            self._threads.append(thread)
            thread.start()
