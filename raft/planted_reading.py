"""Planted bugs in reads."""

from __future__ import annotations

from .core import Core
from .mutants import mutant
from .reading import Read
from .server import MS


@mutant("read.leader_local", "the leader answers reads without asking whether it still leads", "I19", "linearizability")
class ReadLeaderLocal(Core):
    def lead_read(self, read: Read) -> None:
        self.confirm(read, self.commit_index)


@mutant("read.follower_local", "every server answers reads from its own state", "I19", "linearizability")
class ReadFollowerLocal(Core):
    def submit_read(self, rid: str, key: object) -> None:
        self.reply(rid, "ok", self.machine.read(key), "", self.applied_index)


@mutant("read.lease_no_margin", "a lease counted from the reply, three election timeouts long", "linearizability")
class ReadLeaseNoMargin(Core):
    def uses_lease(self) -> bool:
        return True

    def lease_end_ns(self) -> int:
        return self.now_ns + 3 * self.settings.election_timeout_ms[1] * MS


@mutant("read.index_no_noop", "a read index is taken before the leader committed in its term", "I19", "linearizability")
class ReadIndexNoNoop(Core):
    def may_take_index(self) -> bool:
        return True


@mutant("read.index_no_wait_apply", "a read does not wait until its index is applied", "I19", "linearizability")
class ReadIndexNoWaitApply(Core):
    def may_serve(self, index: int) -> bool:
        return True


@mutant("read.index_reuse_round", "a read is confirmed by a round that began before it arrived", "I19")
class ReadIndexReuseRound(Core):
    def lead_read(self, read: Read) -> None:
        if self.in_round:
            self.in_round.append(read)
        else:
            super().lead_read(read)


@mutant("read.quorum_minus_one", "one answer less than a majority confirms a read", "I19", "linearizability")
class ReadQuorumMinusOne(Core):
    def round_confirmed(self) -> bool:
        answered = {name for name, progress in self.progress.items() if progress.round >= self.read_round}
        counted = sum(name in answered or name == self.name for name in self.configuration.voters)
        return counted >= self.quorum_size(len(self.configuration.voters)) - 1
