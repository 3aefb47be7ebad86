"""Raft's invariants, judged from what the nodes traced: one pass over all events, in an order that needs no clock.

    judge = Judge()                     RaftInvariants(traces).check(history, budget)
    judge.feed(event) …                 the same, as a Checker over recorded traces
    judge.verdict()

A partial trace is judged as far as it goes: the verdict's figures name the invariants that were compared with
something, how often, and what the others would have needed. Nothing compared at all is `unknown`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from capsize.checker.invariants.application import AppliedAgreement, ApplyOrder, Ordering, ReplicaDeterminism, Session
from capsize.checker.invariants.commitment import CommitRule, CommittedStays, LeaderCompleteness, QuorumCommit
from capsize.checker.invariants.configuration import Configurations
from capsize.checker.invariants.durability import Monotonic, PersistBeforeSend, Recovery
from capsize.checker.invariants.elections import (
    ElectedByMajority,
    ElectionSafety,
    LogTerms,
    VoteNotRefused,
    VoteOnce,
)
from capsize.checker.invariants.logs import LeaderAppendOnly, LogMatching, TruncateOnConflict
from capsize.checker.invariants.reads import ReadIndex
from capsize.checker.invariants.replica import Cluster
from capsize.checker.invariants.rule import Handler, Rule
from capsize.checker.trace import TraceEvent, causal_order
from capsize.verdict import Anomaly, Axis, Finding, Verdict

INVARIANTS: dict[str, type[Rule]] = {
    rule.id: rule
    for rule in (
        ElectionSafety,
        VoteOnce,
        LeaderAppendOnly,
        LogMatching,
        LogTerms,
        LeaderCompleteness,
        CommitRule,
        CommittedStays,
        Monotonic,
        AppliedAgreement,
        ApplyOrder,
        Ordering,
        Recovery,
        PersistBeforeSend,
        TruncateOnConflict,
        QuorumCommit,
        ReplicaDeterminism,
        Configurations,
        ReadIndex,
        Session,
        ElectedByMajority,
        VoteNotRefused,
    )
}
"""I1 to I20, as the field's catalogues number them, and two rules behind them, I21 and I22."""


class Judge:
    """Judges events as they come, sends before their receipts. `broken` counts violations so far."""

    def __init__(self, only: Iterable[str] | None = None) -> None:
        self.cluster = Cluster()
        self.rules: list[Rule] = [INVARIANTS[name](self.cluster) for name in (INVARIANTS if only is None else only)]
        self.events = 0
        self._handlers: dict[tuple[str, str | None], list[Handler]] = {}
        """By event and type of message, filled as they come."""
        self._on_state = self._asked("state")

    @property
    def broken(self) -> int:
        return sum(rule.broken for rule in self.rules)

    def feed(self, event: TraceEvent) -> None:
        """Judge one event."""
        self.events += 1
        kind = event.ev
        if kind == "recover" and event.x.get("reborn"):  # removed, wiped on purpose, and taken in again
            self.cluster.replicas.pop(event.node, None)
            for rule in self.rules:
                rule.forget(event.node)
        replica = self.cluster.replica(event.node)
        if kind == "commit" or kind == "recover":
            self.cluster.note_commit(event, replica)
        what = kind, event.msg.get("type")
        handlers = self._handlers.get(what)
        if handlers is None:
            handlers = self._handlers[what] = self._asked(*what)
        for handler in handlers:
            handler(event, replica)
        if event.state is not replica.state or kind == "recover":
            for handler in self._on_state:
                handler(event, replica)
        replica.update(event)

    def _asked(self, event: str, message: str | None = None) -> list[Handler]:
        """Return who judges such an event, the rules in their order."""
        return [found for rule in self.rules if (found := rule.handler(event, message)) is not None]

    def anomalies(self) -> tuple[Anomaly, ...]:
        """Return what is broken, the rules in their order."""
        return tuple(anomaly for rule in self.rules for anomaly in rule.anomalies)

    def verdict(self) -> Verdict:
        """Return the judgement of everything fed so far."""
        judged = {rule.id: rule.checks for rule in self.rules if rule.checks}
        figures: dict[str, Any] = {
            "events": self.events,
            "nodes": sorted(self.cluster.replicas),
            "judged": judged,
            "not_judged": {rule.id: f"needs {rule.needs}" for rule in self.rules if not rule.checks},
            "broken": {rule.id: rule.broken for rule in self.rules if rule.broken},
        }
        anomalies = self.anomalies()
        if anomalies:
            finding = Finding(
                False, tuple(dict.fromkeys(reason for anomaly in anomalies for reason in anomaly.because))
            )
        elif judged:
            finding = Finding(True)
        else:
            finding = Finding("unknown", ("no trace event that any Raft invariant could be judged by",))
        return Verdict("raft-invariants", {Axis.SAFETY: finding}, anomalies, figures)


class RaftInvariants:
    """The Checker over recorded traces: one iterable of events a node, in that node's order.

    `only` names the invariants to judge (for a system that breaks one by design). Pure; the history is not looked at.
    """

    name = "raft-invariants"

    def __init__(
        self,
        traces: Iterable[Iterable[TraceEvent]],
        *,
        only: Iterable[str] | None = None,
        cut: Collection[str] = (),
    ) -> None:
        self.traces = [list(trace) for trace in traces]
        self.only = None if only is None else tuple(only)
        self.cut = frozenset(cut)
        """Nodes whose traces go on behind what is given: judging ends where the first of them does, so that nothing is
        judged whose causes are missing."""

    def check(self, history: object = None, budget: object = None) -> Verdict:
        """Return the judgement of the traces."""
        judge = Judge(self.only)
        left = Counter(event.node for trace in self.traces for event in trace)
        for event in causal_order(self.traces):
            judge.feed(event)
            left[event.node] -= 1
            if event.node in self.cut and not left[event.node]:
                break
        return judge.verdict()


__all__ = ["INVARIANTS", "Judge", "RaftInvariants", "Rule"]
