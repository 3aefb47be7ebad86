"""Pebble's own tests, as its author would write them: pytest finds capsize's plugin by itself."""

import pytest

pytestmark = pytest.mark.capsize(system="pebble_system:PebbleSystem", nodes=3, timeout=0.5)


def test_no_write_is_lost_when_the_leader_dies(cluster, client, nemesis):
    client.write("x", 1, within_s=5)
    with nemesis("kill-leader") as fault:
        survivor = next(node for node in cluster.nodes if node.name not in fault.targets)
        cluster.client(survivor).write("x", 2, within_s=10)
    assert cluster.client(survivor).read("x", within_s=5) == 2


def test_a_leader_that_was_replaced_answers_no_reads(cluster, nemesis):
    cluster.client(cluster.leader()).write("x", 1, within_s=5)
    with nemesis("isolate-leader") as fault:
        (old,) = fault.targets
        other = next(node for node in cluster.nodes if node.name != old)
        cluster.client(other).write("x", 2, within_s=10)
        cluster.client(old).invoke("read", "x")  # whatever it says is judged, with everything else, at the end


@pytest.mark.capsize(options={"reads": "quorum"}, faults="kill-leader,partition")
def test_it_serves_correctly_under_a_schedule_of_faults(cluster, nemesis):
    with cluster.load(rate=100):
        nemesis.follow(6)
