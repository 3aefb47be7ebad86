"""Where a run began on the clock of the nodes' traces.

`run.json` says it when the recorder wrote it down (`origin_ns`) and all nodes were on its host. Otherwise the answers
tell: an operation that was answered ok with a term and a log index was applied, by somebody, between its call and its
answer; and the traces say when each entry was first applied. Every such operation bounds the origin from both sides,
and together they fix it within a fraction of the quickest answer. All nodes of one host share one monotonic clock; over
ssh each has its own, and the answers that it gave itself place it.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from capsize.report.ledger import Ledger, parse

MOST_APPLIED = 3_000
"""Entries looked at in each trace."""


def one_clock(run: dict[str, Any]) -> bool:
    """Return whether all nodes shared this run's monotonic clock: one host, with or without containers."""
    backend = run.get("backend")
    return not (isinstance(backend, dict) and backend.get("name") == "ssh")


def origin_ns(run: dict[str, Any], ledger: Ledger, traces: list[Path], *, node: str = "") -> int | None:
    """Return the run's beginning on the traces' monotonic clock, None when nothing tells it.

    `node` restricts the answers to those that it gave: its own clock, where every host has another one.
    """
    told = run.get("origin_ns")
    if isinstance(told, int) and not isinstance(told, bool) and one_clock(run):
        return told
    asked = {
        (ledger.log_index[row], ledger.term[row]): (ledger.call_us[row], ledger.end_us[row])
        for row in range(len(ledger))
        if ledger.outcome[row] == 0
        and ledger.log_index[row] > 0
        and ledger.argument[row] >= 0
        and (not node or ledger.word(ledger.served_by[row]) == node)
    }
    applied: dict[tuple[int, int], int] = {}
    for path in traces:
        for place, mono_us in _applied(path).items():
            if place in asked:
                applied[place] = min(mono_us, applied.get(place, mono_us))
    if not applied:
        return None
    earliest = max(applied[place] - asked[place][1] for place in applied)
    latest = min(applied[place] - asked[place][0] for place in applied)
    if earliest <= latest:
        return (earliest + latest) // 2 * 1000
    return int(median(applied[place] - sum(asked[place]) / 2 for place in applied)) * 1000


def _applied(path: Path) -> dict[tuple[int, int], int]:
    """Return when the first entries named by (index, term) were applied, in microseconds."""
    found: dict[tuple[int, int], int] = {}
    try:
        with path.open("rb") as file:
            for line in file:
                event = parse(line) if b'"apply"' in line else None
                entries = event.get("e") if event and event.get("ev") == "apply" else None
                mono = event.get("mono") if event else None
                if not isinstance(entries, list) or not isinstance(mono, int):
                    continue
                for entry in entries:
                    if isinstance(entry, dict) and isinstance(entry.get("i"), int) and isinstance(entry.get("t"), int):
                        found.setdefault((entry["i"], entry["t"]), mono // 1000)
                if len(found) >= MOST_APPLIED:
                    break
    except OSError:
        pass
    return found
