"""I10, I11, I12, I17, I20: the same commands, once each, in order, with the same state after each."""

from __future__ import annotations

from dataclasses import dataclass, replace

from capsize.checker.enumeration import joined
from capsize.checker.invariants.replica import Cluster, Replica, same
from capsize.checker.invariants.rule import Rule
from capsize.checker.trace import Entry, TraceEvent


class AppliedAgreement(Rule):
    """I10: what one node applies at an index, every node applies there, and it is what was committed."""

    id = "I10"
    name = "applied-different-entries"
    title = "State Machine Safety"
    source = "Raft paper §5.4.3, Figure 3"
    needs = "apply events with their entry"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.applied: dict[int, tuple[Entry, TraceEvent]] = {}

    def on_apply(self, event: TraceEvent, replica: Replica) -> None:
        for entry in event.entries():
            first, when = self.applied.setdefault(entry.index, (entry, event))
            self.checks += 1
            if not same(first, entry):
                self.report(
                    f"{event.node} applied {entry}; {when.node} had applied {first} at the same index", when, event
                )
                continue
            known = self.cluster.committed.get(entry.index)
            if known is not None and not same(known.entry, entry):
                self.report(
                    f"{event.node} applied {entry}; {known.event.node} had committed {known.entry} there",
                    known.event,
                    event,
                )


class ApplyOrder(Rule):
    """I11: a node applies index after index, none twice and none left out, from where it recovered or was installed."""

    id = "I11"
    name = "applied-out-of-order"
    title = "entries are applied in log order, once"
    source = "Raft paper §5.3, Figure 2 (lastApplied)"
    needs = "apply events with their entry"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.at: dict[str, tuple[int, TraceEvent]] = {}

    def on_recover(self, event: TraceEvent, replica: Replica) -> None:
        if event.state.applied is not None:
            self.at[event.node] = (event.state.applied, event)
        else:
            self.at.pop(event.node, None)

    def on_snapshot_installed(self, event: TraceEvent, replica: Replica) -> None:
        before = self.at.get(event.node)
        applied = event.state.applied
        if applied is None:
            self.at.pop(event.node, None)
            return
        self.checks += 1
        if before is not None and applied < before[0]:
            self.report(
                f"{event.node} installed a snapshot up to index {applied} after it had applied {before[0]}",
                before[1],
                event,
            )
        self.at[event.node] = (applied, event)

    def on_apply(self, event: TraceEvent, replica: Replica) -> None:
        for entry in event.entries():
            before = self.at.get(event.node)
            if before is not None:
                self.checks += 1
                if entry.index != before[0] + 1:
                    what = "again" if entry.index <= before[0] else "and left some out"
                    self.report(
                        f"{event.node} applied index {entry.index} after index {before[0]}, {what}", before[1], event
                    )
            self.at[event.node] = (entry.index, event)


class Ordering(Rule):
    """I12: base ≤ applied ≤ commit ≤ last on every node, at every event.

    That a commit index stays within the *durable* log is no part of it: systems that write asynchronously
    may run ahead.
    """

    id = "I12"
    name = "applied-before-committed"
    title = "snapshot ≤ applied ≤ committed ≤ log end"
    source = "Raft paper §5.3, Figure 2 (commitIndex, lastApplied)"
    needs = "commit, applied and last index in the node's state"

    def on_state(self, event: TraceEvent, replica: Replica) -> None:
        state = event.state
        base = state.base[0] if state.base is not None else None
        last = state.last[0] if state.last is not None else None
        chain = (("snapshot", base), ("applied", state.applied), ("commit", state.commit), ("last", last))
        lower: tuple[str, int] | None = None
        for name, value in chain:
            if value is None:
                continue
            if lower is not None:
                self.checks += 1
                if lower[1] > value:
                    self.report(
                        f"{event.node} has its {lower[0]} index at {lower[1]} and its {name} index at {value}", event
                    )
                    return
            lower = (name, value)


class ReplicaDeterminism(Rule):
    """I17: after the same index every node's state machine has the same hash, also after a restart or a snapshot."""

    id = "I17"
    name = "state-machines-differ"
    title = "replicated state machines are deterministic"
    source = "Raft paper §2; thesis §2.1"
    needs = "state hashes in apply events"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.hashes: dict[int, tuple[str, TraceEvent]] = {}

    def _compare(self, index: int, event: TraceEvent) -> None:
        if event.h is None:
            return
        first, when = self.hashes.setdefault(index, (event.h, event))
        self.checks += 1
        if first != event.h:
            self.report(
                f"after index {index} the state of {event.node} has hash {event.h}, that of {when.node} had {first}",
                when,
                event,
            )

    def on_apply(self, event: TraceEvent, replica: Replica) -> None:
        if event.e:
            self._compare(event.e[-1]["i"], event)

    def on_snapshot_installed(self, event: TraceEvent, replica: Replica) -> None:
        if event.state.base is not None:
            self._compare(event.state.base[0], event)

    def on_recover(self, event: TraceEvent, replica: Replica) -> None:
        if event.state.applied:
            self._compare(event.state.applied, event)


@dataclass(slots=True)
class Again:
    """A request at its second place in the log: where its anomaly stands, how it is told, whose state it changed."""

    at: int
    told: str
    nodes: list[str]


class Session(Rule):
    """I20: a request, named by client and number, changes the state at most once, however often it is in the log."""

    id = "I20"
    name = "request-applied-twice"
    title = "each request takes effect once"
    source = "Raft paper §8; thesis §6.3"
    needs = "apply events whose entries name client and sequence number, and state hashes"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.first: dict[tuple[str, int], tuple[int, TraceEvent]] = {}
        self.hash_before: dict[str, str | None] = {}
        self.again: dict[tuple[int, str, int], Again] = {}

    def on_apply(self, event: TraceEvent, replica: Replica) -> None:
        before = self.hash_before.get(event.node)
        self.hash_before[event.node] = event.h
        for entry in event.entries():
            if not entry.cid or entry.seq is None:
                continue
            index, when = self.first.setdefault((entry.cid, entry.seq), (entry.index, event))
            self.checks += 1
            if index == entry.index:
                continue
            effect = event.x.get("effect")
            if effect is None:
                effect = before is not None and event.h is not None and before != event.h
            if effect:
                self._tell((entry.index, entry.cid, entry.seq), index, when, event)

    def _tell(self, place: tuple[int, str, int], first: int, when: TraceEvent, event: TraceEvent) -> None:
        """Report a request at its second place once: every node applies what stands there, and is named with it."""
        index, cid, seq = place
        known = self.again.get(place)
        if known is None:
            told = f"request {seq} of client {cid}, applied at index {first}, changed the state of {event.node} again"
            told += f" at index {index}"
            self.again[place] = Again(len(self.anomalies), told, [event.node])
            self.report(told, when, event)
            return
        self.broken += 1
        if event.node in known.nodes or known.at >= len(self.anomalies):
            return
        known.nodes.append(event.node)
        others = sorted(known.nodes[1:])
        anomaly = self.anomalies[known.at]
        self.anomalies[known.at] = replace(
            anomaly,
            because=(self.sentence(f"{known.told}, and that of {joined(others)} as well"),),
            details={**anomaly.details, "also_on": others},
        )

    def on_snapshot_installed(self, event: TraceEvent, replica: Replica) -> None:
        self.hash_before[event.node] = event.h

    def on_recover(self, event: TraceEvent, replica: Replica) -> None:
        self.hash_before[event.node] = event.h
