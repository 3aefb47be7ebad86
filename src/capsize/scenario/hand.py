"""The nemesis in the hand of a test: one fault at a time or a drawn schedule, each proven to land and to be undone."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from capsize.clock import Clock
from capsize.cluster.node import Node
from capsize.errors import CapsizeError
from capsize.nemesis.fault import Fault
from capsize.nemesis.holds import Holds
from capsize.nemesis.kinds import KINDS, choose
from capsize.nemesis.lookout import Lookout
from capsize.nemesis.schedule import Schedule, Step, draw
from capsize.nemesis.strike import LeaderOf, Record, Stage, Strike
from capsize.nemesis.target import check_target
from capsize.nemesis.trigger import Failpoint
from capsize.registry import lookup
from capsize.seed import stream

DECIDED_S = 30.0
"""A fault may wait for a leader to hit, and its probe for an answer."""
HEALED_S = 60.0
HELD_S = 86_400.0
"""A fault that the test itself ends has no length of its own."""

Whom = str | Node | Sequence[str] | None
"""Whom a fault hits: a symbol such as "leader", a node, names of nodes; None: as the fault's word says."""


class NotLanded(CapsizeError):
    """A fault that found nobody to hit, that its probe did not see, or that was not seen to be undone."""


class Struck:
    """One fault of a test. `said` has what was recorded of it, phase by phase."""

    def __init__(self, step: Step, began_s: float) -> None:
        self.step = step
        self.began_s = began_s
        self.held_s = 0.0
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
        """Whether it was seen to be undone."""
        return self.said.get("heal-probe", {}).get("landed") is True

    def note(self, value: Mapping[str, Any]) -> None:
        """Take what was recorded of it."""
        phase = str(value["phase"])
        self.said[phase] = dict(value)
        if phase in ("probe", "skip", "error"):
            self.decided.set()

    def end(self) -> None:
        """Ask for it to be undone; returns at once."""
        self.ending.set()

    def reason(self) -> str:
        """Return why it did not go as it should have, in the words of whatever phase tells it."""
        for phase in ("error", "skip", "heal-probe", "probe"):
            detail = self.said.get(phase, {}).get("detail")
            if isinstance(detail, dict):
                told = detail.get("reason") or detail.get("error")
                return str(told) if told else f"its probe saw {detail}"
        return "it did not answer in time"


