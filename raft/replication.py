"""AppendEntries on both sides, and the commit rule (§5.3, §5.4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .applying import Applying
from .log import Entry
from .messages import AppendEntries, AppendReply
from .server import LEADER, MS


@dataclass(slots=True)
class Progress:
    """What the leader knows of one follower (Figure 2: nextIndex, matchIndex)."""

    next_index: int
    match_index: int = 0
    """Durable there and equal to the leader's log up to here."""
    sent_index: int = 0
    """The end of the AppendEntries under way; 0: none."""
    sent_ns: int = 0
    heard_ns: int = 0
    round: int = 0
    """The newest ReadIndex round this follower answered."""


class Replication(Applying):
    """The leader makes every log equal to its own; an entry on a majority of disks is committed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.progress: dict[str, Progress] = {}
        self.heartbeat_deadline_ns = 0
        self.read_round = 0
        self.verified_index = 0
        """Follower: up to here the log equals that of this term's leader."""
        self._acknowledged = 0
        self._owes_reply = False
        self._leader_round = 0

    # -- leader: sending -------------------------------------------------------------------------------------
    def start_leading(self) -> None:
        """Forget what was known of followers; begin with the end of the own log (§5.3)."""
        self.progress = {
            peer: Progress(self.log.last_index + 1, heard_ns=self.now_ns) for peer in self.peers
        }
        self.read_round = 0

    def sendable_index(self) -> int:
        """Return how far entries may be sent: what the leader's own disk holds, unless appending in parallel."""
        return self.log.last_index if self.settings.parallel_append else self.safe_index

    def broadcast_heartbeat(self) -> None:
        """Send AppendEntries to everyone, with entries where some are missing (§5.2)."""
        self.heartbeat_deadline_ns = self.now_ns + self.settings.heartbeat_ms * MS
        for peer in self.peers:
            self.send_append(peer, entries=not self.is_waiting_for(peer))

    def is_waiting_for(self, peer: str) -> bool:
        """Say whether entries are under way to `peer` and not yet overdue."""
        progress = self.progress[peer]
        return bool(progress.sent_index) and self.now_ns - progress.sent_ns < self.settings.resend_ms * MS

    def replicate(self, peer: str) -> None:
        """Send `peer` what it lacks, unless something is under way."""
        progress = self.progress[peer]
        if progress.next_index <= self.sendable_index() and not self.is_waiting_for(peer):
            self.send_append(peer, entries=True)

    def replicate_all(self) -> None:
        for peer in self.peers:
            self.replicate(peer)

    def send_append(self, peer: str, *, entries: bool) -> None:
        """Send one AppendEntries: prev is the entry before the first one it carries (§5.3)."""
        progress = self.progress[peer]
        if self.needs_snapshot(progress):
            self.send_snapshot(peer)
            return
        prev_index, prev_term = self.previous(progress)
        batch: Sequence[Entry] = ()
        last = min(self.sendable_index(), prev_index + self.settings.append_entries_max)
        if progress.next_index - 1 - progress.match_index >= self.settings.unacknowledged_max and progress.match_index:
            entries = False
        if entries and last > prev_index:
            batch = self.log.between(prev_index + 1, last, bytes_max=self.settings.append_bytes_max)
            progress.sent_index = prev_index + len(batch)
            progress.sent_ns = self.now_ns
        self.send(
            AppendEntries(
                self.new_id(),
                self.name,
                peer,
                self.term,
                prev_index,
                prev_term,
                tuple(batch),
                self.commit_index,
                self.read_round,
            )
        )

    def previous(self, progress: Progress) -> tuple[int, int]:
        """Return index and term of the entry before the next one to send."""
        index = progress.next_index - 1
        term = self.log.term_at(index)
        assert term is not None, f"no entry {index} to send after"
        return index, term

    def needs_snapshot(self, progress: Progress) -> bool:
        """Say whether the entry before the next one to send was compacted away (§7)."""
        return progress.next_index <= self.log.base.index

    def send_snapshot(self, peer: str) -> None:
        """Send the snapshot instead of entries; filled in by Snapshots."""
        raise NotImplementedError

    # -- leader: replies -------------------------------------------------------------------------------------
    def reply_counts(self, message: AppendReply) -> bool:
        """Say whether a reply is to be looked at: this server leads, in the term the reply belongs to."""
        return self.role == LEADER and message.term == self.term

    def on_append_reply(self, message: AppendReply) -> None:
        self.observe_reply_term(message.term)
        if not self.reply_counts(message):
            return
        progress = self.progress.get(message.frm)
        if progress is None:
            return
        progress.heard_ns = self.now_ns
        progress.round = max(progress.round, message.round)
        if message.ok:
            self.note_match(progress, message)
        else:
            self.back_up(progress, message)
        if progress.sent_index and progress.next_index > progress.sent_index:
            progress.sent_index = 0
        self.advance_commit()
        if self.role == LEADER and message.frm in self.progress:
            self.replicate(message.frm)
            self.peer_answered(message.frm)

    def note_match(self, progress: Progress, message: AppendReply) -> None:
        """Raise what is known to be equal (accepted) and durable (index) on a follower; never lower it."""
        progress.match_index = max(progress.match_index, message.index)
        progress.next_index = max(progress.next_index, message.accepted + 1, progress.match_index + 1)

    def back_up(self, progress: Progress, message: AppendReply) -> None:
        """Try earlier: behind the leader's last entry of the conflicting term, else its first index (§5.3)."""
        if message.index <= progress.match_index or message.index >= progress.next_index:
            return  # stale: that place is known to match, or was given up already
        upto = message.conflict_index
        if message.conflict_term is not None:
            own = self.log.last_index_of_term(message.conflict_term, message.index)
            if own is not None and own >= message.conflict_index:
                upto = own + 1
        progress.next_index = max(progress.match_index + 1, min(upto, message.index))
        progress.sent_index = 0

    # -- leader: commit (§5.4.2) -----------------------------------------------------------------------------
    def own_match(self) -> int:
        """Return how much of its own log the leader counts: what its disk holds."""
        return self.safe_index

    def quorum_index(self) -> int:
        """Return the highest index that a majority of the voters holds durably."""
        held = [
            self.own_match() if name == self.name else self.progress[name].match_index
            for name in self.configuration.voters
        ]
        held.sort(reverse=True)
        return held[self.quorum_size(len(held)) - 1]

    def may_commit(self, index: int) -> bool:
        """Only entries of the leader's own term are committed by counting (§5.4.2, Figure 8)."""
        return self.log.term_at(index) == self.term

    def advance_commit(self) -> None:
        if self.role != LEADER or not self.configuration.voters:
            return
        index = self.quorum_index()
        if index > self.commit_target and self.may_commit(index):
            self.commit_to(index)

    def durable_advanced(self) -> None:
        super().durable_advanced()
        if self.role == LEADER:
            self.advance_commit()
            if self.role == LEADER:
                self.replicate_all()
        elif self.leader is not None and (self._owes_reply or self.acknowledged_index() > self._acknowledged):
            self.acknowledge()

    # -- follower --------------------------------------------------------------------------------------------
    def term_entered(self) -> None:
        super().term_entered()
        self.verified_index = 0
        self._acknowledged = 0
        self._owes_reply = False
        self._leader_round = 0

    def heard_leader(self, leader: str) -> None:
        """A valid message of this term's leader arrived: follow it, and do not campaign yet (§5.2)."""
        self.become_follower(leader)
        self.leader_heard_ns = self.now_ns
        self.reset_election_timer()

    def accepts_term(self, term: int) -> bool:
        """Only messages of the newest term are obeyed (§5.1)."""
        return term >= self.term

    def on_append_entries(self, message: AppendEntries) -> None:
        if not self.accepts_term(message.term):
            self.refuse(message, None, self.log.last_index + 1)
            return
        self.observe_term(message.term)
        self.heard_leader(message.frm)
        self._leader_round = max(self._leader_round, message.round)
        conflict = self.conflict_with(message)
        if conflict is not None:
            self.refuse(message, *conflict)
            return
        self.take_entries(message)
        if self.effects.stop is not None:
            return
        self.verified_index = max(self.verified_index, self.verified_by(message))
        self.commit_to(self.commit_learnt(message))
        self.acknowledge_if_useful(message)

    def conflict_with(self, message: AppendEntries) -> tuple[int | None, int] | None:
        """Return None if the log holds prev_index with prev_term, else (conflicting term, its first index) (§5.3)."""
        if message.prev_index < self.log.base.index:
            return None  # inside the snapshot: committed, so equal
        term = self.log.term_at(message.prev_index)
        if term is None:
            return None, self.log.last_index + 1
        if term != message.prev_term:
            return term, max(self.log.first_index_of_term(term, message.prev_index), self.commit_index + 1)
        return None

    def take_entries(self, message: AppendEntries) -> None:
        """Append what is new. Truncate only where an entry differs: an old message must not cut (§5.3)."""
        for place, entry in enumerate(message.entries):
            if entry.index <= self.log.base.index:
                continue
            term = self.log.term_at(entry.index)
            if term == entry.term:
                continue
            if term is not None:
                if entry.index <= self.commit_index:
                    self.halt(f"entry {entry.index} of term {entry.term} would replace a committed one of term {term}")
                    return
                self.cut_conflict(entry.index)
            self.append_to_log(list(message.entries[place:]))
            return

    def cut_conflict(self, index: int) -> None:
        """Drop the entry at `index` and all that follow it (§5.3)."""
        self.truncate_log(index - 1)

    def verified_by(self, message: AppendEntries) -> int:
        """Return up to where this message proves the log equal to the leader's: no further than it reaches."""
        return message.prev_index + len(message.entries)

    def commit_learnt(self, message: AppendEntries) -> int:
        """Return what may be taken as committed: the leader's commit index, within what this message proves."""
        return min(message.commit, self.verified_by(message))

    def acknowledge_if_useful(self, message: AppendEntries) -> None:
        """Reply at once to a heartbeat or when all is durable; else the reply goes out when the disk is done."""
        if message.entries and self.safe_index < self.verified_by(message):
            self._owes_reply = True
        else:
            self.acknowledge()

    def acknowledge(self) -> None:
        """Tell the leader how far this log equals its own and is durable; the term must be durable, too."""
        if self.durable_write < self.meta_write:
            self._owes_reply = True
            return
        assert self.leader is not None
        self._owes_reply = False
        self._acknowledged = self.acknowledged_index()
        self.send(
            AppendReply(
                self.new_id(),
                self.name,
                self.leader,
                self.term,
                True,
                self._acknowledged,
                self.verified_index,
                None,
                0,
                self._leader_round,
            )
        )

    def acknowledged_index(self) -> int:
        """Return what may be acknowledged: equal to the leader's log, and on this server's disk."""
        return min(self.verified_index, self.safe_index)

    def refuse(self, message: AppendEntries, term: int | None, index: int) -> None:
        """Answer that the logs do not meet at prev_index, or that the term is old; once the own term is durable."""

        def reply() -> None:
            self.send(
                AppendReply(
                    self.new_id(),
                    self.name,
                    message.frm,
                    self.term,
                    False,
                    message.prev_index,
                    0,
                    term,
                    index,
                    message.round if message.term == self.term else 0,
                )
            )

        self.after_meta(reply)

    # -- hooks -----------------------------------------------------------------------------------------------
    def peer_answered(self, peer: str) -> None:
        """A follower's reply of this term was taken in."""
