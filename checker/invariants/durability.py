"""I9, I13, I14: nothing runs backwards, nothing promised is forgotten, and nothing is promised before it is durable."""

from __future__ import annotations

from typing import Any

from capsize.checker.invariants.replica import Cluster, Replica
from capsize.checker.invariants.rule import Rule
from capsize.checker.trace import TraceEvent

PROMISES = frozenset({"RV", "RVR", "AE", "AER", "IS", "ISR"})
"""Messages that bind their sender to its term; others (a pre-vote, a request passed on) may name one not durable."""


class Monotonic(Rule):
    """I9: a node's term never falls, also over restarts; nor its commit index; its vote in a term never changes."""

    id = "I9"
    name = "ran-backwards"
    title = "terms, votes and commit indices only go forward"
    source = "Raft paper §5.1, Figure 2"
    needs = "term, vote or commit index in the node's state"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.seen: dict[str, TraceEvent] = {}

    def on_state(self, event: TraceEvent, replica: Replica) -> None:
        before = self.seen.get(event.node)
        self.seen[event.node] = event
        if before is None:
            return
        old, new = before.state, event.state
        self.checks += 1
        if (
            event.ev == "recover"
        ):  # what was neither durable nor told to anybody may be forgotten; for what was told see I13
            if replica.meta is not None and new.term < replica.meta[0]:
                self.report(
                    f"{event.node} restarted in term {new.term}, though term {replica.meta[0]} was on its disk",
                    before,
                    event,
                )
            return
        if new.term < old.term:
            self.report(f"{event.node} went back from term {old.term} to term {new.term}", before, event)
        elif new.term == old.term and old.vote is not None and new.vote != old.vote:
            self.report(
                f"{event.node} had voted for {old.vote} in term {old.term} and now names {new.vote or 'nobody'}",
                before,
                event,
            )
        if new.commit is not None and old.commit is not None and new.commit < old.commit:
            self.report(f"{event.node} lowered its commit index from {old.commit} to {new.commit}", before, event)


class Recovery(Rule):
    """I13: a restarted node still knows every term, vote and entry that it had bound itself to."""

    id = "I13"
    name = "forgot-a-promise"
    title = "what was promised survives a restart"
    source = "Raft paper §5.1, Figure 2 (persistent state); thesis §3.8"
    needs = "recover events after messages that were sent"
    sends = PROMISES

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.term_sent: dict[str, TraceEvent] = {}
        self.votes: dict[str, TraceEvent] = {}
        self.promised: dict[str, tuple[int, int | None, TraceEvent]] = {}
        self.written: dict[str, tuple[int, TraceEvent]] = {}
        """By node, up to where its disk held the log when it last said so."""

    def on_persist(self, event: TraceEvent, replica: Replica) -> None:
        if event.x.get("what") == "log" and event.state.dur is not None:
            self.written[event.node] = (event.state.dur[0], event)

    def on_send(self, event: TraceEvent, replica: Replica) -> None:
        message, node = event.msg, event.node
        kind = message["type"]
        known = self.term_sent.get(node)
        if known is None or event.state.term > known.state.term:
            self.term_sent[node] = event
        if (kind == "RVR" and message.get("granted")) or kind == "RV":
            self.votes[node] = event
        elif kind == "AER" and message.get("ok"):
            index = message.get("idx", 0)
            before = self.promised.get(node)
            if before is None or index > before[0]:
                self.promised[node] = (index, replica.term_at(index), event)

    def on_truncate(self, event: TraceEvent, replica: Replica) -> None:
        promise = self.promised.get(event.node)
        to = event.x.get("to", (event.state.last or (0, 0))[0])
        if promise is not None and to < promise[0]:
            self.promised[event.node] = (to, replica.term_at(to), promise[2])
        written = self.written.get(event.node)
        if written is not None and to < written[0]:
            self.written[event.node] = (to, written[1])

    def on_snapshot_installed(self, event: TraceEvent, replica: Replica) -> None:
        self.promised.pop(event.node, None)
        self.written.pop(event.node, None)

    def on_recover(self, event: TraceEvent, replica: Replica) -> None:
        state, node = event.state, event.node
        self._structure(event)
        told = self.term_sent.get(node)
        if told is not None:
            self.checks += 1
            if state.term < told.state.term:
                self.report(
                    f"{node} restarted in term {state.term} after it had sent messages in term {told.state.term}",
                    told,
                    event,
                )
        vote = self.votes.get(node)
        if vote is not None and vote.msg["term"] == state.term:
            candidate = node if vote.msg.get("type") == "RV" else vote.msg["to"]
            self.checks += 1
            if state.vote != candidate:
                self.report(
                    f"{node} restarted with {f'a vote for {state.vote}' if state.vote else 'no vote'} in term "
                    f"{state.term}, "
                    f"in which it had voted for {candidate}",
                    vote,
                    event,
                )
        promise = self.promised.get(node)
        written = self.written.pop(node, None)
        if state.last is not None and written is not None and (promise is None or promise[0] <= state.last[0]):
            self.checks += 1
            if state.last[0] < written[0]:
                self.report(
                    f"{node} restarted with a log that ends at index {state.last[0]} after its disk had held it up to "
                    f"index {written[0]}",
                    written[1],
                    event,
                )
        if promise is None or state.last is None:
            return
        index, term, when = promise
        self.checks += 1
        base = (state.base or (0, 0))[0]
        if state.last[0] < index:
            self.report(
                f"{node} restarted with a log that ends at index {state.last[0]} after it had acknowledged entries up "
                "to "
                f"index {index}",
                when,
                event,
            )
        elif index > base and term is not None and state.last[0] == index and state.last[1] != term:
            self.report(
                f"{node} restarted with an entry of term {state.last[1]} at index {index}, of which it had "
                "acknowledged one "
                f"of term {term}",
                when,
                event,
            )

    def _structure(self, event: TraceEvent) -> None:
        state = event.state
        base, last = (state.base or (0, 0))[0], state.last
        if last is None:
            return
        self.checks += 1
        if last[0] < base:
            self.report(
                f"{event.node} restarted with a snapshot up to index {base} and a log that ends at {last[0]}", event
            )
        elif (state.commit or 0) > last[0]:
            self.report(
                f"{event.node} restarted with commit index {state.commit} beyond its log's end at {last[0]}", event
            )


