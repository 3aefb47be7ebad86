"""Elections: pre-vote, candidates, voters, and when a leader gives up (§5.2, §5.4.1; thesis §9.6, §6.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .log import NOOP, Entry, Position
from .membership import Membership
from .messages import PreVote, PreVoteReply, RequestVote, TimeoutNow, VoteReply
from .server import CANDIDATE, FOLLOWER, LEADER, MS, PRE_CANDIDATE


class Election(Membership):
    """Becomes leader, or votes for one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.votes: set[str] = set()

    # -- campaigning -----------------------------------------------------------------------------------------
    def election_timed_out(self) -> None:
        """No leader was heard of for too long: campaign (§5.2)."""
        self.reset_election_timer()
        if self.may_campaign():
            if self.settings.pre_vote:
                self.start_pre_vote()
            else:
                self.start_election()

    def may_campaign(self) -> bool:
        """Only voters campaign, and only while their disk can hold a vote."""
        return self.name in self.configuration.voters and self.takes_part() and not self.disk_stalled()

    def takes_part(self) -> bool:
        """A server that was wiped and joins again has no say in elections before it holds its own removal."""
        return self.log.last_index >= self.settings.votes_from

    def start_pre_vote(self) -> None:
        """Ask who would vote, without raising the term (thesis §9.6)."""
        self.role = PRE_CANDIDATE
        self.leader = None
        self.votes = {self.name}
        self.trace("become_candidate", x={"pre": True})
        last = self.log.last
        for peer in self.other_voters():
            self.send(PreVote(self.new_id(), self.name, peer, self.term + 1, last.index, last.term))
        self.check_pre_votes()

    def other_voters(self) -> list[str]:
        return [name for name in self.configuration.voters if name != self.name]

    def check_pre_votes(self) -> None:
        if self.role == PRE_CANDIDATE and self.is_quorum(self.votes):
            self.start_election()

    def start_election(self, *, transfer: bool = False) -> None:
        """Raise the term, vote for oneself, and, once that is durable, ask the others (§5.2)."""
        self.role = CANDIDATE
        self.votes = set()
        self.set_term(self.term + 1, self.vote_as_candidate())
        self.reset_election_timer()
        self.trace("become_candidate")
        self.after_meta(lambda: self.ask_for_votes(transfer))

    def vote_as_candidate(self) -> str | None:
        """Return whom a candidate votes for in its new term: itself."""
        return self.name

    def ask_for_votes(self, transfer: bool) -> None:
        """Count the own vote, which is durable now, and ask the others."""
        if self.role != CANDIDATE:
            return
        last = self.log.last
        self.trace("vote_granted", x={"to": self.name, "last": list(last)})
        for peer in self.other_voters():
            self.send(
                RequestVote(self.new_id(), self.name, peer, self.term, last.index, last.term, transfer)
            )
        self.count_vote(self.name)

    def count_vote(self, voter: str) -> None:
        """A voter counts once, however often its reply arrives."""
        self.votes.add(voter)
        if self.role == CANDIDATE and self.won():
            self.become_leader()

    def won(self) -> bool:
        return self.is_quorum(self.votes)

    def become_leader(self) -> None:
        """Lead: tell everyone at once, and append a no-op, so that older entries can be committed (§5.4.2, §8)."""
        self.role = LEADER
        self.leader = self.name
        self.trace("become_leader")
        self.start_leading()
        self.broadcast_heartbeat()
        self.open_term()
        self.advance_commit()

    def open_term(self) -> None:
        """Append the no-op of a new leader (thesis §6.4 step 1)."""
        self.append_to_log([Entry(self.log.last_index + 1, self.term, NOOP)])

    # -- voting ----------------------------------------------------------------------------------------------
    def candidate_is_up_to_date(self, index: int, term: int) -> bool:
        """Say whether a candidate's log is at least as new as this one (§5.4.1)."""
        return Position(index, term).at_least_as_up_to_date_as(self.log.last)

    def has_vote_for(self, candidate: str) -> bool:
        """One vote in a term, first come, first served (§5.2)."""
        return self.vote in (None, candidate)

    def on_request_vote(self, message: RequestVote) -> None:
        protected = self.settings.protect_leader and not message.transfer and self.leader_was_heard()
        if protected and message.term > self.term:
            return  # a leader is alive: the candidate must not disturb it (thesis §4.2.3)
        if not self.takes_part():
            return
        self.observe_term(message.term)
        granted = (
            message.term == self.term
            and self.role == FOLLOWER
            and self.has_vote_for(message.frm)
            and self.candidate_is_up_to_date(message.last_index, message.last_term)
        )
        if granted:
            self.grant(message)
        self.reply_vote(message, granted)

    def grant(self, message: RequestVote) -> None:
        """Give this term's vote, durably."""
        self.reset_election_timer()
        self.trace(
            "vote_granted",
            x={"to": message.frm, "last": [message.last_index, message.last_term], "own": list(self.log.last)},
        )
        if self.vote != message.frm:
            self.vote = message.frm
            self.persist_meta()

    def reply_vote(self, message: RequestVote, granted: bool) -> None:
        """Answer a candidate once term and vote are durable (Figure 2: before responding)."""

        def reply() -> None:
            self.send(VoteReply(self.new_id(), self.name, message.frm, self.term, granted))

        self.after_vote(reply)

    def after_vote(self, action: Callable[[], None]) -> None:
        """Answer a candidate only when the vote is durable (Figure 2)."""
        self.after_meta(action)

    def on_vote_reply(self, message: VoteReply) -> None:
        self.observe_reply_term(message.term)
        if self.vote_counts(message) and message.granted:
            self.count_vote(message.frm)

    def vote_counts(self, message: VoteReply) -> bool:
        """Only votes given in this very term count (§5.2)."""
        return self.role == CANDIDATE and message.term == self.term

    def on_pre_vote(self, message: PreVote) -> None:
        """Say whether this server would vote: it misses its leader, too, and the log is new enough (thesis §9.6)."""
        granted = (
            message.term > self.term
            and self.takes_part()
            and not self.leader_was_heard()
            and self.candidate_is_up_to_date(message.last_index, message.last_term)
        )
        term = message.term if granted else self.term

        def reply() -> None:
            self.send(PreVoteReply(self.new_id(), self.name, message.frm, term, granted))

        if granted:
            reply()  # promises nothing
        else:
            self.after_meta(reply)

    def on_pre_vote_reply(self, message: PreVoteReply) -> None:
        if not message.granted:
            self.observe_reply_term(message.term)
        elif self.role == PRE_CANDIDATE and message.term == self.term + 1:
            self.votes.add(message.frm)
            self.check_pre_votes()

    def on_timeout_now(self, message: TimeoutNow) -> None:
        """The leader hands over: campaign at once, without pre-vote (thesis §3.10)."""
        self.observe_term(message.term)
        if message.term == self.term and self.role != LEADER and self.may_campaign():
            self.start_election(transfer=True)

    # -- giving up leadership --------------------------------------------------------------------------------
    def hears_majority(self) -> bool:
        """Say whether a majority answered within the upper election timeout (thesis §6.2)."""
        since = self.now_ns - self.settings.election_timeout_ms[1] * MS
        heard = {name for name, progress in self.progress.items() if progress.heard_ns >= since}
        return self.is_quorum(heard | {self.name})

    def heartbeat_due(self) -> None:
        """Send heartbeats, unless this leader should not lead any more."""
        if self.settings.check_quorum and not self.hears_majority():
            self.resign("no majority answers")
        elif self.disk_stalled():
            self.resign("the disk stalls")
        elif self.uses_lease() and self.own_term_committed():
            self.next_round()
            self.check_round()
        else:
            self.broadcast_heartbeat()

    def resign(self, why: str) -> None:
        """Step down within the term; hand over first if somebody can take over at once."""
        successor = self.successor()
        if successor is not None:
            self.send(TimeoutNow(self.new_id(), self.name, successor, self.term))
        self.become_follower()
        self.trace("become_follower", x={"leader": None, "why": why})

    def successor(self) -> str | None:
        """Return the voter with the newest log that answered lately; None if nobody did."""
        since = self.now_ns - self.settings.election_timeout_ms[0] * MS
        fit = [
            (progress.match_index, name)
            for name, progress in self.progress.items()
            if progress.heard_ns >= since and name in self.configuration.voters
        ]
        return max(fit)[1] if fit else None
