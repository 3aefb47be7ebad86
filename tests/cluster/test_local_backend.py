"""What only nodes on loopback have: ports that must be free, nodes without disks, and no root."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from capsize.cluster.cluster import Cluster
from capsize.cluster.local_backend import HOST, LocalBackend
from capsize.errors import BackendError, Refused

from .appender import Appender, ask, ask_through

LABEL = f"test-plain-{os.getpid()}"


def test_a_port_in_use_is_one_clear_error_and_leaves_nothing() -> None:
    with socket.create_server((HOST, 0)) as taken:
        backend = LocalBackend(LABEL, base_port=taken.getsockname()[1], disks=False)
        with pytest.raises(BackendError, match=rf"local: port \d+ of {HOST} is in use; choose another base port"):
            backend.create(2)
    assert not list(Path("/tmp").glob(f"capsize-{LABEL}-*"))


def test_without_disks_nodes_run_are_cut_and_killed_and_disk_faults_are_refused() -> None:
    backend = LocalBackend(LABEL, disks=False)
    cluster = Cluster(Appender(), backend, backend.create(2))
    try:
        cluster.start()
        cluster.wait_ready(10.0)
        one, two = cluster.nodes
        two.drop_from([one])
        assert two.blocked_from(one)
        backend.heal()
        assert ask_through(one, two, "status") == "follower 1"
        with pytest.raises(Refused, match="n1: disks were switched off"):
            one.freeze_disk()
        assert cluster.kill(one)
        cluster.restart(one)
        cluster.wait_ready(10.0)
        assert ask(one.reach("peer"), "status") == "leader 1"
    finally:
        cluster.destroy()
    cluster.destroy()


def test_two_runs_side_by_side_get_different_ports() -> None:
    first, second = LocalBackend(f"{LABEL}-a", disks=False), LocalBackend(f"{LABEL}-b", disks=False)
    try:
        nodes = [*first.create(2), *second.create(2)]
        assert len({node.listen("peer") for node in nodes}) == 4
    finally:
        first.destroy()
        second.destroy()


def test_a_node_whose_agent_died_is_told_by_name_and_the_others_are_healed() -> None:
    backend = LocalBackend(LABEL, disks=False)
    try:
        one, two = backend.create(2)
        os.kill(backend.nodes[0].agent.order("hello")["pid"], 9)
        two.drop_from([one])
        problems = backend.heal()
        assert [problem.startswith("n1: the agent") for problem in problems] == [True]
    finally:
        backend.destroy()


def test_an_address_between_nodes_is_a_relay_and_to_the_controller_it_is_direct() -> None:
    backend = LocalBackend(LABEL, disks=False)
    try:
        one, two = backend.create(2)
        assert two.reach("peer") == two.listen("peer")
        assert two.reach("peer", frm=one) != two.listen("peer")
        assert two.reach("peer", frm=one) == two.reach("peer", frm=one)
        assert two.reach("peer", frm=two) == two.listen("peer")
    finally:
        backend.destroy()
