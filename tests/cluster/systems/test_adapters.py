"""The adapters of real systems on real servers, on this machine: what their hooks and their own clients do.

One cluster of three for each system. Skipped where the server's package can neither be fetched nor was before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from capsize.client import Client
from capsize.cluster.cluster import Cluster
from capsize.cluster.http_client import HttpStatusError
from capsize.cluster.local_backend import LocalBackend
from capsize.cluster.system import System
from capsize.cluster.systems.etcd import Etcd
from capsize.cluster.systems.nats import Nats
from capsize.cluster.systems.pysyncobj import PySyncObj
from capsize.errors import AdapterError, DefiniteError
from capsize.op import Invocation, Value
from capsize.workloads import WORKLOADS

pytestmark = [pytest.mark.slow]


@contextmanager
def running(system: System) -> Generator[Cluster, None, None]:
    try:
        system.prepare()
    except AdapterError as error:
        pytest.skip(str(error))
    backend = LocalBackend(f"test-{system.name}-{time.time_ns() % 10**9}")
    try:
        cluster = Cluster(system, backend, backend.create(3))
        cluster.start()
        cluster.wait_ready(60)
        yield cluster
        cluster.stop()
    finally:
        backend.destroy()


@pytest.fixture(scope="module")
def etcd() -> Iterator[Cluster]:
    with running(Etcd(lease_s="2")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def nats() -> Iterator[Cluster]:
    with running(WORKLOADS["set"](7, 2).fit(Nats(version="2.12.1"))) as cluster:
        yield cluster


def eventually(what: str, holds: Callable[[], Any], within_s: float = 20.0) -> Any:
    deadline = time.monotonic() + within_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = holds()
            if last:
                return last
        except (OSError, DefiniteError, LookupError, HttpStatusError) as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {within_s:g} s: {last!r}")


def opened(client: Client | None, timeout_s: float = 5.0) -> Client:
    assert client is not None
    client.timeout_s = timeout_s
    client.open()
    return client


def ask(client: Client, f: str, key: Value = 0, value: Value = None) -> Value:
    return client.invoke(Invocation(f, key, value)).result


# --- etcd -----------------------------------------------------------------------------------------------------------


def test_etcds_replicas_are_alike_at_one_revision_also_after_a_compaction(etcd: Cluster) -> None:
    client = opened(etcd.system.client(etcd.nodes[0], 1))
    for number in range(20):
        ask(client, "write", "x", number)
    at, _ = etcd.system.replica(etcd.nodes[0], None)
    assert eventually("equal replicas", lambda: len({etcd.system.replica(node, at) for node in etcd.nodes}) == 1)
    etcd.system.snapshot(etcd.nodes[1])
    at, digest = etcd.system.replica(etcd.nodes[0], None)
    assert "compacted 0" not in digest
    assert eventually("equal replicas", lambda: len({etcd.system.replica(node, at) for node in etcd.nodes}) == 1)
    assert ask(client, "read", "x") == 19


def test_a_lock_of_etcd_is_waited_for_kept_alive_and_given_back(etcd: Cluster) -> None:
    one, other = (opened(etcd.system.own_client("lock", node, 1), 2.0) for node in etcd.nodes[:2])
    first = ask(one, "acquire", "l")
    assert isinstance(first, int)
    assert ask(other, "read", "l") == first
    with pytest.raises(DefiniteError, match="its lease is revoked"):
        ask(other, "acquire", "l")
    time.sleep(3.0)  # longer than the lease: it is kept alive
    assert ask(other, "read", "l") == first
    ask(one, "release", "l")
    second = ask(other, "acquire", "l")
    assert isinstance(second, int)
    assert second > first
    with pytest.raises(DefiniteError, match="does not hold"):
        ask(one, "release", "l")
    other.close()  # nobody keeps it alive now
    third = opened(etcd.system.own_client("lock", etcd.nodes[2], 2))
    eventually("the end of the lease", lambda: ask(third, "read", "l") is None)
    third.close()


def test_a_member_of_etcd_is_removed_wiped_and_taken_back(etcd: Cluster) -> None:
    system = etcd.system
    leader = eventually("a leader", lambda: etcd.leader()[0])
    leaving = next(node for node in etcd.nodes if node is not leader)
    assert sorted(system.members(leader)) == ["n1", "n2", "n3"]
    eventually("the removal", lambda: system.remove_member(leader, leaving) is None)
    assert leaving.name not in system.members(leader)
    leaving.kill()
    leaving.wipe()
    eventually("the request", lambda: system.add_member(leader, leaving) is None)
    etcd.restart(leaving)
    assert leaving.name in system.members(leader)
    at, _ = system.replica(leader, None)
    same = system.replica(leader, at)
    eventually("the new member's catching up", lambda: system.replica(leaving, at) == same)


# --- NATS -----------------------------------------------------------------------------------------------------------


def added(client: Client, value: int) -> bool:
    """Add to the set; say whether that was done, False when it surely was not."""
    try:
        return ask(client, "add", "s", value) is None
    except DefiniteError:
        return False


def test_a_stream_is_a_set_and_its_raft_group_is_the_one_that_is_polled(nats: Cluster) -> None:
    client = opened(nats.system.client(nats.nodes[0], 1))
    eventually("the stream to have a leader", lambda: added(client, 1))
    for value in (2, 3):
        assert ask(client, "add", "s", value) is None
    assert ask(client, "read", "s") == (1, 2, 3)
    assert ask(client, "read", "another") == ()
    leader = eventually("a leader", lambda: nats.leader()[0])
    eventually("everybody follows it", lambda: {s.leader for s in nats.statuses().values() if s} == {leader.name})
    at, _ = nats.system.replica(leader, None)
    assert eventually("equal replicas", lambda: len({nats.system.replica(node, at) for node in nats.nodes}) == 1)
    heir = next(node for node in nats.nodes if node is not leader)
    nats.system.transfer_leadership(leader, heir)
    eventually("the handover", lambda: nats.leader()[0] is heir)


def test_a_work_queue_hands_out_each_message_and_keeps_what_is_not_taken(nats: Cluster) -> None:
    client = opened(nats.system.own_client("queue", nats.nodes[1], 1))
    for value in (7, 8, 9):  # the stream that was just made may have no leader yet
        eventually("the stream", lambda value=value: client.invoke(Invocation("enqueue", "q", value)))
    # The consumer that the first one makes has no leader at once, and nothing was taken then.
    reply = eventually("a message", lambda: client.invoke(Invocation("dequeue", "q")))
    assert (reply.result, reply.meta["delivery"], reply.meta["delivered"]) == (7, "at-least-once", 1)
    # What was taken leaves the stream a moment after its acknowledgement was answered.
    eventually("a queue without it", lambda: ask(client, "read", "q") == (8, 9))
    assert [ask(client, "dequeue", "q") for _ in range(3)] == [8, 9, None]


# --- PySyncObj ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "forgets"), [("0.3.14", True), ("0.3.17", False)])
def test_pysyncobjs_journal_is_dumped_and_shows_whether_terms_fall(version: str, forgets: bool) -> None:
    with running(PySyncObj(version=version)) as cluster:
        system = cluster.system
        client = opened(system.client(cluster.nodes[0], 1))
        ask(client, "write", "x", 1)
        for _ in range(2):  # so that the term is beyond 1
            leader = eventually("a leader", lambda: cluster.leader()[0])
            leader.kill()
            eventually("another leader", lambda leader=leader: cluster.leader()[0] not in (None, leader))
            cluster.restart(leader)
        eventually("a write", lambda: ask(opened(system.client(cluster.nodes[1], 2)), "write", "x", 2) is None)
        for node in cluster.nodes:
            node.kill()
        for node in cluster.nodes:
            cluster.restart(node)
        eventually("a write", lambda: ask(opened(system.client(cluster.nodes[1], 3)), "write", "x", 3) is None)
        eventually(
            "equal replicas", lambda: len({system.replica(node, None) for node in cluster.nodes}) == 1, within_s=30
        )
        for node in cluster.nodes:
            node.kill()
        entries = system.dump_log(cluster.nodes[0])
        indexes, terms = [entry["index"] for entry in entries], [entry["term"] for entry in entries]
        assert indexes == list(range(indexes[0], indexes[0] + len(indexes)))
        assert (terms != sorted(terms)) is forgets
