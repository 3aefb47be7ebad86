"""I3, I4, I15: leaders only append, (index, term) names one entry, and only a real conflict cuts a log."""

from __future__ import annotations

from capsize.checker.invariants.replica import Cluster, Replica
from capsize.checker.invariants.rule import Rule
from capsize.checker.trace import Entry, TraceEvent


class LeaderAppendOnly(Rule):
    """I3: a leader's log only grows, by entries of its own term; who does not lead appends only what it was sent."""

    id = "I3"
    name = "leader-rewrote-its-log"
    title = "Leader Append-Only"
    source = "Raft paper §5.3, Figure 3"
    needs = "append events with the node's role"
    receives = frozenset({"AE"})

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.sent: dict[str, TraceEvent] = {}

    def on_recv(self, event: TraceEvent, replica: Replica) -> None:
        self.sent[event.node] = event

    def on_recover(self, event: TraceEvent, replica: Replica) -> None:
        self.sent.pop(event.node, None)

    def on_truncate(self, event: TraceEvent, replica: Replica) -> None:
        self.checks += 1
        if event.state.role == "L" and replica.state.role == "L":
            self.report(f"{event.node} cut its log while it led term {event.state.term}", event)

    def on_append(self, event: TraceEvent, replica: Replica) -> None:
        entries = event.entries()
        if not entries or event.state.role is None:
            return
        self.checks += 1
        if event.state.role == "L":
            alien = next((entry for entry in entries if entry.term != event.state.term), None)
            if alien is not None:
                self.report(f"{event.node}, leader of term {event.state.term}, appended {alien}", event)
            if replica.log and entries[0].index != replica.last + 1:
                self.report(
                    f"{event.node}, leader of term {event.state.term}, wrote {entries[0]} over a log that "
                    f"ended at index {replica.last}",
                    event,
                )
            return
        source = self.sent.get(event.node)
        if source is None:
            return
        first = source.msg.get("prev", (0, 0))[0] + 1
        if not (first <= entries[0].index and entries[-1].index < first + source.msg.get("n", 0)):
            self.report(
                f"{event.node}, who does not lead term {event.state.term}, appended {entries[0]}, which no leader "
                "had sent it",
                source,
                event,
            )


class LogMatching(Rule):
    """I4: all nodes' entries with the same index and term are the same, over all time, and so are the ones before.

    The payload's hash is compared: nothing else sees a leader that reuses (index, term) after it lost entries.
    """

    id = "I4"
    name = "logs-do-not-match"
    title = "Log Matching"
    source = "Raft paper §5.3, Figure 3"
    needs = "append events"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.entries: dict[tuple[int, int], tuple[Entry, int | None, TraceEvent]] = {}

    def on_append(self, event: TraceEvent, replica: Replica) -> None:
        entries = event.entries()
        if not entries:
            return
        before = replica.term_at(entries[0].index - 1)
        for entry in entries:
            known = self.entries.setdefault((entry.index, entry.term), (entry, before, event))
            first, first_before, when = known
            if when is not event:
                self.checks += 1
                if first.digest is not None and entry.digest is not None and first.digest != entry.digest:
                    self.report(
                        f"index {entry.index} of term {entry.term} holds {first.digest} on {when.node} "
                        f"and {entry.digest} on {event.node}",
                        when,
                        event,
                    )
                elif before is not None and first_before is not None and before != first_before:
                    self.report(
                        f"{event.node} appended {entry} after an entry of term {before}; on {when.node} the same entry "
                        f"follows one of term {first_before}",
                        when,
                        event,
                    )
                elif first_before is None and before is not None:
                    self.entries[entry.index, entry.term] = (first, before, when)
            else:
                self.checks += 1
            before = entry.term


class TruncateOnConflict(Rule):
    """I15: a log is cut only where a leader's entry conflicts, never below what is committed.

    An entry that was committed in a term up to the cutting leader's may never go. One committed in a later term may:
    its copy outside the committing majority is overwritten by a late message of the older leader.
    """

    id = "I15"
    name = "truncated-without-conflict"
    title = "truncation only on conflict"
    source = "Raft paper §5.3, Figure 2 (AppendEntries, receiver's step 3)"
    needs = "truncate events"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.pending: dict[str, TraceEvent] = {}

    def on_truncate(self, event: TraceEvent, replica: Replica) -> None:
        to = event.x.get("to", (event.state.last or (0, 0))[0])
        commit = replica.state.commit or 0
        self.checks += 1
        if to < commit:
            self.report(f"{event.node} cut its log to index {to}, below its commit index {commit}", event)
        for index in range(max(to, commit) + 1, replica.last + 1):
            known, held = self.cluster.committed.get(index), replica.log.get(index)
            if known and held and held.term == known.entry.term and known.term <= event.state.term:
                self.report(
                    f"{event.node} cut off {held} in term {event.state.term}, though {known.event.node} had reported "
                    "it "
                    f"committed in term {known.term}",
                    known.event,
                    event,
                )
                break
        if replica.log.get(to + 1) is not None:
            self.pending[event.node] = event

    def on_append(self, event: TraceEvent, replica: Replica) -> None:
        cut = self.pending.pop(event.node, None)
        entries = event.entries()
        gone = replica.removed[0] if replica.removed else None
        if cut is None or not entries or gone is None:
            return
        if entries[0].index == gone.index and entries[0].term == gone.term:
            self.report(
                f"{event.node} cut off {gone} and more, and appended an entry of the same index and term: nothing "
                "was in conflict",
                cut,
                event,
            )

    def _nothing_followed(self, event: TraceEvent, replica: Replica) -> None:
        cut = self.pending.pop(event.node, None)
        if cut is not None:
            self.report(
                f"{event.node} cut its log to index {cut.x.get('to')} and appended nothing in its place: nothing was "
                "in conflict",
                cut,
                event,
            )

    def on_send(self, event: TraceEvent, replica: Replica) -> None:
        if event.node in self.pending:
            self._nothing_followed(event, replica)

    def on_recv(self, event: TraceEvent, replica: Replica) -> None:
        if event.node in self.pending:
            self._nothing_followed(event, replica)

    def on_recover(self, event: TraceEvent, replica: Replica) -> None:
        self.pending.pop(event.node, None)