class Hand:
    """`with nemesis("kill-leader") as fault: …` strikes, returns once the probe saw it, and heals at the end.

    `faults` are the words that `follow` draws from by default; `refuse` raises for what cannot be done here.
    """

    def __init__(
        self, holds: Holds, *, record: Record, leader: LeaderOf, clock: Clock, seed: int, faults: tuple[str, ...],
        refuse: Callable[[Step], None],
    ) -> None:  # fmt: skip
        self._holds = holds
        self._record = record
        self._leader = leader
        self._clock = clock
        self._seed = seed
        self._faults = faults
        self._refuse = refuse
        self._planning = threading.Lock()
        self._active: dict[int, str] = {}
        self._numbers = itertools.count(1)
        self._nths: dict[str, int] = {}
        self._done: list[Struck] = []
        self._closed = False

    @contextlib.contextmanager
    def __call__(self, fault: str | Fault, on: Whom = None) -> Generator[Struck, None, None]:
        """Strike, and heal when the block ends; raises NotLanded when either is not seen from outside."""
        __tracebackhide__ = True
        struck = self.strike(fault, on)
        try:
            yield struck
        except BaseException:
            struck.end()  # what the test raised is what is told; everything is healed at its end anyway
            raise
        self.heal(struck)

    def strike(self, fault: str | Fault, on: Whom = None) -> Struck:
        """Do a fault now and return once it was seen to have landed; it holds until `heal`, or the test's end.

        `fault` is a word of `capsize list faults`, or a fault as data; `on` overrides whom it hits: "leader",
        "follower", "one", "minority", "majority", "all", a node, or names of nodes.
        """
        __tracebackhide__ = True
        step = self._step(fault, on)
        self._refuse(step)
        struck = self._begin(step)
        if not struck.decided.wait(DECIDED_S) or not struck.landed:
            struck.end()
            struck.ended.wait(HEALED_S)
            raise NotLanded(f"{step.kind} did not land: {struck.reason()}")
        return struck

    def heal(self, struck: Struck | None = None) -> None:
        """Undo one fault, or all of them; raises NotLanded when one is not seen to be undone."""
        __tracebackhide__ = True
        healing = [struck] if struck is not None else [one for one in self._done if not one.ended.is_set()]
        for one in healing:
            one.end()
        for one in healing:
            self._await(one)

    def follow(self, seconds: float, faults: str | Sequence[str] = ()) -> None:
        """Draw a schedule of faults from the test's seed, carry it out for so many seconds, and see it all healed.

        `faults` are words of `capsize list faults`; those of the marker when left out.
        """
        __tracebackhide__ = True
        words = faults.split(",") if isinstance(faults, str) else list(faults) or list(self._faults)
        drawn = draw(self._seed, choose(words or ["none"]), seconds)
        for step in drawn.steps:
            self._refuse(step)
        began = time.monotonic()
        running: list[Struck] = []
        for step in drawn.steps:
            time.sleep(max(0.0, began + step.at_s - time.monotonic()))
            running.append(self._begin(step))
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        for struck in running:
            struck.end()
        for struck in running:
            if struck.ended.wait(HEALED_S) and "skip" in struck.said:
                continue  # the verdict tells when a kind never landed at all
            self._await(struck)

    def schedule(self) -> Schedule:
        """Return what was done so far as a schedule that can be carried out again."""
        steps = [
            replace(struck.step, at_s=round(struck.began_s, 3), duration_s=round(struck.held_s, 3))
            for struck in self._done
        ]
        return Schedule(tuple(sorted(steps, key=lambda step: step.at_s)), self._seed)

    def stop(self) -> None:
        """Heal every fault, and whatever may still be held; what cannot be healed is recorded. Bounded; idempotent."""
        self._closed = True
        deadline = time.monotonic() + HEALED_S
        for struck in self._done:
            struck.end()
        for struck in self._done:
            if not struck.ended.wait(max(0.0, deadline - time.monotonic())):
                self.report(f"the fault {struck.step.kind} was not healed within {HEALED_S:g} s")
        for name, error in self._holds.heal_all().items():
            self.report(f"{name} was not healed: {error}")

    def report(self, problem: str) -> None:
        """Record that the nemesis could not do what it should have: a harness finding."""
        with contextlib.suppress(CapsizeError):  # a full store must not keep anything from being healed
            self._record("nemesis", {"id": -1, "phase": "error", "detail": {"error": problem}})

    def _begin(self, step: Step) -> Struck:
        if self._closed:
            raise CapsizeError(f"{step.kind}: the test has ended, and everything was healed")
        number = next(self._numbers)
        struck = Struck(step, self._clock.now_ns() / 1e9)

        def record(word: str, value: Mapping[str, Any]) -> None:
            struck.note(value)
            self._record(word, value)

        stage = Stage(
            self._seed, self._holds, record, self._leader, self._clock, struck.ending,
            Lookout(self._holds, struck.ending), self._planning, self._active, lambda: None,
        )  # fmt: skip

        def carry_out() -> None:
            try:
                Strike(number, step, stage).run()
            finally:
                struck.held_s = self._clock.now_ns() / 1e9 - struck.began_s
                struck.decided.set()
                struck.ended.set()

        self._done.append(struck)
        threading.Thread(target=carry_out, name=f"{number} ({step.kind})", daemon=True).start()
        return struck

    def _await(self, struck: Struck) -> None:
        __tracebackhide__ = True
        if not (struck.ended.wait(HEALED_S) and struck.healed):
            where = ", ".join(struck.targets) or "nobody"
            raise NotLanded(f"{struck.step.kind} on {where} was not seen to be healed: {struck.reason()}")

    def _step(self, fault: str | Fault, on: Whom) -> Step:
        word = fault if isinstance(fault, str) else fault.word
        nth = self._nths.get(word, 0)
        when = None
        if isinstance(fault, str):
            kind = lookup("fault", word, KINDS, listing="faults")
            fault, when = kind.strike(stream(self._seed, "hand", word, nth), nth)
        self._nths[word] = nth + 1
        if on is not None:
            target = on.name if isinstance(on, Node) else on if isinstance(on, str) else tuple(on)
            check_target(target, self._holds.names)
            fault = replace(fault, target=target)
            if isinstance(when, Failpoint) and isinstance(target, str):
                when = replace(when, node=target)
        return Step(0.0, HELD_S, word, nth, fault, when)
