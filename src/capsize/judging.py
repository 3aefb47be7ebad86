"""Judges a run from its folder in the store: a pure function of the files, so that it can be done again.

Health first (did the run prove anything?), then what the nodes said when polled, then the workload's checkers, then
Raft's invariants where the nodes left traces. A checker that breaks makes the safety axis
unknown; it never makes it valid.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.checker import Checker
from capsize.checker.clocks import on_one_clock, ways_of
from capsize.checker.health import Health
from capsize.checker.models import MODELS
from capsize.checker.polled import PolledState
from capsize.checker.replicas import Replicas
from capsize.checker.trace import TraceEvent
from capsize.config import RunConfig
from capsize.dumps import DUMP
from capsize.errors import HistoryError, StoreError
from capsize.history import History, load_history
from capsize.registry import lookup
from capsize.store import HISTORY, RUN, VERDICT, read_json, write_json
from capsize.verdict import Anomaly, Axis, Finding, Verdict, merge
from capsize.workloads import WORKLOADS, Workload

log = logging.getLogger(__name__)

RAFT = "raft-invariants"
TRACE_BYTES_MAX = 256 << 20
"""More than some ten minutes of five nodes: what goes beyond is not judged, and the verdict says so."""


def judge(folder: Path, *, budget: Budget | None = None) -> Verdict:
    """Return the verdict on the run in `folder`, of which run.json and history.jsonl are read.

    A history that ends in a cut line (the tool was killed) is judged up to there.
    Raises StoreError or HistoryError when the files cannot be read.
    """
    run = read_json(folder / RUN)
    config = RunConfig.from_json(run.get("config", {}))
    path = folder / HISTORY
    if not path.exists():
        raise StoreError(f"{path}: there is no history: the run ended before its load began")
    history = load_history(path, strict=False)
    kinds = [str(kind) for kind in run.get("kinds", config.faults)]
    nodes = [str(name) for name in run.get("nodes", [])]
    workload = lookup("workload", config.workload, WORKLOADS)(config.seed, config.nodes * config.concurrency)
    spent = budget or Budget()
    verdicts = [Health(kinds, nodes, rate=config.rate).check(history, spent)]
    verdicts += [_checked(checker, history, spent) for checker in (PolledState(), Replicas())]
    traces, white_box = _white_box(_traces(folder, run), history, spent)
    white_box = [_dated(verdict, _origin(run)) for verdict in white_box]
    if not _is_one_host(run):
        traces = on_one_clock(traces, ways_of(traces).shifts())
    for checker in workload.checkers():
        verdicts.append(_explained(_checked(checker, history, spent), history, workload, traces, _origin(run)))
    verdicts += white_box
    verdicts += _dumped(folder, nodes)
    verdicts += _evidence(folder, run)
    return merge("run", verdicts)


def _white_box(paths: Sequence[Path], history: History, budget: Budget) -> tuple[list[TraceEvent], list[Verdict]]:
    """Return the nodes' events, and the verdict on Raft's invariants; neither where no trace was left."""
    from capsize.checker.invariants import RaftInvariants
    from capsize.checker.trace import parse_trace

    if not paths:
        return [], []
    sizes = {path: path.stat().st_size for path in paths}
    share = min(1.0, TRACE_BYTES_MAX / max(1, sum(sizes.values())))
    traces: list[list[TraceEvent]] = []
    try:
        for path in paths:
            with path.open("rb") as file:
                lines = file if share == 1.0 else _beginning(file, int(share * sizes[path]))
                traces.append(list(parse_trace(lines, name=f"{path.parent.name}/{path.name}")))
    except HistoryError as error:
        told = f"the nodes' traces could not be read: {error}"
        return [], [Verdict(RAFT, {Axis.HARNESS: Finding("unknown", (told,))})]
    events = [event for trace in traces for event in trace]
    if share == 1.0:
        return events, [_checked(RaftInvariants(traces), history, budget)]
    verdict = _checked(RaftInvariants(traces, cut={event.node for event in events}), history, budget)
    total = sum(sizes.values()) >> 20
    told = f"Raft's invariants were judged over the first {TRACE_BYTES_MAX >> 20} of {total} MB of the nodes' traces"
    told += "; a shorter run, or one without traces, is judged whole"
    return events, [verdict, Verdict("raft-traces", {Axis.COVERAGE: Finding("unknown", (told,))})]


def _beginning(lines: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Yield lines up to so many bytes in all, whole ones only."""
    for line in lines:
        limit -= len(line)
        if limit < 0:
            return
        yield line