class PersistBeforeSend(Rule):
    """I14: votes, terms and entries are on stable storage before a message, or an answer to a client, relies on them.

    A leader's own messages with entries need not wait: it may write to its disk in parallel (thesis §10.2.1).
    """

    id = "I14"
    name = "promised-before-durable"
    title = "persist before answering"
    source = "Raft paper §5.1, Figure 2 (persistent state); thesis §3.8"
    needs = "persist events, and sent votes or acknowledgements"
    sends = frozenset({"RV", "RVR", "AER"})

    def on_send(self, event: TraceEvent, replica: Replica) -> None:
        message = event.msg
        kind = message.get("type")
        if kind == "RVR":
            if message.get("granted"):
                self._meta(event, replica, (message["term"], message["to"]), f"granted its vote to {message['to']}")
        elif kind == "RV":
            self._meta(event, replica, (message["term"], event.node), "asked for votes, its own included,")
        elif kind == "AER" and message.get("ok"):
            self._log(event, replica, message)

    def _meta(self, event: TraceEvent, replica: Replica, needed: tuple[int, str], deed: str) -> None:
        if replica.meta is None:
            return
        self.checks += 1
        term, vote = replica.meta
        if (term, vote) != needed:
            self.report(
                f"{event.node} {deed} in term {needed[0]} while its disk held term {term} and {vote_words(vote)}", event
            )

    def _log(self, event: TraceEvent, replica: Replica, message: Any) -> None:
        index, durable = message.get("idx", 0), event.state.dur
        if durable is not None:
            self.checks += 1
            if index > durable[0]:
                self.report(
                    f"{event.node} acknowledged entries up to index {index} while its disk held them up to "
                    f"{durable[0]}",
                    event,
                )
        if replica.meta is not None:
            self.checks += 1
            if replica.meta[0] < message["term"]:
                self.report(
                    f"{event.node} acknowledged entries of term {message['term']} while its disk held term "
                    f"{replica.meta[0]}",
                    event,
                )

    def on_client_reply(self, event: TraceEvent, replica: Replica) -> None:
        if event.x.get("outcome") != "ok":
            return
        for entry in event.entries():
            self.checks += 1
            if event.state.commit is not None and entry.index > event.state.commit:
                self.report(
                    f"{event.node} told the client that {entry} was done while its commit index was "
                    f"{event.state.commit}",
                    event,
                )
                continue
            held = replica.log.get(entry.index)
            if held is not None and entry.digest is not None and held.digest != entry.digest:
                self.report(f"{event.node} told the client that {entry} was done; its log holds {held} there", event)


def vote_words(vote: str | None) -> str:
    """Return a vote in words."""
    return f"a vote for {vote}" if vote else "no vote"
