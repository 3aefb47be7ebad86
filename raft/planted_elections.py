"""Planted bugs in elections, terms and quorums."""

from __future__ import annotations

from collections.abc import Callable

from .core import Core
from .messages import AppendEntries, PreVoteReply, RequestVote, VoteReply
from .mutants import mutant
from .server import CANDIDATE, LEADER, PRE_CANDIDATE


@mutant("vote.no_persist", "the vote is kept in memory only", "I2", "I13", "I1")
class VoteNoPersist(Core):
    def meta_to_persist(self) -> tuple[int, str | None]:
        return self.term, None


@mutant("term.no_persist", "the term is kept in memory only, and the vote with it", "I9", "I13", "I6")
class TermNoPersist(Core):
    def meta_to_persist(self) -> tuple[int, str | None]:
        return 0, None

    def check_recovered(self) -> None:
        return


@mutant("vote.no_fsync", "term and vote are written, but nobody waits until they are durable", "I14", "I2")
class VoteNoFsync(Core):
    def after_meta(self, action: Callable[[], None]) -> None:
        action()


@mutant("vote.reply_before_persist", "the voter answers first, and persists its vote a moment later", "I14", "I2")
class VoteReplyBeforePersist(Core):
    def after_vote(self, action: Callable[[], None]) -> None:
        action()


@mutant("vote.twice", "whom it voted for already is ignored", "I2", "I1")
class VoteTwice(Core):
    def has_vote_for(self, candidate: str) -> bool:
        return True


@mutant("vote.cleared_on_stepdown", "stepping down within a term forgets the vote", "I2")
class VoteClearedOnStepdown(Core):
    def become_follower(self, leader: str | None = None) -> None:
        if self.role in (CANDIDATE, LEADER) and self.vote is not None:
            self.vote = None
            self.persist_meta()
        super().become_follower(leader)


@mutant("vote.carried_to_new_term", "a candidate keeps the vote of the term before", "I2", "I1")
class VoteCarried(Core):
    def vote_as_candidate(self) -> str | None:
        return self.vote


@mutant("vote.no_uptodate_check", "votes for candidates with older logs", "I5", "I6")
class VoteNoUpToDateCheck(Core):
    def candidate_is_up_to_date(self, index: int, term: int) -> bool:
        return True


@mutant("vote.uptodate_term_only", "compares the last terms, not the last indices", "I5", "I6")
class VoteUpToDateTermOnly(Core):
    def candidate_is_up_to_date(self, index: int, term: int) -> bool:
        return term >= self.log.last.term


@mutant("vote.uptodate_vector", "index and term must both be newer: sometimes nobody is electable", "liveness")
class VoteUpToDateVector(Core):
    def candidate_is_up_to_date(self, index: int, term: int) -> bool:
        return term >= self.log.last.term and index >= self.log.last.index


@mutant("vote.accept_stale_response", "counts votes of earlier terms", "I1", bites_with="--opt weather=rough")
class VoteAcceptStaleResponse(Core):
    def vote_counts(self, message: VoteReply) -> bool:
        return self.role == CANDIDATE


@mutant("vote.count_duplicates", "counts replies, not voters", "I1", bites_with="--opt weather=rough")
class VoteCountDuplicates(Core):
    def count_vote(self, voter: str) -> None:
        super().count_vote(f"{voter}, reply {len(self.votes)}")

    def won(self) -> bool:
        return len(self.votes) >= self.quorum_size(len(self.configuration.voters))


@mutant("vote.prevote_counts", "a late reply to a pre-vote counts as a vote", "I1")
class VotePrevoteCounts(Core):
    def on_pre_vote_reply(self, message: PreVoteReply) -> None:
        if message.granted and self.role == CANDIDATE and message.term == self.term:
            self.count_vote(message.frm)
        else:
            super().on_pre_vote_reply(message)


@mutant("vote.candidate_also_votes", "a candidate grants votes to others in its own term", "I2", "I1")
class VoteCandidateAlsoVotes(Core):
    def on_request_vote(self, message: RequestVote) -> None:
        if self.role in (CANDIDATE, PRE_CANDIDATE) and message.term == self.term and self.vote == self.name:
            self.vote = None
            self.become_follower()
        super().on_request_vote(message)


@mutant("quorum.minority", "half of the voters, rounded down, count as a majority: two of five", "I16", "I1")
class QuorumMinority(Core):
    def quorum_size(self, voters: int) -> int:
        return max(1, voters // 2)


@mutant("quorum.offbyone_even", "of an even number of voters, half are a majority", "I16", "I1", bites_with="--nodes 4")
class QuorumOffByOneEven(Core):
    def quorum_size(self, voters: int) -> int:
        return (voters + 1) // 2


@mutant("quorum.unsorted_match", "the commit index is taken from the servers in order, not sorted", "I16")
class QuorumUnsortedMatch(Core):
    def quorum_index(self) -> int:
        voters = self.configuration.voters
        held = [
            self.own_match() if name == self.name else self.progress[name].match_index
            for name in sorted(voters, key=lambda name: (name != self.name, name))
        ]
        return held[self.quorum_size(len(held)) - 1]


@mutant(
    "quorum.counts_nonvoters",
    "learners count towards a majority",
    "I16",
    "I18",
    bites_with="--faults remove-member,wipe-rejoin",
)
class QuorumCountsNonVoters(Core):
    def is_quorum(self, names: set[str]) -> bool:
        return len(names) >= self.quorum_size(len(self.configuration.voters))

    def quorum_index(self) -> int:
        held = [progress.match_index for progress in self.progress.values()]
        held.append(self.own_match())
        held.sort(reverse=True)
        return held[self.quorum_size(len(self.configuration.voters)) - 1]


@mutant("term.accept_stale_ae", "obeys AppendEntries of deposed leaders", "I3", "I4", "I8")
class TermAcceptStaleAppend(Core):
    def accepts_term(self, term: int) -> bool:
        return True

    def on_append_entries(self, message: AppendEntries) -> None:
        if self.role == LEADER and message.term < self.term:
            return
        super().on_append_entries(message)


@mutant("term.no_stepdown", "a newer term in a reply is ignored; requests teach it later", control=True)
class TermNoStepdown(Core):
    def observe_reply_term(self, term: int) -> None:
        return
