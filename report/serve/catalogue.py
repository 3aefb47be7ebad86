"""Every run and campaign of a store as rows to search, filter and sort; what did not change is not read again."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from capsize.cluster.ledger import Owner
from capsize.report.ledger import parse
from capsize.report.plain import command_line, value_text, visible
from capsize.report.serve.confined import Absent, Confined
from capsize.report.text import faults_landed
from capsize.store import CAMPAIGNS, HISTORY, REPORT, RUN, VERDICT

WORDS = {True: "valid", False: "invalid", "unknown": "unknown"}
STATES = ("invalid", "unknown", "valid", "running", "not judged", "unreadable")
"""What a run can be, the gravest first."""
FRESH_S = 15.0
"""A run of another machine goes on if its history was written to within this time."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run as the list shows it; texts are safe to show."""

    name: str
    stamp: str
    state: str
    started: str = ""
    system: str = ""
    workload: str = ""
    faults: tuple[str, ...] = ()
    options: str = ""
    seed: int | None = None
    operations: int | None = None
    landed: str = ""
    anomalies: tuple[tuple[str, int], ...] = ()
    missing: tuple[str, ...] = ()
    because: str = ""
    backend: str = ""
    nodes: int | None = None
    limit_s: float | None = None
    repeat: str = ""
    campaign: str = ""
    commit: str = ""
    has_report: bool = False
    words: str = field(default="", repr=False)

    @property
    def path(self) -> tuple[str, str]:
        return self.name, self.stamp

    @property
    def found(self) -> int:
        return sum(number for _, number in self.anomalies)


SORTS: dict[str, Callable[[Row], Any]] = {
    "started": lambda row: (row.started or row.stamp, row.stamp),
    "verdict": lambda row: STATES.index(row.state),
    "name": lambda row: (row.name, row.stamp),
    "system": lambda row: (row.system, row.options, row.workload),
    "workload": lambda row: (row.workload, row.system),
    "faults": lambda row: row.faults,
    "seed": lambda row: -1 if row.seed is None else row.seed,
    "operations": lambda row: -1 if row.operations is None else row.operations,
    "anomalies": lambda row: (row.found, row.anomalies),
}


