"""A simulated run: the same seed gives the same run, event for event; a clean core raises no alarm."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest

from capsize.checker.invariants import RaftInvariants
from capsize.checker.trace import TraceEvent
from capsize.simulator.many import outcomes
from capsize.simulator.run import Plan, simulate
from capsize.simulator.subject import subject

RUNS = int(os.environ.get("CAPSIZE_SIMULATED_RUNS", "12"))


def test_a_seed_replays_exactly() -> None:
    first, second = (simulate(replace(Plan.varied(5), record=True)) for _ in range(2))
    assert first.recorded == second.recorded
    assert list(first.history) == list(second.history)
    assert first.verdict == second.verdict


def test_two_processes_find_what_one_does_in_the_same_order() -> None:
    plans = [Plan.varied(seed, operations=60) for seed in range(4)]
    one, two = (list(outcomes(plans, ["quorum.minority"], jobs=jobs)) for jobs in (1, 2))
    assert [outcome.plan.seed for outcome in two] == [0, 1, 2, 3]
    assert [outcome.verdict for outcome in two] == [outcome.verdict for outcome in one]
    assert [list(outcome.history) for outcome in two] == [list(outcome.history) for outcome in one]
    assert any(outcome.alarms for outcome in two)


def test_another_seed_gives_another_run() -> None:
    assert simulate(Plan(1, faults=2, operations=40)).events != simulate(Plan(2, faults=2, operations=40)).events


@pytest.mark.parametrize("seed", range(RUNS))
def test_the_clean_core_raises_no_alarm(seed: int) -> None:
    outcome = simulate(Plan.varied(seed))
    assert outcome.alarms == ()
    assert outcome.verdict.valid is True, outcome.verdict.axes


def test_a_run_without_faults_judges_what_it_can_and_names_the_rest() -> None:
    outcome = simulate(Plan(1, faults=0, operations=60))
    figures = outcome.verdict.figures["raft-invariants"]
    assert outcome.verdict.valid is True
    assert {"I1", "I4", "I8", "I14", "I16", "I17"} <= set(figures["judged"])
    assert "I18" in figures["not_judged"]


@pytest.mark.parametrize("nodes", [1, 3, 4, 5])
def test_clusters_of_every_size_run(nodes: int) -> None:
    assert simulate(Plan(7, nodes=nodes, faults=4, operations=80, length_ms=5_000)).verdict.valid is True


@pytest.mark.parametrize("seed", range(6))
def test_traces_that_are_cut_anywhere_raise_no_alarm(seed: int) -> None:
    """Of a long run only the beginnings are judged, cut where it happens: what is judged has all its causes."""
    outcome = simulate(replace(Plan.varied(seed, operations=120), record=True))
    by_node: dict[str, list[TraceEvent]] = {}
    for event in outcome.recorded or ():
        by_node.setdefault(event.node, []).append(event)
    rng = random.Random(seed)
    traces = [events[: rng.randint(len(events) // 4, len(events))] for events in by_node.values()]
    verdict = RaftInvariants(traces, cut=by_node).check()
    assert verdict.anomalies == ()
    assert 0 < verdict.figures["events"] < outcome.events


def test_what_is_broken_before_the_cut_is_still_found() -> None:
    plan = Plan.varied(4, operations=200, nodes=3, subject=subject(["quorum.minority"]))
    outcome = simulate(replace(plan, record=True))
    assert outcome.recorded
    names = {event.node for event in outcome.recorded}
    traces = [[event for event in outcome.recorded if event.node == name] for name in names]
    verdict = RaftInvariants([events[: len(events) * 3 // 4] for events in traces], cut=names).check()
    assert verdict.valid is False
