"""What each node was, and when: spans of role and term, commit points, and marks for what happened to it.

The nodes' own traces are the source when they are there. Without them what the nodes said when they were polled, the
recording's "leader" lines and the kill faults show who led and who was down.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capsize.report.alignment import host_shifts, one_clock, origin_ns
from capsize.report.faults import FaultRow
from capsize.report.lanes import natural
from capsize.report.ledger import Ledger
from capsize.report.moments import parse_events
from capsize.report.plain import count, visible

ROLES = {"L": "leader", "F": "follower", "C": "candidate", "P": "pre-candidate"}
MOST_EVENTS = 3_000_000
MOST_POINTS = 4_000
SILENT_US = 1_500_000
"""A trace that stops this long before the run's end belongs to a node that was not running."""

MARKS = {
    "recover": "started",
    "become_candidate": "stood for election",
    "become_leader": "became leader",
    "truncate": "cut its log",
    "snapshot_installed": "installed a snapshot",
    "snapshot_taken": "took a snapshot",
    "config": "configuration changed",
    "stop": "stopped",
}


@dataclass(slots=True)
class NodeLane:
    """One node: `spans` of (start, end, role, term), `commits` of (time, index), `marks` of (time, event, text)."""

    name: str
    spans: list[tuple[int, int, str, int]] = field(default_factory=list[tuple[int, int, str, int]])
    commits: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    marks: list[tuple[int, str, str]] = field(default_factory=list[tuple[int, str, str]])
    source: str = "none"


def node_lanes(
    folder: Path, run: dict[str, Any], ledger: Ledger, faults: list[FaultRow], notes: list[str]
) -> tuple[list[NodeLane], int | None, dict[str, int]]:
    """Return a lane for every node that the run, the history, a fault or a trace names; the traces' origin; and shifts.

    The origin is on one clock; where hosts have their own, the shifts bring those there (`alignment.host_shifts`).
    """
    lanes = {name: NodeLane(name) for name in _names(folder, run, ledger, faults)}
    traces = trace_files(folder, run, list(lanes))
    shifts = host_shifts(run, traces)
    of_path = {path: shift for name, shift in shifts.items() for path in traces.get(name, ())}
    placed = list(of_path) or [path for paths in traces.values() for path in paths]
    origin = origin_ns(run, ledger, placed, shifts=of_path) if traces else None
    if traces and origin is None:
        notes.append("The nodes' traces are not drawn: nothing says when the run began on their clock.")
    for name, paths in traces.items():
        own = origin if one_clock(run) else origin_ns(run, ledger, paths, node=name)
        if origin is not None and name in shifts:
            own = origin - shifts[name]
        if own is not None:
            _read_trace(paths, lanes[name], own, ledger.last_us, notes)
        elif origin is not None:
            notes.append(f"{name}'s trace is not drawn: neither a message nor an answer places its clock.")
    if not one_clock(run) and not shifts:  # moments of several clocks cannot be put side by side
        origin = None
    if not any(lane.source == "trace" for lane in lanes.values()):
        _from_recording(lanes, ledger, faults)
    return list(lanes.values()), origin, shifts


def trace_files(folder: Path, run: dict[str, Any], nodes: Iterable[str]) -> dict[str, list[Path]]:
    """Return the trace files that are there, by node; run.json may name them, and no name leads out of the folder."""
    told = run.get("traces")
    found: dict[str, list[Path]] = {}
    for node in nodes:
        named = told.get(node) if isinstance(told, dict) else None
        words = [word for word in named if isinstance(word, str)] if isinstance(named, list) else ["trace.jsonl"]
        plain = [word for word in words if node and not {"/", "\\"} & {*word, *node} and node not in (".", "..")]
        paths = [folder / "nodes" / node / word for word in plain]
        if any(path.is_file() for path in paths):
            found[node] = [path for path in paths if path.is_file()]
    return found


def _names(folder: Path, run: dict[str, Any], ledger: Ledger, faults: list[FaultRow]) -> list[str]:
    names: dict[str, None] = {}
    listed = run.get("nodes")
    if isinstance(listed, dict):
        listed = list(listed)
    for node in listed if isinstance(listed, list) else ():
        word = node.get("name", node.get("node")) if isinstance(node, dict) else node
        if isinstance(word, str):
            names[visible(word)] = None
    found = {ledger.word(code) for code in set(ledger.node)} - {""}
    found |= {target for fault in faults for target in fault.targets}
    if (folder / "nodes").is_dir():
        found |= {visible(entry.name) for entry in (folder / "nodes").iterdir() if entry.is_dir()}
    return [*names, *sorted(found - set(names), key=natural)]


