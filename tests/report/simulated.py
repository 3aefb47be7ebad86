"""A simulated run of the reference Raft, with a planted bug or without, as a folder of the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from capsize.checker.explain import explained
from capsize.checker.models import MODELS
from capsize.checker.trace import TraceEvent
from capsize.history import History
from capsize.simulator.run import Outcome, Plan, simulate
from capsize.simulator.stage import Stage
from capsize.simulator.subject import subject
from capsize.verdict import Anomaly, Verdict

MOST_SEEDS = 40


def simulated(bugs: Sequence[str], seed: int, **fields: Any) -> Outcome:
    """Return a recorded simulated run of the planted bugs."""
    return simulate(Plan.varied(seed, subject=subject(list(bugs)), record=True, **fields))


def first_run(bug: str, wanted: Callable[[Anomaly], bool]) -> Outcome:
    """Return the first run, by seed, in which the planted bug shows an anomaly that is `wanted`."""
    for seed in range(MOST_SEEDS):
        outcome = simulate(Plan.varied(seed, subject=subject([bug])))
        if any(map(wanted, outcome.verdict.anomalies)):
            return simulated([bug], seed)
    raise AssertionError(f"{bug} did not show in {MOST_SEEDS} runs")


def keep(outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Write the run as a store folder, its anomalies explained; return its verdict as JSON."""
    nodes = [f"n{number}" for number in range(1, outcome.plan.nodes + 1)]
    return kept(outcome.verdict, outcome.history, outcome.recorded or (), nodes, folder, seed=outcome.plan.seed)


def keep_stage(stage: Stage, folder: Path) -> dict[str, Any]:
    """Write what was played on a stage as a store folder; return its verdict as JSON."""
    return kept(stage.verdict(), stage.history(), stage.world.recorded or (), list(stage.world.names), folder)


def kept(
    judged: Verdict,
    history: History,
    recorded: Sequence[TraceEvent],
    nodes: Sequence[str],
    folder: Path,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Write a store folder; return its verdict, explained, as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    verdict = explained(judged, history, MODELS["kv"](), traces=recorded, origin=0).to_json()
    lines: list[tuple[int, int, dict[str, Any]]] = []
    for op in history:
        call = {"process": op.process, "f": op.f, "key": op.key, "value": op.value, "node": op.node}
        lines.append((op.call_ns, 1, {**call, "type": "invoke"}))
        if op.return_ns is not None:
            answer = {"result": op.result} if op.outcome == "ok" else {"error": op.error}
            lines.append((op.return_ns, 0, {**call, **answer, "type": op.outcome, "meta": dict(op.meta)}))
    lines.sort(key=lambda line: line[:2])
    told = [json.dumps({"capsize": "history", "version": 1})]
    told += [json.dumps({"index": n, "time_ns": at, **event}) for n, (at, _, event) in enumerate(lines)]
    (folder / "history.jsonl").write_text("\n".join(told) + "\n")
    for node in nodes:
        path = folder / "nodes" / node / "trace.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(event.to_json()) + "\n" for event in recorded if event.node == node))
    run = {
        "config": {"system": "raft", "workload": "kv", "seed": seed}, "seed": seed, "model": "kv", "nodes": list(nodes),
        "origin_ns": 0, "argv": ["capsize", "run", "--seed", str(seed)],
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "schedule.json").write_text("[]")
    (folder / "verdict.json").write_text(json.dumps(verdict))
    return verdict
