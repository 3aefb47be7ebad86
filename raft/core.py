"""The core of a Raft server: events in, effects out; no sockets, files, clock or randomness of its own.

    core = Core("n1", Configuration(("n1", "n2", "n3")), Settings(), Recovered(), rng=random.Random(7))
    effects = core.start(now_ns)                     # once; traces `recover`
    effects = core.step(Tick(), now_ns)              # at core.deadline_ns, or whenever
    effects = core.step(MessageReceived(m), now_ns)  # and ClientRequest, AdminRequest, Persisted, WriteFailed

`events` says what the effects mean and in which order they are carried out. A planted bug is a subclass:
`mutants.core_class(names)`.
"""

from __future__ import annotations

from typing import Any

from .election import Election
from .events import (
    AdminRequest,
    ClientRequest,
    Effects,
    Event,
    MessageReceived,
    Persisted,
    Tick,
    Undeliverable,
    WriteFailed,
)
from .messages import NAMES, Message
from .server import CANDIDATE, LEADER, MS, ROLE_NAMES
from .trace import Tracer


class Core(Election):
    """One server of one cluster. `step` is all there is to call, `status` and `deadline_ns` all there is to ask."""

    def start(self, now_ns: int, tracer: Tracer | None = None) -> Effects:
        """Begin as a follower with what the storage recovered; a lone voter does not wait for its timeout.

        `tracer` is told what happens from now on.
        """
        self.now_ns = now_ns
        if tracer is not None:
            tracer.attach(self)
            self.tracer = tracer
        self.effects = Effects()
        self.reset_election_timer()
        if self.configuration.voters == (self.name,):
            self.election_deadline_ns = now_ns
        self.trace(
            "recover",
            x={
                "term": self.term,
                "vote": self.vote,
                "last": list(self.log.last),
                "base": list(self.log.base),
                "commit": self.commit_index,
                **({"reborn": True} if self.recovered.reborn else {}),
            },
            h=self.machine.state_hash,
        )
        return self.effects

    def step(self, event: Event, now_ns: int) -> Effects:
        """Take in one event at `now_ns` (never earlier than the last one) and return what is to be done."""
        self.now_ns = max(self.now_ns, now_ns)
        effects = self.effects = Effects()
        if isinstance(event, MessageReceived):
            self._on_message(event.message)
        elif isinstance(event, Persisted):
            self.writes_durable(event.write)
        elif isinstance(event, ClientRequest):
            self.on_client_request(event)
        elif isinstance(event, AdminRequest):
            self.on_admin_request(event)
        elif isinstance(event, WriteFailed):
            self.on_write_failed(event)
        elif isinstance(event, Undeliverable):
            self.on_undeliverable(event)
        else:
            assert isinstance(event, Tick)
        self._look_at_timers()
        if effects.stop is not None:
            effects.sends.clear()
            effects.writes.clear()
        return effects

    # -- messages --------------------------------------------------------------------------------------------
    def _on_message(self, message: Message) -> None:
        if message.to != self.name:
            return
        if self.tracer is not None:
            self.tracer.received(message)
        handler = getattr(self, _HANDLERS[NAMES[type(message)]])
        handler(message)

    def on_write_failed(self, event: WriteFailed) -> None:
        """Stop: after a failed write nobody knows what the disk holds (Rebello et al., ATC 2020)."""
        self.halt(f"the disk failed: {event.error}")

    # -- time ------------------------------------------------------------------------------------------------
    @property
    def deadline_ns(self) -> int:
        """When the core next wants a Tick."""
        leads = self.role == LEADER
        deadline = self.heartbeat_deadline_ns if leads else self.election_deadline_ns
        if leads and self.transfer_to is not None:
            deadline = min(deadline, self.transfer_deadline_ns)
        for other in (self.apply_due_ns(), self.request_deadline_ns(), self.read_deadline_ns()):
            if other is not None and other < deadline:
                deadline = other
        return deadline

    def _look_at_timers(self) -> None:
        if self.effects.stop is not None:
            return
        self.apply_what_is_due()
        self.expire_requests()
        self.expire_reads()
        if self.role == LEADER:
            self.expire_transfer()
            if self.now_ns >= self.heartbeat_deadline_ns:
                self.heartbeat_due()
        elif self.now_ns >= self.election_deadline_ns:
            self.election_timed_out()

    # -- what others may know --------------------------------------------------------------------------------
    def status(self) -> dict[str, Any]:
        """Return what this server says of itself (evidence level L1)."""
        return {
            "node": self.name,
            "role": ROLE_NAMES[self.role],
            "term": self.term,
            "vote": self.vote,
            "leader": self.leader,
            "commit_index": self.commit_index,
            "applied_index": self.applied_index,
            "last_index": self.log.last_index,
            "base_index": self.log.base.index,
            "durable_index": self.durable_index,
            "state_hash": self.machine.state_hash,
            "voters": list(self.configuration.voters),
            "learners": list(self.configuration.learners),
            "disk_stalled": self.disk_stalled(),
            "campaigns": self.role == CANDIDATE,
            "election_timeout_ms": list(self.settings.election_timeout_ms),
            "waiting": len(self.pending) + len(self.forwarded) + len(self.local_reads),
            "uptime_ms": self.now_ns // MS,
        }


_HANDLERS = {
    "RV": "on_request_vote",
    "RVR": "on_vote_reply",
    "PV": "on_pre_vote",
    "PVR": "on_pre_vote_reply",
    "AE": "on_append_entries",
    "AER": "on_append_reply",
    "IS": "on_install_snapshot",
    "ISR": "on_snapshot_reply",
    "TN": "on_timeout_now",
    "RI": "on_read_index_request",
    "RIR": "on_read_index_reply",
    "FW": "on_forward",
    "FWR": "on_forward_reply",
}