class Catalogue:
    """The rows of one store."""

    def __init__(self, store: Confined) -> None:
        self.store = store
        self._known: dict[tuple[str, str], tuple[Any, Row]] = {}
        self._lock = Lock()

    def rows(self) -> list[Row]:
        """Return every run, newest first."""
        found: list[Row] = []
        for name in self._folders():
            for stamp in self._folders(name):
                row = self.row(name, stamp)
                if row is not None:
                    found.append(row)
        return sorted(found, key=SORTS["started"], reverse=True)

    def _folders(self, *parts: str) -> Iterable[str]:
        try:
            return [entry.name for entry in self.store.entries(*parts) if entry.folder]
        except Absent:
            return []

    def row(self, name: str, stamp: str) -> Row | None:
        """Return one run; None when there is none."""
        run_mark = self.store.mark(name, stamp, RUN)
        if run_mark[0] < 0:
            return None
        marks = (run_mark, self.store.mark(name, stamp, VERDICT), self.store.mark(name, stamp, REPORT)[0] >= 0)
        judged = marks[1][0] >= 0
        with self._lock:
            known = self._known.get((name, stamp))
        if known is not None and known[0] == marks and (judged or known[1].state != "running"):
            return known[1]
        row = self._read(name, stamp, judged=judged, has_report=marks[2])
        with self._lock:
            self._known[name, stamp] = (marks, row)
        return row

    def _read(self, name: str, stamp: str, *, judged: bool, has_report: bool) -> Row:
        run = self.object(name, stamp, RUN)
        if run is None:
            return Row(name, stamp, "unreadable", has_report=has_report, words=f"{name} {stamp} unreadable".lower())
        verdict = (self.object(name, stamp, VERDICT) if judged else None) or {}
        config = _mapping(run.get("config"))
        health = _mapping(_mapping(verdict.get("figures")).get("health"))
        names = [str(item.get("name")) for item in _list(verdict.get("anomalies")) if isinstance(item, dict)]
        axes = {str(axis): _mapping(finding) for axis, finding in _mapping(verdict.get("axes")).items()}
        reasons = [str(reason) for finding in axes.values() for reason in _list(finding.get("because"))]
        operations = health.get("operations")
        valid = verdict.get("valid")
        state = WORDS.get(valid, "unreadable") if judged and isinstance(valid, bool | str) else ""
        row = Row(
            name, stamp, state or ("unreadable" if judged else self._state(name, stamp, run)),
            started=_text(run.get("started_at"), 40),
            system=_text(config.get("system"), 60),
            workload=_text(config.get("workload"), 60),
            faults=tuple(_text(word, 60) for word in _list(config.get("faults"))[:40]),
            options=" ".join(
                f"{_text(key, 40)}={_text(value, 80)}" for key, value in _mapping(config.get("options")).items()
            ),
            seed=_whole(run.get("seed")),
            operations=_whole(operations),
            landed=_landed(health.get("faults")),
            anomalies=tuple((visible(word, 60), number) for word, number in Counter(names).most_common(20)),
            missing=tuple(visible(axis, 40) for axis, finding in axes.items() if finding.get("valid") == "unknown"),
            because=visible(reasons[0], 300) if reasons else "",
            backend=_text(_mapping(run.get("backend")).get("name"), 40),
            nodes=len(_list(run.get("nodes"))) or None,
            limit_s=float(limit) if isinstance(limit := config.get("time_limit_s"), int | float) else None,
            repeat=_text(run.get("repeat"), 2000),
            campaign=_text(run.get("campaign"), 80),
            commit=_text(run.get("commit"), 40),
            has_report=has_report,
        )  # fmt: skip
        told = [name, stamp, row.state, row.system, row.workload, *row.faults, row.options, f"seed {row.seed}"]
        told += [row.started, row.backend, row.campaign, row.commit, *(word for word, _ in row.anomalies), row.because]
        return replace(row, words=" ".join(told).lower())

    def _state(self, name: str, stamp: str, run: Mapping[str, Any]) -> str:
        """Return whether a run that has no verdict goes on."""
        owner = Owner.parse(str(run.get("owner", "")))
        if owner is not None and owner.here():
            return "running" if owner.alive() else "not judged"
        changed = self.store.mark(name, stamp, HISTORY)[1]
        return "running" if time.time() - changed / 1e9 < FRESH_S else "not judged"

    def object(self, *parts: str) -> dict[str, Any] | None:
        """Return the JSON object in a file; None when there is none."""
        try:
            return parse(self.store.read(*parts))
        except Absent:
            return None

    def campaigns(self) -> list[dict[str, Any]]:
        """Return the rolls of the campaigns, newest first."""
        found: list[dict[str, Any]] = []
        with contextlib.suppress(Absent):
            for entry in self.store.entries(CAMPAIGNS):
                if entry.name.endswith(".json") and not entry.folder:
                    roll = self.roll(entry.name.removesuffix(".json"))
                    if roll is not None:
                        found.append(roll)
        return found[::-1]

    def roll(self, name: str) -> dict[str, Any] | None:
        """Return one campaign: its runs as rows, the ones that could not be carried out, and the counts."""
        data = self.object(CAMPAIGNS, f"{name}.json")
        if data is None:
            return None
        rows: list[Row] = []
        failed: list[tuple[str, str]] = []
        for item in _list(data.get("runs")):
            told = _mapping(item)
            parts = str(told.get("folder", "")).split("/")
            row = self.row(*parts) if len(parts) == 2 else None
            if row is not None:
                rows.append(row)
            elif "error" in told:
                failed.append((_text(told.get("repeat"), 2000), _text(told.get("error"), 1000)))
        owner = Owner.parse(str(data.get("owner", "")))
        planned = _whole(data.get("planned"))
        done = len(_list(data.get("runs")))
        return {
            "name": name, "started": _text(data.get("started_at"), 40), "planned": planned, "done": done,
            "rows": rows, "failed": failed, "states": Counter(row.state for row in rows),
            "goes_on": owner is not None and owner.alive() and (planned is None or done < planned),
            "anomalies": Counter(word for row in rows for word, _ in row.anomalies),
            "operations": sum(row.operations or 0 for row in rows),
            "command": command_line(data.get("argv")),
        }  # fmt: skip


def choose(rows: Iterable[Row], *, text: str = "", states: Iterable[str] = (), system: str = "", workload: str = "",
           fault: str = "", campaign: str = "", sort: str = "-started") -> list[Row]:  # fmt: skip
    """Return the rows that have every word of `text` and are what else was asked for, sorted ("-" turns it round)."""
    wanted, words = set(states), text.lower().split()
    found = [
        row for row in rows
        if (not wanted or row.state in wanted) and (not system or row.system == system)
        and (not workload or row.workload == workload) and (not fault or fault in row.faults)
        and (not campaign or row.campaign == campaign) and all(word in row.words for word in words)
    ]  # fmt: skip
    key = SORTS.get(sort.removeprefix("-"), SORTS["started"])
    return sorted(found, key=key, reverse=sort.startswith("-"))


def _landed(faults: Any) -> str:
    try:
        return faults_landed(faults) if isinstance(faults, dict) and faults else ""
    except (TypeError, AttributeError):
        return ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Any, longest: int) -> str:
    if value is None:
        return ""
    return visible(value, longest) if isinstance(value, str) else value_text(value, longest)
