"""The main job on real nodes, through the command line: valid when the Raft is right, invalid when it is not,
and nothing left behind when the tool is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from capsize.cluster.ledger import ledgers

CAPSIZE = [sys.executable, "-m", "capsize"]
PLACES = [
    pytest.param("local", marks=[pytest.mark.root, pytest.mark.slow]),
    pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.slow]),
]


def capsize(*words: str | Path, within_s: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CAPSIZE, *map(str, words)], capture_output=True, text=True, timeout=within_s, check=False)


def run(place: str, store: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    done = capsize("run", "--backend", place, "--store", store, "--json", *words)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("place", PLACES)
def test_the_clean_raft_is_valid_under_every_fault_and_every_fault_landed(place: str, tmp_path: Path) -> None:
    code, told, progress = run(place, tmp_path, "--time-limit", "8", "--seed", "7")
    assert code == 0, told["axes"]
    assert told["valid"] is True
    faults = told["figures"]["health"]["faults"]
    assert {kind: by["landed"] >= 1 and by["landed"] == by["intended"] for kind, by in faults.items()} == {
        "kill-leader": True,
        "partition": True,
        "pause-disk": True,
    }
    assert told["figures"]["raft-invariants"]
    assert progress.splitlines()[0].startswith(f"backend   {place}: ")
    folder = Path(told["folder"])
    assert Path(told["report"]).read_text().lstrip().startswith("<!doctype html>")
    assert (folder / "nodes" / "n1" / "node.log").exists()
    label = json.loads((folder / "run.json").read_text())["label"]
    assert label not in {ledger.label for ledger in ledgers()}


@pytest.mark.root
@pytest.mark.slow
def test_a_majority_counted_as_two_of_five_is_caught_within_three_runs(tmp_path: Path) -> None:
    for seed in ("11", "12", "13"):
        code, told, _ = run("local", tmp_path, "--opt", "mutant=quorum.minority", "--time-limit", "15", "--seed", seed)
        if code == 1:
            assert told["anomalies"]
            return
    pytest.fail("three runs saw nothing")


@pytest.mark.slow
def test_a_node_without_fsync_survives_kill_leader_because_the_page_cache_does(tmp_path: Path) -> None:
    code, told, _ = run(
        "local", tmp_path, "--opt", "fsync=off", "--faults", "kill-leader", "--time-limit", "6", "--seed", "7"
    )
    assert code == 0, told["axes"]


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize(("fsync", "code"), [("on", 0), ("off", 1)])
def test_losing_power_everywhere_is_survived_with_fsync_and_caught_without(
    fsync: str, code: int, tmp_path: Path
) -> None:
    schedule = tmp_path / "power.json"
    step = {"at_s": 3, "duration_s": 1, "fault": {"fault": "power-loss", "target": "all"}}
    schedule.write_text(json.dumps({"steps": [step]}))
    got, told, _ = run(
        "local", tmp_path, "--schedule", str(schedule), "--opt", f"fsync={fsync}", "--time-limit", "6", "--seed", "7"
    )
    assert got == code, told["axes"]
    assert told["figures"]["health"]["faults"]["power-loss"]["landed"] == 1


@pytest.mark.slow
def test_the_map_workload_is_valid_too(tmp_path: Path) -> None:
    code, told, _ = run(
        "local", tmp_path, "--workload", "kv", "--faults", "kill-leader,partition", "--time-limit", "6", "--seed", "7"
    )
    assert code == 0, told["axes"]


def started(place: str, store: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a run and return it with its folder, once its load has begun."""
    words = ["run", "--backend", place, "--store", str(store), "--time-limit", "60", "--seed", "9"]
    running = subprocess.Popen([*CAPSIZE, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for history in store.glob("register/2*/history.jsonl"):
            if '"phase":"probe"' in history.read_text():  # a fault is active
                return running, history.parent
        assert running.poll() is None, running.communicate()
        time.sleep(0.1)
    running.kill()
    raise AssertionError(f"no fault landed within 60 s: {running.communicate()}")


@pytest.mark.parametrize("place", PLACES)
def test_after_a_kill_of_the_tool_cleanup_leaves_nothing_and_check_judges_what_there_is(
    place: str, tmp_path: Path
) -> None:
    running, folder = started(place, tmp_path)
    running.kill()
    running.communicate()
    label = json.loads((folder / "run.json").read_text())["label"]
    done = capsize("cleanup", "--label", label)
    assert done.returncode == 0, done.stderr
    again = capsize("cleanup", "--label", label)
    assert again.stdout == "nothing of ours was left behind\n"
    assert not [pid for pid in Path("/proc").glob("[0-9]*") if of_run(pid, label)]
    assert label not in Path("/proc/mounts").read_text()
    loops = [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    assert not any(label in text for text in loops)
    checked = capsize("check", folder)
    assert checked.returncode == 2, checked.stderr
    assert checked.stdout.startswith("UNKNOWN")


def of_run(process: Path, label: str) -> bool:
    try:
        return f"CAPSIZE_RUN={label}\0".encode() in (process / "environ").read_bytes()
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_heals_judges_and_cleans_up(number: signal.Signals, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("pauses disks")
    running, folder = started("local", tmp_path)
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 2, err
    assert out.startswith("UNKNOWN")
    assert f"interrupted ({number.name})" in out
    assert (folder / "report.html").exists()
    label = json.loads((folder / "run.json").read_text())["label"]
    assert not [pid for pid in Path("/proc").glob("[0-9]*") if of_run(pid, label)]


@pytest.mark.root
@pytest.mark.slow
def test_a_full_store_is_one_line_and_keeps_what_was_recorded(tmp_path: Path) -> None:
    place = tmp_path / "tiny"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)], check=True)
    try:
        done = capsize("run", "--backend", "local", "--store", place, "--time-limit", "30", "--seed", "3")
        assert done.returncode == 255
        assert "Traceback" not in done.stderr
        assert "the disk is full" in done.stderr.splitlines()[-1]
        (history,) = place.glob("register/2*/history.jsonl")
        assert history.read_text().endswith("}\n")
        assert capsize("check", history.parent).returncode == 2
    finally:
        subprocess.run(["umount", str(place)], check=True)
