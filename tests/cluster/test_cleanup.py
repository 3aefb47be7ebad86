"""After a SIGKILL of the tool nothing of its run is left, whatever was frozen, cut or stopped at that moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from capsize.cluster.cleanup import cleanup
from capsize.cluster.docker_backend import DockerBackend
from capsize.cluster.ledger import Ledger, Owner, runtime_dir
from capsize.cluster.local_backend import LocalBackend

HERE = Path(__file__).parent


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of ledgers of this test's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def left(label: str) -> list[str]:
    """Return everything on this machine that carries the label."""
    found = [str(path) for path in Path("/tmp").glob(f"capsize-{label}-*")]
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        if f"capsize-{label}-" in backing.read_text():
            found.append(str(backing))
    for process in psutil.process_iter():
        try:
            if process.environ().get("CAPSIZE_RUN") == label and process.status() != psutil.STATUS_ZOMBIE:
                found.append(str(process))
        except (psutil.Error, OSError):
            continue
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if f"capsize-{label}-" in line]
    if runtime_dir().joinpath(f"{label}.json").exists():
        found.append(f"ledger {label}")
    return found


def left_in_engine(label: str) -> list[str]:
    found: list[str] = []
    for argv in (["docker", "ps", "-aq"], ["docker", "network", "ls", "-q"]):
        found += subprocess.check_output([*argv, "--filter", f"label=capsize.run={label}"], text=True).split()
    return found


def leave(kind: str, label: str, *more: str) -> None:
    done = subprocess.run([sys.executable, str(HERE / "leave.py"), kind, label, *more], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.root
@pytest.mark.parametrize("more", [[], ["agents"]], ids=["tool-killed", "tool-and-agents-killed"])
def test_nothing_is_left_of_a_local_run_that_was_killed(runs: Path, more: list[str]) -> None:
    label = f"left-local-{os.getpid()}"
    leave("local", label, *more)
    removed = cleanup([label])
    assert left(label) == []
    assert any("folder" in line for line in removed)
    if more:
        assert sum("freeze of the disk" in line for line in removed) == 2
    assert cleanup([label]) == []


@pytest.mark.docker
@pytest.mark.root
@pytest.mark.parametrize("more", [[], ["agents"]], ids=["tool-killed", "tool-and-agents-killed"])
def test_nothing_is_left_of_a_docker_run_that_was_killed(runs: Path, more: list[str]) -> None:
    label = f"left-docker-{os.getpid()}"
    leave("docker", label, *more)
    removed = cleanup([label])
    assert sum(line.startswith("container") for line in removed) == 2
    assert sum(line.startswith("network") for line in removed) == 1
    assert left(label) + left_in_engine(label) == []


@pytest.mark.docker
@pytest.mark.root
def test_a_frozen_disk_whose_container_somebody_removed_is_freed(runs: Path) -> None:
    label = f"rm-{os.getpid()}"
    backend = DockerBackend(label)
    try:
        (node,) = backend.create(1)
        node.freeze_disk()
        subprocess.run(["docker", "rm", "-f", f"capsize-{label}-n1"], check=True, capture_output=True)
    finally:
        backend.destroy()
    assert any("backing_file" in line for line in left(label))  # the kernel keeps a frozen file system for ever
    assert any("freeze of the disk" in line for line in cleanup([label]))
    assert left(label) == []


def test_a_live_run_is_left_alone_unless_forced(runs: Path) -> None:
    label = f"live-{os.getpid()}"
    backend = LocalBackend(label, disks=False)
    try:
        (node,) = backend.create(1)
        assert cleanup([label]) == []
        assert node.run(["true"]).code == 0
        assert any("folder" in line for line in cleanup([label], force=True))
        assert left(label) == []
    finally:
        backend.destroy()


def test_only_the_labels_that_were_asked_for_are_cleaned(runs: Path) -> None:
    gone = subprocess.Popen(["true"])
    owner = Owner.of(gone.pid)
    gone.wait()
    for label in ("asked", "other"):
        Ledger(label, owner).write()
    assert cleanup(["asked"]) == ["ledger of run asked"]
    assert (runs / "capsize" / "other.json").exists()


def test_a_pid_of_the_ledger_that_was_given_to_somebody_else_is_not_killed(runs: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    gone = subprocess.Popen(["true"])
    ledger = Ledger("reused", Owner.of(gone.pid))
    gone.wait()
    try:
        ledger.record("process", pid=stranger.pid, start="1")
        assert cleanup(["reused"]) == ["ledger of run reused"]
        time.sleep(0.05)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_folder_that_does_not_carry_the_label_is_never_removed(runs: Path, tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    ledger = Ledger("stray", Owner.of(gone.pid))
    gone.wait()
    precious = tmp_path / "precious"
    precious.mkdir()
    ledger.record("folder", path=str(precious))
    cleanup(["stray"])
    assert precious.is_dir()


def test_a_broken_ledger_is_passed_over(runs: Path) -> None:
    (runs / "capsize").mkdir()
    (runs / "capsize" / "broken.json").write_text("{")
    assert cleanup(["broken"]) == []
