"""Whole runs on hosts reached by ssh, as they are typed; and what a killed tool and a killed agent leave there."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from capsize.cli import invoke
from capsize.cluster.node import Command
from capsize.cluster.ssh_backend import SshBackend

from .sshd import Hosts, sshd_hosts

pytestmark = [pytest.mark.docker, pytest.mark.slow]
LABEL = f"test-sshrun-{os.getpid()}"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("ssh")
    hosts = sshd_hosts(f"{LABEL}-hosts", 3, folder)
    (folder / "hosts").write_text("".join(f"root@{host.host}\n" for host in hosts.hosts))
    yield hosts
    hosts.destroy()


def way(hosts: Hosts) -> list[str]:
    folder = hosts.key.parent
    return [
        "--nodes-file", str(folder / "hosts"), "--key", str(hosts.key), "--known-hosts", str(hosts.known_hosts)
    ]  # fmt: skip


def left_on(hosts: Hosts, number: int = 0) -> str:
    node = hosts.engine.nodes[number]
    script = "ls -d /var/tmp/capsize-*; iptables -S | grep CAPSIZE; grep -lz CAPSIZE_RUN=.*-s[0-9] /proc/[0-9]*/environ"
    return node.run(["sh", "-c", f"({script}) 2>/dev/null"]).out


def test_a_run_over_ssh_is_one_command_and_leaves_nothing_on_the_hosts(
    hosts: Hosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--backend", "ssh", *way(hosts), "--faults", "kill-leader,partition,pause-disk", "--seed", "3"]
    code = invoke([*words, "--time-limit", "8", "--store", str(tmp_path), "--quiet"])
    told = capsys.readouterr()
    assert code == 0, told
    assert re.match(r"VALID    register · seed 3 · [\d,]+ operations · faults landed (\d+)/\1\b", told.out), told
    assert " ".join(way(hosts)) in told.out.splitlines()[-1]
    run = json.loads((tmp_path / "latest" / "run.json").read_text())
    assert run["config"]["nodes"] == 3  # as many as the file names
    assert run["config"]["ssh"]["key"] == str(hosts.key)
    assert [left_on(hosts, number) for number in range(3)] == ["", "", ""]


def test_a_connection_lost_during_a_run_makes_it_unknown_and_says_why(
    hosts: Hosts, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    create = SshBackend.create

    def losing(self: SshBackend, count: int) -> object:
        made = create(self, count)
        node = made[1]
        freeze = node.freeze_disk

        def freeze_and_lose() -> None:
            freeze()
            self._clients["n2"].close()

        node.freeze_disk = freeze_and_lose  # type: ignore[method-assign]
        return made

    monkeypatch.setattr(SshBackend, "create", losing)
    schedule = tmp_path / "schedule.json"
    step = {"at_s": 1.0, "duration_s": 2.0, "fault": {"fault": "pause-disk", "target": ["n2"]}}
    schedule.write_text(json.dumps({"seed": 1, "steps": [step]}))
    words = ["run", "--backend", "ssh", *way(hosts), "--schedule", str(schedule), "--seed", "3"]
    code = invoke([*words, "--time-limit", "5", "--store", str(tmp_path / "store"), "--quiet"])
    told = capsys.readouterr()
    assert code == 2, told
    assert told.out.startswith("UNKNOWN")
    assert re.search(r"harness not valid: .*n2: the ssh connection was lost, and back after", told.out), told.out
    assert "its agent had healed a paused disk by itself" in told.out


@pytest.mark.download
def test_a_real_system_runs_over_ssh_under_kills_pauses_and_partitions(
    hosts: Hosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--system", "pysyncobj", "--backend", "ssh", *way(hosts), "--seed", "3"]
    words += ["--faults", "kill,pause,partition", "--time-limit", "15", "--store", str(tmp_path), "--quiet"]
    code = invoke(words)
    told = capsys.readouterr()
    assert code == 0, told
    assert re.search(r"faults landed ([3-9])/\1\b", told.out), told
    assert [left_on(hosts, number) for number in range(3)] == ["", "", ""]


def test_the_doctor_examines_over_ssh(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    code = invoke(["doctor", "raft", "--backend", "ssh", *way(hosts), "--only", "answers,refused"])
    told = capsys.readouterr()
    assert code == 0, told
    assert told.out.startswith("HEALTHY  raft")
    assert "--nodes-file" in told.out.splitlines()[-1]


def test_what_a_killed_agent_leaves_on_a_host_is_taken_away_and_live_runs_are_not(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = SshBackend(f"{LABEL}-s1", hosts=hosts.hosts[:1], user="root", key=hosts.key, known_hosts=hosts.known_hosts)
    alive = SshBackend(f"{LABEL}-s2", hosts=hosts.hosts[1:2], user="root", key=hosts.key, known_hosts=hosts.known_hosts)
    try:
        (node,) = dead.create(1)
        (other,) = alive.create(1)
        node.start(Command(("sleep", "600")))
        other.start(Command(("sleep", "600")))
        node.freeze_disk()
        dead._ended.set()
        hosts.engine.nodes[0].run(["pkill", "-KILL", "-f", f"capsize-{LABEL}-s1-n1/agent.py"])
        assert f"capsize-{LABEL}-s1-n1" in left_on(hosts)
        code = invoke(["cleanup", "--label", f"{LABEL}-s1", "--label", f"{LABEL}-s2", *way(hosts)])
        told = capsys.readouterr()
        assert code == 255, told
        assert f"run {LABEL}-s2 still goes on; --force takes it, too" in told.err
        host = hosts.hosts[0].host
        assert re.search(rf"^{host}: process \d+ of run {LABEL}-s1$", told.out, re.MULTILINE), told.out
        assert f"{host}: folder /var/tmp/capsize-{LABEL}-s1-n1 of run {LABEL}-s1" in told.out
        assert f"{host}: firewall chain CAPSIZE" in told.out
        assert left_on(hosts) == ""
        assert other.process().alive
        code = invoke(["cleanup", "--label", f"{LABEL}-s2", "--force", *way(hosts)])
        assert code == 0, capsys.readouterr()
        deadline = time.monotonic() + 10.0
        while left_on(hosts, 1) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left_on(hosts, 1) == ""
    finally:
        alive._ended.set()
        dead.destroy()
        alive.destroy()


def test_a_host_that_cannot_be_reached_is_told_and_keeps_no_other_from_being_swept(
    hosts: Hosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hosts").write_text(f"root@127.0.0.1:1\nroot@{hosts.hosts[2].host}\n")
    hosts.engine.nodes[2].run(["mkdir", "/var/tmp/capsize-nobodys-n1"])
    words = ["cleanup", "--label", "nobodys", "--nodes-file", str(tmp_path / "hosts"), *way(hosts)[2:], "--json"]
    code = invoke(words)
    told = json.loads(capsys.readouterr().out)
    assert code == 255
    assert told["removed"] == [f"{hosts.hosts[2].host}: folder /var/tmp/capsize-nobodys-n1 of run nobodys"]
    assert re.match(r"ssh: 127.0.0.1: no connection after 3 tries", told["left"][0])
