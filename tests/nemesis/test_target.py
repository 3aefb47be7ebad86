"""Whom symbols mean, whom nobody is, and how quorum-aware targets count what other faults hold."""

from __future__ import annotations

import random
from collections.abc import Collection

import pytest
from fake_cluster import World, nodes_of

from capsize.nemesis.connectivity import connectivity
from capsize.nemesis.fault import Plan, Situation, Skip
from capsize.nemesis.holds import Holds
from capsize.nemesis.process import Kill
from capsize.nemesis.target import resolve

FIVE = ("n1", "n2", "n3", "n4", "n5")


def who(target: str, seed: int = 1, leader: str | None = "n2", **known: object) -> tuple[str, ...]:
    return resolve(target, FIVE, leader, random.Random(seed), **known)  # type: ignore[arg-type]


def test_the_old_leader_is_who_led_before_and_nobody_while_that_is_not_known() -> None:
    assert who("old-leader", old_leader="n4") == ("n4",)
    assert who("old-leader") == ()


def test_the_longest_and_the_shortest_log_are_found_and_of_several_one_that_does_not_lead() -> None:
    ends = {"n1": 40, "n2": 41, "n3": 41, "n4": 12}
    assert who("most-up-to-date", last_index=ends) == ("n3",)
    assert who("least-up-to-date", last_index=ends) == ("n4",)
    assert who("most-up-to-date", last_index={"n2": 41, "n1": 3}) == ("n2",)
    assert who("least-up-to-date", last_index={}) == ()


@pytest.mark.parametrize("seed", range(20))
def test_keep_quorum_takes_as_many_as_can_go_and_lose_quorum_one_more(seed: int) -> None:
    assert len(who("keep-quorum", seed)) == 2
    assert len(who("lose-quorum", seed)) == 3


def holds_with(*down: str) -> Holds:
    world = World(5)
    holds = Holds(nodes_of(world), lambda node: None)
    holds.kill(99, down)
    return holds


def situation(holds: Holds, quorum: str = "", voters: tuple[str, ...] | None = None) -> Situation:
    def without(names: Collection[str]) -> bool:
        return holds.remains({}, names, voters=voters).quorum

    return Situation(FIVE, "n2", 3, quorum_without=without, quorum=quorum)


@pytest.mark.parametrize("seed", range(20))
def test_a_quorum_is_kept_although_another_fault_holds_a_node_down(seed: int) -> None:
    holds = holds_with("n4")
    chosen = situation(holds).whom("keep-quorum", random.Random(seed))
    assert len(set(chosen) | {"n4"}) == 2 if "n4" not in chosen else len(chosen) == 2
    assert holds.remains({}, chosen).quorum


def test_nobody_is_hit_when_no_quorum_can_be_kept_or_lost_any_more() -> None:
    holds = holds_with("n1", "n3", "n4")
    assert situation(holds).whom("keep-quorum", random.Random(1)) == ()
    assert situation(holds).whom("lose-quorum", random.Random(1)) == ()
    plan = Kill("keep-quorum").plan(situation(holds), random.Random(1), holds)
    assert isinstance(plan, Skip)


@pytest.mark.parametrize("seed", range(20))
def test_a_quorum_aware_step_gives_up_targets_until_a_quorum_stays(seed: int) -> None:
    holds = holds_with("n5")
    plan = Kill("majority").plan(situation(holds, "keep"), random.Random(seed), holds)
    if isinstance(plan, Plan):
        assert holds.remains({}, plan.targets).quorum


@pytest.mark.parametrize("seed", range(20))
def test_a_step_that_is_to_lose_the_quorum_takes_more_targets_until_it_is_lost(seed: int) -> None:
    holds = holds_with()
    plan = Kill("one").plan(situation(holds, "lose"), random.Random(seed), holds)
    assert isinstance(plan, Plan)
    assert len(plan.targets) == 3
    assert not holds.remains({}, plan.targets).quorum


def test_only_voters_count_for_a_quorum() -> None:
    """After two members were removed, two of the three that are left are a majority, however many nodes run."""
    voters = ("n1", "n2", "n3")
    assert connectivity(FIVE, {}, ["n3"], voters=voters).quorum
    assert not connectivity(FIVE, {}, ["n2", "n3"], voters=voters).quorum
    assert connectivity(FIVE, {}, [], voters=voters).leaders == voters
    holds = holds_with()
    for seed in range(10):
        chosen = situation(holds, voters=voters).whom("keep-quorum", random.Random(seed))
        assert len(set(chosen) & set(voters)) == 1


def test_what_faults_are_about_to_take_is_counted_before_it_is_taken() -> None:
    holds = holds_with("n1")
    holds.reserve(7, ["n2"], {}, "")
    assert not holds.remains({}, ["n3"]).quorum
    holds.unreserve(7)
    assert holds.remains({}, ["n3"]).quorum
