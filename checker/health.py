"""Whether a run proved anything: what succeeded, which faults landed, what was read in the end, how it recovered.

Judges three axes from the history alone, and leaves safety to others:
`coverage`  operations succeeded, every chosen fault landed, reads saw writes, every key was read on every node at last
`liveness`  the system answered again, within its bound, after everything was healed
`harness`   every fault went as planned and was healed, and the recording is whole
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from capsize.checker.budget import Budget
from capsize.history import OK, History
from capsize.verdict import Axis, Finding, Validity, Verdict

SEEN_MOST = 300
"""Characters of what a probe saw."""
TRIES_THAT_SHOULD_DO = 20
"""An f word that never once succeeded in so many tries was not tested."""


@dataclass(slots=True)
class Striking:
    """What became of one fault."""

    kind: str
    intended: bool = False
    skipped: str = ""
    probed: bool = False
    landed: bool = False
    seen: str = ""
    """What the probe saw of a fault that did not land."""
    errors: list[str] = field(default_factory=list[str])
    targets: tuple[str, ...] = ()


class Health:
    """The checker. `kinds`: the fault words chosen for the run; `nodes`: where the final reads had to be answered.

    `rate`: how many operations a second were to be asked; 0 where nobody said.
    """

    name = "health"

    def __init__(self, kinds: Sequence[str] = (), nodes: Sequence[str] = (), *, rate: float = 0.0) -> None:
        self.rate = rate
        self.kinds = tuple(kinds)
        self.nodes = tuple(nodes)

    def check(self, history: History, budget: Budget) -> Verdict:
        """Return the verdict on coverage, liveness and harness. Cost: linear in the length of the history."""
        del budget
        phases = phase_times(history)
        faults = strikings(history)
        final = final_reads(history, self.nodes)
        served_s = [when for when in final.served_ns.values() if when is not None]
        recovery_ns = max(served_s) - phases["recover"] if "recover" in phases and served_s else None
        axes = {
            Axis.LIVENESS: self._liveness(history, phases, final),
            Axis.COVERAGE: self._coverage(history, phases, faults, final),
            Axis.HARNESS: self._harness(history, phases, faults),
        }
        figures = {
            "operations": len(history),
            "outcomes": outcomes(history),
            "faults": fault_counts(faults.values(), self.kinds),
            "skipped_because": skipped_because(faults.values()),
            "final_reads": {"asked": final.asked, "answered": final.answered},
            "rate": {"wanted": self.rate or None, "asked": asked_rate(history, phases)},
            "longest_gap_s": longest_gap_s(history, phases),
            "recovery_s": None if recovery_ns is None else round(recovery_ns / 1e9, 3),
            "leaders": sum(1 for event in history.faults if event.get("f") == "leader" and _value(event).get("leader")),
            "crashes": [dict(_value(event)) for event in history.faults if event.get("f") == "crash"],
        }
        return Verdict(self.name, axes, figures=figures)

    def _coverage(
        self, history: History, phases: Mapping[str, int], faults: Mapping[int, Striking], final: FinalReads
    ) -> Finding:
        because: list[str] = []
        counts = outcomes(history)
        if not any(by.get("ok") for by in counts.values()):
            because.append("no operation succeeded" if len(history) else "no operation was recorded")
        for f, by in counts.items():
            if not by.get("ok") and sum(by.values()) >= TRIES_THAT_SHOULD_DO:
                because.append(f"none of {sum(by.values())} {f} operations succeeded")
        if len(history) and not reads_saw_writes(history):
            because.append("no read saw a written value")
        for kind in self.kinds:
            mine = [striking for striking in faults.values() if striking.kind == kind]
            if not any(striking.landed for striking in mine):
                because.append(f"{kind} never landed: {_why_not(mine)}")
        for striking in faults.values():
            if striking.probed and not striking.landed:
                seen = f": {striking.seen}" if striking.seen else ""
                because.append(f"a {striking.kind} on {', '.join(striking.targets)} did not land{seen}")
        interruption = next((_value(e) for e in history.faults if _value(e).get("phase") == "interrupted"), None)
        if interruption is not None:
            because.append(f"the run was interrupted ({interruption.get('by', 'signal')})")
        stopped = next((_value(e) for e in history.faults if _value(e).get("phase") == "stopped"), None)
        if stopped is not None:
            where = f"operation {stopped.get('operation', '?')}, at {stopped.get('at_s', '?')} s"
            because.append(f"the run was stopped at its first anomaly ({where}), as --stop-at-anomaly asks")
        if "final" not in phases:
            because.append("there were no final reads")
        else:
            for node, missing in final.missing.items():
                if missing:
                    because.append(f"{missing} of {final.keys} keys were not read on {node} in the end")
        return _finding(because, "unknown")

    def _liveness(self, history: History, phases: Mapping[str, int], final: FinalReads) -> Finding:
        if any(_value(event).get("phase") == "not-recovered" for event in history.faults):
            value = next(_value(e) for e in history.faults if _value(e).get("phase") == "not-recovered")
            if not any(when is not None for when in final.served_ns.values()):
                told = f"no node answered within {value.get('within_s', '?')} s after everything was healed"
                return Finding(False, (told,))
        if "final" not in phases:
            return Finding("unknown", ("whether the system serves again after the faults was not looked at",))
        crashed = [str(_value(event).get("node")) for event in history.faults if event.get("f") == "crash"]
        because = [f"the process of {name} ended by itself (see its node.log)" for name in dict.fromkeys(crashed)]
        if not final.answered and final.asked:
            if "interrupted" in phases:
                return Finding("unknown", ("the run was interrupted before a final read was answered",))
            return Finding(False, ("no final read was answered although everything was healed",))
        return _finding(because, "unknown")

    def _harness(self, history: History, phases: Mapping[str, int], faults: Mapping[int, Striking]) -> Finding:
        because = [
            f"fault {striking.kind} on {', '.join(striking.targets)}: {error}" if striking.targets else error
            for striking in faults.values()
            for error in striking.errors
        ]
        if because:
            return Finding(False, tuple(because))
        if history.truncated or "done" not in phases:
            return Finding("unknown", ("the recording ends before the run did: the tool was killed or broke",))
        return Finding(True)


@dataclass(frozen=True, slots=True)
class FinalReads:
    """The reads after recovery, counted as (node, key) pairs."""

    keys: int
    asked: int
    answered: int
    missing: Mapping[str, int]
    """Node -> keys that were not read there."""
    served_ns: Mapping[str, int | None]
    """Node -> when it first answered a final read."""


def final_reads(history: History, nodes: Sequence[str]) -> FinalReads:
    """Return what the reads marked final say. Without `nodes`, of those that appear in them."""
    began = phase_times(history).get("final")
    answered: dict[str, set[Any]] = defaultdict(set)
    served: dict[str, int | None] = dict.fromkeys(nodes)
    asked: set[tuple[str, Any]] = set()
    if began is not None:
        for row in np.flatnonzero(history.columns.call_ns >= began):
            op = history.operation(int(row))
            if op.node is None or not op.meta.get("final"):
                continue
            asked.add((op.node, op.key))
            if op.outcome == "ok" and op.return_ns is not None:
                answered[op.node].add(op.key)
                if served.get(op.node) is None:
                    served[op.node] = op.return_ns
    keys = len(history.keys())
    where = list(nodes) or sorted({node for node, _ in asked})
    missing = {node: keys - len(answered[node]) for node in where}
    return FinalReads(keys, keys * len(where), sum(len(answered[node]) for node in where), missing, served)


def phase_times(history: History) -> dict[str, int]:
    """Return when each phase of the run began: "load", "recover", "final", "done" -> nanoseconds."""
    times: dict[str, int] = {}
    for event in history.faults:
        if event.get("f") == "phase":
            times.setdefault(str(_value(event).get("phase")), int(event.get("time_ns", 0)))
    return times


def strikings(history: History) -> dict[int, Striking]:
    """Return what became of every fault of the run, by its number; number -1 is the nemesis itself."""
    found: dict[int, Striking] = {}
    for event in history.faults:
        value = _value(event)
        if event.get("f") in ("phase", "leader", "crash") or "id" not in value:
            continue
        one = found.setdefault(int(value["id"]), Striking(str(value.get("kind", event.get("f")))))
        one.targets = tuple(value.get("targets") or one.targets)
        detail = value.get("detail") or {}
        match value.get("phase"):
            case "intend":
                one.intended = True
            case "skip":
                one.skipped = str(detail.get("reason", "no target"))
            case "probe":
                one.probed, one.landed = True, value.get("landed") is True
                one.seen = "" if one.landed else _seen(detail)
            case "error":
                told = {str(key): str(text) for key, text in detail.items()}
                error = told.pop("error", "something went wrong")
                one.errors.append(error + "".join(f"; {key}: {text}" for key, text in told.items()))
            case _:
                pass
    return found


def fault_counts(faults: Iterable[Striking], kinds: Sequence[str] = ()) -> dict[str, dict[str, int]]:
    """Return how many faults of each kind were intended, landed, skipped and failed; the chosen kinds always appear.

    One that was intended, and then skipped because nobody came to the place or the system declined, is skipped only.
    """
    counts = {kind: {"intended": 0, "landed": 0, "skipped": 0, "failed": 0} for kind in kinds}
    for one in faults:
        by = counts.setdefault(one.kind, {"intended": 0, "landed": 0, "skipped": 0, "failed": 0})
        skipped = bool(one.skipped) and not one.landed
        by["intended"] += one.intended and not skipped
        by["landed"] += one.landed
        by["skipped"] += skipped
        by["failed"] += bool(one.errors)
    counts.pop("nemesis", None)
    return counts


def skipped_because(faults: Iterable[Striking]) -> dict[str, list[str]]:
    """Return why faults of each kind were skipped, each reason once."""
    reasons: dict[str, list[str]] = {}
    for one in faults:
        if one.skipped and not one.landed and one.skipped not in reasons.setdefault(one.kind, []):
            reasons[one.kind].append(one.skipped)
    return reasons


def outcomes(history: History) -> dict[str, dict[str, int]]:
    """Return f word -> outcome -> count."""
    pairs = Counter(zip(history.columns.f.tolist(), history.columns.outcome.tolist(), strict=True))
    counts: dict[str, dict[str, int]] = {}
    for (f, outcome), count in sorted(pairs.items()):
        counts.setdefault(history.words[f], {})[("ok", "fail", "info")[outcome]] = count
    return counts


def reads_saw_writes(history: History) -> bool:
    """Return whether some operation that succeeded returned a value: a read of something written, a cas that held."""
    ok = history.columns.outcome == OK
    return any(history.table[int(code)] not in (None, False) for code in np.unique(history.columns.result[ok]))


def longest_gap_s(history: History, phases: Mapping[str, int]) -> float | None:
    """Return the longest time of the load in which nothing succeeded, seconds; None without a load phase."""
    if "load" not in phases:
        return None
    begin, end = phases["load"], _load_end(phases)
    ok = history.columns.outcome == OK
    times = np.sort(history.columns.return_ns[ok])
    last = int(times[-1]) if len(times) else begin
    until = last if end is None else end
    inside = times[(times >= begin) & (times <= until)]
    marks = np.concatenate(([begin], inside, [max(until, begin)]))
    return round(float(np.diff(marks).max()) / 1e9, 3)


def asked_rate(history: History, phases: Mapping[str, int]) -> float | None:
    """Return how many operations a second were asked during the load; None where its ends are not recorded."""
    end = _load_end(phases)
    if "load" not in phases or end is None or end <= phases["load"]:
        return None
    calls = history.columns.call_ns
    asked = int(((calls >= phases["load"]) & (calls < end)).sum())
    return round(asked * 1e9 / (end - phases["load"]), 1)


def _load_end(phases: Mapping[str, int]) -> int | None:
    return phases.get("stopped", phases.get("recover", phases.get("interrupted")))


def _value(event: Mapping[str, Any]) -> Mapping[str, Any]:
    value = event.get("value")
    return value if isinstance(value, Mapping) else {}


def _why_not(mine: Sequence[Striking]) -> str:
    if not mine:
        return "it was never tried"
    return "; ".join(dict.fromkeys(_why(one) for one in mine))


def _why(one: Striking) -> str:
    if one.skipped or one.errors:
        return one.skipped or one.errors[0]
    return "its probe saw nothing" if one.probed else "it was struck, and the run ended before it was probed"


def _seen(detail: Mapping[str, Any]) -> str:
    """Return what a probe saw as words.

    >>> _seen({"n2": {"alive": False, "pid": 100, "state": None}})
    'n2 alive: no, pid: 100, state: unknown'
    """
    words = {"True": "yes", "False": "no", "None": "unknown"}
    told: list[str] = []
    for name, value in detail.items():
        facts = value.items() if isinstance(value, Mapping) else [("", value)]
        inside = ", ".join(f"{word}: {words.get(str(fact), fact)}" if word else f"{fact}" for word, fact in facts)
        told.append(f"{name} {inside}")
    return "; ".join(told)[:SEEN_MOST]


def _finding(because: Sequence[str], otherwise: Validity) -> Finding:
    return Finding(otherwise, tuple(because)) if because else Finding(True)
