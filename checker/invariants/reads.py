"""I19: a read is answered from a state at least as new as what was committed when it was asked."""

from __future__ import annotations

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

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.asked: dict[tuple[str, str], TraceEvent] = {}
        self.rounds_sent: dict[str, tuple[int, int, TraceEvent]] = {}
        self.answered: dict[str, dict[str, int]] = {}

    def on_become_leader(self, event: TraceEvent, replica: Replica) -> None:
        self.rounds_sent.pop(event.node, None)
        self.answered[event.node] = {}

    def on_recv(self, event: TraceEvent, replica: Replica) -> None:
        message = event.msg
        number = message.get("round")
        if number is None or event.node not in self.answered:
            return
        if message["type"] in ("AER", "ISR") and message.get("term") == event.state.term:
            known = self.answered[event.node]
            if number > known.get(message["from"], -1):
                known[message["from"]] = number

    def on_read_index(self, event: TraceEvent, replica: Replica) -> None:
        index, rid, state = event.x.get("index"), event.x.get("rid"), event.state
        if index is None or rid is None:
            return
        self.asked[event.node, rid] = event
        self.checks += 1
        if state.commit is not None and index < state.commit:
            self.report(
                f"{event.node} fixed the index of read {rid} at {index}, below its commit index {state.commit}", event
            )
        term = replica.term_at(index)
        if term is not None and term < state.term:
            self.report(
                f"{event.node}, leader of term {state.term}, fixed the index of read {rid} at {index}, an entry of "
                f"term {term}: "
                "it had not committed in its own term, so its commit index could lag behind what was committed",
                event,
            )
        number, sent = event.x.get("round"), self.rounds_sent.get(event.node)
        if number is not None and sent is not None and sent[0] == state.term and sent[1] >= number:
            self.report(
                f"{event.node} tied read {rid} to round {number}, which had begun before the read came: its "
                "acknowledgements "
                "say nothing about the time since",
                sent[2],
                event,
            )

    def on_send(self, event: TraceEvent, replica: Replica) -> None:
        message = event.msg
        kind = message.get("type")
        if kind in ("AE", "IS") and "round" in message:
            known = self.rounds_sent.get(event.node)
            if known is None or known[0] != event.state.term or known[1] < message["round"]:
                self.rounds_sent[event.node] = (event.state.term, message["round"], event)
        elif kind == "RIR" and message.get("ok"):
            self._confirmed(event, message.get("rid"))

    def _confirmed(self, event: TraceEvent, rid: str | None) -> None:
        asked = self.asked.get((event.node, rid or ""))
        cfg, answers = event.state.cfg, self.answered.get(event.node)
        if asked is None or cfg is None or answers is None or asked.x.get("round") is None:
            return
        number = asked.x["round"]
        confirming = [node for node in cfg if node == event.node or answers.get(node, -1) >= number]
        self.checks += 1
        if asked.state.term != event.state.term:
            self.report(
                f"{event.node} confirmed read {rid} in term {event.state.term}, which it had taken on in term "
                f"{asked.state.term}",
                asked,
                event,
            )
        elif len(confirming) < len(cfg) // 2 + 1:
            self.report(
                f"{event.node} confirmed read {rid} with {len(confirming)} of {len(cfg)} servers in round {number}",
                asked,
                event,
            )

    def on_read_served(self, event: TraceEvent, replica: Replica) -> None:
        index, rid = event.x.get("index"), event.x.get("rid")
        if index is not None and event.state.applied is not None:
            self.checks += 1
            if event.state.applied < index:
                self.report(
                    f"{event.node} served read {rid} at applied index {event.state.applied}, below its read index "
                    f"{index}",
                    self.asked.get((event.node, rid or "")),
                    event,
                )
        if (event.node, rid or "") in self.asked:
            self._confirmed(event, rid)
