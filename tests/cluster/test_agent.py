"""The agent alone: what it promises to any host, and what it does when its controller is gone."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capsize.cluster import agent as agent_file
from capsize.cluster.agent import stat_of
from capsize.cluster.orders import Agent
from capsize.errors import BackendError

SOURCE = Path(agent_file.__file__)


class Child:
    """An agent as a child of the test, without a disk of its own."""

    def __init__(self, root: Path, **more: Any) -> None:
        config = {"label": "t", "node": "n1", "root": str(root), "ends": True, **more}
        self.process = subprocess.Popen(
            [sys.executable, str(SOURCE), json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin = self.process.stdin
        self.agent = Agent("n1", self.send, self.process.stdout)

    def send(self, data: bytes) -> None:
        self.stdin.write(data)

    def end(self) -> int:
        self.stdin.close()
        return self.process.wait(10.0)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    child = Child(tmp_path)
    yield child
    if child.process.poll() is None:
        child.end()


def start(child: Child, *argv: str) -> int:
    return int(child.agent.order("start", argv=list(argv), env={}, cwd=None, log="node.log")["pid"])


def gone(pid: int, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        seen = stat_of(pid)
        if seen is None or seen[0] in "ZX":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("name", ["agent.py", "shaper.py"])
def test_what_runs_on_a_node_can_be_read_by_python_3_8_and_imports_nothing_of_ours(name: str) -> None:
    tree = ast.parse(SOURCE.with_name(name).read_text(), feature_version=(3, 8))
    imported = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= sys.stdlib_module_names | {"__future__"}


def test_the_agent_ends_its_process_when_its_controller_is_gone(child: Child) -> None:
    pid = start(child, "sleep", "60")
    assert child.end() == 0
    assert gone(pid)


def test_on_a_host_of_its_own_the_process_outlives_the_controller_and_is_resumed(
    tmp_path: Path,
) -> None:
    child = Child(tmp_path, ends=False)
    pid = start(child, "sleep", "60")
    try:
        child.agent.order("signal", number=int(signal.SIGSTOP))
        assert child.end() == 0
        seen = stat_of(pid)
        assert seen is not None
        assert seen[0] != "T"
    finally:
        os.killpg(pid, signal.SIGKILL)


MAIN_THREAD_ENDS = """
import ctypes, platform, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are told apart in /proc")
def test_a_process_whose_main_thread_ended_first_is_alive_and_its_exit_code_is_known_once_it_is_gone(
    child: Child,
) -> None:
    pid = start(child, sys.executable, "-c", MAIN_THREAD_ENDS)
    deadline = time.monotonic() + 10.0
    while (seen := stat_of(pid)) is not None and seen[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    state = child.agent.order("process")
    assert (state["alive"], state["pid"], state["state"]) == (True, pid, "S")
    assert child.agent.order("kill", within_s=10.0, wait_s=5.0)["gone"]
    state = child.agent.order("process")
    assert (state["alive"], state["code"]) == (False, -signal.SIGKILL)


def test_an_agent_that_hears_nothing_for_too_long_ends_its_process_and_removes_its_folder(tmp_path: Path) -> None:
    child = Child(tmp_path / "root", removes=True, deadman_s=0.3)
    pid = start(child, "sleep", "60")
    assert child.process.wait(10.0) == 0
    assert gone(pid)
    assert not (tmp_path / "root").exists()


def test_a_second_agent_knows_the_process_of_the_first(tmp_path: Path) -> None:
    first = Child(tmp_path, ends=False)
    pid = start(first, "sleep", "60")
    first.end()
    second = Child(tmp_path)
    seen = second.agent.order("process")
    assert (seen["alive"], seen["pid"]) == (True, pid)
    assert second.agent.order("kill")["gone"]
    second.end()


def test_a_kill_takes_the_whole_process_group(child: Child, tmp_path: Path) -> None:
    start(child, "sh", "-c", f"sleep 60 & echo $! > {tmp_path}/inner; wait")
    inner = tmp_path / "inner"
    deadline = time.monotonic() + 5.0
    while not (inner.exists() and inner.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert child.agent.order("kill")["gone"]
    assert gone(int(inner.read_text()))


def test_a_recorded_pid_that_was_given_to_somebody_else_is_never_signalled(child: Child, tmp_path: Path) -> None:
    child.agent.order("ping")
    stranger = subprocess.Popen(["sh", "-c", "sleep 60; true"], start_new_session=True)
    try:
        (tmp_path / "run" / "system.json").write_text(json.dumps([stranger.pid, "1"]))
        assert not child.agent.order("process")["alive"]
        child.agent.order("kill")
        assert not gone(stranger.pid, within_s=0.2)
        assert (
            subprocess.run(["pgrep", "-s", str(stranger.pid)], capture_output=True, check=False).stdout.count(b"\n")
            == 2
        )
    finally:
        os.killpg(stranger.pid, signal.SIGKILL)
        stranger.wait()


def test_orders_that_take_long_do_not_hold_up_the_others(child: Child) -> None:
    slow = child.agent.order_async("run", argv=["sleep", "2"], timeout_s=5.0)
    began = time.monotonic()
    child.agent.order("signal", number=0)
    child.agent.order("ping")
    assert time.monotonic() - began < 1.5
    assert not slow.done()


def test_orders_on_the_process_are_carried_out_in_the_order_in_which_they_were_sent(child: Child) -> None:
    pid = start(child, "sleep", "60")
    for _ in range(50):
        stop = child.agent.order_async("signal", number=int(signal.SIGSTOP))
        go_on = child.agent.order_async("signal", number=int(signal.SIGCONT))
        child.agent.answer(stop, "signal")
        child.agent.answer(go_on, "signal")
        seen = stat_of(pid)
        assert seen is not None
        assert seen[0] != "T"


def test_an_answer_says_when_the_order_had_been_carried_out(child: Child) -> None:
    before = time.monotonic_ns()
    assert before < child.agent.order("ping")["at_ns"] < time.monotonic_ns()


def test_what_an_agent_cannot_do_is_answered_and_it_goes_on(child: Child) -> None:
    with pytest.raises(BackendError, match="n1: the agent knows no order 'dance'"):
        child.agent.order("dance")
    with pytest.raises(BackendError, match="n1: this node has no data disk of its own mounted"):
        child.agent.order("freeze")
    with pytest.raises(BackendError, match="n1: cannot start no-such-program"):
        start(child, "no-such-program")
    child.agent.order("ping")


def test_an_agent_that_was_killed_is_told_by_name_and_open_orders_end(child: Child) -> None:
    pending = child.agent.order_async("run", argv=["sleep", "30"], timeout_s=30.0)
    child.process.kill()
    with pytest.raises(BackendError, match="n1: the agent is gone"):
        child.agent.answer(pending, "run", 5.0)
    with pytest.raises(BackendError, match="n1: the agent"):
        child.agent.order("ping")


def test_an_agent_that_does_not_answer_in_time_is_told(child: Child) -> None:
    with pytest.raises(BackendError, match=r"n1: the agent did not answer 'run' within 0.1 s"):
        child.agent.order("run", within_s=0.1, argv=["sleep", "1"], timeout_s=5.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_process_stands_still_once_all_its_threads_do(tmp_path: Path) -> None:
    """Before a disk dies no system call may be under way in any thread: its answer could be wrong."""
    process = agent_file.Process(str(tmp_path / "system.json"), "test-still")
    script = "import threading, time\nfor _ in range(4): threading.Thread(target=time.sleep, args=(60,)).start()"
    process.start([sys.executable, "-c", script], {}, None, str(tmp_path / "log"))
    try:
        assert not process.wait_stopped(0.2)
        process.signal(signal.SIGSTOP)
        assert process.wait_stopped(3.0)
        process.signal(signal.SIGCONT)
        until = time.monotonic() + 3.0
        while process.wait_stopped(0.0) and time.monotonic() < until:
            time.sleep(0.01)
        assert not process.wait_stopped(0.0)
    finally:
        process.kill()
    assert process.wait_stopped(0.5)
