"""Replicas compared in the end: those that applied the same must hold the same (state machine safety, §5.4.3).

A digest is taken by each node of its own state at a common point, after everything was healed and the last read was
answered. Nodes that did not answer, or were not equally far, are counted and prove nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from capsize.checker.budget import Budget
from capsize.history import History
from capsize.verdict import Anomaly, Axis, Finding, Verdict

NAME = "replicas"


class Replicas:
    """The checker. Without digests it has nothing to say."""

    name = NAME

    def check(self, history: History, budget: Budget) -> Verdict:
        """Judge the last `replicas` line."""
        del budget
        lines = [
            event for event in history.faults if event.get("f") == NAME and isinstance(event.get("value"), Mapping)
        ]
        if not lines:
            return Verdict(NAME, {}, figures={"compared": 0})
        told: Mapping[str, Any] = lines[-1]["value"]
        where: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for node, (at, digest) in dict(told.get("states", {})).items():
            where[int(at)][str(digest)].append(str(node))
        anomalies = tuple(_diverged(at, groups, lines[-1]) for at, groups in sorted(where.items()) if len(groups) > 1)
        compared = sum(len(nodes) for groups in where.values() for nodes in groups.values())
        figures = {"compared": compared, "points": len(where), "failed": dict(told.get("failed", {}))}
        because = tuple(f"{anomaly.name}: {anomaly.because[0]}" for anomaly in anomalies)
        return Verdict(NAME, {Axis.SAFETY: Finding(not anomalies, because)}, anomalies, figures)


def _diverged(at: int, groups: Mapping[str, list[str]], line: Mapping[str, Any]) -> Anomaly:
    told = "; ".join(f"{', '.join(sorted(nodes))}: {digest}" for digest, nodes in sorted(groups.items()))
    because = (
        f"replicas that applied the same ({at}) hold different states: {told}.",
        "Everything was healed, and the final reads were answered, before they were asked.",
    )
    events = [
        {"node": node, "ev": f"holds {digest} at {at}"} for digest, nodes in sorted(groups.items()) for node in nodes
    ]
    return Anomaly("diverged-replicas", because, events=tuple(events), details={"told": dict(line.get("value", {}))})
