"""Turns a config into what a run is made of; whatever is impossible is refused here, not at minute five."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from capsize.cluster.adapter import make
from capsize.cluster.backend import Backend
from capsize.cluster.system import OPTIONAL, System, why_without
from capsize.config import RunConfig, Tempo
from capsize.errors import Refused, UsageError, no_such
from capsize.nemesis.fault import Fault
from capsize.nemesis.kinds import Kind, choose
from capsize.nemesis.schedule import Schedule, draw, parse
from capsize.nemesis.target import asks_for_status
from capsize.nemesis.trigger import Failpoint
from capsize.registry import lookup
from capsize.store import explained
from capsize.workloads import WORKLOADS, Workload

TAKES_QUORUM = ("all", "majority", "lose-quorum")
"""Targets without which no quorum is left."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of, all words resolved and every impossibility refused."""

    config: RunConfig
    system: System
    workload: Workload
    kinds: tuple[Kind, ...]
    schedule: Schedule

    @property
    def needs(self) -> frozenset[str]:
        """What its faults need of the place, all together."""
        return frozenset[str]().union(*(step.fault.needs for step in self.schedule.steps))


def plan(config: RunConfig) -> Plan:
    """Resolve every word of `config`; raises UsageError or AdapterError before anything is started."""
    system = make(config.system, config.options)
    workload = lookup("workload", config.workload, WORKLOADS, flag="--workload", listing="workloads")
    names = [f"n{number}" for number in range(1, config.nodes + 1)]
    if config.schedule:
        path = Path(config.schedule)
        if not path.exists():
            raise UsageError(f"--schedule: {path}: there is no such file")
        with explained(path, "read the schedule"):
            schedule = parse(path.read_text(encoding="utf-8"), where=str(path), nodes=names)
        kinds: tuple[Kind, ...] = ()
    else:
        kinds = choose(config.faults or ("none",))
        schedule = draw(config.seed, kinds, config.time_limit_s, tempo=config.tempo)
        _refuse_contradictions(config, kinds)
    for step in schedule.steps:
        if step.fault.least_nodes > config.nodes:
            raise Refused(
                f"--faults: {step.kind} needs {step.fault.least_nodes} nodes or more; --nodes is {config.nodes}"
            )
    refuse_unasked(config, system, schedule)
    _refuse_two_kinds_of_clocks(schedule)
    asked = workload(config.seed, config.nodes * config.concurrency)
    _refuse_what_is_lacking(config, system, asked)
    return Plan(config, asked.fit(system), asked, kinds, schedule)


def _refuse_what_is_lacking(config: RunConfig, system: System, workload: Workload) -> None:
    """Raise Refused for a workload that asks what the system's clients do not have."""
    lacking = sorted(workload.needs & frozenset(system.lacks))
    if lacking and not system.has_own_clients():
        raise Refused(
            f"--workload: {config.workload} needs {', '.join(lacking)}, which {config.system} lacks (so its adapter)"
        )


def _refuse_contradictions(config: RunConfig, kinds: Sequence[Kind]) -> None:
    """Raise UsageError for settings of the schedule that cannot hold together."""
    tempo = config.tempo
    if kinds and tempo.quiet_start >= config.time_limit_s and tempo.quiet_start != Tempo().quiet_start:
        raise UsageError(
            f"--quiet-start: {tempo.quiet_start:g} s leaves no time for faults; --time-limit is {config.time_limit_s:g}"
        )
    for kind in kinds:
        if tempo.quorum == "keep" and all(_takes_the_quorum(fault) for fault in kind.examples()):
            raise UsageError(f"--quorum: keep and --faults {kind.word} exclude each other: it takes the quorum away")


def _takes_the_quorum(fault: Fault) -> bool:
    """Whether no quorum is ever left while it lasts; a cut through the links of all nodes leaves one, mostly."""
    return fault.impairs and fault.target in TAKES_QUORUM and "network" not in fault.needs


def refuse_unasked(config: RunConfig, system: System, schedule: Schedule) -> None:
    """Raise Refused for the first fault that would ask of the system what its adapter has no hook for."""
    able = system.capabilities()
    flag = "--schedule" if config.schedule else "--faults"
    for step in schedule.steps:
        when, target = step.when, step.fault.target
        aims = [target, when.node] if isinstance(when, Failpoint) else [target]
        if "status" not in able and any(asks_for_status(aim) for aim in aims):
            raise Refused(f"{flag}: {step.kind} hits the leader, but {config.system} does not tell who leads")
        hooks = step.fault.hooks | (when.hooks if when is not None else frozenset())
        missing = [hook for hook in OPTIONAL if hook in hooks and hook not in able]
        if missing:
            why = why_without(system, missing)
            raise Refused(
                f"{flag}: {step.kind} needs {', '.join(missing)}, which the adapter of {config.system} does not have"
                f"{f': {why}' if why else ''} (docs/{'systems' if why else 'hooks'}.md)"
            )
        if isinstance(when, Failpoint) and when.place not in system.failpoints():
            raise no_such(f"failpoint of {config.system}", when.place, system.failpoints(), flag=flag)


def _refuse_two_kinds_of_clocks(schedule: Schedule) -> None:
    """Raise Refused where one fault wants a process's timers left alone and another wants them changed."""
    clocks = [step for step in schedule.steps if "clock" in step.fault.needs]
    timers = [step for step in clocks if "monotonic" in step.fault.needs]
    others = [step for step in clocks if "monotonic" not in step.fault.needs]
    if timers and others:
        raise Refused(
            f"--faults: {timers[0].kind} and {others[0].kind} do not go together: whether its timers follow a "
            "process's wall clock is settled when it is started"
        )


def refuse_impossible(made: Plan, backend: Backend) -> None:
    """Raise Refused for the first fault of the schedule that this place, or the system on it, cannot do."""
    able, spared = backend.capabilities(), made.system.refuses(backend.name)
    for step in made.schedule.steps:
        for need in sorted(step.fault.needs - able):
            why = backend.why_not(need)
            raise Refused(f"--faults: {step.kind} needs {need}, which {backend.name} cannot do here: {why}")
        for need in sorted(step.fault.needs & spared.keys()):
            raise Refused(
                f"--faults: {step.kind} needs {need}, which {made.config.system} does not have on {backend.name}: "
                f"{spared[need]}"
            )
