"""What came of one run or one judged history, as the machines of a continuous integration want to know it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from capsize.report.plain import visible
from capsize.report.text import one_of_each
from capsize.verdict import Verdict

WORDS = {0: "valid", 1: "invalid", 2: "unknown"}
MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Result:
    """One run or history: its verdict, or why there is none. Texts may hold anything; who shows them escapes them."""

    suite: str
    name: str
    exit_code: int
    verdict: Verdict | None = None
    error: str = ""
    seconds: float = 0.0
    repeat: str = ""
    folder: str = ""
    report: str = ""
    facts: Sequence[tuple[str, str]] = ()
    """Words for the table: seed, operations, faults …"""

    @property
    def word(self) -> str:
        """valid, invalid, unknown or error."""
        return "error" if self.verdict is None else WORDS.get(self.exit_code, "unknown")

    @property
    def headline(self) -> str:
        """What is wrong or missing, in one line; "" when nothing is."""
        if self.verdict is None:
            return visible(self.error, 400)
        if self.verdict.anomalies:
            first = one_of_each(self.verdict.anomalies)[0]
            key = "" if first.key is None else f" key {first.key}"
            more = f" (and {len(self.verdict.anomalies) - 1} more)" if len(self.verdict.anomalies) > 1 else ""
            return visible(f"{first.name}{key}: {(first.because or ('',))[0]}{more}", 600)
        reasons = list(self._reasons())
        return visible(reasons[0], 600) if reasons else ""

    def told(self) -> list[str]:
        """Return everything that speaks against it, a line each, the gravest first."""
        if self.verdict is None:
            return [visible(self.error, 2000)]
        lines: list[str] = []
        shown = one_of_each(self.verdict.anomalies)[:MOST_TOLD]
        for anomaly in shown:
            key = "" if anomaly.key is None else f" key {anomaly.key}"
            lines.append(visible(f"{anomaly.name}{key}: {(anomaly.because or ('',))[0]}", 2000))
            lines += [f"    {visible(reason, 2000)}" for reason in anomaly.because[1:]]
        if len(self.verdict.anomalies) > len(shown):
            lines.append(f"… and {len(self.verdict.anomalies) - len(shown)} more anomalies")
        return lines + [visible(reason, 2000) for reason in self._reasons()]

    def _reasons(self) -> Iterable[str]:
        assert self.verdict is not None
        for axis, finding in self.verdict.axes.items():
            if finding.valid is True or (axis == "safety" and self.verdict.anomalies):
                continue
            for reason in finding.because[:MOST_TOLD]:
                yield f"{axis}: {reason}"
