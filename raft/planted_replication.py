"""Planted bugs in replication and commit."""

from __future__ import annotations

from .core import Core
from .events import Effects
from .log import Entry
from .messages import AppendEntries, AppendReply, Forward
from .mutants import mutant
from .replication import Progress
from .server import LEADER, MS
from .trace import Tracer


@mutant("log.no_prev_check", "prev_index and prev_term are not looked at: what comes is added at the end", "I4")
class LogNoPrevCheck(Core):
    def conflict_with(self, message: AppendEntries) -> tuple[int | None, int] | None:
        return None

    def take_entries(self, message: AppendEntries) -> None:
        gap = message.prev_index - self.log.last_index
        if gap > 0:
            moved = tuple(entry._replace(index=entry.index - gap) for entry in message.entries)
            message = message._replace(prev_index=message.prev_index - gap, entries=moved)
        super().take_entries(message)


@mutant("log.never_truncate", "conflicting entries are kept, and acknowledged all the same", "I4", "I16")
class LogNeverTruncate(Core):
    def take_entries(self, message: AppendEntries) -> None:
        new = [entry for entry in message.entries if entry.index > self.log.last_index]
        if new:
            self.append_to_log(new)


@mutant("log.no_tail_truncate", "conflicting entries are overwritten, what follows them is kept", "I5", "I6")
class LogNoTailTruncate(Core):
    def take_entries(self, message: AppendEntries) -> None:
        end = message.prev_index + len(message.entries)
        tail = list(self.log.between(max(end, self.log.base.index) + 1, self.log.last_index))
        before = self.log.last_index
        super().take_entries(message)
        if tail and self.log.last_index == end < before and self.effects.stop is None:
            self.append_to_log(tail)


@mutant("log.truncate_always", "every AppendEntries cuts the log behind prev_index, then appends", "I15", "I6")
class LogTruncateAlways(Core):
    def take_entries(self, message: AppendEntries) -> None:
        if self.log.base.index <= message.prev_index < self.log.last_index:
            self.cut_conflict(message.prev_index + 1)
        super().take_entries(message)


@mutant(
    "log.prev0_blind_append",
    "prev_index 0 is not checked, even when the log begins with a snapshot",
    "I4",
    "I8",
    bites_with="--opt snapshot_every=20",
)
class LogPrevZeroBlindAppend(Core):
    def take_entries(self, message: AppendEntries) -> None:
        if message.prev_index or not self.log.base.index or not message.entries:
            super().take_entries(message)
            return
        at = self.log.last_index
        self.append_to_log([entry._replace(index=at + 1 + n) for n, entry in enumerate(message.entries)])


@mutant("log.ack_own_last_index", "acknowledges the end of its own log, not the end of what was proved", "I16", "I6")
class LogAckOwnLastIndex(Core):
    def verified_by(self, message: AppendEntries) -> int:
        return self.log.last_index

    def commit_learnt(self, message: AppendEntries) -> int:
        return min(message.commit, message.prev_index + len(message.entries))


@mutant("log.acks_not_reset", "a new leader believes the acknowledgements of its earlier leadership", "I16")
class LogAcksNotReset(Core):
    def start_leading(self) -> None:
        before = {peer: progress.match_index for peer, progress in self.progress.items()}
        super().start_leading()
        for peer, match_index in before.items():
            if peer in self.progress:
                self.progress[peer].match_index = match_index
                self.progress[peer].next_index = max(self.progress[peer].next_index, match_index + 1)

    def previous(self, progress: Progress) -> tuple[int, int]:
        progress.next_index = min(progress.next_index, self.log.last_index + 1)
        return super().previous(progress)


@mutant("log.stale_ack", "acknowledgements of earlier terms count", "I16")
class LogStaleAck(Core):
    def reply_counts(self, message: AppendReply) -> bool:
        return self.role == LEADER

    def previous(self, progress: Progress) -> tuple[int, int]:
        progress.next_index = min(progress.next_index, self.log.last_index + 1)
        return super().previous(progress)


@mutant("log.match_regress", "match_index may go down again when replies are reordered", "I9", control=True)
class LogMatchRegress(Core):
    def note_match(self, progress: Progress, message: AppendReply) -> None:
        super().note_match(progress, message)
        progress.match_index = message.index


@mutant("commit.old_term", "entries of earlier terms are committed by counting (Figure 8)", "I7", "I6")
class CommitOldTerm(Core):
    def may_commit(self, index: int) -> bool:
        return True


@mutant("commit.beyond_new", "the leader's commit index is taken whole, not only as far as was proved", "I8")
class CommitBeyondNew(Core):
    def commit_learnt(self, message: AppendEntries) -> int:
        return message.commit


@mutant("commit.regress", "a follower's commit index goes down with an older message", "I9")
class CommitRegress(Core):
    def commit_to(self, index: int) -> None:
        super().commit_to(index)
        if self.role != LEADER and 0 < index < self.commit_index:
            self.commit_index = max(index, self.log.base.index)


@mutant("leader.append_after_stepdown", "a command under way is appended with the new term", "I3", "I4")
class LeaderAppendAfterStepdown(Core):
    lost_ns = -(1 << 62)

    def leadership_lost(self) -> None:
        self.lost_ns = self.now_ns
        super().leadership_lost()

    def append_late(self, kind: str, client: str, seq: int, data: str) -> None:
        """Append what was under way when leadership was lost, as if the new term were its own."""
        if self.role != LEADER and self.now_ns - self.lost_ns < 100 * MS:
            self.append_to_log([Entry(self.log.last_index + 1, self.term, kind, data, client, seq)])

    def on_forward(self, message: Forward) -> None:
        super().on_forward(message)
        self.append_late(message.kind, message.client, message.seq, message.data)

    def submit(self, rid: str, kind: str, client: str, seq: int, data: str) -> None:
        super().submit(rid, kind, client, seq, data)
        self.append_late(kind, client, seq, data)


@mutant("disk.same_term_rewrite", "after a restart a leader goes on in its term, with other entries", "I4", "I6")
class DiskSameTermRewrite(Core):
    def sendable_index(self) -> int:
        return self.log.last_index

    def start(self, now_ns: int, tracer: Tracer | None = None) -> Effects:
        effects = super().start(now_ns, tracer)
        if self.vote == self.name and self.term > 0:
            self.become_leader()
        return effects
