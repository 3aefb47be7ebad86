"""Two runs side by side: what was asked differently, what came of it, which faults struck when, what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from capsize.report.faults import FaultRow, fault_rows
from capsize.report.ledger import Ledger, read_ledger
from capsize.report.plain import duration, value_text, visible
from capsize.report.serve.catalogue import Catalogue, Row
from capsize.store import HISTORY, RUN, VERDICT

NOISE = frozenset(
    {"seed", "label", "owner", "started_at", "origin_ns", "argv", "repeat", "campaign", "version", "ports"}
)
"""What differs between any two runs, and says nothing."""
MOST_ROWS = 300
MOST_READ_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """One fact of both runs; `more` is how the second differs, where that can be said."""

    word: str
    left: str
    right: str
    more: str = ""

    @property
    def differs(self) -> bool:
        return self.left != self.right


@dataclass(slots=True)
class Comparison:
    """Everything the page shows of two runs."""

    left: Row
    right: Row
    axes: list[tuple[str, tuple[str, list[str]], tuple[str, list[str]]]] = field(
        default_factory=list[tuple[str, tuple[str, list[str]], tuple[str, list[str]]]]
    )
    setting: list[Line] = field(default_factory=list[Line])
    outcome: list[Line] = field(default_factory=list[Line])
    figures: list[Line] = field(default_factory=list[Line])
    faults: list[tuple[FaultRow | None, FaultRow | None]] = field(
        default_factory=list[tuple[FaultRow | None, FaultRow | None]]
    )
    anomalies: list[tuple[str, list[str], list[str]]] = field(default_factory=list[tuple[str, list[str], list[str]]])
    notes: list[str] = field(default_factory=list[str])


def compare(catalogue: Catalogue, left: Row, right: Row) -> Comparison:
    """Return the two runs side by side. Cost: reading both histories."""
    made = Comparison(left, right)
    runs = [catalogue.object(*row.path, RUN) or {} for row in (left, right)]
    verdicts = [catalogue.object(*row.path, VERDICT) or {} for row in (left, right)]
    ledgers = [_ledger(catalogue, row, made.notes) for row in (left, right)]
    seeds = Line("seed", *("–" if row.seed is None else str(row.seed) for row in (left, right)))
    made.setting = [seeds] + [replace(line, more="") for line in _lines(*(_flat(run) for run in runs))]
    made.figures = _lines(*(_flat(_mapping(verdict.get("figures"))) for verdict in verdicts))
    made.outcome = _measured(*ledgers)
    made.axes = _axes(*verdicts)
    made.faults = _aligned(fault_rows(ledgers[0]), fault_rows(ledgers[1]))
    made.anomalies = _anomalies(*verdicts)
    return made


def _ledger(catalogue: Catalogue, row: Row, notes: list[str]) -> Ledger:
    mark = catalogue.store.mark(*row.path, HISTORY)
    if mark[0] < 0 or mark[0] > MOST_READ_BYTES:
        notes.append(f"The history of {row.name}/{visible(row.stamp)} is {'missing' if mark[0] < 0 else 'too large'}.")
        return Ledger()
    return _read(catalogue.store.root.joinpath(*row.path, HISTORY), mark)


@lru_cache(maxsize=4)
def _read(path: Path, mark: tuple[int, int]) -> Ledger:
    del mark  # a file that changed is another one
    return read_ledger(path)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _flat(data: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if key in NOISE:
            continue
        word = f"{before}{visible(str(key), 80)}"
        if isinstance(value, dict) and value and before.count(" · ") < 3:
            flat |= _flat(value, f"{word} · ")
        else:
            flat[word] = value
        if len(flat) > MOST_ROWS:
            break
    return flat


def _lines(left: dict[str, Any], right: dict[str, Any]) -> list[Line]:
    words = list(dict.fromkeys([*left, *right]))[:MOST_ROWS]
    return [
        Line(word, _shown(left, word), _shown(right, word), change(left.get(word), right.get(word))) for word in words
    ]


def _shown(data: dict[str, Any], word: str) -> str:
    if word not in data:
        return "–"
    value = data[word]
    return visible(value, 300) if isinstance(value, str) else value_text(value, 300)


def change(left: Any, right: Any) -> str:
    """Return how a number differs from another one.

    >>> change(100, 150), change(4, 4), change(0, 3), change("x", "y")
    ('+50 %', '', '+3', '')
    """
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in (left, right)) or left == right:
        return ""
    if left == 0 or left * right < 0:
        return f"{right - left:+g}"
    return f"{(right - left) / abs(left) * 100:+.0f} %" if abs(right - left) / abs(left) >= 0.005 else "+0 %"


def _measured(left: Ledger, right: Ledger) -> list[Line]:
    """Return what the clients met: how many, how fast, how long."""
    found = [_measure(ledger) for ledger in (left, right)]
    show = {"median latency": duration, "99th percentile latency": duration}
    return [
        Line(word, show.get(word, _number)(one), show.get(word, _number)(other), change(one, other))
        for word, one, other in ((word, found[0][word], found[1][word]) for word in found[0])
    ]


def _measure(ledger: Ledger) -> dict[str, float]:
    took = sorted(
        (ledger.end_us[row] - ledger.call_us[row]) * 1000 for row in range(len(ledger)) if ledger.outcome[row] == 0
    )
    return {
        "operations": len(ledger),
        "ok": ledger.outcome.count(0),
        "fail: did not happen": ledger.outcome.count(1),
        "info: not known": ledger.outcome.count(2),
        "keys": len(set(ledger.key)),
        "seconds": round(ledger.last_us / 1e6, 1),
        "answered ok a second": round(len(took) / (ledger.last_us / 1e6), 1) if ledger.last_us else 0,
        "median latency": took[len(took) // 2] if took else 0,
        "99th percentile latency": took[min(len(took) - 1, len(took) * 99 // 100)] if took else 0,
    }


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,}"


def _axes(
    left: Mapping[str, Any], right: Mapping[str, Any]
) -> list[tuple[str, tuple[str, list[str]], tuple[str, list[str]]]]:
    def finding(verdict: Mapping[str, Any], axis: str) -> tuple[str, list[str]]:
        told = _mapping(_mapping(verdict.get("axes")).get(axis))
        word = {"true": "valid", "false": "invalid", "unknown": "unknown"}.get(str(told.get("valid")).lower())
        because = told.get("because")
        return word or "not judged", [visible(str(line), 300) for line in because[:3]] if isinstance(
            because, list
        ) else []

    return [(axis, finding(left, axis), finding(right, axis)) for axis in ("safety", "liveness", "coverage", "harness")]


def _aligned(left: list[FaultRow], right: list[FaultRow]) -> list[tuple[FaultRow | None, FaultRow | None]]:
    """Pair the n-th fault of each kind with the n-th of that kind in the other run, in order of time."""
    pairs: list[tuple[FaultRow | None, FaultRow | None]] = []
    for name in dict.fromkeys(fault.name for fault in [*left, *right]):
        mine, theirs = ([fault for fault in side if fault.name == name] for side in (left, right))
        pairs += list(zip_longest(mine, theirs))
    return sorted(pairs, key=lambda pair: min(fault.start_us for fault in pair if fault is not None))


def _anomalies(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[tuple[str, list[str], list[str]]]:
    """Return for each name of an anomaly what either run tells of it."""
    sides = [_told(verdict) for verdict in (left, right)]
    names = dict.fromkeys([*sides[0], *sides[1]])
    return [(name, sides[0].get(name, []), sides[1].get(name, [])) for name in names]


def _told(verdict: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    anomalies = verdict.get("anomalies")
    for anomaly in anomalies if isinstance(anomalies, list) else []:
        if isinstance(anomaly, dict):
            key = "" if anomaly.get("key") is None else f"key {value_text(anomaly['key'], 60)}: "
            because = anomaly.get("because")
            first = str(because[0]) if isinstance(because, list) and because else "no reason given"
            found.setdefault(visible(str(anomaly.get("name")), 80), []).append(key + visible(first, 300))
    return found
