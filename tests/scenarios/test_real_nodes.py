"""Directed scenarios on real nodes, as far as failpoints reach: what the traces say happened, step by step."""

from __future__ import annotations

from pathlib import Path

import pytest

from capsize import judging
from capsize.checker.trace import Entry, TraceEvent, causal_order, parse_trace
from capsize.config import RunConfig
from capsize.history import load_history
from capsize.judging import judge
from capsize.runner import Finished, run
from capsize.verdict import Axis


def traced(folder: Path) -> list[TraceEvent]:
    """Return the events of a run's nodes, causes first."""
    traces: list[list[TraceEvent]] = []
    for path in sorted(folder.glob("nodes/*/trace.jsonl")):
        with path.open("rb") as lines:
            traces.append(list(parse_trace(lines, name=str(path))))
    return causal_order(traces)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run in which leaders die right after appending."""
    config = RunConfig(
        seed=3, workload="kv", faults=("crash-after-append",), nodes=3, time_limit_s=6.0, backend="local", rate=60.0,
        options={"election_timeout_ms": "300-600"},
    )  # fmt: skip
    return run(config, tmp_path_factory.mktemp("store"))


def test_a_leader_that_dies_after_appending_before_any_follower_responds_loses_nothing_that_was_told(
    crashed: Finished,
) -> None:
    """The article's question: the entry is on the leader's disk at most, nobody was told, the cluster goes on.

    The core syncs before it sends: at the failpoint no AppendEntries with the entry has left.
    """
    assert crashed.verdict.valid is True, crashed.verdict.axes
    events = traced(crashed.folder)
    deaths = [event for event in events if event.ev == "recover" and event.inc > 1]
    assert deaths, "no leader died"
    for death in deaths:
        before = [event for event in events if event.node == death.node and event.inc == death.inc - 1]
        assert any(event.ev == "become_leader" for event in before)
        alone = last_append(before)
        held = [
            event for event in events
            if event.node != death.node and event.ev == "append" and alone in event.entries()
        ]  # fmt: skip
        after = [event for event in held if events.index(event) > events.index(death)]
        assert held == after, f"{alone} had reached {held[0].node} before {death.node} died"


def test_its_client_was_not_told_that_it_was_done(crashed: Finished) -> None:
    """Raft paper §8: the outcome is unknown, neither ok nor fail; so the checker may place it or leave it out."""
    history = load_history(crashed.folder / "history.jsonl")
    unknown = [operation for operation in history if operation.outcome == "info"]
    events = traced(crashed.folder)
    deaths = [event for event in events if event.ev == "recover" and event.inc > 1]
    assert len(unknown) >= len(deaths), "every leader that died held a write that somebody waited for"


def last_append(events: list[TraceEvent]) -> Entry:
    """Return the last entry that a node appended before it died."""
    return next(event for event in reversed(events) if event.ev == "append").entries()[-1]


def test_of_traces_that_are_too_long_the_beginning_is_judged_and_the_verdict_says_so(
    crashed: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = judge(crashed.folder).figures["raft-invariants"]["events"]
    size = sum(path.stat().st_size for path in crashed.folder.glob("nodes/*/trace.jsonl"))
    monkeypatch.setattr(judging, "TRACE_BYTES_MAX", size // 2)
    verdict = judge(crashed.folder)
    assert verdict.valid == "unknown"
    assert verdict.axes[Axis.SAFETY].valid is True
    assert "were judged over the first" in " ".join(verdict.axes[Axis.COVERAGE].because)
    assert whole * 0.2 < verdict.figures["raft-invariants"]["events"] < whole * 0.8
