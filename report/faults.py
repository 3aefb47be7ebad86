"""The faults of a run as rows: what was intended, what landed, and what the clients felt of it.

A fault's window runs from its injection to its heal. *Availability* is the share of the operations called inside
the window that were answered ok; *silence* the longest time inside it without any ok answer; *recovery* the time
from the heal to the next ok answer to a call made after it, by any client and by the clients of the faulted nodes.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

from capsize.report.ledger import Ledger
from capsize.report.plain import visible


@dataclass(slots=True)
class FaultRow:
    """One fault; times in microseconds of the run, None where nothing was recorded."""

    id: str
    name: str
    targets: list[str] = field(default_factory=list[str])
    state: str = "intended"
    intended_us: int | None = None
    injected_us: int | None = None
    healed_us: int | None = None
    plan: dict[str, Any] = field(default_factory=dict[str, Any])
    details: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    called: int = 0
    answered: int = 0
    silence_us: int | None = None
    recovery_us: int | None = None
    target_recovery_us: int | None = None
    leader_after_us: int | None = None

    @property
    def start_us(self) -> int:
        return next((time for time in (self.injected_us, self.intended_us) if time is not None), 0)

    @property
    def landed(self) -> bool:
        return self.state in ("landed", "healed", "heal not proven", RECORDED)


RECORDED = "recorded"
"""Another tool's history says so; nobody looked from outside whether it landed."""

STATES = ("landed", "healed", "heal not proven", "skipped", RECORDED, "did not land", "not proven", "error", "intended")


def fault_rows(ledger: Ledger) -> list[FaultRow]:
    """Return the faults named by the ledger's nemesis events, in order of their start."""
    rows: dict[str, FaultRow] = {}
    for event in ledger.nemesis:
        value = event.get("value")
        if not isinstance(value, dict) or "phase" not in value or event.get("f") in ("phase", "leader", "nemesis"):
            continue
        fault = cast("dict[str, Any]", value)
        name = visible(str(event.get("f", "fault")))
        row = rows.setdefault(str(fault.get("id", f"{name}?")), FaultRow(str(fault.get("id", "")), name))
        _take(row, fault, int(event["time_ns"]) // 1000)
    found = sorted(rows.values(), key=lambda row: row.start_us)
    _feel(found, ledger)
    return found


def _take(row: FaultRow, fault: dict[str, Any], time_us: int) -> None:
    phase, landed = fault.get("phase"), fault.get("landed")
    targets = fault.get("targets")
    if isinstance(targets, list) and targets:
        row.targets = [visible(str(target)) for target in targets]
    if isinstance(fault.get("fault"), dict):
        row.plan = fault["fault"]
    if fault.get("detail"):
        row.details.append((visible(str(phase)), fault["detail"]))
    match phase:
        case "intend":
            row.intended_us = time_us
        case "inject":
            row.injected_us = time_us
            row.state = "did not land" if landed is False else "landed" if landed else "not proven"
            row.state = RECORDED if fault.get("proof") == RECORDED else row.state
        case "probe":
            row.state = "landed" if landed else "did not land" if landed is False else row.state
        case "heal":
            row.healed_us = time_us
            row.state = "healed" if row.state == "landed" else row.state
        case "heal-probe":
            if landed is False and row.landed:
                row.state = "heal not proven"
        case "skip":
            row.state = "skipped"
        case "error":
            row.state = "heal not proven" if row.landed else "error"
        case _:
            pass


def _feel(rows: list[FaultRow], ledger: Ledger) -> None:
    """Fill in what the clients felt of each fault."""
    good = sorted((ledger.end_us[row], row) for row in range(len(ledger)) if ledger.outcome[row] == 0)
    ends = [end for end, _ in good]
    leaders = [
        (int(event["time_ns"]) // 1000, event["value"].get("leader"))
        for event in ledger.nemesis
        if event.get("f") == "leader" and isinstance(event.get("value"), dict)
    ]
    for fault in rows:
        if not fault.landed:
            continue
        start, stop = fault.start_us, fault.healed_us if fault.healed_us is not None else ledger.last_us
        first, last = bisect_left(ledger.call_us, start), bisect_left(ledger.call_us, stop)
        fault.called = last - first
        fault.answered = sum(ledger.outcome[row] == 0 for row in range(first, last))
        inside = [start, *ends[bisect_left(ends, start) : bisect_left(ends, stop)], stop]
        fault.silence_us = max((b - a for a, b in pairwise(inside)), default=0)
        fault.leader_after_us = next((time - start for time, leader in leaders if time > start and leader), None)
        if fault.healed_us is None:
            continue
        for end, row in good[bisect_left(ends, stop) :]:
            if ledger.call_us[row] < stop:
                continue
            if fault.recovery_us is None:
                fault.recovery_us = end - stop
            if not fault.targets or ledger.word(ledger.node[row]) in fault.targets:
                fault.target_recovery_us = end - stop
                break
