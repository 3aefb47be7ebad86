"""A verdict as a few lines of text: the verdict first, why, the report, and last the command that repeats the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capsize.verdict import Anomaly, Verdict

WORDS = {True: "VALID", False: "INVALID", "unknown": "UNKNOWN"}
ANOMALIES_SHOWN = 5
REASONS_SHOWN = 6
ASKED_ENOUGH = 0.5
"""Share of --rate below which a person should know; faults alone cost a part of it."""


def headline(verdict: Verdict, *, workload: str, seed: int) -> str:
    """Return the first line: the verdict, what was run, how much was judged, which faults landed."""
    health = verdict.figures.get("health", {})
    parts = [f"{workload}", f"seed {seed}"]
    operations = f"{_operations(verdict):,} operations"
    if verdict.anomalies:
        count = len(verdict.anomalies)
        operations = f"{count} {'anomaly' if count == 1 else 'anomalies'} in {operations}"
    parts.append(operations)
    parts.append(faults_landed(health.get("faults", {})))
    return f"{WORDS[verdict.valid]:<8} {' · '.join(part for part in parts if part)}"


def faults_landed(faults: Mapping[str, Mapping[str, int]]) -> str:
    """Return "faults landed 8/9, 1 skipped"; "no faults" when none were chosen.

    >>> faults_landed({"kill": {"intended": 3, "landed": 3, "skipped": 1, "failed": 0}})
    'faults landed 3/3, 1 skipped'
    """
    if not faults:
        return "no faults"
    intended, landed, skipped = (sum(by.get(w, 0) for by in faults.values()) for w in ("intended", "landed", "skipped"))
    return f"faults landed {landed}/{intended}" + (f", {skipped} skipped" if skipped else "")


def render(verdict: Verdict, *, workload: str, seed: int, report: Path | None, repeat: str) -> str:
    """Return the whole text, without a last newline."""
    lines = [headline(verdict, workload=workload, seed=seed)]
    shown = one_of_each(verdict.anomalies)[:ANOMALIES_SHOWN]
    for number, anomaly in enumerate(shown):
        key = "" if anomaly.key is None else f"  key {anomaly.key}"
        because = list(anomaly.because) or ["(no reason given)"]
        first = because[0].removeprefix(f"key {anomaly.key}: ")
        lines.append(f"  {anomaly.name}{key}{_when(anomaly)}: {first}")
        if number == 0:  # one is argued in full; the others are in the report
            lines += [f"      {reason}" for reason in because[1:]]
    if len(verdict.anomalies) > len(shown):
        lines.append(f"  … and {len(verdict.anomalies) - len(shown)} more, in the report")
    for axis, finding in verdict.axes.items():
        if finding.valid is True or (finding.valid is False and str(axis) == "safety" and verdict.anomalies):
            continue
        word = "not valid" if finding.valid is False else "unknown"
        for reason in finding.because[:REASONS_SHOWN]:
            lines.append(f"  {axis} {word}: {reason}")
        if len(finding.because) > REASONS_SHOWN:
            lines.append(f"  {axis} {word}: … and {len(finding.because) - REASONS_SHOWN} more reasons, in verdict.json")
    lines += [f"  note    {told}" for told in skipped(verdict)]
    slow = asked_less(verdict)
    if slow:
        lines.append(f"  note    {slow}")
    if report is not None:
        lines.append(f"  report  {report}")
    lines.append(f"  repeat  {repeat}")
    return "\n".join(lines)


def _when(anomaly: Anomaly) -> str:
    """Return when the last of its nodes' events was, as words; "" for what clients saw: its reasons tell."""
    at_s = anomaly.details.get("at_s")
    if not isinstance(at_s, int | float):
        return ""
    return f" at {at_s:.3f} s" if at_s >= 0 else f" {-at_s:.3f} s before the load"


def asked_less(verdict: Verdict) -> str:
    """Return one sentence if clients asked far less than they were to, which accuses nobody; empty otherwise."""
    rate: Any = verdict.figures.get("health", {}).get("rate") or {}
    wanted, asked = rate.get("wanted"), rate.get("asked")
    if wanted is None or asked is None or asked >= ASKED_ENOUGH * wanted:
        return ""
    return (
        f"{asked:,.0f} of the {wanted:,.0f} operations a second of --rate were asked: a client that waits "
        "for an answer asks nothing else; more clients (--concurrency) ask more"
    )


def skipped(verdict: Verdict) -> list[str]:
    """Return why faults of kinds that landed otherwise were skipped; a kind that never landed is a reason by itself."""
    health: Any = verdict.figures.get("health", {})
    told: list[str] = []
    for kind, reasons in (health.get("skipped_because") or {}).items():
        by = (health.get("faults") or {}).get(kind, {})
        if by.get("landed") and reasons:
            others = f"{len(reasons) - 1} other reason{'s' if len(reasons) > 2 else ''}"
            more = f" (and {others}, in the report)" if len(reasons) > 1 else ""
            told.append(f"{kind}: {by.get('skipped', 0)} skipped: {reasons[0]}{more}")
    return told[:REASONS_SHOWN]


def one_of_each(anomalies: Sequence[Anomaly]) -> list[Anomaly]:
    """Return the first anomaly of every name before the second of any: a person learns more from those."""
    turns: dict[str, int] = {}
    ranked: list[tuple[int, Anomaly]] = []
    for anomaly in anomalies:
        turns[anomaly.name] = turns.get(anomaly.name, 0) + 1
        ranked.append((turns[anomaly.name], anomaly))
    return [anomaly for _, anomaly in sorted(ranked, key=lambda pair: pair[0])]


def _operations(verdict: Verdict) -> int:
    health: Any = verdict.figures.get("health", {})
    return int(health.get("operations", 0))
