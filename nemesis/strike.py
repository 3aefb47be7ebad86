"""One step of a schedule, from its trigger to the proof that it is healed; every phase goes into the history.

What is intended is recorded before it is done; whatever half-failed is healed all the same.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from capsize.clock import Clock
from capsize.errors import Declined
from capsize.nemesis.ambush import Ambush, Caught
from capsize.nemesis.fault import Plan, Probe, Situation, Skip
from capsize.nemesis.holds import Errors, Holds, drops
from capsize.nemesis.lookout import Lookout
from capsize.nemesis.process import Kill
from capsize.nemesis.schedule import Step
from capsize.nemesis.target import LOGS, QUORUMS
from capsize.nemesis.trigger import After, AfterHeal, Failpoint, Trigger
from capsize.seed import stream

log = logging.getLogger(__name__)

Record = Callable[[str, Mapping[str, Any]], object]
"""Writes one nemesis line: its word and its value."""
LeaderOf = Callable[[], tuple[str | None, int | None]]
"""Asks the cluster who leads now, in which term."""

HEAL_TRIES = 3
HEAL_AGAIN_S = 0.5
LEADER_POLL_S = 0.1
TARGET_POLL_S = 0.2
REASONS_MOST = 3
ASKED = 4
"""How often a system is asked for what it declines, while the load lasts: another change may be under way."""
PATIENCE_S = 2.0
"""An election or two: how much longer than its own length a fault waits for somebody to hit."""


@dataclass(slots=True)
class Stage:
    """What the steps of one schedule share. `planning`: targets are resolved, and what they cost is noted, one by one.

    `active` names the faults that hold now, by their numbers.
    """

    seed: int
    holds: Holds
    record: Record
    leader: LeaderOf
    clock: Clock
    ending: threading.Event
    lookout: Lookout
    planning: threading.Lock
    active: dict[int, str]
    changed: Callable[[], object]


class Strike:
    """Carries out one step; `run` returns when it is healed."""

    def __init__(self, number: int, step: Step, stage: Stage) -> None:
        self.number = number
        self.step = step
        self.stage = stage
        self.fault = step.fault
        self._told: dict[str, Any] = {"id": number, "kind": step.kind, "fault": step.fault.to_json()}
        if step.when is not None:
            self._told["when"] = step.when.to_json()
        self._intent: dict[str, Any] = {}

    def run(self) -> None:
        """Wait for the trigger, if there is one, and strike."""
        try:
            self._run(self.step.when)
        except Exception as error:  # resolving asks the cluster: what it cannot tell is a harness finding
            self._record("error", landed=False, detail={"error": f"{type(error).__name__}: {error}"})
            log.debug("fault %s", self.step.kind, exc_info=True)

    def _run(self, when: Trigger | None) -> None:
        if isinstance(when, Failpoint):
            self._from_ambush(when)
            return
        detail: dict[str, Any] = {}
        if when is not None:
            seen = self.stage.lookout.wait(when)
            if seen is None:
                self._skip(f"its trigger did not come: {when}")
                return
            detail["trigger"] = dict(seen)
        before: dict[str, Any] = {}
        for tries in range(1, ASKED + 1):
            with self._planned(self._until_ns()) as plan:
                if plan is None:
                    return
                declined = self._strike(plan, detail | before, self._inject(plan), last=tries == ASKED)
            if not declined or tries == ASKED:
                return
            if self.stage.ending.wait(TARGET_POLL_S):
                self._skip(declined)
                return
            before = {"declined": declined}

    def _inject(self, plan: Plan) -> Callable[[], Errors]:
        return lambda: self.fault.inject(self.number, plan, self.stage.holds)

    # -- planning ----------------------------------------------------------------------------------------------
    @contextmanager
    def _planned(self, until_ns: int) -> Generator[Plan | None, None, None]:
        """Resolve the target and note what it costs until the end; None when it was skipped."""
        plan = self._plan(until_ns)
        try:
            yield plan
        finally:
            self.stage.holds.unreserve(self.number)

    def _plan(self, until_ns: int) -> Plan | None:
        fault, stage = self.fault, self.stage
        while fault.claims and not stage.holds.claim(self.number, fault.claims):
            if stage.ending.wait(LEADER_POLL_S):
                self._skip(f"another change of the {fault.claims} was under way to the end")
                return None
        plan = self._resolve(until_ns)
        give_up_ns = until_ns + int(PATIENCE_S * 1e9)
        while isinstance(plan, Skip) and plan.passing and stage.clock.now_ns() < give_up_ns:
            if stage.ending.wait(TARGET_POLL_S):
                break
            plan = self._resolve(until_ns)
        if isinstance(plan, Skip):
            self._skip(plan.reason)
            return None
        return plan

    def _resolve(self, until_ns: int) -> Plan | Skip:
        """Return whom the fault hits as things are now; every try draws the same, so that only the cluster differs."""
        fault, stage = self.fault, self.stage
        situation = self._situation(until_ns)
        rng = stream(stage.seed, "target", self.step.kind, self.step.nth)
        cost: dict[str, Any] = {}
        with stage.planning:
            plan = fault.plan(situation, rng, stage.holds)
            if isinstance(plan, Plan):
                gone = plan.targets if fault.impairs and not plan.cuts else ()
                left = stage.holds.remains(plan.cuts, gone, voters=self._voters())
                cost = {"cuts": drops(plan.cuts), "leaders_possible": list(left.leaders)} if plan.cuts else {}
                if situation.quorum == "keep" and not left.quorum:
                    plan = Skip(f"no quorum would be left without {', '.join(plan.targets)}", passing=True)
                else:
                    stage.holds.reserve(self.number, gone, plan.cuts, fault.claims)
        if isinstance(plan, Skip):
            return plan
        self._told["targets"] = list(plan.targets)
        self._intent = {"leader": situation.leader, "term": situation.term, **cost}
        return plan

    def _situation(self, until_ns: int) -> Situation:
        """Return who leads; a fault that needs a leader waits for one, somewhat longer than it would have lasted."""
        stage, target = self.stage, self.fault.target
        leader, term = stage.leader()
        until_ns += int(PATIENCE_S * 1e9)
        while leader is None and target in ("leader", "follower") and stage.clock.now_ns() < until_ns:
            if stage.ending.wait(LEADER_POLL_S):
                break
            leader, term = stage.leader()
        quorum = self.step.quorum if self.fault.impairs else ""
        voters = self._voters() if quorum or target in QUORUMS else None

        def quorum_without(names: Any) -> bool:
            return stage.holds.remains({}, names, voters=voters).quorum

        return Situation(
            stage.holds.names,
            leader,
            term,
            old_leader=stage.holds.operator.old_leader(leader) if target == "old-leader" else None,
            last_index=stage.holds.operator.last_index() if target in LOGS else {},
            quorum_without=quorum_without,
            quorum=quorum,
        )

    def _voters(self) -> tuple[str, ...] | None:
        """Return the voters of now where a quorum is to be counted and the system tells."""
        needed = self.step.quorum or self.fault.target in QUORUMS
        return self.stage.holds.operator.voters() if needed and self.stage.holds.asks else None

    def _until_ns(self) -> int:
        return self.stage.clock.now_ns() + int(self.step.duration_s * 1e9)

    # -- striking ----------------------------------------------------------------------------------------------
    def _strike(
        self,
        plan: Plan,
        detail: Mapping[str, Any],
        inject: Callable[[], Errors],
        caught: Caught | None = None,
        *,
        last: bool = True,
    ) -> str:
        """Carry it out; return why the system declined, "" when it did not. `last`: it is not asked again."""
        fault, stage = self.fault, self.stage
        until_ns = self._until_ns()
        if caught is None:
            self._intend(detail)
        self._activate(plan)
        said: Mapping[str, Any] = {}
        declined = ""
        try:
            errors = inject()
            self._record("inject", detail=_told(errors))
            stage.lookout.note(After.word, *self.step.names)
            if errors:
                self._record("error", detail={"error": "the fault failed half-way", **errors})
            probe = fault.probe(plan, stage.holds)
            seen = dict(probe.seen) | ({"failpoint": _caught(caught)} if caught is not None else {})
            landed = probe.holds and not errors and (caught is None or caught.proven)
            self._record("probe", landed=landed, detail=seen)
            said = fault.during(self.number, plan, stage.holds, self._wait(until_ns))
        except Declined as no:
            declined = str(no)
            if last:
                self._skip(declined)
        except Exception as error:
            self._record("error", landed=False, detail={"error": f"{type(error).__name__}: {error}"})
            log.debug("fault %s", self.step.kind, exc_info=True)
        finally:
            self._heal(plan, said, told=last or not declined)
            stage.active.pop(self.number, None)
            stage.changed()
        if not declined:
            stage.lookout.note(AfterHeal.word, *self.step.names)
        return declined

    def _wait(self, until_ns: int) -> Callable[[float | None], bool]:
        # A fault that found its target late still holds for a while: half its length, at least.
        clock, ending = self.stage.clock, self.stage.ending
        end_ns = max(until_ns, clock.now_ns() + int(self.step.duration_s * 5e8))

        def wait(seconds: float | None) -> bool:
            left_s = (end_ns - clock.now_ns()) / 1e9
            ending.wait(max(0.0, left_s if seconds is None else min(seconds, left_s)))
            return ending.is_set() or clock.now_ns() >= end_ns

        return wait

    def _heal(self, plan: Plan, said: Mapping[str, Any], *, told: bool) -> None:
        """Undo it, and see that it is undone. `told`: record that; what could not be undone is recorded always."""
        fault, holds, clock = self.fault, self.stage.holds, self.stage.clock
        errors: Errors = {}
        probe: Probe | None = None
        until_ns = clock.now_ns() + int(fault.heal_within_s * 1e9)
        tries = 0
        while tries < HEAL_TRIES or clock.now_ns() < until_ns:
            if tries and fault.heal_within_s:
                threading.Event().wait(HEAL_AGAIN_S)
            try:
                errors = fault.heal(self.number, plan, holds)
                if tries == 0 and told:
                    self._record("heal", detail=dict(said) | _told(errors))
                probe = None if errors else fault.heal_probe(plan, holds)
            except Exception as error:  # a heal is a clean-up: tried again, then told, never in the way of the next
                errors = {"nemesis": f"{type(error).__name__}: {error}"}
            tries += 1
            if probe is not None and probe.holds:
                break
        healed = probe is not None and probe.holds
        if told or not healed:
            self._record("heal-probe", landed=healed, detail=dict(probe.seen) if probe is not None else {})
        if not healed:
            self._record("error", detail={"error": "not healed", **errors, **(dict(probe.seen) if probe else {})})

    # -- at an exact place of the code -------------------------------------------------------------------------
    def _from_ambush(self, trigger: Failpoint) -> None:
        """Catch a node at the place; a kill happens there and then, any other fault while the node stands there."""
        whole = self.fault
        there = whole.target in (trigger.node, (trigger.node,))
        crash = there and isinstance(whole, Kill)  # a kill of somebody else strikes while the node stands there
        ambush = Ambush(self.number, trigger, "crash" if crash else "pause", self.stage.holds, self.stage.ending)
        caught = self._caught_at(trigger, ambush)
        if isinstance(caught, str):
            self._skip(caught)
            return
        if there:
            self.fault = replace(whole, target=(caught.node,))
        self._told["targets"] = [caught.node]
        if crash:
            plan = Plan((caught.node,))
            self.stage.holds.reserve(self.number, plan.targets, {}, "")
            try:
                self._strike(plan, {}, dict, caught)
            finally:
                self.stage.holds.unreserve(self.number)
            return
        try:
            with self._planned(self._until_ns()) as found:
                if found is not None:
                    self._strike(found, {}, self._injecting(found, ambush, caught), caught)
        finally:
            ambush.release(caught.node)

    def _caught_at(self, trigger: Failpoint, ambush: Ambush) -> Caught | str:
        """Lie in wait, again and again while time is left, for whoever the trigger means; or return why in vain.

        Nobody who is meant, a node that is down or that another fault takes down first: all that passes.
        """
        aim, stage = trigger.node, self.stage
        whole, self.fault = self.fault, replace(self.fault, target=aim)
        passed: dict[str, None] = {}
        try:
            while True:
                situation = self._situation(self._until_ns())
                names = situation.whom(aim, stream(stage.seed, "target", self.step.kind, self.step.nth))
                caught = self._lie_in_wait(names[0], situation, ambush) if names else f"no node is {aim!r} now"
                if isinstance(caught, Caught):
                    return caught
                if ambush.over or stage.ending.wait(TARGET_POLL_S):
                    before = [why for why in passed if why != caught][:REASONS_MOST]
                    return f"{caught}; before that, {', '.join(before)}" if before else caught
                passed[caught] = None
        finally:
            self.fault = whole

    def _lie_in_wait(self, name: str, situation: Situation, ambush: Ambush) -> Caught | str:
        if not self.stage.holds.node(name).process().alive:
            return f"{name} is down"
        if self._told.get("targets") != [name]:  # not once for every try
            self._told["targets"] = [name]
            self._intent = {"leader": situation.leader, "term": situation.term}
            self._intend({"armed": ambush.place})
        aims_at_leader = self.fault.target == "leader"
        return ambush.lie_in_wait(name, lambda: self.stage.leader()[0] if aims_at_leader else None)

    def _injecting(self, plan: Plan, ambush: Ambush, caught: Caught) -> Callable[[], Errors]:
        def inject() -> Errors:
            try:
                return self.fault.inject(self.number, plan, self.stage.holds)
            finally:
                ambush.release(caught.node)

        return inject

    # -- telling -----------------------------------------------------------------------------------------------
    def _intend(self, detail: Mapping[str, Any]) -> None:
        self._record("intend", detail=self._intent | dict(detail))

    def _activate(self, plan: Plan) -> None:
        self.stage.active[self.number] = f"{self.step.kind} {','.join(plan.targets)}"
        self.stage.changed()

    def _skip(self, reason: str) -> None:
        self._record("skip", landed=False, detail={"reason": reason})

    def _record(self, phase: str, **more: Any) -> None:
        value = {"targets": [], **self._told, "phase": phase, **more}
        try:
            self.stage.record(self.step.kind, value)
        except Exception:  # a full store must not keep a fault from being healed; the runner sees the same error
            log.debug("a nemesis line was not recorded: %s", self.step.kind)


def _told(errors: Errors) -> dict[str, Any]:
    return {"errors": errors} if errors else {}


def _caught(caught: Caught) -> dict[str, Any]:
    return {key: value for key, value in (("node", caught.node), ("code", caught.code), ("said", caught.said)) if value}
