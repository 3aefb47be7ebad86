"""What only hosts reached by ssh have: keys of both sides, users, sudo, and nothing left on the host."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from capsize.cluster import ssh_backend
from capsize.cluster.choose import choose_backend
from capsize.cluster.hosts import Host, read_nodes_file
from capsize.cluster.node import Command
from capsize.cluster.ssh_backend import SshBackend
from capsize.errors import BackendError, UsageError

from .sshd import Hosts, sshd_hosts

LABEL = f"test-sshd-{os.getpid()}"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    hosts = sshd_hosts(f"{LABEL}-hosts", 1, tmp_path_factory.mktemp("ssh"))
    yield hosts
    hosts.destroy()


def backend(hosts: Hosts, **more: Any) -> SshBackend:
    options: dict[str, Any] = {"user": "root", "key": hosts.key, "known_hosts": hosts.known_hosts, **more}
    return SshBackend(LABEL, hosts=hosts.hosts, **options)


def left_on_host(hosts: Hosts) -> list[str]:
    """Return what is on the host, as its own docker agent sees it, of processes, folders, mounts and firewall rules."""
    (host,) = hosts.engine.nodes
    script = (
        f"ls -d /var/tmp/capsize-{LABEL}-*; grep capsize-{LABEL}- /proc/mounts; iptables -S | grep CAPSIZE;"
        f" grep -lz CAPSIZE_RUN={LABEL}$ /proc/[0-9]*/environ"
    )
    return host.run(["sh", "-c", f"({script}) 2>/dev/null"]).out.split("\n")[:-1]


def eventually_clean(hosts: Hosts) -> None:
    deadline = time.monotonic() + 10.0
    while (left := left_on_host(hosts)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


@pytest.mark.docker
def test_a_host_whose_key_is_not_known_is_refused_and_a_way_is_named(hosts: Hosts, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    with pytest.raises(BackendError, match=r"ssh: n1 \(198.*\): its host key is not known; .*ssh-keyscan -p 22 198"):
        backend(hosts, known_hosts=tmp_path / "empty").create(1)


@pytest.mark.docker
def test_a_host_that_shows_another_key_than_the_known_one_is_refused(hosts: Hosts, tmp_path: Path) -> None:
    name = hosts.known_hosts.read_text().split()[0]
    other = paramiko.ECDSAKey.generate()
    (tmp_path / "wrong").write_text(f"{name} {other.get_name()} {other.get_base64()}\n")
    with pytest.raises(BackendError, match="its host key is not the one that is known"):
        backend(hosts, known_hosts=tmp_path / "wrong").create(1)


@pytest.mark.docker
def test_a_key_that_opens_nothing_is_told_with_user_and_key(hosts: Hosts, tmp_path: Path) -> None:
    paramiko.ECDSAKey.generate().write_private_key_file(str(tmp_path / "key"))
    with pytest.raises(BackendError, match=r"it lets us not in \(user root, key .*key\)"):
        backend(hosts, key=tmp_path / "key").create(1)


@pytest.mark.docker
def test_a_plain_user_gets_processes_only_and_with_sudo_everything(hosts: Hosts) -> None:
    plain = backend(hosts, user="plain")
    try:
        (node,) = plain.create(1)
        assert {"network", "shape", "disks", "power"}.isdisjoint(plain.capabilities())
        assert "processes" in plain.capabilities()
        assert "root, or with sudo" in plain.why_not("disks")
        assert "root, or with sudo" in plain.why_not("network")
        assert node.run(["id", "-un"]).out == "plain\n"
    finally:
        plain.destroy()
    eventually_clean(hosts)
    with_sudo = backend(hosts, user="plain", sudo=True)
    try:
        (node,) = with_sudo.create(1)
        assert {"processes", "network", "shape", "disks", "power"} <= with_sudo.capabilities()
        node.freeze_disk()
        assert node.disk_stalls()
    finally:
        with_sudo.destroy()
    eventually_clean(hosts)


@pytest.mark.docker
def test_when_the_tool_is_killed_in_the_middle_of_faults_nothing_is_left_on_the_host(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_backend, "WAITS_S", 1.0)
    lost = backend(hosts)
    try:
        (node,) = lost.create(1)
        node.start(Command(("sleep", "600")))
        node.freeze_disk()
        node.drop_from([node])
        assert node.disk_stalls()
        assert left_on_host(hosts)
        lost._ended.set()  # a tool that is gone does not come back
        lost._clients["n1"].close()
        eventually_clean(hosts)
        with pytest.raises(BackendError, match="n1: the agent is gone"):
            node.process()
    finally:
        lost.destroy()


@pytest.mark.docker
def test_a_connection_that_is_lost_comes_back_and_what_was_healed_meanwhile_is_told_once(hosts: Hosts) -> None:
    lost = backend(hosts)
    try:
        (node,) = lost.create(1)
        pid = node.start(Command(("sleep", "600")))
        node.signal(signal.SIGSTOP)
        node.freeze_disk()
        node.drop_from([node])
        lost._clients["n1"].close()
        state = node.process()  # waits for the new connection
        assert (state.alive, state.pid, state.state) == (True, pid, "S")
        assert not node.disk_stalls()
        assert not node.blocked_from(node)
        (told,) = lost.heal()
        assert re.match(
            r"n1: the ssh connection was lost, and back after \d+\.\d s; "
            r"its agent had healed a stopped process, a paused disk, cut links by itself",
            told,
        )
        assert lost.heal() == []
        node.freeze_disk()
        assert node.disk_stalls()
    finally:
        lost.destroy()
    eventually_clean(hosts)


@pytest.mark.docker
def test_a_lost_connection_over_which_nothing_was_held_changes_nothing(hosts: Hosts) -> None:
    lost = backend(hosts)
    try:
        (node,) = lost.create(1)
        for _ in range(2):
            lost._clients["n1"].close()
            assert not node.process().alive  # asked again where it must be
            assert node.run(["echo", "there"]).out == "there\n"
        assert lost.heal() == []
    finally:
        lost.destroy()
    eventually_clean(hosts)


@pytest.mark.docker
def test_a_connection_that_went_silent_is_dropped_and_made_anew(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_backend, "KEEPALIVE_S", 0.2)
    monkeypatch.setattr(ssh_backend, "SILENT_S", 0.5)
    silent = backend(hosts)
    try:
        (node,) = silent.create(1)
        before = silent._clients["n1"]
        transport = before.get_transport()
        assert transport is not None
        transport.packetizer.send_message = lambda data: None  # type: ignore[method-assign]
        deadline = time.monotonic() + 10.0
        while silent._clients["n1"] is before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert node.run(["echo", "there"]).out == "there\n"
    finally:
        silent.destroy()
    eventually_clean(hosts)


def test_a_key_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    here = [Host("127.0.0.1", port=1)]
    with pytest.raises(BackendError, match=r"ssh: cannot read the key .*none: No such file"):
        SshBackend(LABEL, hosts=here, key=tmp_path / "none").create(1)
    (tmp_path / "text").write_text("no key\n")
    with pytest.raises(BackendError, match=r"ssh: .*text is no private key that can be used"):
        SshBackend(LABEL, hosts=here, key=tmp_path / "text").create(1)


def test_a_host_that_nobody_answers_at_is_told_after_a_few_tries() -> None:
    nobody = SshBackend(LABEL, hosts=[Host("127.0.0.1", port=1)], user="root")
    with pytest.raises(BackendError, match=r"ssh: n1 \(127.0.0.1\): no connection after 3 tries"):
        nobody.create(1)


def test_more_nodes_than_hosts_are_refused() -> None:
    with pytest.raises(UsageError, match="5 nodes were asked for, and only 1 hosts are named"):
        SshBackend(LABEL, hosts=[Host("127.0.0.1")]).create(5)


def test_a_nodes_file_names_hosts_with_users_ports_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "nodes"
    path.write_text("# the lab\nalpha\nroot@beta:2222  # the slow one\n\n[::1]:22\n")
    assert read_nodes_file(path) == (Host("alpha"), Host("beta", "root", 2222), Host("::1", None, 22))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alpha\nbeta gamma\n", r"nodes:2: 'beta gamma' names no host; expected \[user@\]host\[:port\]"),
        ("# nothing\n", "names no host; expected one"),
        ("alpha\nalpha\n", "names a host twice"),
    ],
)
def test_a_nodes_file_that_cannot_be_used_is_told_by_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "nodes"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_nodes_file(path)


def test_ssh_without_a_nodes_file_or_with_a_missing_one_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--backend ssh: --nodes-file is missing"):
        choose_backend("ssh", "t")
    with pytest.raises(UsageError, match=r"--nodes-file: cannot read .*: No such file"):
        choose_backend("ssh", "t", nodes_file=tmp_path / "none")
    (tmp_path / "nodes").write_text("alpha\n")
    made, why = choose_backend("ssh", "t", nodes_file=tmp_path / "nodes", sudo=True)
    assert (made.name, why) == ("ssh", f"ssh: {tmp_path / 'nodes'} names 1 hosts")
