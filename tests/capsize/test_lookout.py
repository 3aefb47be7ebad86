"""`--stop-at-anomaly`: a run ends early at the first anomaly, and only there; the verdict comes from the files."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from fake_cluster import World

from capsize.checker.linearizability import Linearizability
from capsize.checker.models import CasRegister, Counter
from capsize.cli import invoke
from capsize.clock import MonotonicClock
from capsize.config import RunConfig
from capsize.history import load_history
from capsize.judging import judge
from capsize.lookout import Lookout
from capsize.op import Invocation
from capsize.recorder import Recorder
from capsize.verdict import Axis

from .test_runner import carry_out


def test_a_run_of_a_stale_system_ends_at_its_first_anomaly_and_says_where(tmp_path: Path) -> None:
    world, began = World(), time.monotonic()
    world.bugs = {"lossy"}
    finished = carry_out(tmp_path, world, faults=("partition",), time_limit_s=60.0, stop_at_anomaly=True)
    assert time.monotonic() - began < 30
    assert finished.verdict.valid is False
    assert finished.verdict.exit_code == 1
    assert finished.verdict.axes[Axis.SAFETY].valid is False
    coverage = finished.verdict.axes[Axis.COVERAGE]
    assert coverage.valid == "unknown"
    assert any("stopped at its first anomaly" in reason for reason in coverage.because)
    assert finished.verdict.figures["health"]["final_reads"]["answered"] > 0
    assert not any(world.drops.values())
    run = json.loads((finished.folder / "run.json").read_text())
    assert run["config"]["stop_at_anomaly"] is True
    assert run["repeat"].endswith("--stop-at-anomaly --seed 7")
    stopped = run["stopped"]
    history = load_history(finished.folder / "history.jsonl")
    op = history.operation(stopped["operation"])
    assert op.return_ns is not None
    assert abs(op.return_ns / 1e9 - stopped["at_s"]) < 1e-6
    assert stopped["seen_s"] >= stopped["at_s"]
    assert f"p{op.process} {op.f} key {op.key}" in stopped["what"]
    assert stopped["why"]
    assert f"stopped   at {stopped['at_s']:.3f} s, operation " in (finished.folder / "capsize.log").read_text()
    phases = [event["value"]["phase"] for event in history.faults if event["f"] == "phase"]
    assert phases == ["load", "stopped", "recover", "final", "done"]
    assert judge(finished.folder).valid is False


def test_a_right_run_is_not_stopped(tmp_path: Path) -> None:
    finished = carry_out(tmp_path, World(), faults=("partition",), time_limit_s=3.0, stop_at_anomaly=True)
    assert finished.verdict.valid is True, finished.verdict.axes
    run = json.loads((finished.folder / "run.json").read_text())
    assert "stopped" not in run


def test_without_the_option_the_load_goes_on_after_an_anomaly(tmp_path: Path) -> None:
    world = World()
    world.bugs = {"lossy"}
    finished = carry_out(tmp_path, world, faults=(), time_limit_s=3.0)
    assert finished.verdict.valid is False
    assert "stopped" not in json.loads((finished.folder / "run.json").read_text())
    history = load_history(finished.folder / "history.jsonl")
    assert max(op.call_ns for op in history) > 2.5e9


def test_what_looks_wrong_to_the_lookout_alone_is_never_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from capsize import lookout

    class Suspicious(lookout.Watch):
        def judge(self, rest):  # type: ignore[no-untyped-def]
            one = next((one for one in self._growing.values() if one.events), None)
            if one is not None and self.verdict is None:
                wrong = {"process": 0, "type": "invoke", "f": "read", "key": None, "time_ns": 1}
                answer = {**wrong, "type": "ok", "time_ns": 2, "result": "nobody wrote this"}
                self.verdict = self._verdict([wrong, answer])
                self.event_at, self.row_at = one.events[0], one.rows[0]
            return self.verdict

    monkeypatch.setattr(lookout, "Watch", Suspicious)
    finished = carry_out(tmp_path, World(), faults=(), time_limit_s=20.0, stop_at_anomaly=True)
    assert finished.verdict.valid == "unknown"
    assert finished.verdict.axes[Axis.SAFETY].valid is True


def test_a_line_is_read_once_it_is_whole_and_a_broken_lookout_says_so(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    recorder = Recorder(path, MonotonicClock())
    lookout = Lookout(path, [Linearizability(CasRegister())])
    lookout.start()
    recorder.invoke(0, Invocation("write", 1, 5), "n1")
    recorder.close()
    with path.open("a") as file:
        file.write('{"index": 1, "ti')
        file.flush()
        time.sleep(0.6)
        file.write("\nrubbish\n")
    deadline = time.monotonic() + 5
    while not lookout.told() and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    lookout.stop()
    assert lookout.found is None
    assert "could not be watched for anomalies to the end: JSONDecodeError" in lookout.told()


def test_keys_that_were_too_hard_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from capsize import lookout as module
    from capsize.checker.budget import Budget

    monkeypatch.setattr(module, "BUDGET", Budget(steps=3))
    path = tmp_path / "history.jsonl"
    recorder = Recorder(path, MonotonicClock())
    for process in range(12):
        recorder.invoke(process, Invocation("incr", 1, 1 + process % 2), "n1")
    recorder.invoke(50, Invocation("read", 1), "n1")
    recorder.complete(50, Invocation("read", 1), "n1", "ok", result=17)
    lookout = Lookout(path, [Linearizability(Counter())])
    lookout.start()
    deadline = time.monotonic() + 5
    while not lookout.told() and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    lookout.stop()
    recorder.close()
    assert lookout.told() == "1 key was too hard to be watched for anomalies during the load; the verdict judges all"


def test_the_option_is_stored_and_repeated() -> None:
    config = RunConfig(seed=7, stop_at_anomaly=True)
    assert RunConfig.from_json(config.to_json()) == config
    assert config.command().endswith("pause-disk --stop-at-anomaly --seed 7")
    old = RunConfig(seed=7).to_json()
    del old["stop_at_anomaly"]
    assert RunConfig.from_json(old) == RunConfig(seed=7)
    assert "stop" not in RunConfig(seed=7).command()


@pytest.mark.parametrize("command", ["run", "campaign"])
def test_both_commands_hand_the_option_on(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from capsize.cli import options

    given: dict[str, object] = {}

    def config_of(**settings: object) -> RunConfig:
        given.update(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(options, "config_of", config_of)
    invoke([command, "--stop-at-anomaly"])
    assert given["stop_at_anomaly"] is True
