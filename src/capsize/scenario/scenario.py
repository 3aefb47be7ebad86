"""One test's cluster: brought up, asked and hurt by the test, then healed, judged, kept, and taken away."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import secrets
import time
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from capsize import store
from capsize.checker.models import MODELS
from capsize.client import Client
from capsize.clock import MonotonicClock
from capsize.cluster.cluster import Cluster
from capsize.cluster.node import Node
from capsize.cluster.system import NodeStatus, System
from capsize.config import RunConfig
from capsize.crashes import Crashes
from capsize.dumps import dump_logs
from capsize.errors import AdapterError, CapsizeError, Refused, no_such
from capsize.interrupts import Interruption
from capsize.judging import judge, write_verdict
from capsize.load import Load, Worker
from capsize.nemesis.holds import Holds
from capsize.nemesis.operator import Operator
from capsize.nemesis.schedule import Schedule, Step
from capsize.observer import Observer
from capsize.plan import plan, refuse_impossible, refuse_unasked
from capsize.recorder import Recorder
from capsize.recovery import recover
from capsize.replicas import compare
from capsize.runlog import logged_to
from capsize.runner import READY_S, OpenPlace, first_facts, open_real
from capsize.scenario.asker import Asker
from capsize.scenario.hand import Hand
from capsize.scenario.record import Record
from capsize.verdict import Verdict

log = logging.getLogger(__name__)

LEADER_S = 15.0
LOOK_S = 0.05


class Scenario:
    """`open`, then whatever the test does, then `finish`; `close` takes everything away, at any moment."""

    def __init__(self, config: RunConfig, root: Path, *, repeat: str, open_place: OpenPlace = open_real) -> None:
        self.config = config
        self.made = replace(plan(config), schedule=Schedule((), config.seed))
        started = datetime.now(UTC)
        self.folder = store.new_folder(root, config.folder_name, config.seed, started)
        self.report: Path | None = None
        self.says: list[str] = []
        """What a person watching would have been told."""
        label = f"test-{secrets.token_hex(4)}-{os.getpid()}"
        self.facts: dict[str, Any] = first_facts(self.made, label, started) | {"repeat": repeat}
        self._open_place = open_place
        self._askers: list[Asker] = []
        self._loads: list[Load] = []
        self._processes = itertools.count()
        self._requests = [self.made.workload.requests(thread) for thread in range(self.made.workload.threads)]
        self._interruption = Interruption()
        self._stack = ExitStack()

    # -- what a test uses ---------------------------------------------------------------------------------------
    cluster: Cluster
    nemesis: Hand
    history: Record

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node, in order."""
        return self.cluster.nodes

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(node.name for node in self.cluster.nodes)

    @property
    def system(self) -> System:
        """The adapter, with its optional hooks: `cluster.system.snapshot(node)`."""
        return self.made.system

    def node(self, name: str) -> Node:
        """Return the node of that name."""
        if name not in self.names:
            raise no_such("node", name, self.names)
        return self.cluster.node(name)

    def leader(self, *, within_s: float = LEADER_S) -> Node:
        """Return the node that leads now; waits for one, and raises AdapterError when none says so."""
        __tracebackhide__ = True
        if "status" not in self.system.capabilities():
            raise Refused(f"{self.config.system} does not tell who leads: its adapter has no status()")
        deadline = time.monotonic() + within_s
        while True:
            node, _ = self.cluster.leader()
            if node is not None:
                return node
            if time.monotonic() >= deadline:
                raise AdapterError(f"no node said within {within_s:g} s that it leads")
            time.sleep(LOOK_S)

    def followers(self) -> tuple[Node, ...]:
        """Return the nodes that do not lead now."""
        leader = self.leader()
        return tuple(node for node in self.nodes if node is not leader)

    def statuses(self) -> dict[str, NodeStatus | None]:
        """Ask every node what it says of itself; None for one that does not answer."""
        return self.cluster.statuses()

    def client(self, node: Node | str | None = None) -> Asker:
        """Return a new client, pinned to `node`; to each node in turn when none is named."""
        pinned = self.nodes[len(self._askers) % len(self.nodes)] if node is None else node
        name = self.node(pinned).name if isinstance(pinned, str) else pinned.name
        worker = Worker(
            0, 1, name, make=self._make, recorder=self.recorder, reads=self.made.workload.reads,
            timeout_s=self.config.timeout_s, clock=self.clock, processes=self._processes,
        )  # fmt: skip
        self._askers.append(Asker(worker, MODELS[self.made.workload.model].words, self.config.workload))
        return self._askers[-1]

    @contextlib.contextmanager
    def load(self, *, rate: float | None = None) -> Generator[Load, None, None]:
        """Let the workload's clients ask in the background while inside: `concurrency` of them on every node."""
        load = self._new_load(rate or self.config.rate)
        load.start()
        try:
            yield load
        finally:
            load.stop()

    # -- coming up ------------------------------------------------------------------------------------------------
    def open(self) -> None:
        """Bring the cluster up and begin to record; raises CapsizeError, with everything taken away again."""
        try:
            self._stack.enter_context(logged_to(self.folder / store.LOG))
            self._stack.enter_context(_kept_to_itself())
            store.write_json(self.folder / store.RUN, self.facts)
            place = self._open_place(self.made, self.facts["label"])
            self.cluster = place.cluster
            self._stack.callback(self._destroy)
            self._say(f"backend   {place.why}")
            self._start(place.why)
        except BaseException as error:
            log.error("%s", error)
            self.close()
            raise

    def _start(self, why: str) -> None:
        cluster, system, config = self.cluster, self.system, self.config
        self.facts |= {
            "backend": {**cluster.backend.describe(), "name": cluster.backend.name, "why": why},
            "nodes": list(self.names),
            "traces": {node.name: list(system.traces(node)) for node in cluster.nodes},
        }
        cluster.prepare(frozenset[str]().union(*(kind.needs for kind in self.made.kinds)))
        cluster.start()
        ready_s = cluster.wait_ready(READY_S)
        self._say(f"cluster   {len(cluster.nodes)} nodes of {config.system}, ready after {ready_s:.1f} s")
        self.clock = MonotonicClock()
        self.facts["origin_ns"] = self.clock.origin_ns
        store.write_json(self.folder / store.RUN, self.facts)
        self.recorder = Recorder(self.folder / store.HISTORY, self.clock)
        self._stack.callback(self.recorder.close)
        with contextlib.suppress(CapsizeError):
            store.link_latest(self.folder)
        operator = Operator(cluster)
        holds = Holds(cluster.nodes, cluster.restart, operator)
        self._crashes = Crashes(cluster, holds, self.recorder)
        ask = cluster.statuses if operator.has("status") else None
        self._observer = Observer(ask, self._crashes, self.recorder)
        self.nemesis = Hand(
            holds, record=self.recorder.nemesis, leader=operator.leader, clock=self.clock, seed=config.seed,
            faults=config.faults, refuse=self._refuse,
        )  # fmt: skip
        self.history = Record(self.recorder.path, self.made.workload)
        self._stack.callback(self._observer.stop)
        self._stack.callback(self._end)
        self._observer.start()
        self.recorder.phase("load")

    # -- coming to an end -----------------------------------------------------------------------------------------
    def finish(self) -> Verdict:
        """Heal everything, wait for recovery, read every key on every node, collect, judge, and write the report."""
        readers = self._new_load(self.config.rate)
        self._end()
        recorder, config = self.recorder, self.config
        recorder.phase("recover")
        recover(
            self.cluster, recorder, self._crashes, within_s=config.recovery_timeout_s,
            interrupted=self._interruption, say=self._say,
        )  # fmt: skip
        recorder.phase("final")
        if recorder.keys:
            timeout_s = config.recovery_timeout_s + 0.02 * len(recorder.keys)
            left = readers.read_finally(list(recorder.keys), timeout_s=timeout_s, interrupted=self._interruption)
            if left:
                self._say(f"warning   {left} final reads were not answered")
        compare(self.cluster, recorder, interrupted=self._interruption)
        self._observer.stop()
        recorder.phase("done")
        recorder.close()
        readers.close()
        nodes = self.folder / "nodes"
        self.facts["not_collected"] = self.cluster.collect(nodes)
        for problem in [*self.facts["not_collected"], *dump_logs(self.cluster, nodes)]:
            self._say(f"warning   {problem}")
        return self._judge()

    def _judge(self) -> Verdict:
        done = self.nemesis.schedule()
        self.facts["kinds"] = list(dict.fromkeys(step.kind for step in done.steps))
        store.write_json(self.folder / store.RUN, self.facts)
        store.write_text(self.folder / store.SCHEDULE, done.to_text())
        verdict = judge(self.folder)
        write_verdict(self.folder, verdict)
        try:
            from capsize.report.html import write_html

            self.report = write_html(self.folder)
        except Exception as error:  # a report is no part of the verdict
            log.exception("the report was not written")
            self._say(f"warning   {store.REPORT} was not written: {type(error).__name__}: {error}")
        return verdict

    @property
    def asked(self) -> bool:
        """Whether any operation was recorded: without one there is nothing that a verdict could be about."""
        return bool(self.recorder.keys)

    def close(self) -> None:
        """Heal, and take the cluster away; idempotent, bounded, and safe at any moment."""
        self._interruption.set()
        self._stack.close()

    def _end(self) -> None:
        """End every load, heal every fault, disconnect every client; idempotent."""
        for load in self._loads:
            load.end()
        self.nemesis.stop()
        for problem in self.cluster.heal():
            self.nemesis.report(problem)
        for load in self._loads:
            load.stop()
        for asker in self._askers:
            asker.close()

    def _destroy(self) -> None:
        try:
            self.cluster.destroy()
        except Exception as error:  # a clean-up is no part of the verdict
            log.exception("the clean-up failed")
            self._say(f"warning   clean-up: {type(error).__name__}: {error}; capsize cleanup takes away what is left")

    # -- inside ---------------------------------------------------------------------------------------------------
    def _refuse(self, step: Step) -> None:
        """Raise Refused for a fault that this place, or the system on it, cannot do."""
        if step.fault.least_nodes > len(self.nodes):
            raise Refused(f"{step.kind} needs {step.fault.least_nodes} nodes or more; this test has {len(self.nodes)}")
        alone = replace(self.made, schedule=Schedule((step,), self.config.seed))
        refuse_unasked(self.config, self.system, alone.schedule)
        refuse_impossible(alone, self.cluster.backend)

    def _make(self, name: str, process: int) -> Client:
        return self.system.client(self.cluster.node(name), process)

    def _new_load(self, rate: float) -> Load:
        """Return client threads that go on where those before them ended: no value is ever written twice."""
        workload = self.made.workload
        workload.requests = lambda thread: self._requests[thread]  # type: ignore[method-assign]
        load = Load(
            workload, self.names, make=self._make, recorder=self.recorder, clock=self.clock, rate=rate,
            timeout_s=self.config.timeout_s, processes=self._processes,
        )  # fmt: skip
        self._loads.append(load)
        return load

    def _say(self, text: str) -> None:
        log.info("%s", text)
        self.says.append(text)


@contextlib.contextmanager
def _kept_to_itself() -> Generator[None, None, None]:
    """Keep capsize's log, of which all goes to capsize.log, out of what pytest captures and shows of a failed test.

    Cut off from the root, not `propagate = False`: pytest listens to loggers that do not propagate, too.
    """
    logger = logging.getLogger("capsize")
    before, logger.parent = logger.parent, None
    try:
        yield
    finally:
        logger.parent = before
