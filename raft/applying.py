"""Commit index, apply, and the answers to clients that wait for it (§5.3, §8)."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from .events import ClientReply
from .log import CONFIGURATION, Entry
from .messages import ForwardReply
from .server import LEADER, MS, Server
from .state_machine import Result


class Pending(NamedTuple):
    """A command that waits for its commit: who asked (None: a client of this server), appended in which term."""

    rid: str
    origin: str | None
    term: int


class Applying(Server):
    """Applies committed entries in order, once each, and answers those who wait."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commit_target = self.commit_index
        """Known to be committed and to equal the leader's log; the commit index follows as the disk does."""
        self.pending: dict[int, Pending] = {}
        self._apply_due: deque[tuple[int, int]] = deque()

    # -- commit ----------------------------------------------------------------------------------------------
    def commit_to(self, index: int) -> None:
        """Take `index` as committed; this server's commit index rises as far as its own disk holds the log."""
        self.commit_target = max(self.commit_target, index)
        reached = min(self.commit_target, self.commit_limit())
        if reached > self.commit_index:
            self.commit_index = reached
            self.trace("commit")
            self.commit_advanced()

    def commit_limit(self) -> int:
        """Return how far this server may commit: what it holds durably."""
        return self.safe_index

    def durable_advanced(self) -> None:
        super().durable_advanced()
        self.commit_to(self.commit_target)

    def commit_advanced(self) -> None:
        """Apply what was committed, now or after the delay that tests ask for."""
        delay = self.settings.apply_delay_ms
        if delay:
            self._apply_due.append((self.now_ns + delay * MS, self.commit_index))
        else:
            self.apply_to(self.commit_index)

    def apply_due_ns(self) -> int | None:
        return self._apply_due[0][0] if self._apply_due else None

    def apply_what_is_due(self) -> None:
        """Apply what waited for its delay."""
        while self._apply_due and self._apply_due[0][0] <= self.now_ns:
            self.apply_to(self._apply_due.popleft()[1])

    # -- apply -----------------------------------------------------------------------------------------------
    def apply_to(self, index: int) -> None:
        """Apply every entry up to `index`, in order (§5.3)."""
        applied = False
        while self.applied_index < index:
            self.apply_entry(self.log.entry(self.applied_index + 1))
            applied = True
        if applied:
            if self.tracer is not None:
                self.tracer.all_applied()
            self.applied_advanced()

    def apply_entry(self, entry: Entry) -> None:
        """Apply one entry and answer whoever waits for it."""
        result = self.execute(entry)
        self.applied_index = entry.index
        if self.tracer is not None:
            self.tracer.applied(entry, self.machine.state_hash)
        waiting = self.pending.pop(entry.index, None)
        if waiting is not None:
            self.answer_applied(waiting, entry, result)
        if entry.kind == CONFIGURATION:
            self.configuration_committed(entry)

    def execute(self, entry: Entry) -> Result:
        """Let the state machine apply an entry; the entry and the state decide the result, nothing else."""
        return self.machine.apply(entry)

    def answer_applied(self, waiting: Pending, entry: Entry, result: Result) -> None:
        """Answer a command whose index was applied: it is that command only if the term is the same."""
        if waiting.term == entry.term:
            self.answer(waiting.origin, waiting.rid, result.outcome, result.value, result.error, entry.index)
        else:
            self.answer(waiting.origin, waiting.rid, "info", None, "another entry was committed in its place", 0)

    # -- answers ---------------------------------------------------------------------------------------------
    def answer(self, origin: str | None, rid: str, outcome: str, result: Any, error: str, log_index: int) -> None:
        """Answer a command: to this server's client, or to the server that forwarded it."""
        if origin is None:
            self.reply(rid, outcome, result, error, log_index)
        else:
            self.send(
                ForwardReply(self.new_id(), self.name, origin, self.term, rid, outcome, result, error, log_index)
            )

    def reply(
        self, rid: str, outcome: str, result: Any, error: str, log_index: int, *, term: int | None = None
    ) -> None:
        """Answer this server's own client. outcome: ok, fail (surely nothing happened), info (not known)."""
        if self.tracer is not None:
            self.tracer.replied(rid, outcome, log_index)
        meta = {"served_by": self.name, "term": self.term if term is None else term, "log_index": log_index}
        self.effects.replies.append(ClientReply(rid, outcome, result, error, meta))

    def leadership_lost(self) -> None:
        """Answer every waiting command with "not known": the entry may yet be committed by the next leader."""
        super().leadership_lost()
        self.give_up_pending()

    def give_up_pending(self) -> None:
        waiting, self.pending = self.pending, {}
        for pending in waiting.values():
            self.answer(pending.origin, pending.rid, self.outcome_of_lost(), None, "leadership was lost", 0)

    def outcome_of_lost(self) -> str:
        """Return the outcome of a command that was appended when its leader lost its office."""
        return "info"

    def is_leader(self) -> bool:
        return self.role == LEADER

    # -- hooks -----------------------------------------------------------------------------------------------
    def applied_advanced(self) -> None:
        """The applied index rose."""

    def configuration_committed(self, entry: Entry) -> None:
        """A configuration entry was applied."""
