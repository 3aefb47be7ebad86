"""Argues the anomalies of a verdict that came without an argument, so that an old store shows why as well.

Judging does this once and keeps it in verdict.json; here it is done again, for the page only, when it is missing.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from capsize.checker.clocks import on_one_clock, ways_of
from capsize.checker.explain import RENAMED, explained
from capsize.checker.models import MODELS, infer_model
from capsize.checker.trace import TraceEvent, parse_trace
from capsize.history import load_history
from capsize.verdict import Verdict

log = logging.getLogger(__name__)
TRACE_BYTES_MAX = 64 << 20


def argued(folder: Path, verdict: dict[str, Any], traces: list[Path]) -> dict[str, Any]:
    """Return `verdict` with its unargued anomalies explained; as it was when that cannot be done."""
    anomalies = verdict.get("anomalies")
    if not isinstance(anomalies, list) or not any(_unargued(anomaly) for anomaly in anomalies):
        return verdict
    try:
        history = load_history(folder / "history.jsonl", strict=False)
        name = infer_model(history)
        if name is None:
            return verdict
        events = _events(traces) if sum(path.stat().st_size for path in traces) <= TRACE_BYTES_MAX else []
        ways = ways_of(events)
        events = on_one_clock(events, ways.shifts()) if ways.disagree else events
        return explained(Verdict.from_json(verdict), history, MODELS[name](), traces=events).to_json()
    except Exception:  # around a checker: whatever it trips over, the report still comes
        log.debug("no argument for %s", folder, exc_info=True)
        return verdict


def _unargued(anomaly: Any) -> bool:
    if not isinstance(anomaly, dict) or anomaly.get("name") != RENAMED or not anomaly.get("operations"):
        return False
    details = anomaly.get("details")
    return not (isinstance(details, dict) and details.get("proven_by"))


def _events(traces: list[Path]) -> list[TraceEvent]:
    events: list[TraceEvent] = []
    for path in traces:
        with path.open("rb") as file:
            events += parse_trace(file, name=f"{path.parent.name}/{path.name}")
    return events
