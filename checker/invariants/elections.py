"""I1, I2, I5, I21, I22: one leader a term, elected by a majority's votes, which go to logs that are up to date.

I21 and I22 are no part of the catalogue's twenty: the rules behind I1 and behind liveness, checked directly.
"""

from __future__ import annotations

from typing import Any

from capsize.checker.invariants.replica import Cluster, Replica
from capsize.checker.invariants.rule import Rule
from capsize.checker.trace import TraceEvent


class ElectionSafety(Rule):
    """I1: over all time, not only at one moment, no term has two leaders."""

    id = "I1"
    name = "two-leaders-in-a-term"
    title = "Election Safety"
    source = "Raft paper §5.2, Figure 3"
    needs = "become_leader events"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.leaders: dict[int, TraceEvent] = {}

    def on_become_leader(self, event: TraceEvent, replica: Replica) -> None:
        term = event.state.term
        first = self.leaders.setdefault(term, event)
        self.checks += 1
        if first.node != event.node:
            self.report(f"{event.node} became leader of term {term}, which {first.node} already led", first, event)
        elif first is not event and first.inc != event.inc:
            self.report(f"{event.node} became leader of term {term} again after a restart", first, event)


class VoteOnce(Rule):
    """I2: a server votes for at most one candidate in a term, itself included, also across restarts.

    A system that lets a candidate vote again after it stepped down within the term (CCF does, by design) is
    reported; leave the rule out for it.
    """

    id = "I2"
    name = "voted-twice"
    title = "one vote a term"
    source = "Raft paper §5.2"
    needs = "vote_granted or become_candidate events, or sent vote replies"
    sends = frozenset({"RV", "RVR"})

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.votes: dict[tuple[str, int], tuple[str, TraceEvent]] = {}
        self.untold: dict[str, tuple[int, str]] = {}
        """By node, its newest vote (term, candidate) while nobody has been told of it."""

    def _vote(self, event: TraceEvent, term: int, candidate: str, *, told: bool = False) -> None:
        first, when = self.votes.setdefault((event.node, term), (candidate, event))
        if told:
            self.untold.pop(event.node, None)
        elif when is event:
            self.untold[event.node] = (term, candidate)
        self.checks += 1
        if first != candidate:
            self.report(
                f"{event.node} voted for {candidate} in term {term}, in which it had voted for {first}", when, event
            )

    def on_vote_granted(self, event: TraceEvent, replica: Replica) -> None:
        candidate = event.x.get("to", event.state.vote)
        if candidate is not None:
            self._vote(event, event.state.term, candidate)

    def on_become_candidate(self, event: TraceEvent, replica: Replica) -> None:
        if event.state.vote is not None and not event.x.get("pre"):
            self._vote(event, event.state.term, event.node)

    def on_send(self, event: TraceEvent, replica: Replica) -> None:
        kind = event.msg.get("type")
        if kind == "RVR" and event.msg.get("granted"):
            self._vote(event, event.msg["term"], event.msg["to"], told=True)
        elif kind == "RV":
            self._vote(event, event.msg["term"], event.node, told=True)

    def on_recover(self, event: TraceEvent, replica: Replica) -> None:
        """A vote that nobody was told of and that the disk does not know may be forgotten."""
        newest = self.untold.pop(event.node, None)
        if newest is not None and newest != (event.state.term, event.state.vote):
            self.votes.pop((event.node, newest[0]), None)


class LogTerms(Rule):
    """I5: terms never fall along a log nor exceed the node's own, and a vote goes to a log at least as up to date."""

    id = "I5"
    name = "vote-for-a-stale-log"
    title = "up-to-date check"
    source = "Raft paper §5.4.1"
    needs = "append events, or vote_granted events with the vote requests received"
    receives = frozenset({"RV"})

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.requests: dict[tuple[str, str], TraceEvent] = {}

    def on_recv(self, event: TraceEvent, replica: Replica) -> None:
        self.requests[event.node, event.msg["from"]] = event

    def on_vote_granted(self, event: TraceEvent, replica: Replica) -> None:
        candidate, own = event.x.get("to", event.state.vote), event.state.last
        request = self.requests.get((event.node, candidate or ""))
        if candidate == event.node or request is None or own is None:
            return
        message: Any = request.msg
        if message.get("term") != event.state.term or "last" not in message:
            return
        index, term = message["last"]
        self.checks += 1
        if (term, index) < (own[1], own[0]):
            self.report(
                f"{event.node} voted for {candidate} in term {event.state.term}, whose log ends at index {index} of "
                "term "
                f"{term}, behind its own at index {own[0]} of term {own[1]}",
                request,
                event,
            )

    def on_append(self, event: TraceEvent, replica: Replica) -> None:
        before = replica.term_at(event.entries()[0].index - 1) if event.e else None
        for entry in event.entries():
            self.checks += 1
            if before is not None and entry.term < before:
                self.report(f"{event.node} appended {entry} after an entry of the later term {before}", event)
            if entry.term > event.state.term > 0:
                self.report(f"{event.node} appended {entry} while its own term was {event.state.term}", event)
            before = entry.term


