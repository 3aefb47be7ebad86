"""Raft's rules on what nodes said of themselves when they were polled (evidence level L1): sparse, but certain.

Polls see a node a few times a second, so most of what happens is between them; what is found holds all the same:

    two-leaders-in-a-term   two nodes said that they lead in the same term (election safety, Ongaro & Ousterhout §5.2)
    term-forgotten          a node led in a term and was later in an earlier one: whoever leads has promised not to
                            vote in that term or before, on stable storage (Figure 2: currentTerm, votedFor)
    leader-of-the-past      a node became leader in a term earlier than one that somebody had led before
    commit-went-back        commit or applied index decreased, although the process went on running (§5.3)

Only an answer that was given twice in a row counts for who leads: a node may put role and term together from two
moments, but nothing from between two equal answers is torn. A term that a node was merely in may be forgotten with the
power, before anything was promised in it; that is counted (`terms_lower_after_restart`) and not held against it. A node
that was wiped, or left and came back as a new member, begins anew. Where the polled term is that of the last entry
applied (`term_lags`; etcd), a new leader may go on naming an old term, and terms prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.surroundings import ActiveFault, at, faults_between
from capsize.history import History
from capsize.verdict import Anomaly, Axis, Finding, Verdict

NAME = "polled-state"
CONFIRMED = 2
SPARES = frozenset(
    {
        "partition", "isolate-leader", "halves", "one-way", "ring", "bridge", "minority", "random-cuts", "flapping",
        "swizzle", "cut-clients", "delay", "jitter", "loss", "reorder", "duplicate", "rate", "pause-process",
        "transfer-leader", "snapshot",
    }
)  # fmt: skip
"""Faults that leave the process running for sure; under any other one it may have been started anew."""
FORGETS = ("wipe", "member", "replace", "rejoin", "shrink")
"""Parts of the words of faults after which a node may be a new one."""
DAMAGES = ("bit-flip", "truncate", "damage")
"""Those that destroy what a node had stored: one that has lost its vote may vote twice, which no Raft survives."""


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of one node."""

    node: str
    time_ns: int
    role: str | None
    term: int | None
    before: Mapping[str, int]
    """Indexes that are smaller now than when it was asked last."""
    seen: int
    line: Mapping[str, Any]

    @property
    def leads(self) -> bool:
        return self.role == "leader" and self.term is not None and self.seen >= CONFIRMED

    @property
    def event(self) -> Mapping[str, Any]:
        """What it said as a node's own event, as the report shows those."""
        state = {"role": str(self.role or "?")[:1].upper(), "term": self.term, "vote": self.line.get("vote")}
        state |= {"commit": self.line.get("commit_index"), "applied": self.line.get("applied_index")}
        told = {word: value for word, value in state.items() if value is not None}
        return {"node": self.node, "ev": f"was polled at {at(self.time_ns)}", "st": told}

    def __str__(self) -> str:
        return f"{self.node} said at {at(self.time_ns)} that it {_role(self.role)} in term {self.term}"


@dataclass(slots=True)
class Known:
    """What one node said so far, since it was last a new one."""

    last: Said | None = None
    led: Said | None = None
    """The latest term it led in."""
    lowest_since: dict[int, int] = field(default_factory=dict[int, int])
    """The lowest term it was in, by the moment since when somebody led in the highest term."""


class PolledState:
    """The checker. Without polls it has nothing to say, and says so in its figures."""

    name = NAME

    def check(self, history: History, budget: Budget) -> Verdict:
        """Judge the `status` lines of a recording. Cost: linear in them."""
        del budget
        polls = [said for event in history.faults if (said := _said(event)) is not None]
        if not polls:
            return Verdict(NAME, {}, figures={"polls": 0})
        faults = intended_faults(history.faults)
        judge = _Judge(faults, _crashes(history.faults))
        for said in polls:
            judge.hear(said)
        anomalies = tuple(judge.found.values())
        figures = {
            "polls": len(polls),
            "terms_led": len(judge.leaders),
            "highest_term": max((said.term for said in polls if said.term is not None), default=None),
            "terms_lower_after_restart": judge.lower,
        }
        because = tuple(f"{anomaly.name}: {anomaly.because[0]}" for anomaly in anomalies)
        return Verdict(NAME, {Axis.SAFETY: Finding(not anomalies, because)}, anomalies, figures)


