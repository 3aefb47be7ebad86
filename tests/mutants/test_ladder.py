"""The score on real nodes: everybody climbs the same ladder, stops when caught, and goes on from the record."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from capsize import ladder
from capsize.config import RunConfig
from capsize.errors import AdapterError, BackendError, StoreError
from capsize.ladder import CLEAN, LADDER, Climb, Rung, Try, climb, found_by, read_record
from capsize.nemesis.kinds import choose
from capsize.simulator.score import Row
from capsize.track_record import Simulated, page, write_page
from capsize.verdict import Anomaly, Axis, Finding, Verdict
from capsize.workloads import WORKLOADS

GOOD = Verdict("run", {axis: Finding(True) for axis in Axis})
TWO_LEADERS = Anomaly("two-leaders", ("x",), details={"invariant": "I1"})
BAD = Verdict("run", {Axis.SAFETY: Finding(False, ("x",))}, (TWO_LEADERS,))
RUNGS = (Rung("low", 3, ("kill",)), Rung("high", 4, ("halves",)))


@dataclass
class Done:
    """What a run leaves, as far as the ladder looks."""

    folder: Path
    verdict: Verdict
    interrupted: str = ""


class Runs:
    """Stands for the runner: `found` names (mutant, folder name) that are found out; all configs are noted."""

    def __init__(self, folder: Path, *found: tuple[str, str]) -> None:
        self.folder = folder
        self.found = set(found)
        self.configs: list[RunConfig] = []
        self.fails: Exception | None = None

    def __call__(self, config: RunConfig, root: Path, **_: Any) -> Done:
        self.configs.append(config)
        if self.fails is not None:
            raise self.fails
        folder = self.folder / str(len(self.configs))
        folder.mkdir()
        guilty = (config.options.get("mutant", CLEAN), config.folder_name.removeprefix("mutants-")) in self.found
        return Done(folder, BAD if guilty else GOOD)


def test_a_bug_climbs_until_it_is_caught_and_all_climb_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runs = Runs(tmp_path, ("a", "low"), ("b", "high"))
    monkeypatch.setattr(ladder, "run", runs)
    climbs = climb([CLEAN, "a", "b", "c"], backend="local", store=tmp_path, record=None, rungs=RUNGS)
    assert {one.name: [attempt.rung for attempt in one.tries] for one in climbs} == {
        CLEAN: ["low", "high"], "a": ["low"], "b": ["low", "high"], "c": ["low", "high"],
    }  # fmt: skip
    assert [one.caught.rung if one.caught else None for one in climbs] == [None, "low", "high", None]
    without = [{key: value for key, value in config.options.items() if key != "mutant"} for config in runs.configs]
    by_rung = {config.folder_name: options for config, options in zip(runs.configs, without, strict=True)}
    assert all(by_rung[config.folder_name] == options for config, options in zip(runs.configs, without, strict=True))
    assert len({(config.seed, config.faults, config.nodes, config.rate) for config in runs.configs}) == len(RUNGS)


def test_runs_that_found_nothing_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ladder, "run", Runs(tmp_path, ("a", "high")))
    (one,) = climb(["a"], backend="local", store=tmp_path, record=None, rungs=RUNGS)
    assert [path.name for path in tmp_path.iterdir()] == ["2"]
    assert one.caught is not None
    assert one.caught.folder == str(tmp_path / "2")


def test_an_interrupted_score_goes_on_from_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runs = Runs(tmp_path, ("a", "low"))
    monkeypatch.setattr(ladder, "run", runs)
    record = tmp_path / "tries.jsonl"
    climb(["a", "b"], backend="local", store=tmp_path, record=record, rungs=RUNGS[:1])
    assert len(runs.configs) == 2
    climbs = climb(["a", "b"], backend="local", store=tmp_path, record=record, rungs=RUNGS)
    assert [config.folder_name for config in runs.configs[2:]] == ["mutants-high"]
    assert [len(one.tries) for one in climbs] == [1, 2]
    assert [attempt.name for attempt in read_record(record)] == ["a", "b", "b"]
    record.write_text("{}\n")
    with pytest.raises(StoreError, match=r"tries\.jsonl:1: no try"):
        read_record(record)


def test_more_rounds_take_other_seeds_and_the_minutes_bound_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runs = Runs(tmp_path)
    monkeypatch.setattr(ladder, "run", runs)
    climb(["a"], backend="local", store=tmp_path, record=None, rungs=RUNGS, rounds=2, seed=5)
    assert [config.seed for config in runs.configs] == [5, 5, 6, 6]
    climb(["a"], backend="local", store=tmp_path, record=None, rungs=RUNGS, minutes=0.0)
    assert len(runs.configs) == 4


@pytest.mark.parametrize("error", [BackendError("no engine"), AdapterError("raft was not ready within 30 s")])
def test_a_run_that_could_not_be_carried_out_says_nothing(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster that never comes up is a machine that is too busy as often as anything else."""
    runs = Runs(tmp_path)
    monkeypatch.setattr(ladder, "run", runs)
    runs.fails = error
    (one,) = climb(["a"], backend="docker", store=tmp_path, record=None, rungs=RUNGS[:1])
    assert one.caught is None
    assert one.tries[0].error == str(error)


