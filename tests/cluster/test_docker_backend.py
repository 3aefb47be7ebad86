"""What only containers have: networks, the image, and a run without real disks."""

from __future__ import annotations

import os
import subprocess

import pytest

from capsize.cluster.docker_backend import SUBNETS, DockerBackend
from capsize.cluster.engine import connect, node_image
from capsize.errors import BackendError, Refused

pytestmark = pytest.mark.docker
LABEL = f"test-engine-{os.getpid()}"


def test_without_disks_a_container_gets_net_admin_alone_and_disk_faults_are_refused() -> None:
    backend = DockerBackend(LABEL, disks=False)
    try:
        one, two = backend.create(2)
        granted = connect().api.inspect_container(f"capsize-{LABEL}-n1")["HostConfig"]
        assert (granted["CapAdd"], granted["Privileged"], granted["Devices"]) == (["NET_ADMIN"], False, None)
        assert not backend.capabilities() & {"disks", "power"}
        assert {"processes", "network", "shape", "clients", "pressure"} <= backend.capabilities()
        two.drop_from([one])
        assert two.blocked_from(one)
        with pytest.raises(Refused, match="n1: disks were switched off"):
            one.freeze_disk()
    finally:
        backend.destroy()


def test_an_engine_that_refuses_what_disks_need_gives_nodes_without_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("capsize.cluster.docker_backend.LOOP_CONTROL", "/dev/no-such-device")
    backend = DockerBackend(LABEL)
    try:
        (node,) = backend.create(1)
        assert not backend.capabilities() & {"disks", "power"}
        assert {"processes", "network", "shape", "clients", "pressure"} <= backend.capabilities()
        assert "no-such-device" in backend.why_not("disks")
        assert node.run(["test", "-d", node.data_dir]).code == 0
        with pytest.raises(Refused, match="n1: this engine refuses what real disks need"):
            node.freeze_disk()
    finally:
        backend.destroy()


def test_containers_that_cannot_be_reached_from_here_are_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capsize.cluster.docker_backend.send_word", lambda *_: None)
    with pytest.raises(BackendError, match=r"docker: containers cannot be reached from here at 198.*--backend local"):
        DockerBackend(LABEL, disks=False).create(1)


def test_two_runs_side_by_side_get_networks_of_their_own_and_no_foreign_rule_is_flushed() -> None:
    first, second = DockerBackend(f"{LABEL}-a", disks=False), DockerBackend(f"{LABEL}-b", disks=False)
    try:
        (one,), (other,) = first.create(1), second.create(1)
        assert one.listen("peer")[0].rsplit(".", 1)[0] != other.listen("peer")[0].rsplit(".", 1)[0]
        assert str(first.describe()["subnet"]).startswith(str(SUBNETS.network_address)[:4])
        assert one.run(["iptables", "-A", "INPUT", "-s", "192.0.2.1", "-j", "DROP"]).code == 0
        one.drop_from([other])
        one.drop_from([])
        assert "192.0.2.1" in one.run(["iptables", "-S", "INPUT"]).out
    finally:
        first.destroy()
        second.destroy()
    networks = subprocess.check_output(["docker", "network", "ls", "--format", "{{.Name}}"], text=True)
    assert LABEL not in networks


def test_a_node_container_that_was_removed_is_told_by_name_and_the_rest_is_taken_away() -> None:
    backend = DockerBackend(LABEL, disks=False)
    try:
        _, two = backend.create(2)
        subprocess.run(["docker", "rm", "-f", f"capsize-{LABEL}-n2"], check=True, capture_output=True)
        with pytest.raises(BackendError, match="n2: the agent"):
            two.process()
        assert [problem.startswith("n2: the agent") for problem in backend.heal()] == [True]
    finally:
        backend.destroy()
    listed = ["docker", "ps", "-aq", "--filter", f"label=capsize.run={LABEL}"]
    assert subprocess.check_output(listed, text=True) == ""


def test_an_image_is_built_once_and_a_base_that_cannot_be_had_is_one_clear_error() -> None:
    client = connect()
    assert node_image(client) == node_image(client)
    with pytest.raises(BackendError, match=r"docker: the node image could not be built: .*make image-base"):
        node_image(client, "no-such-base:0")
