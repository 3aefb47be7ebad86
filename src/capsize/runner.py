"""One run, from a config to a verdict: cluster up, load and faults, heal, final reads, judge, report, clean up.

What goes to disk goes there first: the history line by line, the verdict before the report, the clean-up last. A
report or a clean-up that fails is a warning and touches no verdict.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from capsize import store
from capsize.clock import MonotonicClock
from capsize.cluster.cluster import Cluster
from capsize.cluster.ledger import Owner
from capsize.config import RunConfig
from capsize.crashes import Crashes
from capsize.dumps import dump_logs
from capsize.errors import CapsizeError, Refused, StoreError, UsageError
from capsize.interrupts import EndedEarly, Interrupted, Interruption, interruptible
from capsize.judging import judge, write_verdict
from capsize.load import Load
from capsize.lookout import Anomaly, Lookout
from capsize.nemesis.executor import Nemesis
from capsize.nemesis.holds import Holds
from capsize.nemesis.operator import Operator
from capsize.observer import Observer
from capsize.origin import origin
from capsize.plan import Plan, plan, refuse_impossible
from capsize.recorder import Recorder
from capsize.recovery import recover
from capsize.replicas import compare
from capsize.runlog import logged_to
from capsize.verdict import Verdict
from capsize.watcher import Silent, Snapshot, Watcher

log = logging.getLogger(__name__)

READY_S = 30.0
LOOK_S = 0.1
SHOW_S = 0.25


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run happens: its cluster, not yet started, and why this place was taken."""

    cluster: Cluster
    why: str


OpenPlace = Callable[[Plan, str], Place]
"""Makes the hosts for a run: (plan, label) -> place; bounded, and leaves nothing when it fails."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that was judged."""

    config: RunConfig
    folder: Path
    verdict: Verdict
    report: Path | None
    interrupted: str = ""
    """The signal that ended it early."""


def run(
    config: RunConfig, root: Path, *, argv: Sequence[str] = (), watcher: Watcher | None = None,
    open_place: OpenPlace | None = None, campaign: str = "",
) -> Finished:  # fmt: skip
    """Carry out one run and return its verdict; `campaign` names the campaign that it belongs to.

    Raises CapsizeError when there is nothing to judge: words that stand for nothing, a place that cannot be had, a
    store that cannot be written. Ending signals are caught: the run heals, is judged as far as it went, and cleans up.
    """
    with interruptible() as interruption:
        try:
            carried = _Run(plan(config), root, argv, watcher or Silent(), interruption, campaign)
            return carried.carry_out(open_place or open_real)
        except Interrupted as interrupted:
            raise EndedEarly(
                f"interrupted by {interrupted.by} before the load began; nothing was recorded, nothing is left running"
            ) from None


def open_real(made: Plan, label: str) -> Place:
    """Make the hosts of a run on a real place, if it can do what was planned."""
    from capsize.cluster.choose import place_of

    backend, why = place_of(made.config, label)
    refuse_impossible(made, backend)
    made.system.prepare()
    return Place(Cluster(made.system, backend, backend.create(made.config.nodes)), why)


def first_facts(made: Plan, label: str, started: datetime) -> dict[str, Any]:
    """Return what run.json says before there is a cluster."""
    return {
        "version": 1,
        "config": made.config.to_json(),
        "seed": made.config.seed,
        "repeat": made.config.command(),
        "argv": [],
        "label": label,
        "owner": str(Owner.this()),
        "campaign": None,
        "model": made.workload.model,
        "started_at": started.isoformat(timespec="seconds"),
        "kinds": list(dict.fromkeys(step.kind for step in made.schedule.steps)),
        **origin(),
    }


