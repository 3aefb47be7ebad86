"""Carries out a schedule: intend, inject, probe, heal, probe again; every step of it goes into the history.

One timeline starts each step at its time in a thread of its own, so that faults overlap and a slow one delays no
other. What is intended is recorded before it is done; whatever half-failed is healed all the same.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from capsize.clock import Clock
from capsize.nemesis.fault import Fault, Plan, Probe, Situation, Skip
from capsize.nemesis.holds import Errors, Holds, drops
from capsize.nemesis.schedule import Schedule, Step
from capsize.nemesis.target import asks_for_a_leader
from capsize.seed import stream

log = logging.getLogger(__name__)

Record = Callable[[str, Mapping[str, Any]], object]
"""Writes one nemesis line: its word and its value."""
LeaderOf = Callable[[], tuple[str | None, int | None]]
"""Asks the cluster who leads now, in which term."""

HEAL_TRIES = 3
LEADER_POLL_S = 0.1
PATIENCE_S = 2.0
"""An election or two: how much longer than its own length a fault waits for a leader to hit."""


class Strike:
    """One fault carried out by hand: it holds until `end`. `said` has what was recorded of it, phase by phase."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.said: dict[str, dict[str, Any]] = {}
        self.decided = threading.Event()
        """Set once its probe has seen it land or not, or nothing could be done."""
        self.ending = threading.Event()
        self.ended = threading.Event()

    @property
    def targets(self) -> tuple[str, ...]:
        """The nodes that it hit; empty when it was skipped."""
        return tuple(self.said.get("intend", {}).get("targets", ()))

    @property
    def landed(self) -> bool:
        """Whether its probe saw it."""
        return self.said.get("probe", {}).get("landed") is True

    @property
    def healed(self) -> bool:
        """Whether it was seen undone."""
        return self.said.get("heal-probe", {}).get("landed") is True

    def note(self, phase: str, value: Mapping[str, Any]) -> None:
        """Take what the nemesis recorded."""
        self.said[phase] = dict(value)
        if phase in ("probe", "skip", "error"):
            self.decided.set()

    def end(self) -> None:
        """Ask for it to be healed; returns at once."""
        self.ending.set()


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
        self._write = record
        self._leader = leader
        self._clock = clock
        self._on_change = on_change
        self._ending = threading.Event()
        self._numbers = itertools.count(len(schedule.steps) + 1)
        self._strikes: list[Strike] = []
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
        for strike in self._strikes:
            strike.end()
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

    def strike(self, step: Step) -> Strike:
        """Carry out one fault now, beside the schedule; it holds until its `end`, whatever its length says."""
        strike = Strike(step)
        self._strikes.append(strike)
        number = next(self._numbers)
        name = f"{number} ({step.kind})"

        def carry_out() -> None:
            try:
                self._carry_out(number, step, strike)
            finally:
                strike.decided.set()
                strike.ended.set()

        thread = threading.Thread(target=carry_out, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return strike

    def report(self, problem: str) -> None:
        """Record that the nemesis could not do what it should have: a harness finding."""
        self._record("nemesis", {"id": -1, "phase": "error", "detail": {"error": problem}})

    def _follow(self) -> None:
        began_ns = self._clock.now_ns()
        for number, step in enumerate(self.schedule.steps, start=1):
            wait_s = step.at_s - (self._clock.now_ns() - began_ns) / 1e9
            if self._ending.wait(max(0.0, wait_s)):
                return
            name = f"{number} ({step.kind})"
            thread = threading.Thread(target=self._carry_out, args=(number, step), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _carry_out(self, number: int, step: Step, strike: Strike | None = None) -> None:
        ending = self._ending if strike is None else strike.ending
        fault, until_ns = step.fault, self._clock.now_ns() + int(step.duration_s * 1e9)
        told: dict[str, Any] = {"id": number, "kind": step.kind, "fault": fault.to_json()}

        def record(phase: str, **more: Any) -> None:
            value = told | {"phase": phase} | more
            self._record(step.kind, value)
            if strike is not None:
                strike.note(phase, value)

        try:
            situation = self._situation(fault, until_ns)
            rng = stream(self.schedule.seed, "target", step.kind, step.nth)
            plan = fault.plan(situation, rng, self._holds)
        except Exception as error:  # resolving asks the cluster: what it cannot tell is a harness finding
            record("error", targets=[], landed=False, detail={"error": f"{type(error).__name__}: {error}"})
            return
        if isinstance(plan, Skip):
            record("skip", targets=[], landed=False, detail={"reason": plan.reason})
            return
        remains = self._holds.remains(plan.cuts)
        told["targets"] = list(plan.targets)
        detail: dict[str, Any] = {"leader": situation.leader, "term": situation.term}
        if plan.cuts:
            detail |= {"cuts": drops(plan.cuts), "leaders_possible": list(remains.leaders)}
        record("intend", detail=detail)
        self.active[number] = f"{step.kind} {','.join(plan.targets)}"
        self._on_change()
        try:
            errors = fault.inject(number, plan, self._holds)
            record("inject", detail=_told(errors))
            if errors:
                record("error", detail={"error": "the fault failed half-way", **errors})
            probe = fault.probe(plan, self._holds)
            record("probe", landed=probe.holds and not errors, detail=dict(probe.seen))
            # A fault that found its target late still holds for a while: half its length, at least.
            late_ns = self._clock.now_ns() + int(step.duration_s * 5e8)
            ending.wait(None if strike is not None else max(0.0, (max(until_ns, late_ns) - self._clock.now_ns()) / 1e9))
        except Exception as error:
            record("error", landed=False, detail={"error": f"{type(error).__name__}: {error}"})
            log.debug("fault %s", step.kind, exc_info=True)
        finally:
            self._heal(number, fault, plan, record)
            self.active.pop(number, None)
            self._on_change()

    def _heal(self, number: int, fault: Fault, plan: Plan, record: Callable[..., None]) -> None:
        errors: Errors = {}
        probe: Probe | None = None
        for attempt in range(HEAL_TRIES):
            try:
                errors = fault.heal(number, plan, self._holds)
                if attempt == 0:
                    record("heal", detail=_told(errors))
                probe = None if errors else fault.heal_probe(plan, self._holds)
            except Exception as error:  # a heal is a clean-up: tried again, then told, never in the way of the next
                errors = {"nemesis": f"{type(error).__name__}: {error}"}
            if probe is not None and probe.holds:
                break
        healed = probe is not None and probe.holds
        record("heal-probe", landed=healed, detail=dict(probe.seen) if probe is not None else {})
        if not healed:
            record("error", detail={"error": "not healed", **errors, **(dict(probe.seen) if probe else {})})

    def _situation(self, fault: Fault, until_ns: int) -> Situation:
        """Return who leads; a fault that needs a leader waits for one, somewhat longer than it would have lasted."""
        leader, term = self._leader()
        until_ns += int(PATIENCE_S * 1e9)
        while leader is None and asks_for_a_leader(fault.target) and self._clock.now_ns() < until_ns:
            if self._ending.wait(LEADER_POLL_S):
                break
            leader, term = self._leader()
        return Situation(self._holds.names, leader, term)

    def _record(self, word: str, value: Mapping[str, Any]) -> None:
        try:
            self._write(word, value)
        except Exception:  # a full store must not keep a fault from being healed; the runner sees the same error
            log.debug("a nemesis line was not recorded: %s", word)


def _told(errors: Errors) -> dict[str, Any]:
    return {"errors": errors} if errors else {}
