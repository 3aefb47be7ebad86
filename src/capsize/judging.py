"""Judges a run from its folder in the store: a pure function of the files, so that it can be done again.

Health first (did the run prove anything?), then the workload's checkers, then Raft's invariants where the nodes left
traces. A checker that breaks makes the safety axis
unknown; it never makes it valid.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.checker import Checker
from capsize.checker.health import Health
from capsize.config import RunConfig
from capsize.errors import StoreError
from capsize.history import History, load_history
from capsize.registry import lookup
from capsize.store import HISTORY, RUN, VERDICT, read_json, write_json
from capsize.verdict import Axis, Finding, Verdict, merge
from capsize.workloads import WORKLOADS

log = logging.getLogger(__name__)

TRACE_BYTES_MAX = 256 << 20
"""More than some ten minutes of five nodes: judging them would take longer than the run."""


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
    verdicts = [Health(kinds, nodes).check(history, budget or Budget())]
    verdicts += [_checked(checker, history, budget or Budget()) for checker in workload.checkers()]
    traces = _traces(folder, run)
    size = sum(path.stat().st_size for path in traces)
    if size > TRACE_BYTES_MAX:
        told = f"{size >> 20} MB of traces; up to {TRACE_BYTES_MAX >> 20} MB are judged"
        verdicts.append(Verdict("raft-invariants", {}, figures={"not_judged": told}))
    elif traces:
        verdicts.append(_checked(Traced(traces), history, budget or Budget()))
    return merge("run", verdicts)


class Traced:
    """The Checker of the nodes' own traces, read when it is asked; the history is not looked at."""

    name = "raft-invariants"

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def check(self, history: History, budget: Budget) -> Verdict:
        """Return the judgement of the traces; raises HistoryError for one that is none."""
        from capsize.checker.invariants import RaftInvariants
        from capsize.checker.trace import parse_trace

        with contextlib.ExitStack() as opened:
            files = [(path, opened.enter_context(path.open("rb"))) for path in self.paths]
            traces = [parse_trace(file, name=f"{path.parent.name}/{path.name}") for path, file in files]
            return RaftInvariants(traces).check(history, budget)


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """Write verdict.json."""
    write_json(folder / VERDICT, verdict.to_json())


def _traces(folder: Path, run: Mapping[str, Any]) -> list[Path]:
    """Return the trace files that were collected, as run.json names them."""
    named = run.get("traces")
    names: Mapping[str, Any] = named if isinstance(named, Mapping) else {}
    paths = [folder / "nodes" / node / str(name) for node, files in names.items() for name in files]
    return [path for path in paths if path.is_file()]


def _checked(checker: Checker, history: History, budget: Budget) -> Verdict:
    try:
        return checker.check(history, budget)
    except Exception as error:  # a checker that breaks has judged nothing
        log.exception("the checker %s broke", checker.name)
        told = f"the checker {checker.name} broke: {type(error).__name__}: {error} (see capsize.log)"
        return Verdict(checker.name, {Axis.SAFETY: Finding("unknown", (told,))})
