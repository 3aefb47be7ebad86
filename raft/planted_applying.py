"""Planted bugs in apply, the state machine, and the answers to clients."""

from __future__ import annotations

import json
import zlib
from typing import Any

from .applying import Pending
from .core import Core
from .events import ClientReply
from .log import COMMAND, Entry
from .mutants import mutant
from .state_machine import Result, Session, StateMachine


@mutant("apply.before_commit", "entries are applied as they are appended", "I12", "I8")
class ApplyBeforeCommit(Core):
    def append_to_log(self, entries: list[Entry]) -> None:
        super().append_to_log(entries)
        self.apply_to(self.log.last_index)


@mutant("apply.twice_after_restart", "the last recovered command is applied twice: index and state go apart", "I11")
class ApplyTwiceAfterRestart(Core):
    def apply_entry(self, entry: Entry) -> None:
        super().apply_entry(entry)
        if self.recovered.entries and entry.index == self.recovered.entries[-1].index and entry.kind == COMMAND:
            self.machine.execute(*json.loads(entry.data))
            super().apply_entry(entry)


@mutant("apply.leader_only", "followers that restarted skip what they hold already, and start empty", "I11", "I17")
class ApplySkipsRecovered(Core):
    def execute(self, entry: Entry) -> Result:
        if self.recovered.entries and entry.index <= self.recovered.entries[-1].index:
            return Result("ok")
        return super().execute(entry)


@mutant("sm.random", "one command in fifty is forgotten, at random", "I17", "linearizability")
class StateMachineRandom(Core):
    def execute(self, entry: Entry) -> Result:
        if entry.kind == COMMAND and self.rng.random() < 0.02:
            return Result("ok")
        return super().execute(entry)


@mutant("sm.map_order", "with more than three keys a put drops the first one, in the map's order on that server", "I17")
class StateMachineMapOrder(Core):
    def execute(self, entry: Entry) -> Result:
        result = super().execute(entry)
        names = self.machine.values
        if len(names) > 3 and entry.kind == COMMAND:
            salt = f"{self.name}{self.incarnation}"
            self.machine.set(min(names, key=lambda name: zlib.crc32(f"{salt}{name}".encode())), None)
        return result


@mutant("sm.local_error", "a server that restarted refuses one command in seven that the others apply", "I17")
class StateMachineLocalError(Core):
    def execute(self, entry: Entry) -> Result:
        if self.incarnation > 1 and entry.index % 7 == 0 and entry.kind == COMMAND:
            return Result("fail", None, "out of space")
        return super().execute(entry)


@mutant("reply.before_commit", "a leader answers as soon as it appended", "durability", "linearizability")
class ReplyBeforeCommit(Core):
    def append_command(self, rid: str, origin: str | None, kind: str, client: str, seq: int, data: str) -> None:
        super().append_command(rid, origin, kind, client, seq, data)
        if kind == COMMAND and json.loads(data)[0] in ("put", "write", "delete", "append"):
            waiting = self.pending.pop(self.log.last_index, None)
            if waiting is not None:
                self.answer(waiting.origin, waiting.rid, "ok", None, "", self.log.last_index)


@mutant("reply.index_only", "whatever is committed at its index answers a command", "durability", "linearizability")
class ReplyIndexOnly(Core):
    def give_up_pending(self) -> None:
        return

    def answer_applied(self, waiting: Pending, entry: Entry, result: Result) -> None:
        self.answer(waiting.origin, waiting.rid, "ok", result.value, "", entry.index)


@mutant("reply.lost_as_fail", "a leader that loses its office says that pending commands failed", "linearizability")
class ReplyLostAsFail(Core):
    def outcome_of_lost(self) -> str:
        return "fail"


@mutant("reply.timeout_as_fail", "a command whose leader does not answer is said to have failed", "linearizability")
class ReplyTimeoutAsFail(Core):
    def reply(
        self, rid: str, outcome: str, result: Any, error: str, log_index: int, *, term: int | None = None
    ) -> None:
        super().reply(rid, outcome, result, error, log_index, term=term)
        last: ClientReply = self.effects.replies[-1]
        if last.outcome == "info":
            self.effects.replies[-1] = last._replace(outcome="fail")


@mutant("dedup.none", "a retried command is applied again", "I20", "exactly once", bites_with="--opt retries=1")
class DedupNone(StateMachine):
    def repeated(self, entry: Entry, session: Session) -> Result:
        return self.execute(*json.loads(entry.data))


@mutant(
    "dedup.evict_early", "only the two newest sessions are kept", "I20", "exactly once", bites_with="--opt retries=1"
)
class DedupEvictEarly(StateMachine):
    def remember(self, client: str, session: Session) -> None:
        self.sessions_max = 2
        super().remember(client, session)
