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
HELD = re.compile(r"entry (\d+) of term (\d+) was on (no node|n\d[n\d, and]*) when it was acknowledged")
SHORTER = re.compile(r"(n\d+) at (\d+\.\d{3}) s (cut its log back to|came back with a log that ends at) index (\d+)")
ELECTED = re.compile(r"(n\d+) became leader of term (\d+) at (\d+\.\d{3}) s, its last entry (\d+) of term (\d+)")
"""What is told of the nodes: who held an entry, who lost entries, who was elected with which log, and when."""


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
    if recorded:
        for sentence in anomaly["because"]:
            found += _untrue_of_nodes(sentence, witness, recorded)
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


def _untrue_of_nodes(sentence: str, witness: Sequence[Operation], recorded: Sequence[TraceEvent]) -> list[str]:
    """Return what one sentence says about the nodes' logs and offices that their traces contradict."""
    wrong = []
    for index, term, nodes in HELD.findall(sentence):
        place = int(index), int(term)
        told = [op.return_ns for op in witness if (op.meta.get("log_index"), op.meta.get("term")) == place]
        holders = {frozenset(_holders(place, at, recorded)) for at in told if at is not None}
        if frozenset(re.findall(r"n\d+", nodes)) not in holders:
            wrong.append(f"{sentence!r}: it was on {holders}")
    for node, at, how, index in SHORTER.findall(sentence):
        kind = "truncate" if how.startswith("cut") else "recover"
        cuts = [_end(event) for event in _of(node, at, recorded) if event.ev == kind]
        if int(index) not in cuts:
            wrong.append(f"{sentence!r}: {node} kept {cuts} by {kind}")
    for node, term, at, *last in ELECTED.findall(sentence):
        elected = [event.state for event in _of(node, at, recorded) if event.ev == "become_leader"]
        if (int(term), tuple(map(int, last))) not in [(state.term, tuple(state.last or ())) for state in elected]:
            wrong.append(f"{sentence!r}: {elected}")
    return wrong


def _of(node: str, at: str, recorded: Sequence[TraceEvent]) -> list[TraceEvent]:
    return [event for event in recorded if event.node == node and f"{event.mono / 1e9:.3f}" == at]


def _end(shortened: TraceEvent) -> int:
    return int(shortened.x["to"] if shortened.ev == "truncate" else shortened.x["last"][0])


def _holders(place: tuple[int, int], at_ns: int, recorded: Sequence[TraceEvent]) -> set[str]:
    """Return who had the entry in its log at that time, by what each node appended and cut off."""
    logs: dict[str, dict[int, int]] = {}
    for event in recorded:
        if event.mono > at_ns:
            continue
        log = logs.setdefault(event.node, {})
        if event.ev == "append":
            log.update((entry.index, entry.term) for entry in event.entries())
        elif event.ev in ("truncate", "recover"):
            logs[event.node] = {index: term for index, term in log.items() if index <= _end(event)}
    return {node for node, log in logs.items() if log.get(place[0]) == place[1]}


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
