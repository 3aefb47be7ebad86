"""Whole runs on a cluster inside this process: the sequence, the verdict, and what is left when something breaks."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import FakeSystem, World, cluster_of

from capsize.config import RunConfig
from capsize.errors import Refused, StoreError, UsageError
from capsize.history import load_history
from capsize.judging import judge
from capsize.plan import Plan, plan, refuse_impossible
from capsize.recorder import Recorder
from capsize.runner import Finished, Place, run
from capsize.verdict import Axis
from capsize.watcher import Snapshot, Watcher

ADAPTER = "fake_cluster:FakeSystem"
FAULTS = ("kill-leader", "partition", "pause-disk")


def carry_out(
    tmp_path: Path, world: World, *, able: tuple[str, ...] = ("processes", "network", "disks"),
    watcher: Watcher | None = None, **settings: Any,
) -> Finished:  # fmt: skip
    def place(made: Plan, label: str) -> Place:
        cluster = cluster_of(world, made.system, able)
        refuse_impossible(made, cluster.backend)
        return Place(cluster, "fake: this is a test")

    given: dict[str, Any] = {"seed": 7, "system": ADAPTER, "time_limit_s": 2.0, "faults": FAULTS, "timeout_s": 0.5}
    config = RunConfig(**given | settings)
    return run(config, tmp_path / "store", open_place=place, watcher=watcher)


def test_a_run_under_faults_is_valid_and_leaves_everything_in_the_store(tmp_path: Path) -> None:
    world = World()
    finished = carry_out(tmp_path, world)
    assert finished.verdict.valid is True, finished.verdict.axes
    assert finished.verdict.exit_code == 0
    health = finished.verdict.figures["health"]
    assert all(health["faults"][kind]["landed"] >= 1 for kind in FAULTS)
    assert health["final_reads"]["asked"] == health["final_reads"]["answered"] > 0
    names = {path.name for path in finished.folder.iterdir()}
    assert {"run.json", "history.jsonl", "schedule.json", "verdict.json", "capsize.log", "nodes"} <= names
    assert (tmp_path / "store" / "latest").resolve() == finished.folder.resolve()
    assert (tmp_path / "store" / "register" / "latest").resolve() == finished.folder.resolve()
    told = json.loads((finished.folder / "run.json").read_text())
    assert told["config"]["seed"] == 7
    assert told["repeat"] == finished.config.command()
    assert told["backend"]["why"] == "fake: this is a test"
    assert world.destroyed


def test_a_run_whose_evidence_is_missing_is_not_valid(tmp_path: Path) -> None:
    finished = carry_out(tmp_path, World(), faults=())
    assert finished.verdict.valid is True
    path = finished.folder / "run.json"
    told = json.loads(path.read_text())
    assert told["not_collected"] == []
    for change, because in (
        ({"not_collected": ["n3: logs could not be collected: full"]}, "n3: logs could not be collected: full"),
        ({"not_collected": None}, "the tool ended before"),
        ({"traces": {"n1": [], "n2": ["trace.jsonl"]}}, "n2: its trace (trace.jsonl) is missing"),
    ):
        path.write_text(json.dumps({**told, **change}))
        again = judge(finished.folder)
        assert again.valid == "unknown"
        assert because in " ".join(again.axes[Axis.HARNESS].because)


def test_a_workload_that_asks_what_the_system_lacks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSystem, "lacks", frozenset({"cas"}))
    assert carry_out(tmp_path, World(), faults=()).verdict.valid is True
    with pytest.raises(Refused, match="set needs cas, which fake_cluster:FakeSystem lacks"):
        carry_out(tmp_path, World(), faults=(), workload="set")


def test_after_a_run_nothing_is_held_and_every_process_runs(tmp_path: Path) -> None:
    world = World()
    carry_out(tmp_path, world)
    assert not any(world.frozen.values())
    assert not any(world.drops.values())


def test_a_store_that_loses_writes_is_invalid_and_judging_again_says_the_same(tmp_path: Path) -> None:
    world = World()
    world.bugs = {"lossy"}
    finished = carry_out(tmp_path, world, faults=())
    assert finished.verdict.valid is False
    assert finished.verdict.anomalies
    again = judge(finished.folder)
    assert again.valid is False
    assert [anomaly.key for anomaly in again.anomalies] == [anomaly.key for anomaly in finished.verdict.anomalies]


class InterruptsAt:
    """A watcher who presses Ctrl-C, three times, when a phase begins."""

    def __init__(self, phase: str) -> None:
        self.phase = phase

    def say(self, text: str) -> None:
        return

    def show(self, snapshot: Snapshot) -> None:
        if snapshot.phase == self.phase:
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)


def test_a_signal_during_the_final_reads_is_a_reason_of_the_verdict(tmp_path: Path) -> None:
    finished = carry_out(tmp_path, World(), faults=(), time_limit_s=1.0, watcher=InterruptsAt("final reads"))
    assert finished.verdict.valid == "unknown"
    assert "the run was interrupted (SIGINT)" in finished.verdict.axes[Axis.COVERAGE].because


def test_a_run_whose_reads_saw_nothing_is_unknown(tmp_path: Path) -> None:
    world = World()
    world.bugs = {"blind"}
    finished = carry_out(tmp_path, world, faults=(), workload="register")
    assert finished.verdict.valid is not True


def test_a_fault_that_never_lands_makes_the_verdict_unknown(tmp_path: Path) -> None:
    world = World()
    world.bugs = {"leaky"}  # the links stay open whatever the rules say
    finished = carry_out(tmp_path, world, faults=("partition",))
    assert finished.verdict.valid == "unknown"
    assert any("partition" in reason for reason in finished.verdict.axes[Axis.COVERAGE].because)


def test_a_host_that_vanishes_half_way_is_a_harness_finding_and_never_valid(tmp_path: Path) -> None:
    world = World()
    threading.Timer(1.2, lambda: world.gone.add("n5")).start()
    finished = carry_out(tmp_path, world, faults=("halves",), time_limit_s=3.0)
    assert finished.verdict.valid is not True
    assert finished.verdict.axes[Axis.HARNESS].valid is False
    assert not any(world.drops[name] for name in world.names if name != "n5")


def test_a_process_that_ends_by_itself_is_noticed_during_the_load_and_started_again(tmp_path: Path) -> None:
    world = World()
    threading.Timer(1.0, lambda: world.alive.update(n4=False)).start()
    finished = carry_out(tmp_path, world, faults=(), time_limit_s=3.5)
    assert finished.verdict.valid == "unknown"
    assert finished.verdict.axes[Axis.LIVENESS].because == ("the process of n4 ended by itself (see its node.log)",)
    (crash,) = finished.verdict.figures["health"]["crashes"]
    assert crash["node"] == "n4"
    assert world.orders.count("start n4") == 2


def test_a_place_that_cannot_pause_disks_refuses_before_anything_starts(tmp_path: Path) -> None:
    world = World()
    with pytest.raises(Refused, match=r"pause-disk needs disks, which fake cannot do here: no disks in a fake"):
        carry_out(tmp_path, world, able=("processes", "network"))
    assert not world.orders


def test_no_faults_is_a_run_too(tmp_path: Path) -> None:
    finished = carry_out(tmp_path, World(), faults=(), time_limit_s=1.0)
    assert finished.verdict.valid is True


def test_an_operation_that_hangs_is_given_up_and_its_process_never_acts_again(tmp_path: Path) -> None:
    world = World()
    threading.Timer(1.0, world.hang.clear).start()
    threading.Timer(3.0, world.hang.set).start()
    finished = carry_out(tmp_path, world, faults=(), time_limit_s=4.0, timeout_s=0.2)
    history = load_history(finished.folder / "history.jsonl")
    given_up = [op for op in history if op.error and "did not come back" in op.error]
    assert given_up
    for op in given_up:
        if op.outcome == "info":
            assert not [later for later in history if later.process == op.process and later.call > op.call]
    assert finished.verdict.valid is True, finished.verdict.axes


def test_a_full_disk_ends_the_run_with_one_line_and_keeps_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, began = World(), time.monotonic()
    write = Recorder._write

    def full(self: Recorder, line: bytes) -> None:
        if time.monotonic() - began > 1.0:
            self.failure = self.failure or StoreError(f"{self.path}: cannot write the history: the disk is full")
            raise self.failure
        write(self, line)

    monkeypatch.setattr(Recorder, "_write", full)
    with pytest.raises(StoreError, match=r"disk is full; capsize check .* judges what was recorded"):
        carry_out(tmp_path, world, time_limit_s=20.0)
    assert time.monotonic() - began < 10
    assert world.destroyed
    assert not [thread.name for thread in threading.enumerate() if thread.name == "observer"]
    (folder,) = (tmp_path / "store" / "register").glob("2*")
    assert judge(folder).valid == "unknown"


def test_a_schedule_written_by_hand_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"steps": [{"at_s": 0.3, "duration_s": 0.5, "fault": {"fault": "kill", "target": "n4"}}]}')
    finished = carry_out(tmp_path, World(), schedule=str(path))
    faults = finished.verdict.figures["health"]["faults"]
    assert faults == {"kill": {"intended": 1, "landed": 1, "skipped": 0, "failed": 0}}
    assert finished.verdict.valid is True, finished.verdict.axes


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"system": "rift"}, "no system is called 'rift'"),
        ({"system": "fake_cluster:Nothing"}, "has no class 'Nothing'"),
        ({"system": "no_such_module:It"}, "no module is called 'no_such_module'"),
        ({"workload": "regster"}, "did you mean 'register'"),
        ({"faults": ("partitoin",)}, "did you mean 'partition'"),
        ({"options": {"dpeth": "1"}}, "did you mean 'depth'"),
        ({"faults": ("ring",), "nodes": 3}, "ring needs 4 nodes or more; --nodes is 3"),
    ],
)
def test_a_word_that_stands_for_nothing_is_one_clear_line(settings: dict[str, Any], told: str) -> None:
    with pytest.raises((UsageError, Refused)) as error:
        plan(RunConfig(**{"seed": 1, "system": ADAPTER} | settings))
    assert told in str(error.value)
    assert FakeSystem.name == "fake"
