"""The score is honest: it comes from the judges, and falls when a judge is replaced by one that is always satisfied."""

from __future__ import annotations

from typing import Any

import pytest

from capsize.checker.invariants import INVARIANTS
from capsize.cli.mutants import mutants
from capsize.raft.mutants import MUTANTS
from capsize.simulator import run, stage
from capsize.simulator.score import CLEAN_NAME, Row, all_names, examine, score
from capsize.track_record import Simulated, page
from capsize.verdict import Axis, Finding, Verdict

NO_SCENARIOS: list[str] = []
SEED_OF_A_STOP = 4
"""Its random run with `term.accept_stale_ae` ends in a server that stops itself, and in nothing else."""

CAUGHT_ONLY_BY = [
    ("commit.old_term", "figure_8", "I7"),
    ("vote.twice", "two_candidates_ask_one_voter", "I2"),
    ("vote.count_duplicates", "doubled_vote_reply", "I1"),
    ("log.acks_not_reset", "counts_of_an_earlier_leadership", "I16"),
    ("member.no_noop_first", "changes_by_two_leaders", "I18"),
]


@pytest.mark.parametrize(("bug", "scenario", "check"), CAUGHT_ONLY_BY)
def test_without_its_rule_the_score_falls(bug: str, scenario: str, check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = examine(bug, [], [scenario]).directed[scenario]
    monkeypatch.setattr(INVARIANTS[check], "report", lambda *_, **__: None)
    after = examine(bug, [], [scenario]).directed.get(scenario, ())
    assert check in before
    assert check not in after


@pytest.mark.parametrize("check", INVARIANTS)
def test_every_rule_finds_something_that_falls_away_without_it(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug that the rule reports, in a scenario or a run, is not reported under its name when it is satisfied."""
    bug, where = WITNESS[check]
    alarms = _alarms(bug, where)
    assert check in alarms, alarms
    monkeypatch.setattr(INVARIANTS[check], "report", lambda *_, **__: None)
    assert check not in _alarms(bug, where)


WITNESS: dict[str, tuple[str, str | int]] = {
    "I1": ("vote.count_duplicates", "doubled_vote_reply"),
    "I2": ("vote.twice", "split_vote"),
    "I3": ("log.prev0_blind_append", "first_entries_arrive_after_compaction"),
    "I4": ("log.no_tail_truncate", "tail_longer_than_the_batch"),
    "I5": ("vote.no_uptodate_check", "shorter_log_of_the_same_term"),
    "I6": ("vote.no_uptodate_check", "shorter_log_of_the_same_term"),
    "I7": ("commit.old_term", "figure_8"),
    "I8": ("commit.beyond_new", "probe_inside_the_matching_prefix"),
    "I9": ("commit.regress", "doubled_entries_cut_nothing"),
    "I10": ("commit.beyond_new", "probe_inside_the_matching_prefix"),
    "I11": ("apply.twice_after_restart", "restart_command_restart"),
    "I12": ("apply.before_commit", "write_through_five_servers"),
    "I13": ("vote.no_persist", "voter_loses_power"),
    "I14": ("disk.ack_before_fsync", "followers_disks_are_stuck"),
    "I15": ("log.truncate_always", "doubled_entries_cut_nothing"),
    "I16": ("log.acks_not_reset", "counts_of_an_earlier_leadership"),
    "I17": ("snap.no_sessions", "restart_command_restart"),
    "I18": ("member.no_rollback", "change_that_is_overwritten"),
    "I19": ("read.index_no_wait_apply", "read_on_a_slow_follower"),
    "I20": ("dedup.none", "retry_at_the_next_leader"),
    "I21": ("vote.prevote_counts", "late_pre_vote_replies"),
    "I22": ("vote.uptodate_vector", "newer_term_beats_longer_log"),
}


def _alarms(bug: str, where: str | int) -> tuple[str, ...]:
    assert isinstance(where, str)
    return examine(bug, [], [where]).directed.get(where, ())


def test_without_linearizability_stale_reads_are_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def satisfied(*_: Any, **__: Any) -> Verdict:
        return Verdict("linearizability", {Axis.SAFETY: Finding(True)})

    assert (
        "not-linearizable" in examine("read.leader_local", [], ["reads_on_both_sides"]).directed["reads_on_both_sides"]
    )
    monkeypatch.setattr(stage, "check_linearizable", satisfied)
    monkeypatch.setattr(run, "check_linearizable", satisfied)
    row = examine("read.leader_local", [], ["reads_on_both_sides"])
    assert not row.by_judges


def test_without_health_a_server_that_stops_itself_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message of an older term is obeyed: the server notices, ends, and no other judge hears of it."""

    def satisfied(*_: Any, **__: Any) -> Verdict:
        return Verdict("health", {Axis.LIVENESS: Finding(True), Axis.COVERAGE: Finding(True)})

    bug = "term.accept_stale_ae"
    before = examine(bug, [SEED_OF_A_STOP], NO_SCENARIOS)
    assert set(before.random) == {"node-stopped-itself"}
    monkeypatch.setattr(run, "_health", satisfied)
    assert not examine(bug, [SEED_OF_A_STOP], NO_SCENARIOS).found


def test_without_health_a_refusal_to_boot_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    bug, scenario = "recover.append_after_torn_tail", "torn_record_then_two_restarts"
    assert "node-refused-to-boot" in examine(bug, [], [scenario]).directed[scenario]
    monkeypatch.setattr(stage, "refused_to_boot", lambda *_, **__: ())
    assert not examine(bug, [], [scenario]).by_judges


@pytest.mark.parametrize("name", [CLEAN_NAME, *(name for name in all_names() if MUTANTS[name].control)])
def test_the_clean_core_and_the_negative_controls_are_not_accused(name: str) -> None:
    from capsize.simulator.scenarios import SCENARIOS

    row = examine(name, range(3), list(SCENARIOS))
    assert row.directed == {}
    assert row.caught == 0
    assert row.as_it_should


@pytest.mark.parametrize(
    "name", ["quorum.minority", "disk.ack_before_fsync", "leader.append_after_stepdown", "sm.random"]
)
def test_easy_bugs_are_found_by_a_few_random_runs(name: str) -> None:
    assert examine(name, range(3), NO_SCENARIOS).caught > 0


def test_the_track_record_tells_what_was_found_and_what_was_not() -> None:
    rows = score(["commit.old_term", "log.match_regress"], runs=0, scenarios=["figure_8"])
    text = page(Simulated(tuple(rows), "abc1234", "2026-11-23"))
    assert "**1 of 1 bugs caught**" in text
    assert "figure_8 (I" in text
    assert "1 of 1 negative controls" in text
    assert "abc1234" in text


def test_the_command_prints_the_score(capsys: pytest.CaptureFixture[str]) -> None:
    code = mutants(only=["commit.old_term"], runs=0, scenario=["figure_8"])
    out = capsys.readouterr().out
    assert code == 0
    assert "ok     commit.old_term" in out
    assert "1 of 1 planted bugs caught" in out


def test_a_missed_bug_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutants(only=["commit.old_term"], runs=0, scenario=["first_election"]) == 1
    assert "MISSED commit.old_term" in capsys.readouterr().out


def test_a_control_is_accused_by_broken_safety_only() -> None:
    slow = Row("c", "harmless", True, 3, 1, {"did-not-recover": 1})
    assert slow.as_it_should
    assert not Row("c", "harmless", True, 3, 1, {"I1": 1}).as_it_should
    assert not Row(CLEAN_NAME, "nothing", False, 3, 1, {"did-not-recover": 1}).as_it_should