def _read_trace(paths: list[Path], lane: NodeLane, origin: int, last_us: int, notes: list[str]) -> None:
    broken = 0
    state: dict[str, Any] = {}
    now = 0
    opened: tuple[int, str, int] | None = None
    lane.source = "trace"
    for number, event in enumerate(event for path in paths for event in _events(path)):
        if number >= MOST_EVENTS:
            notes.append(f"nodes/{lane.name}: of its trace only the first {MOST_EVENTS:,} events are shown.")
            break
        if event is None or not isinstance(event.get("mono"), int):
            broken += 1
            continue
        before, now = now, (event["mono"] - origin) // 1000
        word = str(event.get("ev"))
        if word == "recover":
            if opened is not None:
                lane.spans.append((opened[0], before, opened[1], opened[2]))
                lane.spans.append((before, now, "down", opened[2]))
            opened, state = None, {}
        if isinstance(event.get("st"), dict):
            state.update(event["st"])
        role, term = ROLES.get(str(state.get("role")), "unknown"), _number(state.get("term"))
        if opened is None:
            opened = (now, role, term)
        elif (role, term) != opened[1:]:
            lane.spans.append((opened[0], now, opened[1], opened[2]))
            opened = (now, role, term)
        commit = _number(state.get("commit"))
        if commit >= 0 and (not lane.commits or lane.commits[-1][1] != commit):
            lane.commits.append((now, commit))
        if word in MARKS:
            lane.marks.append((now, word, _tell(word, event, state)))
    if opened is not None:
        ended = last_us if last_us - now < SILENT_US else now
        lane.spans.append((opened[0], max(ended, now), opened[1], opened[2]))
        if ended != last_us:
            lane.spans.append((now, last_us, "down", opened[2]))
    if len(lane.commits) > MOST_POINTS:
        step = len(lane.commits) / MOST_POINTS
        lane.commits = [lane.commits[int(i * step)] for i in range(MOST_POINTS)] + lane.commits[-1:]
    if broken:
        notes.append(f"nodes/{lane.name}/trace.jsonl: {count(broken, 'line')} could not be understood.")
    if opened is None:
        lane.source = "none"
        notes.append(f"nodes/{lane.name}/trace.jsonl holds no event.")


def _events(path: Path) -> Iterable[dict[str, Any] | None]:
    try:
        with path.open("rb") as file:
            for line in file:
                if line.strip():
                    yield from parse_events(line) or (None,)
    except OSError:
        yield None


def _number(value: Any) -> int:
    return value if isinstance(value, int) and abs(value) < 2**53 else -1


def _tell(word: str, event: dict[str, Any], state: dict[str, Any]) -> str:
    text = MARKS[word]
    extra = event.get("x")
    if word == "truncate" and isinstance(extra, dict) and "to" in extra:
        text += f" back to index {visible(str(extra['to']))}"
    last = state.get("last")
    if word in ("become_leader", "become_candidate", "recover") and isinstance(last, list) and last:
        text += f", last index {visible(str(last[0]))}"
    term = _number(state.get("term"))
    return f"{text}, term {term}" if term >= 0 else text


def _from_polls(lanes: dict[str, NodeLane], ledger: Ledger) -> None:
    """Fill in what the nodes said when they were polled: role, term and commit index, changes only."""
    said: dict[str, list[tuple[int, str, int]]] = {}
    for event in ledger.nemesis:
        value = event.get("value")
        if event.get("f") != "status" or not isinstance(value, dict) or value.get("node") not in lanes:
            continue
        lane, at = lanes[value["node"]], int(event["time_ns"]) // 1000
        role, term = visible(str(value.get("role") or "unknown"), 30), _number(value.get("term"))
        told = said.setdefault(lane.name, [])
        if not told or told[-1][1:] != (role, term):
            told.append((at, role, term))
            if role in ("leader", "candidate"):
                lane.marks.append((at, f"become_{role}", f"said that it is {role}, term {term}"))
        commit = _number(value.get("commit_index"))
        if commit >= 0 and (not lane.commits or lane.commits[-1][1] != commit):
            lane.commits.append((at, commit))
    for name, told in said.items():
        lane = lanes[name]
        down = [span for span in lane.spans if span[2] == "down"]
        lane.marks = [mark for mark in lane.marks if not mark[2].startswith("seen as")]
        lane.spans = down
        for (start, role, term), after in zip(told, [*told[1:], (ledger.last_us, "", 0)], strict=True):
            lane.spans += _around(start, after[0], role, term, down)


def _around(
    start: int, end: int, role: str, term: int, down: list[tuple[int, int, str, int]]
) -> list[tuple[int, int, str, int]]:
    """Return the span without the times in which the node was down; what it was after one, the next poll tells."""
    parts: list[tuple[int, int, str, int]] = []
    for from_, until, _, _ in sorted(down):
        if until <= start or from_ >= end:
            continue
        if from_ > start:
            parts.append((start, from_, role, term))
        start, role, term = max(start, until), "unknown", -1
    return [*parts, (start, end, role, term)] if start < end else parts


def _from_recording(lanes: dict[str, NodeLane], ledger: Ledger, faults: list[FaultRow]) -> None:
    """Fill in who led, from the "leader" lines, and who was down, from kill faults."""
    seen: list[tuple[int, str, int]] = []
    for event in ledger.nemesis:
        value = event.get("value")
        if event.get("f") == "leader" and isinstance(value, dict):
            seen.append((int(event["time_ns"]) // 1000, str(value.get("leader")), _number(value.get("term"))))
    for (start, leader, term), after in zip(seen, [*seen[1:], (ledger.last_us, "", 0)], strict=False):
        if leader in lanes:
            lanes[leader].spans.append((start, after[0], "leader", term))
            lanes[leader].marks.append((start, "become_leader", f"seen as the leader, term {term}"))
    for fault in faults:
        if "kill" in fault.name and fault.landed and fault.injected_us is not None:
            for target in fault.targets:
                if target in lanes:
                    end = fault.healed_us if fault.healed_us is not None else ledger.last_us
                    lanes[target].spans.append((fault.injected_us, end, "down", -1))
    _from_polls(lanes, ledger)
    for lane in lanes.values():
        lane.spans.sort()
        if lane.spans:
            lane.source = "recording"
