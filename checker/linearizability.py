"""Linearizability: each key judged by the fastest engine that applies to it.

- `unique-values`: registers and maps whose values each have one writer; linear time (`unique_kernel`)
- `frontier`: registers and maps with repeated values; the open operations only (`frontier`)
- `general`: any model, in plain Python (`general`)

Keys are judged apart (locality: Herlihy & Wing 1990, theorem 1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


from capsize.checker.budget import Budget
from capsize.checker.columns import KeyColumns
from capsize.checker.encoding import encode, slotted
from capsize.checker.unique import ILLEGAL, VALID, Contradiction, judge_unique
from capsize.history import History
from capsize.op import Value
from capsize.verdict import Anomaly, Axis, Finding, Validity, Verdict, gravest

NAME = "linearizability"
REGISTERS = frozenset({"register", "cas-register", "kv"})
"""The models that the fast engines know by heart."""


@dataclass(frozen=True, slots=True)
class KeyVerdict:
    """One key as one engine judged it. `rows` are the witness, as rows of the history."""

    key: Value
    valid: Validity
    engine: str
    because: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


def check_linearizable(history: History, model: Any, *, budget: Budget | None = None) -> Verdict:
    """Decide whether `history` is linearizable with respect to `model`.

    An `info` operation may take effect at any time after its call, or never. Intervals are closed.
    Returns "unknown", never valid, for a key on which the budget ran out; names the key and the window.
    Cost: linear for unique values; otherwise linear in the length, and exponential at worst in the number of
    operations open at once.
    """
    return _verdict(history, judge_keys(history, model, budget or Budget()))


@dataclass(frozen=True, slots=True)
class Linearizability:
    """The checker of that name, for workloads and the command line."""

    model: Any
    name: str = NAME

    def check(self, history: History, budget: Budget) -> Verdict:
        """Judge `history`; see `check_linearizable`."""
        return check_linearizable(history, self.model, budget=budget)


def judge_keys(history: History, model: Any, budget: Budget) -> list[KeyVerdict]:
    """Judge every key, each with the fastest engine that applies."""
    encoded = encode(history, _initial(model)) if model.name in REGISTERS else None
    if encoded is None:
        return [KeyVerdict(key, "unknown", "general") for key in history.keys()]
    columns, appends = encoded
    verdicts: list[KeyVerdict] = []
    plain = slotted(columns)
    answer = judge_unique(plain)
    for number, key in enumerate(columns.keys):
        status = answer.status[number]
        if status == VALID and not appends[number]:
            verdicts.append(KeyVerdict(key, True, "unique-values"))
        elif status == ILLEGAL and not appends[number]:
            verdicts.append(_unique_anomaly(history, plain, key, answer.contradictions[number]))
        else:
            verdicts.append(KeyVerdict(key, "unknown", "frontier"))
    return verdicts


def _initial(model: Any) -> Value:
    initial: Value = model.init()
    return initial


def _unique_anomaly(history: History, columns: KeyColumns, key: Value, found: Contradiction) -> KeyVerdict:
    rows = tuple(int(columns.row[row]) for row in found.operations)
    details: dict[str, Any] = {"engine": "unique-values", "rule": found.rule}
    if found.zones:
        details["zones"] = [
            {
                "operations": [int(columns.row[row]) for row in zone.operations],
                "earliest_return": zone.earliest_return,
                "latest_call": zone.latest_call,
            }
            for zone in found.zones
        ]
    return KeyVerdict(key, False, "unique-values", (_RULE_SENTENCES[found.rule],), rows, details)


_RULE_SENTENCES = {
    "never-written": "a value was observed that nobody wrote",
    "two-cas": "two compare-and-set both took the same value, which was written once",
    "cycle": "compare-and-set operations form a circle: each needs the value that another one wrote",
    "order": "an operation returned before another one, which must come before it, was called",
    "zones-overlap": "two values must each have held the register alone during intervals that overlap",
    "zone-inside": "a value must have been there while another one held the register throughout",
}


def _verdict(history: History, verdicts: list[KeyVerdict]) -> Verdict:
    validity = gravest(verdict.valid for verdict in verdicts) if verdicts else True
    anomalies = tuple(
        Anomaly(
            name="not-linearizable",
            because=verdict.because,
            operations=tuple(history[row] for row in sorted(verdict.rows)),
            key=verdict.key,
            details=verdict.details,
        )
        for verdict in verdicts
        if verdict.valid is False
    )
    because = tuple(
        dict.fromkeys(reason for verdict in verdicts if verdict.valid is not True for reason in verdict.because)
    )
    engines = Counter(verdict.engine for verdict in verdicts)
    figures: dict[str, Any] = {"operations": len(history), "keys": len(verdicts), "engines": dict(engines)}
    unknown = [dict(verdict.details, key=verdict.key) for verdict in verdicts if verdict.valid == "unknown"]
    if unknown:
        figures["unknown_keys"] = unknown
    return Verdict(NAME, {Axis.SAFETY: Finding(validity, because)}, anomalies, figures)


