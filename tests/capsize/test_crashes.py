"""Which processes ended by themselves, and which the tool itself took down or lies in wait for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fake_cluster import FakeSystem, World, cluster_of

from capsize.crashes import Crashes
from capsize.nemesis.holds import Holds


class Lines:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, Mapping[str, Any]]] = []

    def nemesis(self, word: str, value: Mapping[str, Any]) -> None:
        self.lines.append((word, value))


def test_a_node_that_dies_where_a_failpoint_is_armed_did_not_end_by_itself() -> None:
    world = World(3)
    cluster = cluster_of(world, FakeSystem())
    cluster.system.nodes = cluster.nodes
    cluster.start()
    holds = Holds(cluster.nodes, cluster.restart)
    crashes = Crashes(cluster, holds, Lines())  # type: ignore[arg-type]
    holds.expect(1, "n2")
    world.alive["n2"] = False
    assert crashes.look() == []
    holds.unexpect(1, "n2")
    assert crashes.look() == ["n2"]
