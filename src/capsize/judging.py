"""Judges a run from its folder in the store: a pure function of the files, so that it can be done again.

Health first (did the run prove anything?), then the workload's checkers. A checker that breaks makes the safety axis
unknown; it never makes it valid.
"""

from __future__ import annotations

import logging
from pathlib import Path

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
    return merge("run", verdicts)


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """Write verdict.json."""
    write_json(folder / VERDICT, verdict.to_json())


def _checked(checker: Checker, history: History, budget: Budget) -> Verdict:
    try:
        return checker.check(history, budget)
    except Exception as error:  # a checker that breaks has judged nothing
        log.exception("the checker %s broke", checker.name)
        told = f"the checker {checker.name} broke: {type(error).__name__}: {error} (see capsize.log)"
        return Verdict(checker.name, {Axis.SAFETY: Finding("unknown", (told,))})
