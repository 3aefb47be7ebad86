"""What an anomaly claims, compared with the run itself; shares no code with the explainer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.models import MODELS
from capsize.checker.outcome import Illegal
from capsize.checker.trace import TraceEvent
from capsize.checker.wgl import decide_wgl
from capsize.history import History
from capsize.op import Operation

MOST = 12
TOLD = re.compile(r"(p\d+)(?: on (n\d+))? [^()]*\(#(\d+)([^()]*)\)")
"""What is told of one operation: who, on which node, its number, and where it was answered."""
SERVED = re.compile(r"served by (n\d+) in term (\d+) at log index (\d+)")
MOMENT = re.compile(r"(called|answered|asked|told) at (\d+\.\d{3}) s")


def impossible(operations: Iterable[Operation], model: str) -> bool:
    """Return whether no order explains the operations."""
    return isinstance(decide_wgl(History.of(list(operations)), MODELS[model](), Budget()), Illegal)


def problems(anomaly: dict[str, Any], history: History, recorded: Sequence[TraceEvent]) -> list[str]:
    """Return everything in which an explained anomaly of a client is too large, unproven, or not as it was."""
    happened = {(op.process, op.call_ns): op for op in history}
    numbered = {int(row): op for op, row in zip(history, history.columns.row, strict=True)}
    shown = [happened.get((one["process"], one["call_ns"])) for one in anomaly["operations"]]
    witness = [op for op in shown if op is not None]
    found = [] if len(witness) == len(shown) else ["shows an operation that did not happen"]
    if not 0 < len(shown) <= MOST:
        found.append(f"shows {len(shown)} operations")
    if not impossible(witness, anomaly["details"].get("model", "kv")):
        found.append("what is shown is possible")
    told = [line for sentence in anomaly["because"] for line in TOLD.finditer(sentence)]
    if not told:
        found.append("no sentence names an operation, its client and its node")
    for line in told:
        found += _untrue(line, numbered.get(int(line[3])), recorded)
    return found


def _untrue(line: re.Match[str], op: Operation | None, recorded: Sequence[TraceEvent]) -> list[str]:
    """Return what one sentence says about an operation that the history or the nodes' traces contradict."""
    if op is None:
        return [f"no operation has the number {line[3]}"]
    wrong = []
    if line[1] != f"p{op.process}" or line[2] not in (None, op.node):
        wrong.append(f"{line[0]!r}: it was p{op.process} on {op.node}")
    for kind, at in MOMENT.findall(line[0]):
        moment = op.call_ns if kind in ("called", "asked") else op.return_ns
        if moment is None or f"{moment / 1e9:.3f}" != at:
            wrong.append(f"{line[0]!r}: was {kind} at {moment}")
    for node, term, index in SERVED.findall(line[0]):
        if (op.meta.get("served_by"), op.meta.get("term"), op.meta.get("log_index")) != (node, int(term), int(index)):
            wrong.append(f"{line[0]!r}: was answered by {dict(op.meta)}")
        elif recorded and not any(event.node == node and event.state.term == int(term) for event in recorded):
            wrong.append(f"{line[0]!r}: {node} never was in term {term}")
    return wrong


def broken_rule(anomaly: dict[str, Any], recorded: Sequence[TraceEvent]) -> list[str]:
    """Return what a white-box violation lacks: its events as they were recorded, its node, its rule and the source."""
    at = {(event.node, event.inc, event.lc): event for event in recorded}
    found = [] if anomaly["events"] else ["no events"]
    for event in anomaly["events"]:
        seen = at.get((event["node"], event["inc"], event["lc"]))
        if seen is None or (seen.ev, seen.mono) != (event["ev"], event["mono"]):
            found.append(f"not recorded: {event['ev']} of {event['node']}")
    accused = anomaly["details"]["node"]
    if accused not in {event["node"] for event in anomaly["events"]} or accused not in anomaly["because"][0]:
        found.append(f"{accused} is not named, or none of its events is shown")
    rule = re.escape(anomaly["details"]["invariant"])
    if not re.search(rf"\({rule}, .+: .*(§|thesis|paper)", anomaly["because"][0]):
        found.append(f"no rule with its source: {anomaly['because'][0]}")
    return found
