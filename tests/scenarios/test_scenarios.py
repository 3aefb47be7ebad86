"""Every directed scenario passes on the clean reference Raft: nothing is out of place, and no judge objects."""

from __future__ import annotations

import pytest

from capsize.simulator.scenarios import SCENARIOS, Scenario, play
from capsize.simulator.scenarios.scenario import Play, scenario
from capsize.simulator.subject import CLEAN, subject
from capsize.verdict import Axis


@pytest.mark.parametrize("chosen", SCENARIOS.values(), ids=lambda chosen: f"{chosen.id}-{chosen.name}")
def test_a_correct_raft_passes(chosen: Scenario) -> None:
    played = play(chosen, CLEAN)
    assert played.unmet is None
    assert played.anomalies == ()
    for stage in played.stages:
        assert stage.verdict().axes[Axis.SAFETY].valid is True


def test_every_scenario_tells_its_story() -> None:
    assert all(len(chosen.story) > 40 and chosen.id.startswith("S") for chosen in SCENARIOS.values())


FOUND_BY_ITS_SCENARIO = [
    ("commit.old_term", "figure_8", "I7"),  # §5.4.2
    ("read.index_reuse_round", "a_round_retried", "not-linearizable"),  # thesis §6.4
    ("log.stale_ack", "acknowledgement_of_an_earlier_leadership", "I16"),
    ("log.acks_not_reset", "counts_of_an_earlier_leadership", "I16"),
    ("vote.accept_stale_response", "stale_vote_reply", "I1"),
    ("vote.count_duplicates", "doubled_vote_reply", "I1"),
    ("commit.beyond_new", "probe_inside_the_matching_prefix", "I8"),
    ("log.ack_own_last_index", "acknowledgement_reaches_no_further_than_its_message", "I16"),
    ("snap.boundary_ae", "snapshot_at_the_conflict", "I8"),
    ("member.no_noop_first", "changes_by_two_leaders", "I18"),
    ("member.no_rollback", "change_that_is_overwritten", "I18"),
    ("quorum.minority", "servers_go_one_by_one", "expectation"),
    ("quorum.minority", "three_of_five_are_away", "expectation"),
    ("quorum.minority", "kills_go_round", "expectation"),
    ("vote.no_uptodate_check", "leader_returns_beside_a_laggard", "expectation"),
    ("apply.twice_after_restart", "restarts_of_all_of_the_leader_and_of_a_follower", "expectation"),
    ("log.truncate_always", "churn", "I15"),
]


@pytest.mark.parametrize(("bug", "name", "check"), FOUND_BY_ITS_SCENARIO)
def test_a_scenario_finds_the_bug_that_random_runs_hardly_do(bug: str, name: str, check: str) -> None:
    assert check in play(SCENARIOS[name], subject([bug])).alarms


def test_what_a_scenario_finds_out_of_place_is_reported_as_its_expectation() -> None:
    @scenario("S00")
    def impossible(play: Play) -> None:
        """A scenario that expects what cannot be, to see how that is told."""
        play(3).expect(False, "no")

    try:
        played = play(SCENARIOS["impossible"], CLEAN)
    finally:
        del SCENARIOS["impossible"]
    assert played.alarms == ("expectation",)
    assert played.unmet == "no"
