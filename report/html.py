"""`report.html`: one self-contained file in which a person sees what happened, and why.

It opens from disk, without network, and needs nothing but a browser. Everything a system under test or a folder
could have written is escaped twice over: by the template for markup, and by `embedded` for the data; a content
security policy lets only this file's own script run. Whatever is missing in the store is named, and the rest shown.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from capsize.report.alignment import on_one_clock
from capsize.report.argument import argued
from capsize.report.drawings import Drawings, draw, faults_at, tried
from capsize.report.faults import RECORDED, FaultRow, fault_rows
from capsize.report.lanes import lay_out
from capsize.report.ledger import COLUMNS, OUTCOMES, Ledger, read_ledger
from capsize.report.meaning import meaning_of
from capsize.report.nodes import NodeLane, node_lanes, trace_files
from capsize.report.plain import command_line, count, duration, in_micro, seconds, value_text, visible
from capsize.report.unavailability import unavailability
from capsize.report.witness import Contradiction, contradictions

log = logging.getLogger(__name__)
TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = (
    "data.js", "view.js", "paint.js", "timeline.js", "overview.js", "plots.js",
    "details.js", "orders.js", "filters.js", "pointer.js", "keys.js", "main.js",
)  # fmt: skip
MOST_SHOWN = 250_000
"""Operations drawn; of a longer history, the anomalies' keys and every n-th other operation."""

MOST_ARGUED = 50
"""Anomalies on the page; the others are in verdict.json."""

AXES = {
    "safety": "No committed write lost, no stale read, no rule of Raft broken",
    "liveness": "Served again, in time, after everything was healed",
    "coverage": "The run proved something: operations succeeded, faults landed",
    "harness": "The tool itself worked",
}
NOT_JUDGED = "Nobody has judged this run yet."
WORDS = {"true": "valid", "false": "invalid", "unknown": "unknown"}


def write_html(folder: Path) -> Path:
    """Write `report.html` into the store folder `folder` and return its path.

    Never raises for what the folder holds, only for a folder that cannot be written (OSError).
    Cost: linear in the history and the traces; about 20 µs an operation.
    """
    page = render(folder)
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8", errors="backslashreplace")
    return path


def render(folder: Path) -> str:
    """Return the page for the store folder `folder`."""
    notes: list[str] = []
    run = _object(folder / "run.json", notes)
    told = run.get("notes")
    notes += [visible(str(note)) for note in told] if isinstance(told, list) else []
    verdict = _object(folder / "verdict.json", notes)
    if not verdict:
        notes.append("The run has not been judged: `capsize check` on this folder does it.")
    schedule = _read(folder / "schedule.json", notes)
    ledger = read_ledger(folder / "history.jsonl")
    notes += ledger.notes + _nemesis_problems(ledger)
    faults = fault_rows(ledger)
    nodes, origin, shifts = node_lanes(folder, run, ledger, faults, notes)
    files = trace_files(folder, run, [node.name for node in nodes])
    verdict = _clients_first(argued(folder, verdict, [path for paths in files.values() for path in paths]))
    verdict = on_one_clock(verdict, shifts)
    files = {node: paths for node, paths in files.items() if not shifts or node in shifts}
    anomalies = contradictions(verdict, ledger, origin)
    rows = _chosen(ledger, anomalies, notes)
    drawings = draw(verdict, anomalies, run, files, origin, notes, shifts)
    silent = tried(lambda: unavailability(verdict, ledger, nodes, faults), notes, "The unavailability was not argued")
    if silent is not None:
        anomalies.append(silent)
        drawings.append(Drawings())
    style = _source("report.css")
    script = "(() => {\n'use strict';\n" + "\n".join(_source(name) for name in SCRIPTS) + "\n})();"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(duration=in_micro(duration), at=in_micro(seconds), value=value_text, visible=visible)
    return environment.get_template("report.html.j2").render(
        style=Markup(style),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(embedded(_data(ledger, rows, faults, nodes, anomalies, drawings))),
        summary=_summary(folder, run, verdict, ledger, faults, anomalies),
        axes=_axes(verdict),
        anomalies=anomalies,
        drawings=drawings,
        groups=_groups(anomalies),
        meanings=[meaning_of(anomaly.name, anomaly.details) for anomaly in anomalies],
        held=[_held(anomaly, faults) for anomaly in anomalies],
        faults=faults,
        schedule=schedule if isinstance(schedule, list) else _list_in(schedule),
        figures=verdict.get("figures") if isinstance(verdict.get("figures"), dict) else {},
        run=run,
        nodes=nodes,
        notes=list(dict.fromkeys(notes)),
        outcomes=_outcomes(ledger),
        functions=sorted({ledger.word(code) for code in set(ledger.f)}),
    )


