"""Linearizable reads without log entries (thesis §6.4), on any server.

A read waits until the leader has committed an entry of its own term (step 1), takes the commit index (2), and is
confirmed by a round of heartbeats that began after the read arrived (3). A round is numbered; AppendEntries carry the
number, replies carry it back, so a late reply to an earlier round confirms nothing. While a round is under way newer
reads wait for the next one: one round serves them all. The read is served where it was asked, once the read index
is applied there (4, 5).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .messages import ReadIndexReply, ReadIndexRequest
from .server import LEADER, MS
from .snapshots import Snapshots


class Read(NamedTuple):
    """A read the leader has to confirm: who asked (None: a client of this server)."""

    rid: str
    origin: str | None


class LocalRead(NamedTuple):
    """A read of this server's own client: the key, and when to give up."""

    key: Any
    deadline_ns: int


class Reading(Snapshots):
    """Serves reads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.local_reads: dict[str, LocalRead] = {}
        """This server's clients' reads, by rid, until they are answered."""
        self.waiting_reads: list[Read] = []
        """At the leader: for the next round."""
        self.in_round: list[Read] = []
        self._round_index = 0
        self.round_began_ns = 0
        self._indexed: list[tuple[int, str, int]] = []
        """Confirmed, waiting for apply: (read index, rid, term)."""
        self.lease_until_ns = 0

    # -- anyone ----------------------------------------------------------------------------------------------
    def submit_read(self, rid: str, key: Any) -> None:
        """Take a read of this server's own client."""
        deadline = self.now_ns + self.settings.request_timeout_ms * MS
        if self.role == LEADER:
            self.local_reads[rid] = LocalRead(key, deadline)
            self.lead_read(Read(rid, None))
        elif self.leader is not None:
            self.local_reads[rid] = LocalRead(key, deadline)
            self.send(ReadIndexRequest(self.new_id(), self.name, self.leader, self.term, rid))
        else:
            self.reply(rid, "fail", None, "no leader is known", 0)

    def on_read_index_reply(self, message: ReadIndexReply) -> None:
        if message.rid not in self.local_reads:
            return
        if message.ok:
            self.read_confirmed(message.rid, message.index, message.term)
        else:
            self.refuse_read(message.rid, "the leader could not confirm the read")

    def read_confirmed(self, rid: str, index: int, term: int) -> None:
        """A read may be served once `index` is applied here."""
        if rid in self.local_reads:
            self._indexed.append((index, rid, term))
            self.serve_reads()

    def may_serve(self, index: int) -> bool:
        """Wait for the read index to be applied (thesis §6.4 step 4)."""
        return self.applied_index >= index

    def serve_reads(self) -> None:
        """Answer every confirmed read whose index is applied."""
        rest: list[tuple[int, str, int]] = []
        for index, rid, term in self._indexed:
            if self.may_serve(index):
                self.serve_read(rid, index, term)
            else:
                rest.append((index, rid, term))
        self._indexed = rest

    def serve_read(self, rid: str, index: int, term: int) -> None:
        read = self.local_reads.pop(rid, None)
        if read is None:
            return
        value = self.machine.read(read.key)
        if self.tracer is not None:
            self.tracer.read_served(rid, index, read.key, self.applied_index)
        self.reply(rid, "ok", value, "", self.applied_index, term=term)

    def refuse_read(self, rid: str, why: str) -> None:
        """A read that was not served did nothing."""
        if self.local_reads.pop(rid, None) is not None:
            self.reply(rid, "fail", None, why, 0)

    def applied_advanced(self) -> None:
        super().applied_advanced()
        self.serve_reads()

    def term_entered(self) -> None:
        """Reads that wait for the old term's leader are refused: it may never answer."""
        super().term_entered()
        confirmed = {rid for _, rid, _ in self._indexed}
        for rid in [rid for rid in self.local_reads if rid not in confirmed]:
            self.refuse_read(rid, "the term changed")

    def expire_reads(self) -> None:
        """Give up on reads that wait too long."""
        late = [rid for rid, read in self.local_reads.items() if read.deadline_ns <= self.now_ns]
        for rid in late:
            self.refuse_read(rid, "the read was not confirmed in time")

    def read_deadline_ns(self) -> int | None:
        """Return when the oldest read gives up; they are kept in order."""
        return next(iter(self.local_reads.values())).deadline_ns if self.local_reads else None

    # -- leader ----------------------------------------------------------------------------------------------
    def on_read_index_request(self, message: ReadIndexRequest) -> None:
        self.observe_term(message.term)
        if self.role == LEADER:
            self.lead_read(Read(message.rid, message.frm))
        else:
            self.send(ReadIndexReply(self.new_id(), self.name, message.frm, self.term, message.rid, False, 0))

    def lead_read(self, read: Read) -> None:
        """Put a read into the next round, or serve it under the lease."""
        leased = self.uses_lease() and self.lease_holds() and self.may_take_index()
        if self.tracer is not None:
            self.tracer.read_indexed(read.rid, read.origin, self.commit_index, 0 if leased else self.read_round + 1)
        if leased:
            self.confirm(read, self.commit_index)
            return
        self.waiting_reads.append(read)
        self.begin_round()

    def own_term_committed(self) -> bool:
        """Say whether an entry of the leader's own term is committed: only then is its commit index the newest."""
        return self.log.term_at(self.commit_index) == self.term

    def may_take_index(self) -> bool:
        """The commit index is the newest only once an own entry is committed (thesis §6.4 step 1)."""
        return self.own_term_committed()

    def begin_round(self) -> None:
        """Start a round for every waiting read, unless one is under way or the own term has no commit yet."""
        if self.in_round or not self.waiting_reads or not self.may_take_index():
            return
        self.in_round, self.waiting_reads = self.waiting_reads, []
        self._round_index = self.commit_index
        self.next_round()
        self.check_round()

    def next_round(self) -> None:
        """Number a new round and carry it to everyone."""
        self.read_round += 1
        self.round_began_ns = self.now_ns
        self.broadcast_heartbeat()

    def round_confirmed(self) -> bool:
        """Say whether a majority answered this very round (thesis §6.4 step 3)."""
        answered = {name for name, progress in self.progress.items() if progress.round >= self.read_round}
        return self.is_quorum(answered | {self.name})

    def check_round(self) -> None:
        if not self.round_confirmed():
            return
        self.lease_until_ns = max(self.lease_until_ns, self.lease_end_ns())
        if self.in_round:
            reads, self.in_round = self.in_round, []
            for read in reads:
                self.confirm(read, self._round_index)
            self.begin_round()

    def confirm(self, read: Read, index: int) -> None:
        """Tell whoever asked that the read may be served at `index`."""
        if read.origin is None:
            self.read_confirmed(read.rid, index, self.term)
        else:
            self.send(
                ReadIndexReply(self.new_id(), self.name, read.origin, self.term, read.rid, True, index)
            )

    def peer_answered(self, peer: str) -> None:
        super().peer_answered(peer)
        self.check_round()

    def commit_advanced(self) -> None:
        super().commit_advanced()
        if self.role == LEADER:
            self.begin_round()

    def leadership_lost(self) -> None:
        """Reads that were not confirmed are refused; they did nothing."""
        super().leadership_lost()
        reads = self.waiting_reads + self.in_round
        self.waiting_reads, self.in_round = [], []
        self.lease_until_ns = 0
        for read in reads:
            if read.origin is None:
                self.refuse_read(read.rid, "leadership was lost")
            else:
                self.send(ReadIndexReply(self.new_id(), self.name, read.origin, self.term, read.rid, False, 0))

    # -- lease (thesis §6.4.1) -------------------------------------------------------------------------------
    def uses_lease(self) -> bool:
        return self.settings.lease_reads

    def lease_end_ns(self) -> int:
        """Return until when voters that answered the round protect this leader, by the slowest clock.

        Counted from the beginning of the round: nobody can have heard of this leader earlier than that.
        """
        low = self.settings.election_timeout_ms[0] * MS
        return self.round_began_ns + int(low * (1 - self.settings.clock_drift))

    def lease_holds(self) -> bool:
        """Say whether no other leader can have been elected yet: voters protect a leader they heard of."""
        return self.settings.protect_leader and self.now_ns < self.lease_until_ns


