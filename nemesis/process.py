"""Faults of processes: SIGKILL and start again, SIGSTOP and SIGCONT."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from capsize.cluster.node import ProcessState
from capsize.nemesis.fault import Fault, Plan, Probe, Situation, Skip
from capsize.nemesis.holds import Errors, Holds
from capsize.nemesis.target import QUORUMS


def plan_nodes(fault: Fault, situation: Situation, rng: random.Random) -> Plan | Skip:
    """Resolve a fault that hits nodes one by one."""
    targets = situation.whom(fault.target, rng)
    if targets:
        return Plan(targets)
    if situation.quorum == "keep" and replace(situation, quorum="").whom(fault.target, rng):
        return Skip("no node can be spared: the quorum would be lost", passing=True)
    return Skip(f"no node is {fault.target!r} now", passing=fault.target in QUORUMS)


def look(names: Iterable[str], holds: Holds, good: Callable[[ProcessState], bool], *, wait_s: float) -> Probe:
    """Read the process state of these nodes until `good` holds on all, at most `wait_s`; report the last look."""
    deadline = time.monotonic() + wait_s
    targets = list(names)
    while True:
        states: dict[str, ProcessState] = {}

        def read(name: str, states: dict[str, ProcessState] = states) -> None:
            states[name] = holds.node(name).process()

        errors = holds.on_each(targets, read)
        seen = {name: {"alive": s.alive, "pid": s.pid, "state": s.state} for name, s in sorted(states.items())}
        if not errors and all(good(state) for state in states.values()):
            return Probe(True, seen)
        if time.monotonic() >= deadline:
            return Probe(False, {**seen, **{name: {"error": error} for name, error in errors.items()}})
        time.sleep(0.02)


@dataclass(frozen=True)
class Kill(Fault):
    """SIGKILL; started again when it heals. The page cache survives it: fsync is not tested by this fault."""

    word = "kill"
    says = "SIGKILL the system's process, start it again later"
    needs = frozenset({"processes"})

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        plan = plan_nodes(self, situation, rng)
        if isinstance(plan, Plan):
            stuck = [name for name in plan.targets if not holds.may_die(name)]
            if stuck:  # SIGKILL waits for the thaw: the fault could not land
                return Skip(f"the disk of {', '.join(stuck)} is paused: a process stuck in it cannot be killed")
            if all(holds.excused(name) for name in plan.targets):
                are = "is" if len(plan.targets) == 1 else "are"
                return Skip(f"{', '.join(plan.targets)} {are} down already", passing=True)
        return plan

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.kill(number, plan.targets)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        return look(plan.targets, holds, lambda state: not state.alive, wait_s=1.0)

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.revive(number, plan.targets)

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        free = [name for name in plan.targets if not holds.excused(name)]
        return look(free, holds, lambda state: state.alive, wait_s=5.0)


@dataclass(frozen=True)
class PauseProcess(Fault):
    """SIGSTOP; SIGCONT when it heals. A paused leader wakes up still believing that it leads."""

    word = "pause-process"
    says = "SIGSTOP the system's process, SIGCONT it later"
    needs = frozenset({"processes"})

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        plan = plan_nodes(self, situation, rng)
        if isinstance(plan, Plan):
            alive = tuple(name for name in plan.targets if not holds.excused(name))
            told = f"{', '.join(plan.targets)} is down: nothing to pause"
            return Plan(alive) if alive else Skip(told, passing=True)
        return plan

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.pause(number, plan.targets)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        return look(plan.targets, holds, lambda state: state.alive and state.state in ("T", "t"), wait_s=1.0)

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.resume(number, plan.targets)

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        free = [name for name in plan.targets if not holds.held("paused", name) and not holds.excused(name)]
        return look(free, holds, lambda state: state.alive and state.state not in ("T", "t"), wait_s=2.0)
