"""I6, I7, I8, I16: what is committed stays, and is committed by rule: a majority, an entry of the leader's term.

The rule (I7) is checked beside its consequence (I6): commits by counting old terms break the rule in most runs, and
lose an entry in hardly any.
"""

from __future__ import annotations

from capsize.checker.invariants.replica import Cluster, Replica, same
from capsize.checker.invariants.rule import Rule
from capsize.checker.trace import TraceEvent


class LeaderCompleteness(Rule):
    """I6: whoever becomes leader holds every entry that was committed in an earlier term."""

    id = "I6"
    name = "leader-lacks-committed-entry"
    title = "Leader Completeness"
    source = "Raft paper §5.4.3, Figure 3"
    needs = "become_leader, append and commit events"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.leading: dict[str, TraceEvent] = {}

    def _compare(self, election: TraceEvent, replica: Replica, index: int) -> bool:
        known = self.cluster.committed.get(index)
        base = (replica.state.base or (0, 0))[0]
        if known is None or known.term >= election.state.term or index <= base:
            return True
        self.checks += 1
        held = replica.log.get(index)
        if held is None and index <= replica.last:
            return True  # appended before the trace began
        if held is not None and same(held, known.entry):
            return True
        has = f"holds {held}" if held else f"ends at index {replica.last}"
        self.report(
            f"{election.node} became leader of term {election.state.term} and its log {has}; {known.entry} had been "
            f"committed in term {known.term} ({known.event.node})",
            known.event,
            election,
        )
        return False

    def on_become_leader(self, event: TraceEvent, replica: Replica) -> None:
        self.leading[event.node] = event
        for index in range((replica.state.commit or 0) + 1, self.cluster.highest_committed + 1):
            if not self._compare(event, replica, index):
                return

    def on_commit(self, event: TraceEvent, replica: Replica) -> None:
        new = self.cluster.newly_committed(event, replica)
        for node, election in self.leading.items():
            leader = self.cluster.replica(node)
            if node == event.node or leader.state.role != "L" or leader.state.term != election.state.term:
                continue
            if election.state.term > event.state.term and not all(
                self._compare(election, leader, index) for index in new
            ):
                return


class CommitRule(Rule):
    """I7: a leader advances its commit index only to an entry of its own term; older ones are committed along.

    A leader whose own disk lags behind the majority may report an older entry first, on the way to one of its term.
    """

    id = "I7"
    name = "committed-an-old-term-by-counting"
    title = "commit only in the current term"
    source = "Raft paper §5.4.2, Figure 8"
    needs = "commit and append events with the leader's role"

    def on_commit(self, event: TraceEvent, replica: Replica) -> None:
        state = event.state
        if state.role != "L" or not state.commit:
            return
        term = replica.term_at(state.commit)
        if term is None:
            return
        self.checks += 1
        if term != state.term and replica.term_at(replica.acknowledged_by_majority()) != state.term:
            self.report(
                f"{event.node}, leader of term {state.term}, committed up to index {state.commit}, an entry of term "
                f"{term}, "
                "by counting its copies",
                event,
            )


class CommittedStays(Rule):
    """I8: whatever one node reports committed at an index, every node that commits the index holds."""

    id = "I8"
    name = "committed-logs-differ"
    title = "State Machine Safety, committed entries never change"
    source = "Raft paper §5.4.3, Figure 3"
    needs = "commit and append events"

    def on_commit(self, event: TraceEvent, replica: Replica) -> None:
        for index in self.cluster.newly_committed(event, replica):
            known, held = self.cluster.committed.get(index), replica.log.get(index)
            if known is None:
                continue
            if held is None:
                if index > replica.last:
                    self.report(
                        f"{event.node} reports index {index} committed, beyond the end of its log at {replica.last}",
                        event,
                    )
                    return
                continue
            self.checks += 1
            if not same(held, known.entry):
                self.report(
                    f"{event.node} committed {held}; {known.event.node} had committed {known.entry} at the same index",
                    known.event,
                    event,
                )
                return

    def on_recover(self, event: TraceEvent, replica: Replica) -> None:
        if event.state.commit:
            self.on_commit(event, replica)


class QuorumCommit(Rule):
    """I16: when a leader commits an entry, a majority acknowledged it in that term, and holds it durably."""

    id = "I16"
    name = "committed-without-a-majority"
    title = "commit needs a majority's durable copies"
    source = "Raft paper §5.3, Figure 2 (matchIndex); thesis §3.8"
    needs = "the leader's commit events with its configuration"

    def on_commit(self, event: TraceEvent, replica: Replica) -> None:
        state = event.state
        index = state.commit
        if state.role != "L" or not state.cfg or not index:
            return
        term = replica.term_at(index)
        if term is None or replica.state.role != "L":
            return
        acknowledged = replica.acknowledged
        self.checks += 1
        holders: list[str] = []
        why_not: dict[str, str] = {}
        for node in state.cfg:
            if node != event.node and replica.counts_acknowledgements and acknowledged.get(node, 0) < index:
                why_not[node] = f"acknowledged {acknowledged.get(node, 0)} in this term"
                continue
            other = self.cluster.replicas.get(node)
            durable = term if other is None else other.durable_term_at(index)
            if durable is None or durable == term:
                holders.append(node)
            elif durable == 0:
                end = (other.state.dur or other.state.last or (0, 0))[0] if other else 0
                why_not[node] = f"durable up to index {end}"
            else:
                why_not[node] = f"holds an entry of term {durable} there"
        need = len(state.cfg) // 2 + 1
        if len(holders) < need:
            missing = ", ".join(f"{node} {reason}" for node, reason in why_not.items())
            self.report(
                f"{event.node}, leader of term {state.term}, committed index {index} with {len(holders)} of the "
                f"{need} copies "
                f"that a majority of {len(state.cfg)} needs ({', '.join(holders) or 'nobody'} held it; {missing})",
                event,
                index=index,
                holders=holders,
                missing=why_not,
            )
