"""Planted bugs that break a rule of Raft: the verdict shows the nodes' events, the node, the rule and its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from truth import broken_rule

from capsize.simulator.scenarios import SCENARIOS, play
from capsize.simulator.subject import subject

TRACK_RECORD = Path(__file__).resolve().parents[2] / "docs" / "track-record" / "simulator.json"
SLOW = frozenset({"everything_holds_after_a_storm", "follower_500_entries_behind", "rolling_upgrade"})
"""Scenarios that are played only where no other one shows the bug."""


def accused() -> dict[str, tuple[str, frozenset[str]]]:
    """Return every planted bug of which a directed scenario shows a broken rule: one such scenario, and its rules."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for row in json.loads(TRACK_RECORD.read_text())["rows"]:
        rules = {
            scenario: frozenset(check for check in checks if check[0] == "I" and check[1:].isdigit())
            for scenario, checks in row["directed"].items()
        }
        showing = sorted((name for name in rules if rules[name]), key=lambda name: (name in SLOW, name))
        if showing:
            found[row["name"]] = (showing[0], rules[showing[0]])
    return found


ACCUSED = accused()


def test_the_track_record_names_broken_rules_of_most_planted_bugs() -> None:
    assert len(ACCUSED) > 50


@pytest.mark.parametrize("bug", ACCUSED)
def test_a_broken_rule_is_shown_with_its_events_its_node_and_its_source(bug: str) -> None:
    scenario, rules = ACCUSED[bug]
    shown: set[str] = set()
    for stage in play(SCENARIOS[scenario], subject([bug]), record=True).stages:
        recorded = stage.world.recorded or []
        anomalies: list[dict[str, Any]] = stage.verdict().to_json()["anomalies"]
        for anomaly in anomalies:
            if "invariant" in anomaly["details"]:
                shown.add(anomaly["details"]["invariant"])
                assert broken_rule(anomaly, recorded) == [], anomaly["because"]
    assert rules <= shown


def test_a_story_with_an_event_that_nobody_recorded_or_another_node_is_seen_to_be_untrue() -> None:
    (stage,) = play(SCENARIOS["learners_do_not_count"], subject(["quorum.counts_nonvoters"]), record=True).stages
    recorded = stage.world.recorded or []
    anomaly = next(one for one in stage.verdict().to_json()["anomalies"] if "invariant" in one["details"])
    assert broken_rule(anomaly, recorded) == []
    assert any("not recorded" in one for one in broken_rule(anomaly, recorded[:1]))
    elsewhere = {**anomaly, "details": {**anomaly["details"], "node": "n99"}}
    assert any("n99 is not named" in one for one in broken_rule(elsewhere, recorded))
    unsourced = {**anomaly, "because": [anomaly["because"][0].split("(")[0], *anomaly["because"][1:]]}
    assert any("no rule" in one for one in broken_rule(unsourced, recorded))