class ElectedByMajority(Rule):
    """I21: whoever becomes leader of a term has votes given in that very term by a majority, each voter counted once.

    The rule behind I1: a leader that counted other replies is seldom the second one of its term.
    """

    id = "I21"
    name = "elected-without-a-majority"
    title = "a leader has a majority's votes of its term"
    source = "Raft paper §5.2"
    needs = "become_leader events with the configuration, and the vote replies received"
    receives = frozenset({"RV", "RVR", "PV", "PVR"})

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.votes: dict[tuple[str, int], dict[str, TraceEvent]] = {}
        self.hears: set[str] = set()
        """Nodes whose traces say what they received in elections."""

    def on_recv(self, event: TraceEvent, replica: Replica) -> None:
        self.hears.add(event.node)
        if event.msg["type"] == "RVR" and event.msg.get("granted"):
            self.votes.setdefault((event.node, event.msg["term"]), {})[event.msg["from"]] = event

    def on_recover(self, event: TraceEvent, replica: Replica) -> None:
        for key in [key for key in self.votes if key[0] == event.node]:
            del self.votes[key]

    def on_become_leader(self, event: TraceEvent, replica: Replica) -> None:
        cfg, term = event.state.cfg, event.state.term
        if not cfg or (len(cfg) > 1 and event.node not in self.hears):
            return
        self.checks += 1
        replies = self.votes.get((event.node, term), {})
        voters = [node for node in cfg if node == event.node or node in replies]
        need = len(cfg) // 2 + 1
        if len(voters) < need:
            self.report(
                f"{event.node} became leader of term {term} with the votes of {', '.join(voters) or 'nobody'}; a "
                f"majority of {len(cfg)} is {need}",
                *replies.values(),
                event,
                voters=voters,
            )


class VoteNotRefused(Rule):
    """I22: a follower that has not voted in a term does not refuse a candidate whose log is up to date.

    A server may leave such a request unanswered while it hears a leader (thesis §4.2.3); one that refuses in the
    candidate's own term breaks Figure 2, and in some clusters nobody can be elected then.
    """

    id = "I22"
    name = "refused-an-electable-candidate"
    title = "votes are given to whoever may have them"
    source = "Raft paper §5.4.1, Figure 2 (RequestVote, receiver 2)"
    needs = "vote requests received and vote replies sent"
    receives = frozenset({"RV"})
    sends = frozenset({"RVR"})

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.due: dict[tuple[str, str, int], tuple[bool, TraceEvent]] = {}
        """By voter, candidate and term: whether every request of these had to be granted as it arrived."""

    def on_recv(self, event: TraceEvent, replica: Replica) -> None:
        message, state = event.msg, event.state
        own, term = state.last, message["term"]
        granted = own is not None and "last" in message and term >= state.term
        if granted and own is not None:
            index, last_term = message["last"]
            free = term > state.term or (
                term == state.term and state.role == "F" and state.vote in (None, message["from"])
            )
            granted = free and (last_term, index) >= (own[1], own[0])
        key = (event.node, message["from"], max(term, state.term))  # one of an older term is refused in the newer
        self.due[key] = (granted and self.due.get(key, (True, event))[0], event)

    def on_send(self, event: TraceEvent, replica: Replica) -> None:
        message = event.msg
        if message["term"] != event.state.term:
            return
        due, request = self.due.get((event.node, message["to"], message["term"]), (False, event))
        if not due:
            return
        self.checks += 1
        if not message.get("granted"):
            index, term = request.msg["last"]
            own = request.state.last or (0, 0)
            self.report(
                f"{event.node} refused {message['to']} its vote in term {message['term']}, in which it had voted for "
                f"nobody else; the candidate's log ended at index {index} of term {term}, its own at index {own[0]} of "
                f"term {own[1]}",
                request,
                event,
            )

    def on_recover(self, event: TraceEvent, replica: Replica) -> None:
        for key in [key for key in self.due if key[0] == event.node]:
            del self.due[key]
