"""One simulated run: a load with faults, a recovery, final reads on every node, and the same judges as a real run's.

Plan(seed=7, nodes=5)  ->  simulate(plan)  ->  Outcome(verdict, history, …)
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.invariants import Judge
from capsize.checker.linearizability import check_linearizable
from capsize.checker.models import MODELS
from capsize.checker.trace import TraceEvent
from capsize.garbage import uncollected
from capsize.history import History
from capsize.op import Invocation, Value
from capsize.raft.settings import Settings
from capsize.seed import stream
from capsize.simulator.clients import Client, Habits, Recording
from capsize.simulator.schedule import WORDS, Nemesis, Step, draw
from capsize.simulator.subject import CLEAN, Subject
from capsize.simulator.world import MS, World, refused_to_boot
from capsize.verdict import Anomaly, Axis, Finding, Verdict, merge
from capsize.workloads.kv import KeyValue

RECOVERY_MS = 15_000
SMALL_SNAPSHOTS = 40


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides a run. `settings` overrides fields of the core's Settings."""

    seed: int
    nodes: int = 5
    operations: int = 300
    faults: int = 10
    length_ms: int = 18_000
    words: Sequence[str] = WORDS
    clients: int = 5
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    subject: Subject = CLEAN
    record: bool = False
    schedule: tuple[Step, ...] | None = None
    """Faults to strike with instead of drawn ones."""

    @classmethod
    def varied(cls, seed: int, **fields: Any) -> Plan:
        """Return the plan of `seed` with the cluster's size and the core's settings drawn from it.

        Sizes 1, 3, 4 and 5; AppendEntries of one entry, a few, many; snapshots often and never; with pre-vote and
        the protection of leaders and without; slow apply; entries sent in parallel with the leader's own write.
        """
        rng = stream(seed, "variation")
        settings: dict[str, Any] = {
            "append_entries_max": rng.choice((1, 1, 3, 128)),
            "snapshot_every": rng.choice((0, 0, SMALL_SNAPSHOTS, 200)),
            "pre_vote": rng.random() < 0.4,
            "protect_leader": rng.random() < 0.4,
            "check_quorum": rng.random() < 0.5,
            "parallel_append": rng.random() < 0.4,
            "apply_delay_ms": rng.choice((0, 0, 0, 60)),
            "lease_reads": False,
        }
        if fields.get("nodes") is None:
            fields["nodes"] = rng.choice((3, 4, 5, 5, 5, 5))
        return cls(seed, settings=settings, **fields)

    def following(self, steps: Sequence[Step]) -> Plan:
        """Return the plan with these faults instead of drawn ones; the load lasts until after the last of them."""
        last_ms = max((step.at_ms + step.duration_ms for step in steps), default=0)
        return replace(self, schedule=tuple(steps), length_ms=max(self.length_ms, last_ms + 500))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run. `alarm_ms`: virtual time of the first broken invariant, None if there was none."""

    plan: Plan
    verdict: Verdict
    history: History
    schedule: tuple[Step, ...]
    events: int
    seconds: float
    recorded: list[TraceEvent] | None

    @property
    def alarms(self) -> tuple[str, ...]:
        """Return the checks that found something, each once: invariant ids, else the anomaly's name."""
        return tuple(dict.fromkeys(str(a.details.get("invariant", a.name)) for a in self.verdict.anomalies))


@uncollected()
def simulate(plan: Plan) -> Outcome:
    """Run and judge one plan. The same plan gives the same outcome, event for event (`seconds` aside)."""
    began = time.perf_counter()
    judge = Judge()
    settings = replace(Settings(), **plan.settings) if plan.settings else Settings()
    world = World(
        [f"n{number}" for number in range(1, plan.nodes + 1)],
        seed=plan.seed,
        settings=settings,
        subject=plan.subject,
        judge=judge,
        record=plan.record,
    )
    steps = (
        draw(plan.seed, faults=plan.faults, length_ms=plan.length_ms, words=plan.words)
        if plan.schedule is None
        else list(plan.schedule)
    )
    nemesis = Nemesis(world, steps)
    recording = Recording(plan.operations)
    workload = KeyValue(plan.seed, plan.clients)
    clients = [
        Client(
            number,
            plan.clients,
            world,
            _joinable(workload.requests(number)),
            recording,
            stream(plan.seed, "client", number),
            Habits(),
        )
        for number in range(plan.clients)
    ]
    world.start()
    nemesis.begin()
    for client in clients:
        client.begin()
    world.run_until(lambda: recording.left <= 0 and not recording.open, limit_ms=plan.length_ms)
    nemesis.heal_everything()
    for client in clients:
        client.stopped = True
    world.run_until(lambda: not recording.open, limit_ms=5_000)
    for client in clients:
        client.give_up()
    recovered = _final_reads(world, plan, recording)
    history = History.of(recording.operations)
    verdict = merge(
        "simulation",
        [
            judge.verdict(),
            check_linearizable(history, MODELS["kv"](), budget=Budget()),
            _health(world, nemesis, recording, recovered, plan),
        ],
    )
    return Outcome(plan, verdict, history, tuple(steps), judge.events, time.perf_counter() - began, world.recorded)


