"""Who hears whom under each shape, and what majority remains."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any

import pytest
from fake_cluster import World, nodes_of

from capsize.nemesis.connectivity import connectivity
from capsize.nemesis.fault import Plan, Situation, Skip
from capsize.nemesis.holds import Holds
from capsize.nemesis.partition import Partition, bridge, halves, ring

FIVE = [f"n{number}" for number in range(1, 6)]


def plan_of(fault: Partition, *, count: int = 5, leader: str | None = "n2") -> Plan | Skip:
    world = World(count)
    holds = Holds(nodes_of(world), lambda node: None)
    return fault.plan(Situation(tuple(world.names), leader, 4), random.Random(1), holds)


def test_an_isolated_leader_neither_hears_nor_is_heard_and_the_rest_stays_together() -> None:
    plan = plan_of(Partition("leader", "isolate"))
    assert isinstance(plan, Plan)
    assert plan.targets == ("n2",)
    assert plan.cuts["n2"] == {"n1", "n3", "n4", "n5"}
    assert all(plan.cuts[name] == {"n2"} for name in FIVE if name != "n2")
    left = connectivity(FIVE, plan.cuts)
    assert left.groups == (("n1", "n3", "n4", "n5"), ("n2",))
    assert "n2" not in left.leaders
    assert left.quorum


@pytest.mark.parametrize("seed", range(10))
def test_halves_leave_a_majority_on_one_side_only(seed: int) -> None:
    left = connectivity(FIVE, halves(FIVE, random.Random(seed)))
    assert [len(group) for group in left.groups] == [3, 2]
    assert set(left.leaders) == set(left.groups[0])


def test_halves_of_an_even_cluster_leave_no_majority() -> None:
    assert not connectivity(FIVE[:4], halves(FIVE[:4], random.Random(1))).quorum


@pytest.mark.parametrize("count", [5, 7, 9])
def test_in_a_ring_everybody_hears_a_majority_and_no_two_the_same_one(count: int) -> None:
    nodes = [f"n{number}" for number in range(count)]
    cuts = ring(nodes, random.Random(3))
    heard = [frozenset(nodes) - cuts[name] for name in nodes]
    assert all(len(near) > count // 2 for near in heard)
    assert len(set(heard)) == count
    assert len(connectivity(nodes, cuts).groups) == 1


def test_a_bridge_is_the_only_one_that_both_sides_hear() -> None:
    left = connectivity(FIVE, bridge(FIVE, random.Random(1)))
    assert len(left.groups) == 1
    assert len(left.leaders) == 5  # with the bridge both sides of two count three


def test_mute_and_deaf_cut_one_direction_only() -> None:
    mute, deaf = plan_of(Partition("leader", "mute")), plan_of(Partition("leader", "deaf"))
    assert isinstance(mute, Plan)
    assert isinstance(deaf, Plan)
    assert "n2" not in mute.cuts
    assert set(mute.cuts) == set(FIVE) - {"n2"}
    assert set(deaf.cuts) == {"n2"}


def test_a_shape_that_would_cut_nothing_is_skipped() -> None:
    assert isinstance(plan_of(Partition("all", "ring"), count=3), Skip)
    assert isinstance(plan_of(Partition("all", "isolate")), Skip)
    assert isinstance(plan_of(Partition("leader", "isolate"), leader=None), Skip)


def test_a_link_that_two_partitions_cut_opens_when_both_have_healed() -> None:
    world = World(3)
    holds = Holds(nodes_of(world), lambda node: None)
    holds.cut(1, {"n1": frozenset({"n2"})})
    holds.cut(2, {"n1": frozenset({"n2", "n3"})})
    holds.reopen(1)
    assert world.drops["n1"] == {"n2", "n3"}
    holds.reopen(2)
    assert world.drops["n1"] == set()


def test_a_node_that_two_kills_hold_down_starts_once() -> None:
    world = World(3)
    started: list[Any] = []
    holds = Holds(nodes_of(world), lambda node: started.append(node.name))
    holds.kill(1, ["n1"])
    holds.kill(2, ["n1", "n2"])
    holds.revive(2, ["n1", "n2"])
    assert started == ["n2"]
    holds.revive(1, ["n1"])
    assert started == ["n2", "n1"]


def test_connectivity_agrees_with_counting_every_cut_of_four_nodes() -> None:
    nodes = FIVE[:4]
    links = list(combinations(nodes, 2))
    for mask in range(1 << len(links)):
        cut = [link for bit, link in enumerate(links) if mask >> bit & 1]
        cuts = {name: {b if a == name else a for a, b in cut if name in (a, b)} for name in nodes}
        able = [name for name in nodes if 4 - len(cuts[name]) >= 3]
        assert list(connectivity(nodes, cuts).leaders) == able