def _dumped(folder: Path, nodes: Sequence[str]) -> list[Verdict]:
    """Return the verdict on the logs that were dumped when the nodes had stopped; none where none was."""
    from capsize.checker.dumped import NAME, judge_logs

    paths = {node: folder / "nodes" / node / DUMP for node in nodes}
    try:
        logs = {
            node: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            for node, path in paths.items()
            if path.is_file()
        }
        return [judge_logs(logs)] if logs else []
    except (ValueError, LookupError, TypeError, OSError) as error:
        told = f"the nodes' dumped logs could not be read: {type(error).__name__}: {error}"
        return [Verdict(NAME, {Axis.HARNESS: Finding("unknown", (told,))})]


def _evidence(folder: Path, run: Mapping[str, Any]) -> list[Verdict]:
    """Return "unknown" where evidence that the run should have left is not there; nothing where all of it is.

    A check that had nothing to look at has found nothing, which is not the same as that there was nothing to find.
    """
    because = ["the nodes' logs and traces were not collected: the tool ended before"] * (
        "not_collected" in run and run["not_collected"] is None
    )
    because += [str(problem) for problem in run.get("not_collected") or ()]
    for node, names in _named_traces(run).items():
        missing = [name for name in names if not _holds_anything(folder / "nodes" / node / name)]
        if missing:
            because.append(f"{node}: its trace ({', '.join(missing)}) is missing: Raft's rules were judged without it")
    return [Verdict("evidence", {Axis.HARNESS: Finding("unknown", tuple(because))})] if because else []


def _holds_anything(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _origin(run: Mapping[str, Any]) -> int | None:
    """Return where the run began on the nodes' clock; None where it was not recorded, or each host has its own."""
    told = run.get("origin_ns")
    return told if _is_one_host(run) and isinstance(told, int) and not isinstance(told, bool) else None


def _is_one_host(run: Mapping[str, Any]) -> bool:
    """Return whether all nodes shared the controller's clock; over ssh every host has its own."""
    backend = run.get("backend")
    return not (isinstance(backend, Mapping) and backend.get("name") == "ssh")


def _dated(verdict: Verdict, origin: int | None) -> Verdict:
    """Return `verdict` with the second of the run at which each of its anomalies was complete, in the details."""
    if origin is None:
        return verdict

    def dated(anomaly: Anomaly) -> Anomaly:
        seen = [mono for event in anomaly.events if isinstance(mono := event.get("mono"), int)]
        if not seen:
            return anomaly
        return replace(anomaly, details={**anomaly.details, "at_s": round((max(seen) - origin) / 1e9, 3)})

    return replace(verdict, anomalies=tuple(map(dated, verdict.anomalies)))


def _explained(
    verdict: Verdict, history: History, workload: Workload, traces: Sequence[TraceEvent], origin: int | None
) -> Verdict:
    """Return `verdict` with its anomalies explained; as it is when that breaks."""
    if not verdict.anomalies or workload.model not in MODELS:
        return verdict
    try:
        from capsize.checker.explain import explained

        told = explained(verdict, history, MODELS[workload.model](), traces=traces, origin=origin)
    except Exception:  # what was found stands, explained or not
        log.exception("the anomalies were not explained")
        return verdict
    assert told.valid == verdict.valid
    return told


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """Write verdict.json."""
    write_json(folder / VERDICT, verdict.to_json())


def _traces(folder: Path, run: Mapping[str, Any]) -> list[Path]:
    """Return the trace files that were collected, as run.json names them."""
    paths = [folder / "nodes" / node / name for node, names in _named_traces(run).items() for name in names]
    return [path for path in paths if path.is_file()]


def _named_traces(run: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return node -> the names of the traces that it was to leave."""
    named = run.get("traces")
    told: Mapping[str, Any] = named if isinstance(named, Mapping) else {}
    return {str(node): [str(name) for name in names] for node, names in told.items()}


def _checked(checker: Checker, history: History, budget: Budget) -> Verdict:
    try:
        return checker.check(history, budget)
    except Exception as error:  # a checker that breaks has judged nothing
        log.exception("the checker %s broke", checker.name)
        told = f"the checker {checker.name} broke: {type(error).__name__}: {error} (see capsize.log)"
        return Verdict(checker.name, {Axis.SAFETY: Finding("unknown", (told,))})
