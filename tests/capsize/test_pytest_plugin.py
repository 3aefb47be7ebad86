"""The plugin as its users have it: a repository of their own, its tests run by pytest in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import capsize.scenario  # numpy can be imported once in a process: before the runs inside this one  # noqa: F401

pytest_plugins = ["pytester"]

PEBBLE = Path(__file__).resolve().parents[2] / "examples" / "pebble"
OURS = """import pytest
pytestmark = pytest.mark.capsize(system='pebble_system:PebbleSystem', backend='local', timeout=0.5)
"""


@pytest.fixture
def repository(pytester: pytest.Pytester) -> pytest.Pytester:
    for name in ("pebble.py", "pebble_system.py"):
        shutil.copy(PEBBLE / name, pytester.path)
    return pytester


def said(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


def block(text: str, test: str) -> str:
    """Return what pytest tells of one failed test."""
    found = re.search(rf"_+ (?:ERROR at setup of )?{test} _+\n(.*?)(?=\n_{{5,}}|\n={{5,}})", text, re.DOTALL)
    assert found is not None, text
    return found[1]


def running(label_part: str) -> list[int]:
    """Return the processes whose run's label has this in it."""
    found: list[int] = []
    for process in psutil.process_iter():
        try:
            if label_part in process.environ().get("CAPSIZE_RUN", ""):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_tests_of_ones_own_are_judged_and_failures_are_explained(repository: pytest.Pytester) -> None:
    repository.makepyfile(
        test_own=OURS
        + """
def test_no_write_is_lost_when_the_leader_dies(cluster, client, nemesis, history):
    client.write("x", 1, within_s=5)
    with nemesis("kill-leader") as fault:
        (dead,) = fault.targets
        survivor = next(node for node in cluster.nodes if node.name != dead)
        cluster.client(survivor).write("x", 2, within_s=10)
    assert cluster.client(survivor).read("x", within_s=5) == 2
    assert history.check().valid is True
    assert [op.value for op in history if op.f == "write" and op.outcome == "ok"] == [1, 2]

def test_a_replaced_leader_answers_no_reads(cluster, nemesis):
    cluster.client(cluster.leader()).write("x", 1, within_s=5)
    with nemesis("isolate-leader") as fault:
        (old,) = fault.targets
        other = next(node for node in cluster.nodes if node.name != old)
        cluster.client(other).write("x", 2, within_s=10)
        cluster.client(old).invoke("read", "x")

def test_what_the_author_asserts(client):
    client.write("x", 1, within_s=5)
    assert client.read("x") == 5

def test_a_fault_that_is_none(nemesis):
    nemesis.strike("kill-leadr")

def test_a_client_of_a_dead_node(cluster, nemesis):
    with nemesis("kill", on="n1"):
        cluster.client("n1").write("x", 3)

@pytest.mark.capsize(options={"reads": "quorum"})
def test_a_load_under_a_schedule(cluster, nemesis):
    with cluster.load(rate=100):
        nemesis.follow(3, "kill-leader")
    assert len(cluster.history) > 50
"""
    )
    result = repository.runpytest_subprocess("--junit-xml=junit.xml", "--capsize-seed=4")
    text = said(result)
    result.assert_outcomes(passed=2, failed=4)

    stale = block(text, "test_a_replaced_leader_answers_no_reads")
    assert stale.startswith("INVALID  test_a_replaced_leader_answers_no_reads · seed 4 · 1 anomaly"), stale
    assert "key x" in stale
    assert "isolate-leader" in stale
    assert "repeat  pytest test_own.py::test_a_replaced_leader_answers_no_reads --capsize-seed 4" in stale
    assert "Traceback" not in text
    assert "/capsize/scenario/" not in text  # no frame of ours is between the author and what happened

    own = block(text, "test_what_the_author_asserts")
    assert 'assert client.read("x") == 5' in own
    assert re.search(r"^VALID    test_what_the_author_asserts", own, re.MULTILINE)

    line = block(text, "test_a_fault_that_is_none").splitlines()[0]
    number = (repository.path / "test_own.py").read_text().splitlines().index('    nemesis.strike("kill-leadr")') + 1
    told = f"test_own.py:{number}: capsize: no fault is called 'kill-leadr'; did you mean 'kill-leader'?"
    assert line.startswith(told), line
    assert "NotDone: write of 'x' on n1: cannot connect" in block(text, "test_a_client_of_a_dead_node")

    kept = repository.path / "store" / "test_a_replaced_leader_answers_no_reads" / "latest"
    assert json.loads((kept / "verdict.json").read_text())["valid"] is False
    assert {"run.json", "history.jsonl", "report.html", "nodes"} <= {path.name for path in kept.iterdir()}
    steps = json.loads((kept / "schedule.json").read_text())["steps"]
    assert [(step["kind"], step["duration_s"] < 15) for step in steps] == [("isolate-leader", True)]
    assert str(kept.resolve()) in text
    junit = (repository.path / "junit.xml").read_text()
    assert f'name="capsize_store" value="{kept.resolve()}"' in junit
    assert 'name="capsize_verdict" value="INVALID"' in junit


