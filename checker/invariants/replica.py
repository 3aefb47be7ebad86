"""One node rebuilt from its own events: its log, what of it is on stable storage, and what all nodes committed.

The rules read a replica as it was before the event that they judge; `event.state` says what the event left.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from capsize.checker.trace import Entry, NodeState, TraceEvent


@dataclass(slots=True)
class Replica:
    """What is known of one node. `log` holds the entries seen appended; one missing from it is not known."""

    node: str
    state: NodeState = field(default_factory=NodeState)
    log: dict[int, Entry] = field(default_factory=dict[int, Entry])
    last: int = 0
    meta: tuple[int, str | None] | None = None
    """(term, vote) on stable storage; None before the first `recover` or `persist` of it."""
    overwritten: dict[int, Entry] = field(default_factory=dict[int, Entry])
    """Entries cut off since the last fsync of the log: a power loss brings them back."""
    removed: tuple[Entry, ...] = ()
    """What the latest truncation cut off."""
    acknowledged: dict[str, int] = field(default_factory=dict[str, int])
    """As leader: up to where each other node acknowledged its log in this term."""
    counts_acknowledgements: bool = False
    """Whether any acknowledgement was ever seen to arrive here; a trace without them is judged without them."""

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at `index`, if known; the snapshot's last entry counts."""
        entry = self.log.get(index)
        if entry is not None:
            return entry.term
        for position in (self.state.base, self.state.last):
            if position is not None and position[0] == index:
                return position[1]
        return 0 if index == 0 else None

    def durable_term_at(self, index: int) -> int | None:
        """Return the term of the entry at `index` that a power loss would leave; 0 if it would leave none."""
        durable = self.state.dur or self.state.last
        if durable is not None and index > durable[0]:
            return 0
        base = self.state.base
        if base is not None and index < base[0]:
            return None
        return self.term_at(index)

    def acknowledged_by_majority(self) -> int:
        """Return the highest index that a majority of the configuration acknowledged, the leader's own copy counted."""
        cfg = self.state.cfg or ()
        reached = sorted(
            (self.last if node == self.node else self.acknowledged.get(node, 0) for node in cfg), reverse=True
        )
        return reached[len(cfg) // 2] if cfg else 0

    def update(self, event: TraceEvent) -> None:
        """Carry out what `event` says happened."""
        kind = event.ev
        if kind == "recv":
            message = event.msg
            if message.get("ok") and message["type"] in ("AER", "ISR"):
                self.counts_acknowledgements = True
                sender, index = message["from"], message.get("idx", 0)
                if message.get("term") == event.state.term and index > self.acknowledged.get(sender, 0):
                    self.acknowledged[sender] = index
        elif kind == "become_leader":
            self.acknowledged = {}
        elif kind == "append":
            for entry in event.entries():
                self.log[entry.index] = entry
                self.last = entry.index
        elif kind == "truncate":
            self._truncate(event.x.get("to", (event.state.last or (0, 0))[0]))
        elif kind == "persist":
            what = event.x.get("what")
            if what == "meta":
                self.meta = (event.x.get("term", event.state.term), event.x.get("vote", event.state.vote))
            elif what == "log":
                self.overwritten.clear()
        elif kind == "recover":
            self._recover(event.state)
        elif kind == "snapshot_installed":
            self._install(event.state)
        self.state = event.state

    def _truncate(self, to: int) -> None:
        gone = [self.log.pop(index) for index in range(to + 1, self.last + 1) if index in self.log]
        for entry in gone:
            self.overwritten.setdefault(entry.index, entry)
        self.removed = tuple(gone)
        self.last = to

    def _recover(self, state: NodeState) -> None:
        self.meta = (state.term, state.vote)
        last = state.last or (0, 0)
        held = self.log.get(last[0])
        if held is None or held.term != last[1]:
            self.log.update({index: entry for index, entry in self.overwritten.items() if index <= last[0]})
        held = self.log.get(last[0])
        if held is not None and held.term != last[1]:
            self.log.clear()
        for index in [index for index in self.log if index > last[0]]:
            del self.log[index]
        self.overwritten.clear()
        self.removed = ()
        self.last = last[0]

    def _install(self, state: NodeState) -> None:
        base = state.base or (0, 0)
        last = state.last or base
        for index in [index for index in self.log if index <= base[0] or index > last[0]]:
            del self.log[index]
        self.last = last[0]


@dataclass(slots=True)
class Commitment:
    """An index that some node reported committed: the entry, the lowest term it is known committed in, and by whom."""

    entry: Entry
    term: int
    event: TraceEvent


@dataclass(slots=True)
class Cluster:
    """All replicas, and the one committed log that they must agree on."""

    replicas: dict[str, Replica] = field(default_factory=dict[str, Replica])
    committed: dict[int, Commitment] = field(default_factory=dict[int, Commitment])
    highest_committed: int = 0

    def replica(self, node: str) -> Replica:
        """Return the replica of `node`, empty when its first event comes."""
        found = self.replicas.get(node)
        if found is None:
            found = self.replicas[node] = Replica(node)
        return found

    def newly_committed(self, event: TraceEvent, replica: Replica) -> range:
        """Return the indices that `event` reports committed and the node had not reported before."""
        commit = event.state.commit or 0
        before = 0 if event.ev == "recover" else replica.state.commit or 0
        base = (event.state.base or (0, 0))[0]
        return range(max(before, base) + 1, commit + 1)

    def note_commit(self, event: TraceEvent, replica: Replica) -> None:
        """Enter what `event` reports committed; the first report of an index stands."""
        for index in self.newly_committed(event, replica):
            known = self.committed.get(index)
            if known is not None:
                known.term = min(known.term, event.state.term)
                continue
            entry = replica.log.get(index)
            if entry is not None:
                self.committed[index] = Commitment(entry, event.state.term, event)
                self.highest_committed = max(self.highest_committed, index)


def same(one: Entry, other: Entry) -> bool:
    """Say whether both are the same entry, as far as both traces tell."""
    return one.term == other.term and (one.digest is None or other.digest is None or one.digest == other.digest)
