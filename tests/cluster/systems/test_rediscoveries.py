"""What is publicly known to be wrong with released versions is found by one command, and the same command on the sound
version stays green. The commands are data: examples/rediscoveries/commands.json; their figures: docs/rediscoveries.md.

Each pair runs at the same time. Pairs of half a minute or more run when CAPSIZE_LONG=1.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from capsize.checker.budget import Budget
from capsize.checker.models import MODELS
from capsize.checker.outcome import Illegal
from capsize.checker.wgl import decide_wgl
from capsize.history import History, load_history
from capsize.workloads import WORKLOADS

HERE = Path(__file__).parents[3] / "examples" / "rediscoveries"
COMMANDS: dict[str, dict[str, Any]] = {item["name"]: item for item in json.loads((HERE / "commands.json").read_text())}
LONG = pytest.mark.skipif(os.environ.get("CAPSIZE_LONG") != "1", reason="takes minutes: CAPSIZE_LONG=1 runs it")
SEEDS = (1, 2, 3)


def carry_out(item: dict[str, Any], side: str, seed: int, store: Path, *more: str) -> dict[str, Any]:
    words = [str(word).replace("{here}", str(HERE)) for word in (*item["command"], *item[side], *more)]
    argv = [sys.executable, "-m", "capsize", "run", *words, "--seed", str(seed), "--store", str(store / side), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode == 255 and "cannot fetch" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.stdout, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def argued_wrongly(folder: Path, model: str) -> list[str]:
    """Return what is wrong with the proofs of a run that clients could see: size, possibility, nodes and moments."""
    history = load_history(folder / "history.jsonl", strict=False)
    happened = {(op.process, op.call_ns): op for op in history}
    wrong: list[str] = []
    for anomaly in json.loads((folder / "verdict.json").read_text())["anomalies"]:
        if not anomaly["operations"]:
            continue
        name = anomaly["name"]
        witness = [happened[one["process"], one["call_ns"]] for one in anomaly["operations"]]
        if len(witness) > 12:
            wrong.append(f"{name} shows {len(witness)} operations")
        judged_by = MODELS[anomaly["details"].get("model", model)]()
        if not isinstance(decide_wgl(History.of(witness), judged_by, Budget()), Illegal):
            wrong.append(f"{name}: what is shown is possible: {witness}")
        told = [reason for reason in anomaly["because"] if not reason.startswith("Active meanwhile")]
        moments = {f"{ns / 1e9:.3f} s" for op in history for ns in (op.call_ns, op.return_ns) if ns is not None}
        where = {(f"p{op.process}", op.node) for op in history}
        named = [one for reason in told for one in re.findall(r"(p\d+)(?: on (n\d+))", reason)]
        when = [one for reason in told for one in re.findall(r"(?:at|\() ?(\d+\.\d{3} s)", reason)]
        if not named or not when:
            wrong.append(f"{name} names no client on a node, or no moment: {told}")
        wrong += [f"{name}: {who} never was on {node}" for who, node in named if (who, node) not in where]
        wrong += [f"{name}: nothing was asked or answered at {at}" for at in when if at not in moments]
    return wrong


def found(told: dict[str, Any]) -> set[str]:
    return {anomaly["name"] for anomaly in told["anomalies"]}


def workload_of(item: dict[str, Any]) -> str:
    words = item["command"]
    return str(words[words.index("--workload") + 1])


def check_pair(name: str, store: Path, *more: str) -> None:
    """The broken side is invalid with one of its anomalies within three seeds; the sound side never is."""
    item = COMMANDS[name]
    for seed in SEEDS:
        with ThreadPoolExecutor(2) as pool:
            broken = pool.submit(carry_out, item, "broken", seed, store, *more)
            sound = pool.submit(carry_out, item, "sound", seed, store, *more)
        told = sound.result()
        assert not found(told), told["anomalies"]
        assert told["valid"] is not False, told["axes"]
        caught = broken.result()
        if found(caught) & set(item["finds"]):
            assert caught["valid"] is False
            assert Path(caught["report"]).is_file()
            assert argued_wrongly(Path(caught["report"]).parent, WORKLOADS[workload_of(item)].model) == []
            return
    pytest.fail(f"{name}: nothing was found with the seeds {SEEDS}")


@pytest.mark.root
@pytest.mark.slow
def test_pysyncobj_0_3_14_forgets_its_term_and_0_3_17_does_not(tmp_path: Path) -> None:
    once = tmp_path / "kill-all-once.json"
    once.write_text('{"steps": [{"at_s": 3, "duration_s": 1, "fault": {"fault": "kill", "target": "all"}}]}')
    more = ("--backend", "local", "--schedule", str(once), "--time-limit", "7", "--rate", "60")
    check_pair("pysyncobj-forgets-its-term", tmp_path, *more)


@pytest.mark.root
@pytest.mark.slow
def test_jetstream_loses_acknowledged_writes_with_the_default_sync_interval_and_none_with_always(
    tmp_path: Path,
) -> None:
    early = tmp_path / "power-loss.json"
    early.write_text('{"steps": [{"at_s": 3, "duration_s": 1, "fault": {"fault": "power-loss", "target": "all"}}]}')
    more = ("--backend", "local", "--schedule", str(early), "--time-limit", "7", "--rate", "100")
    check_pair("jetstream-default-sync", tmp_path, *more)


@LONG
@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_documented_command_finds_it_and_the_sound_side_stays_green(name: str, tmp_path: Path) -> None:
    check_pair(name, tmp_path)


def test_every_command_names_both_sides_what_it_finds_and_where_it_was_reported() -> None:
    for item in COMMANDS.values():
        assert set(item) == {"name", "says", "reported", "command", "broken", "sound", "finds"}
        schedules = [str(word) for word in item["command"] if "{here}" in str(word)]
        assert all(Path(word.replace("{here}", str(HERE))).is_file() for word in schedules)
        assert item["broken"] != item["sound"]
