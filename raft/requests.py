"""Clients' requests at any server (§8): reads by ReadIndex, commands forwarded to the leader.

A refusal ("fail") is given only where surely nothing was appended: no leader is known, the leader refused before
appending, the message never left. Everything else that goes wrong is "info": not known.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

from .applying import Pending
from .events import ClientRequest, Undeliverable
from .json_text import json_text
from .log import COMMAND, Entry
from .messages import Forward, ForwardReply, ReadIndexRequest
from .reading import Reading
from .server import LEADER, MS
from .state_machine import READS, WRITES

SEEN_MAX = 20_000


class Awaited(NamedTuple):
    """A command this server's client waits for: until when; at the leader also at which index."""

    deadline_ns: int
    index: int  # type: ignore[assignment]  # hides tuple.index


class Requests(Reading):
    """Takes requests, forwards them, appends them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.forwarded: dict[str, Awaited] = {}
        """This server's clients' commands that went to the leader, by rid, oldest first."""
        self._appended: dict[tuple[str | None, str], Awaited] = {}
        """At the leader: commands in the log that wait for their commit, oldest first."""
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    # -- this server's clients -------------------------------------------------------------------------------
    def on_client_request(self, request: ClientRequest) -> None:
        if self.tracer is not None:
            self.tracer.submitted(*request)
        if request.f in READS:
            self.submit_read(request.rid, request.key)
        elif request.f in WRITES:
            data = json_text([request.f, request.key, request.value])
            self.submit(request.rid, COMMAND, request.client, request.seq, data)
        else:
            self.reply(request.rid, "fail", None, f"no command is called {request.f!r}", 0)

    def submit(self, rid: str, kind: str, client: str, seq: int, data: str) -> None:
        """Append a command here, or forward it to the leader."""
        if self.role == LEADER:
            why_not = self.why_not_append()
            if why_not:
                self.reply(rid, "fail", None, why_not, 0)
            else:
                self.append_command(rid, None, kind, client, seq, data)
        elif self.leader is None:
            self.reply(rid, "fail", None, "no leader is known", 0)
        elif len(self.forwarded) >= self.settings.pending_max:
            self.reply(rid, "fail", None, "too many requests wait here", 0)
        else:
            self.forwarded[rid] = Awaited(self.now_ns + self.settings.request_timeout_ms * MS, 0)
            self.send(Forward(self.new_id(), self.name, self.leader, self.term, rid, kind, client, seq, data))

    def on_forward_reply(self, message: ForwardReply) -> None:
        if self.forwarded.pop(message.rid, None) is not None:
            self.reply(
                message.rid, message.outcome, message.result, message.error, message.log_index, term=message.term
            )

    def on_undeliverable(self, event: Undeliverable) -> None:
        """A request that never left surely did nothing."""
        message = event.message
        if isinstance(message, Forward):
            if self.forwarded.pop(message.rid, None) is not None:
                self.reply(message.rid, "fail", None, f"{message.to} cannot be reached", 0)
        elif isinstance(message, ReadIndexRequest):
            self.refuse_read(message.rid, f"{message.to} cannot be reached")

    def term_entered(self) -> None:
        """The leader that commands went to may be gone: wait only a little longer for its answers."""
        super().term_entered()
        latest = self.now_ns + self.settings.election_timeout_ms[0] * MS
        for rid, awaited in self.forwarded.items():
            if awaited.deadline_ns > latest:
                self.forwarded[rid] = Awaited(latest, awaited.index)

    # -- the leader ------------------------------------------------------------------------------------------
    def why_not_append(self) -> str:
        """Return why the leader refuses a command before appending it; empty: it does not."""
        if len(self.pending) >= self.settings.pending_max:
            return "the leader has too many commands waiting"
        return ""

    def append_command(self, rid: str, origin: str | None, kind: str, client: str, seq: int, data: str) -> None:
        """Append a command to the leader's log (§5.3); it is answered once applied."""
        entry = Entry(self.log.last_index + 1, self.term, kind, data, client, seq)
        self.pending[entry.index] = Pending(rid, origin, self.term)
        deadline = self.now_ns + self.settings.request_timeout_ms * MS
        self._appended[(origin, rid)] = Awaited(deadline, entry.index)
        self.append_to_log([entry])
        if self.sendable_index() >= entry.index:
            self.replicate_all()

    def on_forward(self, message: Forward) -> None:
        """Take a forwarded command: only as leader of the very term it was sent in, and only once.

        A copy of a message that was taken before is ignored: its answer comes from the first. A refusal is
        definite unless an earlier incarnation of this server may have taken the first copy.
        """
        self.observe_term(message.term)
        if (message.frm, message.rid) in self._seen:
            return
        if self.role != LEADER or self.term != message.term:
            surely = message.term > self.recovered.term and not self.recovered.reborn
            outcome = "fail" if surely else "info"
            self.answer(message.frm, message.rid, outcome, None, f"{self.name} does not lead that term", 0)
            return
        why_not = self.why_not_append()
        self._seen[(message.frm, message.rid)] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        if why_not:
            self.answer(message.frm, message.rid, "fail", None, why_not, 0)
        else:
            self.append_command(
                message.rid, message.frm, message.kind, message.client, message.seq, message.data
            )

    def answer(self, origin: str | None, rid: str, outcome: str, result: Any, error: str, log_index: int) -> None:
        self._appended.pop((origin, rid), None)
        super().answer(origin, rid, outcome, result, error, log_index)

    # -- giving up -------------------------------------------------------------------------------------------
    def request_deadline_ns(self) -> int | None:
        """Return when the oldest command gives up; both tables are in order."""
        oldest: int | None = None
        for table in (self.forwarded, self._appended):
            if table:
                deadline = next(iter(table.values())).deadline_ns
                oldest = deadline if oldest is None else min(oldest, deadline)
        return oldest

    def expire_requests(self) -> None:
        """Stop waiting for commands that wait too long; they may still happen."""
        while self.forwarded:
            rid, awaited = next(iter(self.forwarded.items()))
            if awaited.deadline_ns > self.now_ns:
                break
            del self.forwarded[rid]
            self.reply(rid, "info", None, "the leader did not answer in time", 0)
        while self._appended:
            (origin, rid), awaited = next(iter(self._appended.items()))
            if awaited.deadline_ns > self.now_ns:
                break
            self.pending.pop(awaited.index, None)
            self.answer(origin, rid, "info", None, "not committed in time", 0)

    # -- what an operator asks (filled in by Membership) -----------------------------------------------------
    def answer_now(self, rid: str, outcome: str, error: str = "") -> None:
        """Answer an operator at once."""
        self.reply(rid, outcome, None, error, 0)