@pytest.mark.slow
def test_a_client_that_hangs_and_one_that_lies_hold_up_no_test(repository: pytest.Pytester) -> None:
    repository.makepyfile(
        hanging="""
import threading
from pebble_system import PebbleClient, PebbleSystem

class Hangs(PebbleSystem):
    name = "hangs"
    def client(self, node, process):
        return HangingClient(node) if process < 10 else PebbleClient(node)

class HangingClient(PebbleClient):
    def invoke(self, op):
        if op.f == "cas":
            return "done"
        if op.f == "write":
            threading.Event().wait(60)
        return super().invoke(op)
""",
        test_hanging="""
import pytest

@pytest.mark.capsize(system="hanging:Hangs", backend="local", timeout=0.3, unknown="pass", recovery_timeout=3)
def test_it_is_not_known(client):
    told = client.invoke("write", "x", 1)
    assert told.outcome == "info", told
    assert "did not come back within" in told.error
    told = client.invoke("cas", "x", [1, 2])
    assert told.outcome == "info", told
    assert "returned 'done' from invoke('cas'); expected a Reply" in told.error
    with pytest.raises(Exception, match="no operation of the workload register is called 'put'"):
        client.invoke("put", "x", 1)

@pytest.mark.capsize(system="hanging:Hangs", backend="local", timeout=0.3, recovery_timeout=3)
def test_an_unknown_verdict_is_no_green_test(client):
    client.invoke("write", "x", 1)
""",
    )
    began = time.monotonic()
    result = repository.runpytest_subprocess()
    text = said(result)
    result.assert_outcomes(passed=1, failed=1)
    assert block(text, "test_an_unknown_verdict_is_no_green_test").startswith("UNKNOWN ")
    assert time.monotonic() - began < 45.0


def test_a_setting_that_is_none_is_told_in_one_line_with_the_nearest(repository: pytest.Pytester) -> None:
    repository.makepyfile(
        test_settings="""
import pytest

@pytest.mark.capsize(sytem="raft")
def test_a_mistyped_setting(cluster): ...

@pytest.mark.capsize("raft")
def test_a_setting_without_its_name(cluster): ...

@pytest.mark.capsize(system="pebble_systm:PebbleSystem")
def test_a_system_that_is_not_there(cluster): ...

@pytest.mark.capsize(system="raft", unknown="maybe")
def test_a_word_that_means_nothing(cluster): ...

@pytest.mark.capsize(system="raft", backend="ssh")
def test_hosts_that_nobody_named(cluster): ...

def test_nothing_to_test(cluster): ...
"""
    )
    result = repository.runpytest_inprocess()
    text = said(result)
    result.assert_outcomes(errors=6)
    for test, told in {
        "test_a_mistyped_setting": "no setting of @pytest.mark.capsize is called 'sytem'; did you mean 'system'?",
        "test_a_setting_without_its_name": "takes only named settings, e.g. system='raft'",
        "test_a_system_that_is_not_there": "no module is called 'pebble_systm'",
        "test_a_word_that_means_nothing": "unknown='maybe'): expected 'fail' or 'pass'",
        "test_hosts_that_nobody_named": "--nodes-file is missing",
        "test_nothing_to_test": "the fixture 'cluster' of capsize needs to know what to test: mark the test",
    }.items():
        lines = block(text, test).splitlines()
        assert told in lines[0], lines
        assert len(lines) == 1, lines