def _clients_first(verdict: dict[str, Any]) -> dict[str, Any]:
    """Return `verdict` with the anomalies that clients met before those that only the nodes' own events show."""
    anomalies = verdict.get("anomalies")
    if not isinstance(anomalies, list):
        return verdict
    met = [isinstance(one, dict) and bool(one.get("operations")) for one in anomalies]
    places = sorted(range(len(anomalies)), key=lambda place: not met[place])
    return verdict | {"anomalies": [anomalies[place] for place in places]}


def _nemesis_problems(ledger: Ledger) -> list[str]:
    """Return what the nemesis itself could not do."""
    found: list[str] = []
    for event in ledger.nemesis:
        value = event.get("value")
        if event.get("f") == "nemesis" and isinstance(value, dict) and value.get("phase") == "error":
            found.append(f"The nemesis reports: {value_text(value.get('detail'))}.")
    return found[:20]


def embedded(data: Any) -> str:
    """Return `data` as JSON that is safe inside a script element.

    >>> embedded("</script>&")
    '"\\\\u003c/script\\\\u003e\\\\u0026"'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _source(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _read(path: Path, notes: list[str]) -> Any:
    if not path.is_file():
        notes.append(f"{path.name} is missing.")
        return None
    try:
        return json.loads(path.read_bytes().decode("utf-8", "replace"))
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"{path.name} could not be read: {visible(str(error), 200)}.")
        return None


def _object(path: Path, notes: list[str]) -> dict[str, Any]:
    data = _read(path, notes)
    if data is not None and not isinstance(data, dict):
        notes.append(f"{path.name} holds no object.")
    return data if isinstance(data, dict) else {}


def _list_in(schedule: Any) -> list[Any]:
    """Return the first list inside a schedule that is an object."""
    if isinstance(schedule, dict):
        return next((value for value in schedule.values() if isinstance(value, list)), [])
    return []


def _axes(verdict: dict[str, Any]) -> list[dict[str, Any]]:
    found = verdict.get("axes")
    axes = found if isinstance(found, dict) else {}
    shown: list[dict[str, Any]] = []
    for name, meaning in AXES.items():
        finding = axes.get(name)
        finding = finding if isinstance(finding, dict) else {}
        because = finding.get("because")
        reasons = [visible(str(reason), 1000) for reason in because] if isinstance(because, list) else []
        word = WORDS.get(str(finding.get("valid", "")).lower(), "not judged")
        shown.append({"name": name, "meaning": meaning, "word": word, "because": reasons})
    return shown


def _summary(
    folder: Path, run: dict[str, Any], verdict: dict[str, Any], ledger: Ledger,
    faults: list[FaultRow], anomalies: list[Contradiction],
) -> dict[str, Any]:  # fmt: skip
    config = run.get("config")
    settings: dict[str, Any] = config if isinstance(config, dict) else {}
    word = WORDS.get(str(verdict.get("valid", "unknown")).lower(), "unknown")
    tried = [fault for fault in faults if fault.state != "skipped"]

    def setting(name: str) -> str:
        value = settings.get(name, run.get(name))
        return "" if value is None else visible(value if isinstance(value, str) else value_text(value), 200)

    facts = [setting("system"), setting("workload"), f"seed {setting('seed')}" if setting("seed") else ""]
    facts += [count(len(ledger), "operation"), f"{ledger.last_us / 1e6:.1f} s"]
    recorded = sum(fault.state == RECORDED for fault in tried)
    landed = f"faults landed {sum(fault.landed for fault in tried)}/{len(tried)}"
    facts += [count(recorded, "fault") + " recorded" if recorded else landed] if faults else ["no faults"]
    skipped = len(faults) - len(tried)
    facts += [f"{skipped} skipped"] if skipped else []
    return {
        "word": word,
        "headline": {
            "valid": "Nothing contradicts what the clients were told.",
            "invalid": _found(anomalies),
            "unknown": "Not enough was proven to say valid or invalid." if verdict else NOT_JUDGED,
        }[word],
        "facts": [fact for fact in facts if fact],
        "title": visible(f"{word} · {setting('workload') or folder.parent.name} · {folder.name}", 200),
        "repeat": command_line(run.get("repeat") or run.get("command") or run.get("argv")),
        "folder": visible(folder.name, 200),
        "started": visible(str(run.get("started_at", "")), 60),
        "missing": [axis["name"] for axis in _axes(verdict) if verdict and axis["word"] != "valid"],
    }


def _found(anomalies: list[Contradiction]) -> str:
    """Return "3 anomalies: 2 × stale-read, lost-write."."""
    if not anomalies:
        return "No anomaly is listed; the axes say what is wrong."
    names = Counter(anomaly.name for anomaly in anomalies)
    kinds = ", ".join(f"{number} × {name}" if number > 1 else name for name, number in names.items())
    return f"{count(len(anomalies), 'anomaly', 'anomalies')}: {kinds}."


def _groups(anomalies: list[Contradiction]) -> list[tuple[str, list[int], list[int]]]:
    """Return the anomalies by name, in order: (name, those argued in full, the others), by their place."""
    groups: dict[str, tuple[list[int], list[int]]] = {}
    for place, anomaly in enumerate(anomalies[:MOST_ARGUED]):
        groups.setdefault(anomaly.name, ([], []))[0 if anomaly.leads else 1].append(place)
    return [(name, leads, others) for name, (leads, others) in groups.items()]


def _held(anomaly: Contradiction, faults: list[FaultRow]) -> list[str]:
    """Return the faults that held when a rule of Raft was broken; the sentences of other anomalies say that already."""
    times = [float(moment.at) * 1e6 for moment in anomaly.moments if moment.at not in ("", "before")]
    if not times:
        return []
    return [
        f"{fault.name} of {', '.join(fault.targets) or 'the cluster'}"
        for fault in faults_at(faults, min(times) - 1_000, max(times) + 1_000)
    ] or (["none"] if faults else [])


def _orders_data(drawn: Drawings) -> dict[str, Any] | None:
    if not drawn.lines:
        return None
    lines = [
        [[[point.place, point.x, point.text] for point in points] for points in (line.points, line.refused)]
        for line in drawn.lines
    ]
    return {"lines": lines, "of": drawn.of, "longest": drawn.longest, "start": drawn.start}


def _outcomes(ledger: Ledger) -> dict[str, int]:
    return {word: ledger.outcome.count(code) for code, word in enumerate(OUTCOMES)}


def _chosen(ledger: Ledger, anomalies: list[Contradiction], notes: list[str]) -> list[int] | None:
    """Return the rows to draw when there are too many of them, else None for all."""
    if len(ledger) <= MOST_SHOWN:
        return None
    keys = {anomaly.key for anomaly in anomalies if anomaly.key}
    named = {step.row for anomaly in anomalies for step in anomaly.steps if step.row is not None}
    stride = -(-len(ledger) // (MOST_SHOWN // 2))
    close = [row for row in range(len(ledger)) if row in named or ledger.word(ledger.key[row]) in keys]
    rows = sorted({*close[: MOST_SHOWN // 2], *named, *range(0, len(ledger), stride)})
    notes.append(
        f"The timeline draws {len(rows):,} of {len(ledger):,} operations: those on the keys of the anomalies, and "
        f"every {stride}th of the rest. The verdict and the counts are about all of them."
    )
    return rows


def _data(
    ledger: Ledger, rows: list[int] | None, faults: list[FaultRow], nodes: list[NodeLane],
    anomalies: list[Contradiction], drawings: list[Drawings],
) -> dict[str, Any]:  # fmt: skip
    """Return what the page's script draws: columns, with times as differences, and small tables."""
    lanes = lay_out(ledger, [node.name for node in nodes])
    columns: dict[str, list[int]] = {}
    for name in COLUMNS:
        column: list[int] = getattr(ledger, name)
        columns[name] = column if rows is None else [column[row] for row in rows]
    calls = columns["call_us"]
    columns["took_us"] = [-1 if end < 0 else end - call for end, call in zip(columns.pop("end_us"), calls, strict=True)]
    columns["call_us"] = [b - a for a, b in zip([0, *calls], calls, strict=False)]
    columns["lane"] = [lanes.lane_of_process[process] for process in columns["process"]]
    nothing = {"error": -1, "extra": -1, "final": 0}
    empty = {name: code for name, code in nothing.items() if set(columns[name]) <= {code}}
    for name in empty:
        del columns[name]
    return {
        "count": len(calls),
        "columns": columns,
        "constant": empty,
        "words": ledger.words.table,
        "values": ledger.values.table,
        "lanes": lanes.node_of_lane,
        "last_us": ledger.last_us,
        "nodes": [
            {"name": n.name, "spans": n.spans, "commits": n.commits, "marks": n.marks, "source": n.source}
            for n in nodes
        ],
        "faults": [
            {
                "name": f.name, "targets": f.targets, "state": f.state, "landed": f.landed,
                "intended": f.intended_us, "start": f.start_us, "end": f.healed_us,
            }
            for f in faults
        ],
        "phases": [
            [int(event["time_ns"]) // 1000, visible(str(event["value"].get("phase")), 40)]
            for event in ledger.nemesis
            if event.get("f") == "phase" and isinstance(event.get("value"), dict)
        ],
        "anomalies": [
            {
                "name": a.name, "key": a.key, "operations": [step.index for step in a.steps if step.row is not None],
                "moments": [[int(float(m.at) * 1e6), m.node] for m in a.moments if m.at not in ("", "before")],
                "orders": _orders_data(drawn),
            }
            for a, drawn in zip(anomalies, drawings, strict=True)
        ],
    }  # fmt: skip
