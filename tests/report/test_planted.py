"""Planted bugs, told: the witness is small, the nodes and the moment are the right ones, the broken rule is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulated import first_run, keep, keep_stage, simulated

from capsize.checker.budget import Budget
from capsize.report.html import render, write_html
from capsize.simulator.scenarios import SCENARIOS, play
from capsize.simulator.subject import subject
from capsize.verdict import Anomaly

CLIENTS = (
    "read.follower_local", "reply.before_commit", "dedup.none", "sm.random", "apply.twice_after_restart",
    "reply.index_only", "reply.lost_as_fail",
)  # fmt: skip
"""Planted bugs that reach a client."""
RULES = {"quorum.minority": "I16", "vote.cleared_on_stepdown": "I9", "commit.old_term": "I7"}
"""Planted bugs, and a rule that they break."""
MOST = 12


def met_by_clients(anomaly: Anomaly) -> bool:
    return bool(anomaly.operations)


def clients_met(verdict: dict[str, Any]) -> list[dict[str, Any]]:
    return [anomaly for anomaly in verdict["anomalies"] if anomaly["operations"]]


@pytest.mark.parametrize("bug", CLIENTS)
def test_a_bug_that_reaches_a_client_is_told_with_few_operations_and_the_right_nodes(bug: str, tmp_path: Path) -> None:
    outcome = first_run(bug, met_by_clients)
    verdict = keep(outcome, tmp_path)
    found = clients_met(verdict)
    assert found, [anomaly["name"] for anomaly in verdict["anomalies"]]
    history = {(op.process, op.call_ns): op for op in outcome.history}
    for anomaly in found:
        operations = anomaly["operations"]
        assert 0 < len(operations) <= MOST, (anomaly["name"], len(operations))
        told = " ".join(anomaly["because"])
        served: set[str] = set()
        for shown in operations:
            op = history[shown["process"], shown["call_ns"]]
            assert (op.f, op.outcome, op.node) == (shown["f"], shown["outcome"], shown["node"])
            served |= {str(op.meta.get("served_by")), str(op.node)}
        times = {f"{ns / 1e9:.3f}" for op in outcome.history for ns in (op.call_ns, op.return_ns) if ns is not None}
        events = {f"{event.mono / 1e9:.3f}" for event in outcome.recorded or ()}
        for who, term, index in re.findall(r"served by (n\d) in term (\d+) at log index (\d+)", told):
            assert who in served
            told_so = [op.meta for op in outcome.history if op.meta.get("log_index") == int(index)]
            assert any((meta.get("served_by"), meta.get("term")) == (who, int(term)) for meta in told_so)
        for moment in re.findall(r"(\d+\.\d{3}) s\b", told):
            assert moment in times | events, (anomaly["name"], moment)
        first = min(shown["call_ns"] for shown in operations)
        assert any(f"{shown['call_ns'] / 1e9:.3f}" in told or f"{(shown['return_ns'] or 0) / 1e9:.3f}" in told
                   for shown in operations), first  # fmt: skip
    page = render(tmp_path)
    assert page.index('id="anomaly-1"') < page.index('id="timeline"')
    assert "could not be drawn" not in page
    assert "no messages drawn" not in page


def test_a_deposed_leaders_read_names_the_deposed_leader(tmp_path: Path) -> None:
    played = play(SCENARIOS["reads_on_both_sides"], subject(["read.leader_local"]), record=True)
    stage = played.stages[0]
    stale = next(one for one in keep_stage(stage, tmp_path)["anomalies"] if one["name"] == "stale-read")
    read = max((one for one in stale["operations"] if one["f"] == "get"), key=lambda one: one["call_ns"])
    events = stage.world.recorded or []
    server = read["node"]
    terms = {event.state.term: event.node for event in events if event.ev == "become_leader"}
    newest = max(event.state.term for event in events if event.ev == "become_leader" and event.mono < read["call_ns"])
    assert terms[newest] != server, "somebody else led when it was answered"
    assert server in terms.values()
    told = " ".join(stale["because"])
    assert f"on {server} read 1" in told
    assert f"on {terms[newest]} was told" in told
    assert len(stale["operations"]) <= MOST


@pytest.mark.parametrize("bug", RULES)
def test_a_broken_rule_is_shown_with_its_events_its_node_and_its_source(bug: str, tmp_path: Path) -> None:
    rule = RULES[bug]
    outcome = first_run(bug, lambda anomaly: anomaly.details.get("invariant") == rule)
    verdict = keep(outcome, tmp_path)
    broken = [anomaly for anomaly in verdict["anomalies"] if anomaly["details"].get("invariant") == rule]
    assert broken, [anomaly["name"] for anomaly in verdict["anomalies"]]
    recorded = {(event.node, event.inc, event.lc): event for event in outcome.recorded or ()}
    for anomaly in broken:
        assert anomaly["events"]
        for event in anomaly["events"]:
            seen = recorded[event["node"], event["inc"], event["lc"]]
            assert (seen.ev, seen.mono) == (event["ev"], event["mono"])
        assert anomaly["details"]["node"] == anomaly["events"][-1]["node"]
        assert anomaly["details"]["node"] in anomaly["because"][0]
    page = render(tmp_path)
    assert f"Broken rule {rule}" in page
    assert 'class="dot' in page
    assert "accused" in page


def test_the_clean_system_has_nothing_to_tell(tmp_path: Path) -> None:
    verdict = keep(simulated([], 1), tmp_path)
    assert verdict["anomalies"] == []
    assert verdict["valid"] is not False
    assert "What is wrong" not in render(tmp_path)


@pytest.mark.browser
def test_pointing_at_an_operation_shows_the_longest_order_that_holds_it(
    tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    keep(first_run("read.follower_local", met_by_clients), tmp_path)
    page = open_page(write_html(tmp_path), 1440, 1400)
    article = page.locator(".anomaly").first
    chain = article.locator(".chain li")
    before = chain.all_inner_texts()
    assert before[0].startswith("starts as")
    assert "cannot follow" in before[-1]
    assert article.locator(".point").count() >= 2
    assert article.locator(".through polyline").count() >= 1
    for number in range(article.locator(".track").count()):
        article.locator(".track").nth(number).hover()
        held = page.evaluate("n => capsize.orders(0).of[n]", number)
        if held >= 0:
            assert chain.count() == page.evaluate("n => 1 + capsize.orders(0).lines[n].flat().length", held)
    page.locator("h1").hover()
    assert chain.all_inner_texts() == before
    link = article.locator(".who a.jump").first
    link.focus()
    assert chain.count() >= 2
    assert article.locator("svg.ring").count() == 1
    talk = article.locator("details.talk summary")
    talk.focus()
    page.keyboard.press("Enter")
    assert article.locator("svg.messages").is_visible()


@pytest.mark.browser
def test_a_broken_rule_is_found_on_the_timeline(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    keep(first_run("vote.cleared_on_stepdown", lambda anomaly: bool(anomaly.events)), tmp_path)
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    place = next(k for k, one in enumerate(verdict["anomalies"]) if not one["operations"])
    page = open_page(write_html(tmp_path), 1440, 1200)
    page.locator("#fit").click()
    page.locator("[data-show]").nth(place).click()
    at = page.evaluate("n => capsize.moments(n)[0][0]", place)
    assert page.evaluate("t => capsize.view.t0 < t && t < capsize.view.t1", at)
    assert page.evaluate("capsize.view.t1 - capsize.view.t0") < 1_000_000
    assert "n" in page.locator("#said").inner_text()


def test_a_witness_is_impossible_by_itself_and_a_near_miss_is_not(tmp_path: Path) -> None:
    """Of the smallest witness of a stale read every single operation is needed."""
    from capsize.checker.models import MODELS
    from capsize.checker.outcome import Illegal
    from capsize.checker.wgl import decide_wgl
    from capsize.history import History
    from capsize.verdict import Verdict

    def impossible(operations: list[Any]) -> bool:
        return isinstance(decide_wgl(History.of(operations), MODELS["kv"](), Budget()), Illegal)

    verdict = Verdict.from_json(keep(first_run("read.follower_local", met_by_clients), tmp_path))
    stale = next(one for one in verdict.anomalies if one.name == "stale-read")
    assert {op.f for op in stale.operations} <= {"get", "put", "cas"}
    assert impossible(list(stale.operations))
    last = max(stale.operations, key=lambda op: op.call)
    assert last.f == "get", "who read is the last of them"
    assert not impossible([op for op in stale.operations if op is not last])
