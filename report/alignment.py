"""Where a run began on the clock of the nodes' traces.

`run.json` says it when the recorder wrote it down (`origin_ns`) and all nodes were on its host. Otherwise the answers
tell: an operation that was answered ok with a term and a log index was applied, by somebody, between its call and its
answer; and the traces say when each entry was first applied. Every such operation bounds the origin from both sides,
and together they fix it within a fraction of the quickest answer. All nodes of one host share one monotonic clock; over
ssh each has its own: the messages between them put those on one (`capsize.checker.clocks`), and a host that exchanged
none is placed by the answers that it gave itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from capsize.checker.clocks import Ways
from capsize.report.ledger import Ledger
from capsize.report.moments import parse_events

MOST_APPLIED = 3_000
"""Entries looked at in each trace."""
MOST_MESSAGES = 50_000
"""Messages of each node looked at to place its clock."""


def one_clock(run: dict[str, Any]) -> bool:
    """Return whether all nodes shared this run's monotonic clock: one host, with or without containers."""
    backend = run.get("backend")
    return not (isinstance(backend, dict) and backend.get("name") == "ssh")


def host_shifts(run: dict[str, Any], traces: Mapping[str, Sequence[Path]]) -> dict[str, int]:
    """Return what to add to each host's clock to read it on one; none for a run of one clock, or without messages.

    Cost: linear in the traces, of which at most `MOST_MESSAGES` a node are read.
    """
    if one_clock(run):
        return {}
    ways = Ways()
    for node, paths in traces.items():
        ways.nodes.setdefault(node)
        for event in islice(_messages(paths), MOST_MESSAGES):
            take = ways.send if event["ev"] == "send" else ways.recv
            take(node, event["msg"]["id"], event["mono"])
    found = {node: shift.ns for node, shift in ways.shifts().items()}
    return found if len(found) > 1 else {}


def _messages(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield the events of messages that left or arrived, as far as they can be read."""
    for path in paths:
        try:
            with path.open("rb") as file:
                for line in file:
                    for event in parse_events(line) if b'"send"' in line or b'"recv"' in line else ():
                        if event.get("ev") not in ("send", "recv"):
                            continue
                        message = event.get("msg")
                        named = isinstance(message, dict) and isinstance(message.get("id"), str)
                        if named and isinstance(event.get("mono"), int):
                            yield event
        except OSError:
            continue


def on_one_clock(verdict: dict[str, Any], shifts: Mapping[str, int]) -> dict[str, Any]:
    """Return `verdict` with the times of its nodes' events on one clock; without a time where no message places it."""
    anomalies = verdict.get("anomalies")
    if not shifts or not isinstance(anomalies, list):
        return verdict

    def moved(event: Any) -> Any:
        if not isinstance(event, dict) or not isinstance(event.get("mono"), int):
            return event
        shift = shifts.get(str(event.get("node")))
        return {name: value for name, value in event.items() if name != "mono"} | (
            {} if shift is None else {"mono": event["mono"] + shift}
        )

    def told(anomaly: Any) -> Any:
        if not isinstance(anomaly, dict) or not isinstance(anomaly.get("events"), list):
            return anomaly
        return anomaly | {"events": [moved(event) for event in anomaly["events"]]}

    return verdict | {"anomalies": [told(anomaly) for anomaly in anomalies]}


def origin_ns(
    run: dict[str, Any], ledger: Ledger, traces: list[Path], *, node: str = "", shifts: Mapping[Path, int] | None = None
) -> int | None:
    """Return the run's beginning on the traces' monotonic clock, None when nothing tells it.

    `node` restricts the answers to those that it gave: its own clock, where every host has another one. `shifts` puts
    the traces of several hosts on one.
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
        shift_us = (shifts or {}).get(path, 0) // 1000
        for place, own_us in _applied(path).items():
            mono_us = own_us + shift_us
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
                for event in parse_events(line) if b'"apply"' in line else ():
                    entries = event.get("e") if event.get("ev") == "apply" else None
                    if isinstance(entries, list) and isinstance(event.get("mono"), int):
                        for place in _places(entries):
                            found.setdefault(place, event["mono"] // 1000)
                if len(found) >= MOST_APPLIED:
                    break
    except OSError:
        pass
    return found


def _places(entries: list[Any]) -> Iterator[tuple[int, int]]:
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("i"), int) and isinstance(entry.get("t"), int):
            yield entry["i"], entry["t"]
