"""The cluster around the nodes: starting, being ready, the leader, and saying what went wrong."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from capsize.client import Client
from capsize.cluster.cluster import Cluster
from capsize.cluster.local_backend import LocalBackend
from capsize.cluster.node import Command, Node
from capsize.cluster.system import NodeStatus
from capsize.errors import AdapterError
from capsize.op import Invocation

from .appender import Appender

LABEL = f"test-cluster-{os.getpid()}"


@pytest.fixture
def backend() -> Iterator[LocalBackend]:
    backend = LocalBackend(LABEL, disks=False)
    yield backend
    backend.destroy()


class Crashing(Appender):
    def command(self, node: Node) -> Command:
        return Command(("sh", "-c", "echo bad option: --peers >&2; exit 3"))


class Refusing(Appender):
    def install(self, node: Node) -> None:
        if node.name == "n2":
            raise AdapterError("no such version: 9.9")


class RefusingEverywhere(Appender):
    def install(self, node: Node) -> None:
        raise AdapterError(f"{node.name}: curl is not there" if node.name != "n3" else "no disk on n3")


class Leaderless(Appender):
    def status(self, node: Node) -> NodeStatus:
        return NodeStatus(node.name, "candidate", 7)


class Contested(Appender):
    """Two say that they lead; one of them does not know yet that it was deposed. A third hangs."""

    asked = 0

    def status(self, node: Node) -> NodeStatus:
        if node.name == "n3":
            self.asked += 1
            time.sleep(1.0)
        return NodeStatus(node.name, "leader", {"n1": 3, "n2": 4, "n3": 5}[node.name])


def test_a_cluster_is_ready_when_a_leader_is_known_and_a_write_was_accepted(backend: LocalBackend) -> None:
    cluster = Cluster(Appender(), backend, backend.create(3))
    cluster.start()
    assert cluster.wait_ready(10.0) < 10.0
    leader, term = cluster.leader()
    assert (leader, term) == (cluster.nodes[0], 1)


def test_a_custom_write_decides_whether_a_cluster_is_ready(backend: LocalBackend) -> None:
    cluster = Cluster(Appender(), backend, backend.create(1))
    cluster.start()
    written: list[object] = []

    def write(client: Client) -> None:
        client.invoke(Invocation("append", None, "mine"))
        written.append(client)

    cluster.wait_ready(10.0, write=write)
    assert written


def test_processes_that_end_at_once_are_told_with_their_last_words(backend: LocalBackend) -> None:
    cluster = Cluster(Crashing(), backend, backend.create(2))
    cluster.start()
    with pytest.raises(
        AdapterError, match=r"every node's process has ended; n1 has ended \(code 3\): bad option: --peers"
    ):
        cluster.wait_ready(10.0)


def test_an_install_that_fails_names_the_node_and_the_reason(backend: LocalBackend) -> None:
    cluster = Cluster(Refusing(), backend, backend.create(3))
    with pytest.raises(AdapterError, match=r"appender: install failed on 1 of 3 nodes: n2: no such version: 9.9"):
        cluster.start()


def test_what_several_nodes_say_alike_is_told_once_with_their_names(backend: LocalBackend) -> None:
    cluster = Cluster(RefusingEverywhere(), backend, backend.create(3))
    with pytest.raises(AdapterError) as error:
        cluster.start()
    assert str(error.value) == (
        "appender: install failed on 3 of 3 nodes: n1, n2: curl is not there; n3: no disk on n3"
    )


def test_a_cluster_that_finds_no_leader_says_so_when_its_time_is_over(backend: LocalBackend) -> None:
    cluster = Cluster(Leaderless(), backend, backend.create(2))
    cluster.start()
    with pytest.raises(AdapterError, match=r"not ready within 0.3 s: no node says that it is the leader; n1 runs"):
        cluster.wait_ready(0.3)
    assert cluster.leader() == (None, None)


def test_of_several_leaders_the_one_of_the_highest_term_counts_and_a_hanging_node_is_not_waited_for(
    backend: LocalBackend,
) -> None:
    system = Contested()
    cluster = Cluster(system, backend, backend.create(3))
    began = time.monotonic()
    for _ in range(3):
        leader, term = cluster.leader(timeout_s=0.1)
        assert leader is not None
        assert (leader.name, term) == ("n2", 4)
    assert time.monotonic() - began < 0.9
    assert system.asked == 1  # polls of a node that hangs do not pile up


def test_an_action_at_once_reaches_every_node_and_keeps_each_ones_error(backend: LocalBackend) -> None:
    cluster = Cluster(Appender(), backend, backend.create(3))
    barrier = threading.Barrier(3, timeout=5.0)

    def act(node: Node) -> str:
        barrier.wait()  # only passes when all three are under way together
        if node.name == "n2":
            raise OSError("no")
        return node.name

    results = cluster.at_once(act)
    assert (results["n1"], results["n3"]) == ("n1", "n3")
    assert isinstance(results["n2"], OSError)