class _Run:
    def __init__(
        self, made: Plan, root: Path, argv: Sequence[str], watcher: Watcher, interruption: Interruption, campaign: str
    ) -> None:
        self.made = made
        self.config = made.config
        self.watcher = watcher
        self.interruption = interruption
        self.interrupted = False
        started = datetime.now(UTC)
        self.folder = store.new_folder(root, self.config.folder_name, self.config.seed, started)
        self.label = f"{self.folder.name}-{os.getpid()}".lower()
        self.clock = MonotonicClock()

        self.facts = first_facts(made, self.label, started) | {"argv": list(argv), "campaign": campaign or None}

    def carry_out(self, open_place: OpenPlace) -> Finished:
        """Run, judge, report, clean up."""
        try:
            with logged_to(self.folder / store.LOG):
                try:
                    return self._on_a_place(open_place)
                except CapsizeError as error:
                    log.error("%s", error)
                    raise
        except (UsageError, Refused):  # nothing was started: a folder that says nothing is in the way
            for name in (store.RUN, store.SCHEDULE, store.LOG):
                (self.folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.folder.rmdir()
            raise

    def _on_a_place(self, open_place: OpenPlace) -> Finished:
        store.write_json(self.folder / store.RUN, self.facts)
        store.write_text(self.folder / store.SCHEDULE, self.made.schedule.to_text())
        place = open_place(self.made, self.label)
        try:
            self._on(place)
            return self._judge()
        finally:
            self.interruption.gentle = True
            self._clean_up(place.cluster)

    # -- on the cluster ------------------------------------------------------------------------------------------
    def _on(self, place: Place) -> None:
        cluster, config = place.cluster, self.config
        self._say(f"backend   {place.why}")
        refuse_impossible(self.made, cluster.backend)
        self.facts |= {
            "backend": {**cluster.backend.describe(), "name": cluster.backend.name, "why": place.why},
            "nodes": [node.name for node in cluster.nodes],
            "traces": {node.name: list(self.made.system.traces(node)) for node in cluster.nodes},
            "not_collected": None,
        }
        store.write_json(self.folder / store.RUN, self.facts)
        cluster.prepare(self.made.needs)
        cluster.start()
        ready_s = cluster.wait_ready(READY_S)
        self._say(f"cluster   {len(cluster.nodes)} nodes of {config.system}, ready after {ready_s:.1f} s")
        self.clock = MonotonicClock()
        self.facts["origin_ns"] = self.clock.origin_ns  # places the nodes' traces, of the same clock, on the run's
        store.write_json(self.folder / store.RUN, self.facts)
        recorder = Recorder(self.folder / store.HISTORY, self.clock)
        self._link()
        self.interruption.gentle = True
        try:
            with contextlib.ExitStack() as ending:
                self._load_and_faults(cluster, recorder, ending)
            recorder.phase("done")
        except StoreError as error:
            raise StoreError(f"{error}; capsize check {self.folder} judges what was recorded") from error
        finally:
            recorder.close()
        self.facts["not_collected"] = cluster.collect(self.folder / "nodes")
        store.write_json(self.folder / store.RUN, self.facts)
        for problem in self.facts["not_collected"]:
            self._say(f"warning   {problem}")
        for problem in dump_logs(cluster, self.folder / "nodes"):
            self._say(f"warning   {problem}")

    def _load_and_faults(self, cluster: Cluster, recorder: Recorder, ending: contextlib.ExitStack) -> None:
        config, system = self.config, self.made.system
        operator = Operator(cluster)
        load = Load(
            self.made.workload, [node.name for node in cluster.nodes],
            make=lambda name, process: system.client(cluster.node(name), process),
            recorder=recorder, clock=self.clock, rate=config.rate, timeout_s=config.timeout_s,
        )  # fmt: skip
        holds = Holds(cluster.nodes, cluster.restart, operator)
        crashes = Crashes(cluster, holds, recorder)
        observer = Observer(cluster.statuses if operator.has("status") else None, crashes, recorder)
        ending.callback(load.close)
        ending.callback(observer.stop)
        nemesis = Nemesis(self.made.schedule, holds, record=recorder.nemesis, leader=operator.leader, clock=self.clock)
        lookout = Lookout(recorder.path, self.made.workload.checkers()) if config.stop_at_anomaly else None

        def look(phase: str) -> None:
            load.watch()
            seen = Snapshot(
                self.clock.now_ns() / 1e9, config.time_limit_s, phase, dict(recorder.outcomes),
                *observer.current, tuple(nemesis.active.values()),
            )  # fmt: skip
            self.watcher.show(seen)

        try:
            observer.start()
            recorder.phase("load")
            until_ns = self.clock.now_ns() + int(config.time_limit_s * 1e9)
            load.start()
            nemesis.start()
            if lookout is not None:
                lookout.start()
            while self.clock.now_ns() < until_ns and not self.interruption.wait(LOOK_S):
                look("load")
                if recorder.failure is not None:
                    raise recorder.failure
                if lookout is not None and lookout.found is not None:
                    self._stopped(lookout.found, recorder)
                    break
            self._interrupted(recorder)
        finally:
            load.end()
            nemesis.stop()
            for problem in cluster.heal():
                nemesis.report(problem)
            load.stop()
            if lookout is not None:
                lookout.stop()
                if lookout.told():
                    self._say(f"warning   {lookout.told()}")
        if not self.interruption.is_set():
            recorder.phase("recover")
            recover(
                cluster, recorder, crashes, within_s=config.recovery_timeout_s, interrupted=self.interruption,
                say=self._say, look=lambda: look("recovery"),
            )  # fmt: skip
        if not self.interruption.is_set():
            recorder.phase("final")
            look("final reads")
            left = load.read_finally(
                list(recorder.keys), timeout_s=config.recovery_timeout_s + 0.02 * len(recorder.keys),
                interrupted=self.interruption,
            )  # fmt: skip
            if left:
                self._say(f"warning   {left} final reads were not answered")
            compare(cluster, recorder, interrupted=self.interruption)
        self._interrupted(recorder)
        if recorder.failure is not None:
            raise recorder.failure

    def _interrupted(self, recorder: Recorder) -> None:
        """Write down, once, that a signal cuts the run short; also one that came during recovery or final reads."""
        if not self.interruption.is_set() or self.interrupted:
            return
        self.interrupted = True
        recorder.phase("interrupted", by=self.interruption.by)
        self._say(f"{self.interruption.by}: ending early; healing, judging what there is, cleaning up")

    def _stopped(self, found: Anomaly, recorder: Recorder) -> None:
        recorder.phase("stopped", at_s=round(found.at_s, 3), operation=found.operation)
        self.facts["stopped"] = found.to_json()
        store.write_json(self.folder / store.RUN, self.facts)
        self._say(f"stopped   {found}")

    # -- after it -------------------------------------------------------------------------------------------------
    def _judge(self) -> Finished:
        self.watcher.show(Snapshot(self.clock.now_ns() / 1e9, self.config.time_limit_s, "judging", {}, None, None, ()))
        log.info("judging")
        verdict = judge(self.folder)
        write_verdict(self.folder, verdict)
        log.info("judged: %s", verdict.valid)
        report: Path | None = None
        try:
            from capsize.report.html import write_html

            report = write_html(self.folder)
        except Exception as error:  # a report is no part of the verdict
            log.exception("the report was not written")
            self._say(f"warning   {store.REPORT} was not written: {type(error).__name__}: {error}")
        return Finished(self.config, self.folder, verdict, report, self.interruption.by)

    def _clean_up(self, cluster: Cluster) -> None:
        try:
            cluster.destroy()
        except Exception as error:  # a clean-up is no part of the verdict
            log.exception("the clean-up failed")
            self._say(f"warning   clean-up: {type(error).__name__}: {error}; capsize cleanup takes away what is left")

    def _say(self, text: str) -> None:
        log.info("%s", text)
        self.watcher.say(text)

    def _link(self) -> None:
        try:
            store.link_latest(self.folder)
        except StoreError as error:
            self._say(f"warning   {error}")