class _Judge:
    def __init__(self, faults: Sequence[ActiveFault], crashes: Mapping[str, Sequence[int]]) -> None:
        self.faults = faults
        self.crashes = crashes
        self.nodes: dict[str, Known] = {}
        self.leaders: dict[int, Said] = {}
        self.highest: Said | None = None
        """Who led in the highest term so far."""
        self.lower = 0
        self.found: dict[tuple[str, str], Anomaly] = {}

    def hear(self, said: Said) -> None:
        known = self.nodes.setdefault(said.node, Known())
        if known.last is not None and self._is_new(said.node, known.last.time_ns, said.time_ns):
            known = self.nodes[said.node] = Known()
        self._indexes(known, said)
        if not said.line.get("term_lags"):
            self._term(known, said)
            if said.leads:
                self._leads(known, said)
        if said.term is not None and self.highest is not None and said.seen >= CONFIRMED:
            lowest = known.lowest_since.get(self.highest.time_ns, said.term)
            known.lowest_since[self.highest.time_ns] = min(lowest, said.term)
        known.last = said

    def _term(self, known: Known, said: Said) -> None:
        last = known.last
        if last is None or last.term is None or said.term is None or said.term >= last.term:
            return
        self.lower += 1
        led = known.led
        if led is not None and led.term is not None and said.term < led.term:
            told = [f"{led}; {said}."]
            told.append(
                f"Whoever leads in term {led.term} has voted for itself in it, and keeps that on stable storage before "
                f"it asks for votes (Raft, Figure 2: currentTerm and votedFor are persistent)."
            )
            self._anomaly("term-forgotten", said.node, told, (led, last, said))

    def _indexes(self, known: Known, said: Said) -> None:
        last = known.last
        if last is None or self._may_have_restarted(said.node, last.time_ns, said.time_ns):
            return
        for word, before in said.before.items():
            after = said.line.get(word)
            told = [
                f"{said.node} said before {at(said.time_ns)} that its {word.replace('_', ' ')} is {before}, and then "
                f"that it is {after}; its process went on running between them."
            ]
            self._anomaly("commit-went-back", said.node, told, (last, said))

    def _leads(self, known: Known, said: Said) -> None:
        assert said.term is not None
        other = self.leaders.setdefault(said.term, said)
        damaged = self._damaged(said.time_ns)
        if other.node != said.node and not damaged:
            told = [f"{other}; {said}.", "Raft elects at most one leader in a term (§5.2)."]
            self._anomaly("two-leaders-in-a-term", str(said.term), told, (other, said))
        highest = self.highest
        if highest is not None and highest.term is not None and said.term < highest.term:
            # It was elected after the other one had been, if it was still in an earlier term, or just started, then.
            since = known.lowest_since.get(highest.time_ns)
            if since is not None and since < said.term and not damaged:
                told = [
                    f"{highest}; {said}, in which it was not yet when the other one led already.",
                    f"A majority had voted in term {highest.term} before, and a majority voted in term {said.term} "
                    f"after it: somebody voted in both, the later one first.",
                ]
                self._anomaly("leader-of-the-past", f"{highest.term} {said.term}", told, (highest, said))
        if highest is None or highest.term is None or said.term > highest.term:
            self.highest = said
        if known.led is None or known.led.term is None or said.term >= known.led.term:
            known.led = said

    def _anomaly(self, name: str, which: str, told: list[str], lines: Iterable[Said]) -> None:
        """Keep the first of its kind for each node or term."""
        if (name, which) in self.found:
            return
        seen = list(lines)
        around = faults_between(self.faults, seen[0].time_ns, seen[-1].time_ns)
        if around:
            told = [*told, f"Between: {'; '.join(str(fault) for fault in around)}."]
        self.found[name, which] = Anomaly(name, tuple(told), events=tuple(said.event for said in seen))

    def _is_new(self, node: str, since_ns: int, until_ns: int) -> bool:
        mine = (fault for fault in faults_between(self.faults, since_ns, until_ns) if node in fault.targets)
        return any(part in fault.name for fault in mine for part in (*FORGETS, *DAMAGES))

    def _damaged(self, until_ns: int) -> bool:
        """Whether what some node had stored was destroyed before."""
        return any(part in fault.name for fault in self.faults if fault.start_ns <= until_ns for part in DAMAGES)

    def _may_have_restarted(self, node: str, since_ns: int, until_ns: int) -> bool:
        mine = [fault for fault in faults_between(self.faults, since_ns, until_ns) if node in fault.targets]
        crashed = any(since_ns <= when <= until_ns for when in self.crashes.get(node, ()))
        return crashed or any(fault.name not in SPARES for fault in mine)


def intended_faults(lines: Iterable[Mapping[str, Any]]) -> list[ActiveFault]:
    """Return every fault that began, from its intent to the end of its heal: one that failed may have hit all the same.

    `landed_faults` is too little here: a node that was killed on the way to a fault that did not land began anew.
    """
    found: dict[Any, ActiveFault] = {}
    for event in lines:
        value = event.get("value")
        if not isinstance(value, Mapping) or "id" not in value or value.get("id") == -1:
            continue
        when, known = int(event.get("time_ns", 0)), found.get(value["id"])
        targets = tuple(str(name) for name in value.get("targets") or ())
        if known is None:
            if value.get("phase") != "skip":
                found[value["id"]] = ActiveFault(str(event.get("f")), targets, when, None)
            continue
        over = value.get("phase") in ("heal-probe", "skip", "error")
        found[value["id"]] = ActiveFault(
            known.name, tuple(dict.fromkeys((*known.targets, *targets))), known.start_ns, when if over else known.end_ns
        )
    return sorted(found.values(), key=lambda fault: fault.start_ns)


def _said(event: Mapping[str, Any]) -> Said | None:
    value = event.get("value")
    if event.get("f") != "status" or not isinstance(value, Mapping) or not isinstance(value.get("node"), str):
        return None

    def number(word: str) -> int | None:
        found = value.get(word)
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    role = value.get("role")
    return Said(
        value["node"], int(event.get("time_ns", 0)), role if isinstance(role, str) else None, number("term"),
        {str(word): int(old) for word, old in (value.get("before") or {}).items()}, number("seen") or 1,
        {"node": value["node"], "time_ns": event.get("time_ns"), **value},
    )  # fmt: skip


def _crashes(lines: Iterable[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Return when each node's process was found to have ended by itself."""
    times: dict[str, list[int]] = {}
    for event in lines:
        value = event.get("value")
        if event.get("f") == "crash" and isinstance(value, Mapping):
            times.setdefault(str(value.get("node")), []).append(int(event.get("time_ns", 0)))
    return times


def _role(role: str | None) -> str:
    return {"leader": "leads", "follower": "follows", "candidate": "stands for election"}.get(str(role), f"is {role}")
