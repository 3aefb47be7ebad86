"""A simulated run of the reference Raft, with a planted bug or without, as a folder of the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capsize.checker.explain import explained
from capsize.checker.models import MODELS
from capsize.simulator.run import Outcome, Plan, simulate
from capsize.simulator.subject import subject


def simulated(bugs: Sequence[str], seed: int, **fields: Any) -> Outcome:
    """Return a recorded simulated run of the planted bugs."""
    return simulate(Plan.varied(seed, subject=subject(list(bugs)), record=True, **fields))


def keep(outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Write the run as a store folder, its anomalies explained; return its verdict as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    verdict = explained(outcome.verdict, outcome.history, MODELS["kv"](), traces=outcome.recorded or ()).to_json()
    lines: list[tuple[int, int, dict[str, Any]]] = []
    for op in outcome.history:
        call = {"process": op.process, "f": op.f, "key": op.key, "value": op.value, "node": op.node}
        lines.append((op.call_ns, 1, {**call, "type": "invoke"}))
        if op.return_ns is not None:
            answer = {"result": op.result} if op.outcome == "ok" else {"error": op.error}
            lines.append((op.return_ns, 0, {**call, **answer, "type": op.outcome, "meta": dict(op.meta)}))
    lines.sort(key=lambda line: line[:2])
    told = [json.dumps({"capsize": "history", "version": 1})]
    told += [json.dumps({"index": n, "time_ns": at, **event}) for n, (at, _, event) in enumerate(lines)]
    (folder / "history.jsonl").write_text("\n".join(told) + "\n")
    nodes = [f"n{number}" for number in range(1, outcome.plan.nodes + 1)]
    for node in nodes:
        path = folder / "nodes" / node / "trace.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        own = [event for event in outcome.recorded or () if event.node == node]
        path.write_text("".join(json.dumps(event.to_json()) + "\n" for event in own))
    run = {
        "config": {"system": "raft", "workload": "kv", "seed": outcome.plan.seed}, "seed": outcome.plan.seed,
        "model": "kv", "nodes": nodes, "origin_ns": 0, "argv": ["capsize", "run", "--seed", str(outcome.plan.seed)],
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "schedule.json").write_text("[]")
    (folder / "verdict.json").write_text(json.dumps(verdict))
    return verdict
