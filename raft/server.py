"""One server's state, and what every part of the algorithm needs: time, messages, durable writes, roles, the trace.

The core is a chain of classes, each one part of the algorithm, each building on those before it:

    Server        state, terms, roles, timers, writes, trace        §5.1
    Applying      commit index, apply, answers to clients           §5.3, §8
    Replication   AppendEntries on both sides, commit rule          §5.3, §5.4.2
    Snapshots     taking, compacting, installing                    §7
    Reading       ReadIndex rounds, leases                          thesis §6.4
    Requests      clients at any server, forwarding                 §8
    Membership    single-server changes, learners, transfer         thesis §3.10, §4
    Election      pre-vote, candidates, voters                      §5.2, §5.4.1
    Core          dispatch

Deviations planted for tests (`mutants`) override one small method of it each.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .configuration import Configuration, ConfigurationHistory
from .events import AppendLog, CompactLog, Effects, PersistMeta, Recovered, SaveSnapshot, Snapshot, TruncateLog, Write
from .log import Entry, Log, Position
from .messages import Message
from .settings import Settings
from .state_machine import StateMachine
from .trace import Tracer

FOLLOWER, PRE_CANDIDATE, CANDIDATE, LEADER = "F", "P", "C", "L"
ROLE_NAMES = {FOLLOWER: "follower", PRE_CANDIDATE: "pre-candidate", CANDIDATE: "candidate", LEADER: "leader"}
MS = 1_000_000


class Unrecoverable(Exception):
    """What the storage recovered cannot have been written by this server."""


@dataclass(slots=True)
class PendingWrite:
    """A write not yet known to be durable: its number, where the log ends after it, when it was asked for."""

    number: int
    log_index: int
    asked_ns: int
    what: str
    detail: Any = None


class Server:
    """State of one server. Not to be used alone: see `Core`."""

    def __init__(
        self,
        name: str,
        initial: Configuration,
        settings: Settings,
        recovered: Recovered,
        *,
        rng: random.Random,
        state_machine: StateMachine | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.rng = rng
        self.recovered = recovered
        self.incarnation = recovered.incarnation
        self.machine = state_machine or StateMachine(settings.sessions_max)
        self.now_ns = 0
        self.effects = Effects()

        # On stable storage (Figure 2), as this server believes it to be once every write is durable.
        self.term = recovered.term
        self.vote: str | None = recovered.vote
        self.log = Log(recovered.entries, recovered.snapshot.base if recovered.snapshot else Position(0, 0))
        self.configurations = ConfigurationHistory(initial)

        # Volatile.
        self.role = FOLLOWER
        self.leader: str | None = None
        self.commit_index = self.log.base.index
        self.applied_index = self.log.base.index
        self.durable_index = self.log.last_index
        """The log up to here would survive a power failure."""
        self.election_deadline_ns = 0
        self.leader_heard_ns = -(1 << 62)

        self.write_number = 0
        self.durable_write = 0
        self.meta_write = 0
        self.pending_writes: deque[PendingWrite] = deque()
        self._held: deque[tuple[int, int, Callable[[], None]]] = deque()
        self._messages_sent = 0
        self.tracer: Tracer | None = None
        """Told of everything from the start on."""
        self.check_recovered()

    def check_recovered(self) -> None:
        """Refuse to begin with a log from later terms than the metadata knows."""
        if self.log.last.term > self.term:
            raise Unrecoverable(f"the log holds term {self.log.last.term}, the metadata only term {self.term}")

    # -- who counts ------------------------------------------------------------------------------------------
    @property
    def configuration(self) -> Configuration:
        return self.configurations.current

    @property
    def peers(self) -> list[str]:
        """Every other member, voters and learners."""
        return [name for name in self.configuration.members if name != self.name]

    def quorum_size(self, voters: int) -> int:
        """Return how many of so many voters are a majority."""
        return voters // 2 + 1

    def is_quorum(self, names: set[str]) -> bool:
        """Say whether these servers include a majority of the voters."""
        voters = self.configuration.voters
        return len(names.intersection(voters)) >= self.quorum_size(len(voters))

    # -- trace -----------------------------------------------------------------------------------------------
    def trace(self, event: str, *, h: str | None = None, x: Mapping[str, Any] | None = None) -> None:
        """Note a rare event, with a state hash and what else it tells; those of every request have own names."""
        if self.tracer is not None:
            self.tracer.note(event, None, None, h, x)

    # -- messages --------------------------------------------------------------------------------------------
    def new_id(self) -> str:
        """Return the id of the next message: never used before by anyone."""
        self._messages_sent += 1
        return f"{self.name}.{self.incarnation}.{self._messages_sent}"

    def send(self, message: Message) -> None:
        """Let a message leave with this step's effects."""
        if self.tracer is not None:
            self.tracer.sent(message)
        self.effects.sends.append(message)

    def halt(self, reason: str) -> None:
        """Stop this server: going on could only do harm. Nothing else leaves with this step."""
        self.trace("stop", x={"reason": reason})
        self.effects.stop = reason

    # -- stable storage --------------------------------------------------------------------------------------
    def _pend(self, what: str, detail: Any = None) -> int:
        self.write_number += 1
        self.pending_writes.append(PendingWrite(self.write_number, self.log.last_index, self.now_ns, what, detail))
        return self.write_number

    def persist_meta(self) -> None:
        """Ask for term and vote to be made durable."""
        term, vote = self.meta_to_persist()
        self.meta_write = self._pend("meta", (term, vote))
        self.write(PersistMeta(self.meta_write, term, vote))

    def meta_to_persist(self) -> tuple[int, str | None]:
        """Return what must survive a crash besides the log: current term and vote (Figure 2)."""
        return self.term, self.vote

    def after_meta(self, action: Callable[[], None]) -> None:
        """Do `action` once term and vote are durable: before responding, as Figure 2 says."""
        self.after_write(self.meta_write, action)

    def append_to_log(self, entries: list[Entry]) -> None:
        """Add entries to the log, in memory now, on disk soon; a configuration counts at once (thesis §4.1)."""
        previous = self.log.last
        self.log.append(entries)
        self.write(AppendLog(self._pend("log"), tuple(entries)))
        if self.tracer is not None:
            self.tracer.appended(entries, previous)
        self.note_configurations(entries)

    def truncate_log(self, last_index: int) -> None:
        """Drop what follows `last_index`. What was under way to the disk beyond it no longer counts as durable."""
        self.log.truncate(last_index)
        self.lower_durable(last_index)
        self.write(TruncateLog(self._pend("truncate"), last_index))
        self.trace("truncate", x={"to": last_index})
        self.forget_configurations(last_index)

    def lower_durable(self, last_index: int) -> None:
        """Bring down the durable index, and what writes under way would raise it to, to `last_index`."""
        self.durable_index = min(self.durable_index, last_index)
        for pending in self.pending_writes:
            pending.log_index = min(pending.log_index, last_index)

    def save_snapshot(self, snapshot: Snapshot) -> int:
        """Ask for a snapshot to be made durable; return the write's number."""
        number = self._pend("snap", snapshot.base)
        self.write(SaveSnapshot(number, snapshot))
        return number

    def compact_log(self, base: Position) -> None:
        """Drop the log up to `base`, which a durable or earlier written snapshot covers."""
        follows = self.log.compact(base)
        self.lower_durable(self.log.last_index)
        self.write(CompactLog(self._pend("compact"), base, not follows))

    def write(self, write: Write) -> None:
        """Hand a write to the storage, behind all earlier ones."""
        self.effects.writes.append(write)

    def after_write(self, number: int, action: Callable[[], None]) -> None:
        """Do `action` once write `number` is durable, at once if it is; never if the term changed meanwhile."""
        if number <= self.durable_write:
            action()
        else:
            self._held.append((number, self.term, action))

    def writes_durable(self, number: int) -> None:
        """Take note that every write up to `number` is durable, and do what waited for it."""
        if number <= self.durable_write:
            return
        self.durable_write = number
        while self.pending_writes and self.pending_writes[0].number <= number:
            pending = self.pending_writes.popleft()
            self.durable_index = self.durable_after(pending)
            follows = bool(self.pending_writes) and self.pending_writes[0].number <= number
            if pending.what == "log" and follows and self.pending_writes[0].what == "log":
                continue  # one event for what one fsync covered
            if self.tracer is not None and pending.what in ("meta", "log", "snap"):
                extra: dict[str, Any] = {"what": pending.what}
                if pending.what == "meta":
                    extra["term"], extra["vote"] = pending.detail
                elif pending.what == "snap":
                    extra["base"] = list(pending.detail)
                self.trace("persist", x=extra)
        held, self._held = self._held, deque()
        for needed, term, action in held:
            if term != self.term:
                continue
            if needed <= number:
                action()
            else:
                self._held.append((needed, term, action))
        self.durable_advanced()

    def durable_after(self, pending: PendingWrite) -> int:
        """Return the durable index once `pending` is on disk."""
        return max(self.durable_index, min(pending.log_index, self.log.last_index))

    @property
    def safe_index(self) -> int:
        """Up to here the log may be counted on: it is durable."""
        return self.durable_index

    def oldest_write_ns(self) -> int | None:
        """Return when the write that waits longest was asked for."""
        return self.pending_writes[0].asked_ns if self.pending_writes else None

    def disk_stalled(self) -> bool:
        """Say whether a write has been waiting for longer than the disk is given."""
        limit = self.settings.disk_stall_ms
        oldest = self.oldest_write_ns()
        return limit > 0 and oldest is not None and self.now_ns - oldest >= limit * MS

    # -- terms and roles (§5.1) ------------------------------------------------------------------------------
    def set_term(self, term: int, vote: str | None) -> None:
        """Enter a newer term; durable before any message of that term that promises something."""
        assert term > self.term, f"term {self.term} to {term}"
        self.term = term
        self.vote = vote
        self.leader = None
        self.persist_meta()
        self.trace("term_changed")
        self.term_entered()

    def become_follower(self, leader: str | None = None) -> None:
        """Follow, in the current term."""
        before = self.role
        self.role = FOLLOWER
        self.leader = leader
        if before != FOLLOWER:
            self.trace("become_follower", x={"leader": leader})
            self.reset_election_timer()
        if before == LEADER:
            self.leadership_lost()

    def observe_term(self, term: int) -> None:
        """Step down when a message shows a newer term (§5.1)."""
        if term > self.term:
            self.set_term(term, None)
            self.become_follower()

    def observe_reply_term(self, term: int) -> None:
        """The same for replies (§5.1)."""
        self.observe_term(term)

    def reset_election_timer(self) -> None:
        """Draw a new timeout (§5.2: randomised, so that split votes are rare)."""
        low, high = self.settings.election_timeout_ms
        self.election_deadline_ns = self.now_ns + self.rng.randint(low * MS, high * MS)

    def leader_was_heard(self) -> bool:
        """Say whether a leader was heard of within the lower election timeout (thesis §4.2.3)."""
        if self.role == LEADER:
            return True
        return self.now_ns - self.leader_heard_ns < self.settings.election_timeout_ms[0] * MS

    # -- hooks: parts further down the chain fill them in ----------------------------------------------------
    def term_entered(self) -> None:
        """A newer term began on this server."""

    def leadership_lost(self) -> None:
        """This server led until now."""

    def durable_advanced(self) -> None:
        """Some writes became durable."""

    def note_configurations(self, entries: list[Entry]) -> None:
        """Entries were appended that may hold configurations."""

    def forget_configurations(self, last_index: int) -> None:
        """The log was truncated."""