def _joinable(requests: Iterator[Invocation]) -> Iterator[Invocation]:
    """Append arrays instead of single values: what is appended again must show."""
    for request in requests:
        yield Invocation("append", request.key, (request.value,)) if request.f == "append" else request


def _final_reads(world: World, plan: Plan, recording: Recording) -> bool:
    """Let the cluster recover, then read every key on every node; return whether all of them answered."""
    keys = list(dict.fromkeys(operation.key for operation in recording.operations))
    recording.left = 1 << 30
    if not world.run_until(lambda: _serves(world), limit_ms=RECOVERY_MS):
        return False
    answered = True
    for number, name in enumerate(world.names):
        reader = Client(
            10_000 + number, 1, world, iter(()), recording, stream(plan.seed, "final", number), Habits(timeout_ms=3_000)
        )
        reader.stopped = True
        for key in keys:
            answered = answered and _read(world, reader, recording, key, name)
    return answered


def _read(world: World, reader: Client, recording: Recording, key: Value, name: str) -> bool:
    """Read a key on a node, again until it answers, or `RECOVERY_MS` went by."""
    deadline = world.now_ns + RECOVERY_MS * MS
    while world.now_ns < deadline:
        before = len(recording.operations)
        reader.ask(Invocation("get", key), name)
        world.run_until(lambda before=before: len(recording.operations) > before, limit_ms=5_000)  # type: ignore[misc]
        if recording.operations[-1].outcome == "ok":
            return True
        world.run_for(100)
    return False


def _serves(world: World) -> bool:
    """Say whether all nodes run and agree on a leader, and on what is committed and applied."""
    cores = [node.core for node in world.nodes.values()]
    if any(core is None for core in cores):
        return False
    live = [core for core in cores if core is not None]
    leader = world.leader
    if leader is None or any(core.leader != leader for core in live):
        return False
    first = world.core(leader)
    return (
        first.log.term_at(first.commit_index) == first.term
        and len({core.term for core in live}) == 1
        and len({(core.commit_index, core.applied_index) for core in live}) == 1
    )


def _health(world: World, nemesis: Nemesis, recording: Recording, recovered: bool, plan: Plan) -> Verdict:
    """Judge liveness and coverage: it served again, operations succeeded, faults landed, no node stopped itself."""
    anomalies = tuple(
        Anomaly("node-stopped-itself", (f"{name} stopped itself: {why}.",), details={"node": name, "why": why})
        for name, why in world.crashes
    )
    anomalies += refused_to_boot(world)
    succeeded = sum(operation.outcome == "ok" for operation in recording.operations)
    axes: dict[Axis, Finding] = {}
    if recovered:
        axes[Axis.LIVENESS] = Finding(True)
    else:
        why = f"{RECOVERY_MS} virtual milliseconds after everything was healed, not every node served reads"
        axes[Axis.LIVENESS] = Finding(False, (why,))
        anomalies = (*anomalies, Anomaly("did-not-recover", (why + ".",)))
    if world.crashes or world.refusals:
        axes[Axis.SAFETY] = Finding(False, tuple(anomaly.because[0] for anomaly in anomalies))
    enough = succeeded * 10 >= plan.operations and (nemesis.landed > 0 or not nemesis.steps)
    missing = f"{succeeded} operations succeeded, {nemesis.landed} faults landed"
    axes[Axis.COVERAGE] = Finding(True) if enough else Finding("unknown", (missing,))
    figures = {
        "succeeded": succeeded,
        "operations": len(recording.operations),
        "landed": nemesis.landed,
        "virtual_s": round(world.now_ns / 1e9, 3),
        "steps": world.steps,
        "messages": world.network.delivered,
    }
    return Verdict("health", axes, anomalies, figures)