def test_what_only_time_told_counts_when_it_happens_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    slow = Verdict("run", {Axis.LIVENESS: Finding(False)})
    for verdicts, checks in (([slow, GOOD], ()), ([slow, slow], ("did-not-recover",)), ([slow, BAD], ("I1",))):
        told = [*verdicts]
        monkeypatch.setattr(ladder, "run", lambda *_, told=told, **__: Done(tmp_path / "none", told.pop(0)))
        (one,) = climb(["a"], backend="docker", store=tmp_path, record=None, rungs=RUNGS[:1])
        assert one.tries[0].checks == checks
        assert told == []


def test_what_a_run_found():
    low, disks = RUNGS[0], Rung("disks", 3, ("dead-disk",), may_end=True)
    assert found_by(GOOD, low) == ()
    assert found_by(BAD, low) == ("I1",)
    assert found_by(Verdict("run", {Axis.SAFETY: Finding("unknown")}), low) == ()
    assert found_by(Verdict("run", {Axis.LIVENESS: Finding(False)}), low) == ("did-not-recover",)
    ended = Verdict("run", {Axis.LIVENESS: Finding("unknown")}, figures={"health": {"crashes": [{"node": "n1"}]}})
    assert found_by(ended, low) == ("process-ended",)
    assert found_by(ended, disks) == ()


def test_every_rung_names_what_there_is():
    for rung in LADDER:
        config = rung.config("vote.twice", 1, "local")
        choose(config.faults)
        assert config.workload in WORKLOADS
        assert config.options["mutant"] == "vote.twice"
    assert len({rung.name for rung in LADDER}) == len(LADDER)


def test_the_page_tells_of_both_scores_and_is_made_from_the_data_beside_it(tmp_path: Path):
    path = tmp_path / "track-record.md"
    write_page(path, Simulated((Row("vote.twice", "ignores its vote", False, 5, 2, {"I2": 2}),), "abc", "2026-11-23"))
    tries = [
        Try("vote.twice", "kills", 1, "docker", ("I2", "I9"), False, 12.5, "def", "2026-11-24"),
        Try("log.match_regress", "kills", 1, "docker", (), True, 10.0, "def", "2026-11-24"),
    ]
    record = path.with_suffix("") / "docker.jsonl"
    record.write_text("".join(f"{json.dumps(item.to_json())}\n" for item in tries))
    write_page(path)
    text = path.read_text()
    assert "| `vote.twice` | ignores its vote | 2/5 |" in text
    assert "| `vote.twice` | kills | I2, I9 | 1 | 12 s |" in text
    assert "**1 of 1 bugs caught** (100 %)" in text
    assert "1 of 1 negative controls stayed green" in text
    assert page(None, [Climb("vote.twice", (tries[1],))]).count("Not caught: `vote.twice`") == 1
