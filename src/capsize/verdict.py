"""What a checker says: valid, invalid or unknown, on four axes, with the contradictions it found.

`safety`    no committed write was lost, no read was stale, no rule of Raft was broken
`liveness`  the system served again, within its bound, after everything was healed
`coverage`  the run proved something: operations succeeded, faults landed, reads saw writes
`harness`   the tool itself worked: clients, nemesis, collection

A broken safety or liveness axis makes the verdict invalid. Anything that is not known to be good makes it
unknown: green is evidence. A Verdict has no truth value, so that `if verdict:` cannot mistake unknown for valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from capsize.op import Operation, freeze

Validity = bool | Literal["unknown"]


class Axis(StrEnum):
    SAFETY = "safety"
    LIVENESS = "liveness"
    COVERAGE = "coverage"
    HARNESS = "harness"


@dataclass(frozen=True, slots=True)
class Finding:
    """One axis as one checker sees it; `because` says why it is not valid, one sentence each."""

    valid: Validity
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One contradiction: its name, the few operations or node events that prove it, and sentences that argue it.

    `name` is a word of the field: lost-write, stale-read, dirty-read, not-linearizable, split-brain …
    `operations` is a witness: in itself impossible. `events` are the nodes' own (white-box anomalies).
    `details` is the reason in structure, JSON-able, for the report.
    """

    name: str
    because: tuple[str, ...]
    operations: tuple[Operation, ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    key: Any = None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one checker, or of several merged.

    `axes` holds the axes this checker has something to say on. `figures` are JSON-able numbers and words
    (operations judged, engine per key, steps, bytes, latency …).
    """

    checker: str
    axes: Mapping[Axis, Finding]
    anomalies: tuple[Anomaly, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __bool__(self) -> bool:
        raise TypeError("a Verdict has no truth value: compare verdict.valid with True, False or 'unknown'")

    @property
    def valid(self) -> Validity:
        """False if safety or liveness is broken; else True if every axis is; else "unknown"."""
        for axis in (Axis.SAFETY, Axis.LIVENESS):
            finding = self.axes.get(axis)
            if finding is not None and finding.valid is False:
                return False
        if self.axes and all(finding.valid is True for finding in self.axes.values()):
            return True
        return "unknown"

    @property
    def exit_code(self) -> int:
        """0 valid, 1 invalid, 2 unknown."""
        return {True: 0, False: 1, "unknown": 2}[self.valid]

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain JSON values: what `verdict.json` holds (version 1)."""
        return {
            "version": 1,
            "checker": self.checker,
            "valid": self.valid,
            "axes": {
                str(axis): {"valid": finding.valid, "because": list(finding.because)}
                for axis, finding in self.axes.items()
            },
            "anomalies": [
                {
                    "name": anomaly.name,
                    "key": anomaly.key,
                    "because": list(anomaly.because),
                    "operations": [asdict(operation) for operation in anomaly.operations],
                    "events": [dict(event) for event in anomaly.events],
                    "details": dict(anomaly.details),
                }
                for anomaly in self.anomalies
            ],
            "figures": dict(self.figures),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """Return the verdict that `to_json` wrote; raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            checker=str(data.get("checker", "")),
            axes={
                Axis(word): Finding(finding["valid"], tuple(finding["because"]))
                for word, finding in data["axes"].items()
            },
            anomalies=tuple(
                Anomaly(
                    name=item["name"],
                    key=item.get("key"),
                    because=tuple(item["because"]),
                    operations=tuple(_operation(fields) for fields in item.get("operations", ())),
                    events=tuple(item.get("events", ())),
                    details=dict(item.get("details", {})),
                )
                for item in data["anomalies"]
            ),
            figures=dict(data.get("figures", {})),
        )


def _operation(fields: Mapping[str, Any]) -> Operation:
    frozen = {word: freeze(fields.get(word)) for word in ("key", "value", "result")}
    meta = {word: freeze(value) for word, value in (fields.get("meta") or {}).items()}
    given: dict[str, Any] = {**fields, **frozen, "meta": meta}
    return Operation(**given)


def gravest(values: Iterable[Validity]) -> Validity:
    """Return False over "unknown" over True; "unknown" of nothing.

    >>> gravest([True, "unknown"]), gravest(["unknown", False]), gravest([])
    ('unknown', False, 'unknown')
    """
    seen = list(values)
    if any(value is False for value in seen):
        return False
    if seen and all(value is True for value in seen):
        return True
    return "unknown"


def merge(name: str, verdicts: Iterable[Verdict]) -> Verdict:
    """Return one verdict: every axis as grave as the gravest finding on it; all anomalies; figures by checker."""
    parts = list(verdicts)
    axes: dict[Axis, Finding] = {}
    for axis in Axis:
        findings = [part.axes[axis] for part in parts if axis in part.axes]
        if findings:
            because = tuple(dict.fromkeys(reason for finding in findings for reason in finding.because))
            axes[axis] = Finding(gravest(finding.valid for finding in findings), because)
    return Verdict(
        checker=name,
        axes=axes,
        anomalies=tuple(anomaly for part in parts for anomaly in part.anomalies),
        figures={part.checker: dict(part.figures) for part in parts},
    )