def test_hosts_and_ini_settings_are_read_and_mistakes_in_them_are_told(repository: pytest.Pytester) -> None:
    repository.makepyfile("def test_it(cluster): ...")
    repository.makeini("[pytest]\ncapsize_system = pebble_system:PebbleSystem\ncapsize_backend = ssh\n")
    (repository.path / "hosts").write_text("127.0.0.1:1\n")
    hosts = ["--capsize-nodes-file", "hosts", "--capsize-ssh"]
    for given, told in (
        ([], "--nodes-file is missing"),
        ([*hosts, "usr=root"], "no way to reach hosts is called 'usr'; did you mean 'user'?"),
        ([*hosts, "port=ssh"], "--capsize-ssh: port is 'ssh'; expected a number"),
        ([*hosts, "user=root,key=none"], "3 nodes were asked for, and only 1 hosts are named"),
        (["--capsize-backend", "dokcer"], "no place is called 'dokcer'"),
    ):
        result = repository.runpytest_inprocess(*given)
        result.assert_outcomes(errors=1)
        assert told in block(said(result), "test_it").splitlines()[0]


def test_other_tests_and_other_plugins_are_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        theirs="""
import pytest

@pytest.fixture
def client():
    return "theirs"
""",
        test_theirs="""
import sys

def test_a_client_of_another_plugin(client):
    assert client == "theirs"

def test_nothing_of_capsize_was_loaded_but_the_plugin():
    assert sorted(name for name in sys.modules if name.startswith("capsize")) == ["capsize", "capsize.pytest_plugin"]
    assert "numpy" not in sys.modules
""",
    )
    for order in (["-p", "capsize.pytest_plugin", "-p", "theirs"], ["-p", "theirs", "-p", "capsize.pytest_plugin"]):
        result = pytester.runpytest_subprocess("-p", "no:capsize", *order)
        result.assert_outcomes(passed=2)
        assert "capsize" not in result.stdout.str().split("2 passed")[1]


@pytest.mark.slow
def test_ctrl_c_takes_the_cluster_away_and_keeps_the_history(repository: pytest.Pytester) -> None:
    repository.makepyfile(
        test_long=OURS
        + """
import time, pathlib

def test_that_takes_long(cluster, nemesis):
    with cluster.load(), nemesis("pause-process", on="n2"):
        pathlib.Path("label").write_text(cluster.facts["label"])
        time.sleep(60)
"""
    )
    # What a shell starts in the background ignores SIGINT, and so would all that it starts.
    heeded = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    words = [sys.executable, "-c", heeded + "import pytest; sys.exit(pytest.main(['-q']))"]
    process = subprocess.Popen(words, cwd=repository.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        deadline = time.monotonic() + 40.0
        while not (repository.path / "label").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        label = (repository.path / "label").read_text()
        assert running(label)
        os.kill(process.pid, signal.SIGINT)
        told, _ = process.communicate(timeout=40)
    finally:
        process.kill()
    assert process.returncode == 2, told
    assert "KeyboardInterrupt" in told
    assert "not judged test_long.py::test_that_takes_long" in told
    assert running(label) == []
    kept = repository.path / "store" / "test_that_takes_long" / "latest"
    assert '"f":"pause-process"' in (kept / "history.jsonl").read_text()
