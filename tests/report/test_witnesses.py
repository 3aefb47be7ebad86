"""Planted bugs that reach a client: what the report says is few, impossible by itself, and as the run really was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulated import keep, keep_stage, simulated
from truth import broken_rule, problems

from capsize.checker.trace import TraceEvent
from capsize.history import History
from capsize.simulator.run import Plan, simulate
from capsize.simulator.scenarios import SCENARIOS, play
from capsize.simulator.schedule import Step
from capsize.simulator.subject import subject

PLAYED = {
    "read.leader_local": "two_halves_and_a_bridge",
    "read.follower_local": "two_halves_and_a_bridge",
    "read.lease_no_margin": "read_under_an_old_lease",
    "read.index_no_noop": "read_before_the_new_leader_committed",
    "read.index_no_wait_apply": "read_on_a_slow_follower",
    "read.index_reuse_round": "a_round_retried",
    "read.quorum_minus_one": "reads_on_both_sides",
    "reply.index_only": "two_halves_and_a_bridge",
    "reply.timeout_as_fail": "everything_holds_after_a_storm",
    "dedup.none": "retry_at_a_leader_that_knows_it_from_a_snapshot",
    "dedup.evict_early": "retry_at_a_leader_that_knows_it_from_a_snapshot",
    "sm.map_order": "rolling_upgrade",
    "snap.no_sessions": "retry_after_everybody_restarted_from_snapshots",
}
"""Planted bugs, and a directed scenario in which a client meets each."""
DRAWN = {
    "apply.before_commit": 0,
    "apply.leader_only": 0,
    "apply.twice_after_restart": 2,
    "sm.random": 0,
    "sm.local_error": 0,
    "reply.before_commit": 0,
    "reply.lost_as_fail": 3,
    "snap.no_reset_state": 8,
    "vote.no_uptodate_check": 0,
    "vote.uptodate_term_only": 4,
    "quorum.minority": 7,
    "quorum.offbyone_even": 8,
    "quorum.unsorted_match": 7,
    "log.no_prev_check": 5,
    "log.never_truncate": 7,
    "log.truncate_always": 5,
    "leader.append_after_stepdown": 6,
    "disk.same_term_rewrite": 1,
}
"""Planted bugs, and the seed of a random run in which a client meets each."""
FOLLOWED = {
    "disk.ack_before_fsync": (Step(3_000, 800, "pause-disk", "all"), Step(3_500, 400, "power-loss", "all")),
}
"""Planted bugs that drawn faults hardly let a client meet, and the faults that do."""

Told = tuple[dict[str, Any], History, list[TraceEvent]]


def played(bug: str, folder: Path) -> list[Told]:
    stages = play(SCENARIOS[PLAYED[bug]], subject([bug]), record=True).stages
    return [
        (keep_stage(stage, folder / str(number)), stage.history(), stage.world.recorded or [])
        for number, stage in enumerate(stages)
    ]


def drawn(bug: str, folder: Path) -> list[Told]:
    outcome = simulated([bug], DRAWN[bug])
    return [(keep(outcome, folder), outcome.history, outcome.recorded or [])]


def followed(bug: str, folder: Path) -> list[Told]:
    plan = Plan.varied(1, subject=subject([bug]), record=True, operations=60)
    outcome = simulate(plan.following(FOLLOWED[bug]))
    return [(keep(outcome, folder), outcome.history, outcome.recorded or [])]


def check(told: list[Told]) -> None:
    clients = 0
    for verdict, history, recorded in told:
        for anomaly in verdict["anomalies"]:
            if anomaly["operations"]:
                clients += 1
                assert problems(anomaly, history, recorded) == [], anomaly["because"]
            elif "invariant" in anomaly["details"]:
                assert broken_rule(anomaly, recorded) == []
    assert clients, "no client met it"


@pytest.mark.parametrize("bug", PLAYED)
def test_what_is_told_of_a_scenario_is_small_proven_and_true(bug: str, tmp_path: Path) -> None:
    check(played(bug, tmp_path))


@pytest.mark.parametrize("bug", DRAWN)
def test_what_is_told_of_a_random_run_is_small_proven_and_true(bug: str, tmp_path: Path) -> None:
    check(drawn(bug, tmp_path))


@pytest.mark.parametrize("bug", FOLLOWED)
def test_what_is_told_of_a_run_with_chosen_faults_is_small_proven_and_true(bug: str, tmp_path: Path) -> None:
    check(followed(bug, tmp_path))


def test_a_story_with_the_wrong_node_or_moment_or_a_missing_operation_is_seen_to_be_untrue(tmp_path: Path) -> None:
    verdict, history, recorded = played("read.index_no_noop", tmp_path)[0]
    anomaly = next(one for one in verdict["anomalies"] if one["operations"])
    assert problems(anomaly, history, recorded) == []
    fewer = {**anomaly, "operations": anomaly["operations"][1:]}
    assert "what is shown is possible" in problems(fewer, history, recorded)
    elsewhere = History.of([replace(op, node="n9") for op in history])
    assert any("on n9" in one for one in problems(anomaly, elsewhere, recorded))
    later = [line.replace("answered at ", "answered at 9") for line in anomaly["because"]]
    assert any("was answered at" in one for one in problems({**anomaly, "because": later}, history, recorded))


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ("was on n1, n2, n3, n4 and n5 when", "was on n1, n2, n3 and n5 when"),
        ("n2 at 3.562 s came back", "n2 at 3.526 s came back"),
        ("n1 at 3.562 s came back with a log that ends at index 26", "n1 at 3.562 s cut its log back to index 26"),
        ("n3 became leader of term 2", "n4 became leader of term 2"),
        ("its last entry 26 of term 1", "its last entry 26 of term 2"),
    ],
)
def test_what_is_told_of_the_nodes_is_seen_to_be_untrue_where_it_is(said: str, instead: str, tmp_path: Path) -> None:
    verdict, history, recorded = followed("disk.ack_before_fsync", tmp_path)[0]
    anomaly = next(one for one in verdict["anomalies"] if one["name"] == "lost-element")
    assert any(said in line for line in anomaly["because"])
    assert problems(anomaly, history, recorded) == []
    wrong = [line.replace(said, instead) for line in anomaly["because"]]
    assert len(problems({**anomaly, "because": wrong}, history, recorded)) == 1
