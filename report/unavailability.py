"""Why a run's liveness is broken: the last answer, what was asked since, what each node was in the end."""

from __future__ import annotations

from collections import Counter
from typing import Any

from capsize.report.faults import FaultRow
from capsize.report.ledger import OUTCOMES, Ledger
from capsize.report.nodes import NodeLane
from capsize.report.plain import count, middle_out, seconds, visible
from capsize.report.witness import Contradiction, Step, described, linked, place

NAME = "unavailable"
MOST_ASKED = 4
"""Unanswered operations shown beside the last answer."""


def unavailability(
    verdict: dict[str, Any], ledger: Ledger, nodes: list[NodeLane], faults: list[FaultRow]
) -> Contradiction | None:
    """Return the argument for a broken liveness axis; None where it is not broken."""
    axes = verdict.get("axes")
    finding = axes.get("liveness") if isinstance(axes, dict) else None
    if not isinstance(finding, dict) or finding.get("valid") is not False:
        return None
    because = finding.get("because")
    told = [visible(str(line), 600) for line in because] if isinstance(because, list) else []
    good = [row for row in range(len(ledger)) if ledger.outcome[row] == 0]
    last = max(good, key=ledger.end_us.__getitem__) if good else None
    since_us = ledger.end_us[last] if last is not None else 0
    after = [row for row in range(len(ledger)) if ledger.call_us[row] > since_us and ledger.outcome[row] != 0]
    rows = ([last] if last is not None else []) + after[:MOST_ASKED]
    steps = [_step(number, row, ledger) for number, row in enumerate(rows, 1)]
    lines = [(told[0] if told else "The system did not serve again.").rstrip(".") + "."]
    lines += [line.rstrip(".") + "." for line in told[1:]]
    lines += [_last_answer(last, ledger), _asked_since(after, ledger)]
    lines += [_healed(ledger, faults), *_nodes_then(nodes, since_us, ledger.last_us)]
    shown = Contradiction(NAME, "", [linked(line, steps) for line in lines if line], steps=steps)
    shown.ticks = place(steps)
    return shown


def _last_answer(last: int | None, ledger: Ledger) -> str:
    if last is None:
        return "Nothing was ever answered ok."
    by = ledger.word(ledger.served_by[last]) or ledger.word(ledger.node[last])
    term = f" in term {ledger.term[last]}" if ledger.term[last] >= 0 else ""
    where = f", by {by}{term}" if by else ""
    whom = f"p{ledger.process[last]} (#{ledger.index[last]}{where})"
    return f"The last answer was given at {_at(ledger.end_us[last])} to {whom}."


def _asked_since(after: list[int], ledger: Ledger) -> str:
    if not after:
        return "Nothing was asked since."
    why = Counter(ledger.word(ledger.error[row]) or OUTCOMES[ledger.outcome[row]] for row in after)
    reasons = "; ".join(f"{number:,} × {visible(word, 80)}" for word, number in why.most_common(3))
    return f"Since then {count(len(after), 'operation')} were asked and none was answered ok: {reasons}."


def _healed(ledger: Ledger, faults: list[FaultRow]) -> str:
    phases = [
        int(event["time_ns"]) // 1000
        for event in ledger.nemesis
        if event.get("f") == "phase" and event.get("value") in ({"phase": "recover"},)
    ]
    held = [fault for fault in faults if fault.landed]
    if not held:
        return "No fault had landed before."
    end = max(held, key=lambda fault: fault.healed_us if fault.healed_us is not None else ledger.last_us)
    on = ", ".join(end.targets) or "the cluster"
    healed = f"healed at {_at(end.healed_us)}" if end.healed_us is not None else "never seen to be healed"
    told = f"The last fault was {end.name} of {on}, from {_at(end.start_us)}, {healed}"
    return told + (f"; everything was healed by {_at(phases[0])}." if phases else ".")


def _nodes_then(nodes: list[NodeLane], since_us: int, last_us: int) -> list[str]:
    """Return what each node was in the end, how often it stood for election since, and who led last."""
    told: list[str] = []
    ends = [(span[1], node.name, span[3]) for node in nodes for span in node.spans if span[2] == "leader"]
    for node in nodes:
        if not node.spans:
            continue
        _, _, role, term = node.spans[-1]
        word = f"{node.name} was {role}" + (f" in term {term}" if term >= 0 and role != "down" else "")
        stood = sum(1 for at, event, _ in node.marks if event == "become_candidate" and at > since_us)
        told.append(word + (f", having stood for election {stood} times since" if stood > 1 else ""))
    lines = ["In the end " + "; ".join(told) + "."] if told else []
    if ends:
        until, name, term = max(ends)
        term_told = f" of term {term}" if term >= 0 else ""
        still = "still led" if until >= last_us - 1000 else f"led until {_at(until)}"
        lines.append(f"{name}, the last leader{term_told}, {still}.")
    return lines


def _step(number: int, row: int, ledger: Ledger) -> Step:
    outcome = OUTCOMES[ledger.outcome[row]]
    text = described(ledger, row)
    evidence = [f"served by {ledger.word(ledger.served_by[row])}"] if ledger.served_by[row] >= 0 else []
    evidence += [f"term {ledger.term[row]}"] if ledger.term[row] >= 0 else []
    end = ledger.end_us[row]
    return Step(
        number, row, ledger.index[row], str(ledger.process[row]), ledger.word(ledger.node[row]), text, middle_out(text),
        outcome, ledger.call_us[row] * 1000, end * 1000 if end >= 0 and outcome != "info" else None,
        ledger.word(ledger.error[row]), ", ".join(evidence),
    )  # fmt: skip


def _at(time_us: float | None) -> str:
    return seconds(None if time_us is None else time_us * 1000)
