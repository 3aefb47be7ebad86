"""I19: a read is answered from a state at least as new as what was committed when it was asked."""

from __future__ import annotations

from collections import deque

from capsize.checker.invariants.replica import Cluster, Replica
from capsize.checker.invariants.rule import Rule
from capsize.checker.trace import TraceEvent


class ReadIndex(Rule):
    """I19: a leader fixes a read's index at its commit index, after it committed in its own term; confirms with a
    round of acknowledgements that began afterwards, in the same term; and the read waits until it is applied.

    Whether the answer was fresh in real time is linearizability's to judge; this rule needs no clock.
    """

    id = "I19"
    name = "unsafe-read"
    title = "ReadIndex reads"
    source = "thesis §6.4; Raft paper §8"
    needs = "read_index or read_served events"
    receives = frozenset({"AER", "ISR"})
    sends = frozenset({"AE", "IS", "RIR"})

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.asked: dict[tuple[str, str | None, str], deque[TraceEvent]] = {}
        """By leader, by the node whose client reads (None: the leader's own), and the read's name; a request that
        arrives twice is asked twice."""
        self.tells: dict[str, bool] = {}
        """Nodes that are known to tell when they take a read's index."""
        self.rounds_sent: dict[str, tuple[int, int, TraceEvent]] = {}
        self.answered: dict[str, tuple[int, dict[str, int]]] = {}
        """By leader: its term, and the newest round that each other node answered in it."""

    def on_become_leader(self, event: TraceEvent, replica: Replica) -> None:
        self.rounds_sent.pop(event.node, None)
        self.answered[event.node] = (event.state.term, {})

    def on_recv(self, event: TraceEvent, replica: Replica) -> None:
        message = event.msg
        number = message.get("round")
        if number is None:
            return
        term, rounds = self.answered.get(event.node, (0, {}))
        if message.get("term") == term and number > rounds.get(message["from"], -1):
            rounds[message["from"]] = number

    def on_read_index(self, event: TraceEvent, replica: Replica) -> None:
        rid, state = event.x.get("rid"), event.state
        if rid is None:
            return
        self.tells[event.node] = True
        self.asked.setdefault((event.node, event.x.get("origin"), rid), deque()).append(event)
        self.checks += 1
        number, sent = event.x.get("round"), self.rounds_sent.get(event.node)
        if number is not None and sent is not None and sent[0] == state.term and sent[1] >= number:
            self.report(
                f"{event.node} tied read {rid} to round {number}, which had begun before the read came: its answers "
                "say nothing about the time since",
                sent[2],
                event,
            )

    def on_send(self, event: TraceEvent, replica: Replica) -> None:
        message = event.msg
        kind = message.get("type")
        if kind == "AE" or kind == "IS":
            number = message.get("round")
            if number is None:
                return
            known = self.rounds_sent.get(event.node)
            if known is None or known[0] != event.state.term or known[1] < number:
                self.rounds_sent[event.node] = (event.state.term, number, event)
        elif kind == "RIR" and message.get("ok"):
            rid = message.get("rid", "")
            asked = self._take(event.node, message["to"], rid) or self._take(event.node, None, rid)
            if asked is None and event.node in self.tells:
                self.checks += 1
                self.report(
                    f"{event.node} confirmed read {rid} of {message['to']}, for which it had taken no index: no round "
                    "of acknowledgements began after the read came",
                    event,
                )
            if asked is not None:
                self._confirmed(event, replica, asked, message.get("idx"))
                if asked.state.term != event.state.term:
                    self.report(
                        f"{event.node} confirmed read {rid} in term {event.state.term}, which it had taken on in term "
                        f"{asked.state.term}",
                        asked,
                        event,
                    )

    def on_read_served(self, event: TraceEvent, replica: Replica) -> None:
        index, rid = event.x.get("index"), event.x.get("rid", "")
        if index is None:
            return
        asked = self._take(event.node, None, rid)
        if event.state.applied is not None:
            self.checks += 1
            if event.state.applied < index:
                self.report(
                    f"{event.node} served read {rid} at applied index {event.state.applied}, below its read index "
                    f"{index}",
                    asked,
                    event,
                )
        if asked is not None:
            self._confirmed(event, replica, asked, index)

    def _take(self, leader: str, origin: str | None, rid: str) -> TraceEvent | None:
        waiting = self.asked.get((leader, origin, rid))
        return waiting.popleft() if waiting else None

    def _confirmed(self, event: TraceEvent, replica: Replica, asked: TraceEvent, index: int | None) -> None:
        """Judge a read that the leader of `asked` lets be served at `index`."""
        rid, term = asked.x["rid"], asked.state.term
        self.checks += 1
        if index is not None:
            if asked.state.commit is not None and index < asked.state.commit:
                self.report(
                    f"{event.node} fixed the index of read {rid} at {index}; its commit index was {asked.state.commit} "
                    "already when the read came",
                    asked,
                    event,
                )
            held = replica.term_at(index)
            if held is not None and held < term:
                self.report(
                    f"{event.node}, leader of term {term}, fixed the index of read {rid} at {index}, an entry of term "
                    f"{held}: it had not committed in its own term, so its commit index could lag behind",
                    asked,
                    event,
                )
        cfg, number = asked.state.cfg, asked.x.get("round")
        answered_term, rounds = self.answered.get(event.node, (0, {}))
        if cfg is None or number is None or answered_term != term:
            return
        confirming = [node for node in cfg if node == event.node or rounds.get(node, -1) >= number]
        # A change of the members may come in between: majorities of neighbouring configurations overlap, so one of
        # either will do.
        now = event.state.cfg or cfg
        confirming_now = [node for node in now if node == event.node or rounds.get(node, -1) >= number]
        if len(confirming) < len(cfg) // 2 + 1 and len(confirming_now) < len(now) // 2 + 1:
            self.report(
                f"{event.node} let read {rid} be served with {len(confirming)} of {len(cfg)} servers in round {number}",
                asked,
                event,
            )
