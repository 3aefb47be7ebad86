"""What polls prove of terms, leaders and commit indexes, and what they do not."""

from __future__ import annotations

from typing import Any

import pytest

from capsize.checker.budget import Budget
from capsize.checker.polled import PolledState
from capsize.history import History
from capsize.verdict import Verdict


def judged(*lines: dict[str, Any]) -> Verdict:
    events = [
        {"index": number, "time_ns": number * 10**9, "process": "nemesis", "type": "info", **line}
        for number, line in enumerate(lines)
    ]
    return PolledState().check(History.from_events(events), Budget())


def says(node: str, role: str, term: int, seen: int = 1, **more: Any) -> dict[str, Any]:
    return {"f": "status", "value": {"node": node, "role": role, "term": term, "seen": seen, **more}}


def leads(node: str, term: int) -> list[dict[str, Any]]:
    return [says(node, "leader", term, seen) for seen in (1, 2)]


def fault(word: str, *targets: str) -> list[dict[str, Any]]:
    return [
        {
            "f": word,
            "value": {"id": 1, "phase": phase, "targets": list(targets), **({"landed": True} if landed else {})},
        }
        for phase, landed in (("intend", False), ("inject", False), ("probe", True), ("heal", False))
    ]


def names(verdict: Verdict) -> list[str]:
    assert verdict.valid is (not verdict.anomalies)
    return [anomaly.name for anomaly in verdict.anomalies]


def test_leaders_of_ascending_terms_are_as_it_should_be() -> None:
    verdict = judged(*leads("n1", 1), says("n2", "follower", 1), *leads("n2", 3), says("n1", "follower", 3))
    assert names(verdict) == []
    assert verdict.figures["terms_led"] == 2


def test_without_polls_there_is_nothing_to_say() -> None:
    verdict = judged({"f": "leader", "value": {"leader": "n1", "term": 1}})
    assert dict(verdict.axes) == {}
    assert verdict.figures == {"polls": 0}


def test_a_node_that_led_in_a_term_must_not_forget_it() -> None:
    verdict = judged(*leads("n1", 3), *fault("kill", "n1"), says("n1", "follower", 1))
    assert names(verdict) == ["term-forgotten"]
    (anomaly,) = verdict.anomalies
    assert (
        "n1 said at 1.000 s that it leads in term 3; n1 said at 6.000 s that it follows in term 1." in anomaly.because
    )
    assert "kill of n1" in anomaly.because[-1]
    assert [event["st"]["term"] for event in anomaly.events] == [3, 3, 1]


def test_a_term_that_a_node_was_merely_in_may_be_lost_with_it() -> None:
    verdict = judged(says("n1", "candidate", 3), *fault("power-loss", "n1"), says("n1", "follower", 2))
    assert names(verdict) == []
    assert verdict.figures["terms_lower_after_restart"] == 1


@pytest.mark.parametrize("word", ["wipe-rejoin", "remove-member", "shrink", "truncate", "bit-flip"])
def test_a_node_that_was_wiped_begins_anew(word: str) -> None:
    assert names(judged(*leads("n1", 3), *fault(word, "n1"), says("n1", "follower", 0))) == []


def test_two_leaders_of_one_term_are_told() -> None:
    assert names(judged(*leads("n1", 2), *leads("n2", 2))) == ["two-leaders-in-a-term"]


def test_a_vote_that_was_destroyed_on_a_disk_may_be_given_twice() -> None:
    assert names(judged(*leads("n1", 2), *fault("truncate", "n3"), *leads("n2", 2))) == []
    assert names(judged(*leads("n1", 2), *fault("torn-tail", "n3"), *leads("n2", 2))) == ["two-leaders-in-a-term"]


def test_a_term_that_lags_behind_proves_nothing() -> None:
    # etcd names the term of the last entry it applied: a new leader that cannot commit yet still names the old one.
    lagging = [says("n2", "leader", 2, seen, term_lags=True) for seen in (1, 2)]
    before = [says("n1", "leader", 2, seen, term_lags=True) for seen in (1, 2)]
    assert names(judged(*before, *lagging, *fault("kill", "n1"), says("n1", "follower", 1, term_lags=True))) == []


def test_role_and_term_from_two_moments_prove_nothing() -> None:
    # n1 steps down in term 3, where n2 leads: one answer mixes its old role with the new term.
    assert names(judged(*leads("n1", 2), says("n1", "leader", 3), says("n1", "follower", 3), *leads("n2", 3))) == []


def test_a_leader_elected_in_a_term_of_the_past_is_told_and_a_deposed_one_is_not() -> None:
    late = [says("n3", "follower", 1), says("n3", "follower", 1, 2)]
    assert names(judged(*leads("n1", 5), *late, *leads("n3", 2))) == ["leader-of-the-past"]
    assert names(judged(*leads("n3", 2), *leads("n1", 5), *leads("n3", 2))) == []
    assert names(judged(*late, *leads("n1", 5), *leads("n3", 2))) == []  # it may have been elected long before


@pytest.mark.parametrize(("word", "expected"), [("halves", ["commit-went-back"]), ("kill", []), ("slow-disk", [])])
def test_a_commit_index_may_only_go_back_with_its_process(word: str, expected: list[str]) -> None:
    back = says("n1", "follower", 2, commit_index=7, before={"commit_index": 9})
    verdict = judged(says("n1", "follower", 2, commit_index=5), *fault(word, "n1"), back)
    assert names(verdict) == expected


def test_a_fault_that_failed_on_its_way_may_have_restarted_the_node_all_the_same() -> None:
    """It was killed so that its file could be damaged; there was no file, so the fault never landed."""
    failed = [
        {"f": "truncate", "value": {"id": 4, "phase": "intend", "targets": ["n2"]}},
        says("n2", "follower", 2, commit_index=0, before={"commit_index": 10}),
        {"f": "truncate", "value": {"id": 4, "phase": "probe", "targets": ["n2"], "landed": False}},
        {"f": "truncate", "value": {"id": 4, "phase": "heal-probe", "targets": ["n2"], "landed": True}},
    ]
    before = says("n2", "follower", 2, commit_index=10)
    assert names(judged(before, *failed)) == []
    later = says("n2", "follower", 2, commit_index=3, before={"commit_index": 9})
    assert names(judged(before, *failed, says("n2", "follower", 2, commit_index=9), later)) == ["commit-went-back"]
    assert names(judged(before, failed[1])) == ["commit-went-back"]
