"""Linearizability: each key judged by the fastest engine that applies to it.

- `unique-values`: registers and maps whose values each have one writer; linear time (`unique_kernel`)
- `frontier`: registers and maps with repeated values; one order tried first (`depth_first_kernel`), then the open
  operations only (`frontier_kernel`)
- `general`: any model, in plain Python (`general`)

Keys are judged apart (locality: Herlihy & Wing 1990, theorem 1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from capsize.checker.budget import Budget
from capsize.checker.engines import KeyOutcome, judge_keys
from capsize.checker.models.model import Model, plain
from capsize.checker.outcome import Exhausted, Illegal, Legal
from capsize.history import History
from capsize.op import Value
from capsize.verdict import Anomaly, Axis, Finding, Validity, Verdict, gravest

NAME = "linearizability"
Progress = Callable[[int, int], None]
"""Called with the number of keys judged and of all keys."""


def check_linearizable(
    history: History, model: Model[Any], *, budget: Budget | None = None, progress: Progress | None = None
) -> Verdict:
    """Decide whether `history` is linearizable with respect to `model`.

    An `info` operation may take effect at any time after its call, or never. Intervals are closed.
    Returns "unknown", never valid, for a key on which the budget ran out; names the key and the window.
    Cost: linear for unique values; otherwise linear in the length, and exponential at worst in the number of
    operations open at once.
    """
    outcomes = judge_keys(history, model, budget or Budget(), progress=progress)
    return _verdict(history, outcomes)


@dataclass(frozen=True, slots=True)
class Linearizability:
    """The checker of that name, for workloads and the command line."""

    model: Model[Any]
    name: str = NAME

    def check(self, history: History, budget: Budget) -> Verdict:
        """Judge `history`; see `check_linearizable`."""
        return check_linearizable(history, self.model, budget=budget)


def _verdict(history: History, outcomes: list[KeyOutcome]) -> Verdict:
    validity: Validity = gravest(_validity(item) for item in outcomes) if outcomes else True
    anomalies: list[Anomaly] = []
    because: list[str] = []
    unknown: list[dict[str, Any]] = []
    for item in outcomes:
        outcome = item.outcome
        if isinstance(outcome, Illegal):
            sentence = SENTENCES.get(outcome.kind, outcome.kind)
            because.append(f"{_of(item.key)}{sentence}")
            anomalies.append(
                Anomaly(
                    name="not-linearizable",
                    because=(sentence,),
                    operations=tuple(history[_index(history, row)] for row in sorted(outcome.rows)),
                    key=item.key,
                    details={"engine": item.engine, "kind": outcome.kind, **outcome.reason},
                )
            )
        elif isinstance(outcome, Exhausted):
            first, last = outcome.window
            because.append(
                f"{_of(item.key)}the budget of {outcome.what} ran out between positions {first} and {last}, with "
                f"{outcome.open} operations open and {outcome.pending} that never returned; {outcome.hint}"
            )
            unknown.append(
                {
                    "key": item.key,
                    "engine": item.engine,
                    "what": outcome.what,
                    "window": list(outcome.window),
                    "open": outcome.open,
                    "pending": outcome.pending,
                    "hint": outcome.hint,
                }
            )
    figures: dict[str, Any] = {
        "operations": len(history),
        "keys": len(outcomes),
        "engines": dict(Counter(item.engine for item in outcomes)),
        "steps": sum(item.outcome.steps for item in outcomes),
        "bytes": max((item.outcome.bytes for item in outcomes), default=0),
    }
    if unknown:
        figures["unknown"] = unknown
    return Verdict(NAME, {Axis.SAFETY: Finding(validity, tuple(because))}, tuple(anomalies), figures)


def _index(history: History, row: int) -> int:
    """Return where the operation with that number is in `history`, which may be a part of a longer one."""
    return int(np.flatnonzero(history.columns.row == row)[0])


SENTENCES = {
    "never-written": "a value was observed that nobody wrote",
    "two-cas": "two compare-and-set took the same value, which was written once",
    "cycle": "compare-and-set operations form a circle, in which each needs the value that another one wrote",
    "order": "an operation returned before another one, which must come before it, was called",
    "zones-overlap": "two values must each have been there alone, in intervals that overlap",
    "zone-inside": "a value must have been there while another one was there throughout",
    "two-predecessors": "the same item was read after two different beginnings, but was appended once",
    "no-configuration": "no order of the operations explains what was answered up to a certain return",
}
"""What each kind of contradiction means."""


def _validity(item: KeyOutcome) -> Validity:
    if isinstance(item.outcome, Legal):
        return True
    return False if isinstance(item.outcome, Illegal) else "unknown"


def _of(key: Value) -> str:
    return "" if key is None else f"key {plain(key)}: "
