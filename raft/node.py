"""The shell around the core: sockets, disk, clock, trace. It knows nothing of Raft but how to carry out effects.

Everything happens in one event loop, except for the disk, which has a thread. Effects are collected while the loop
turns once and then carried out together: trace first, then the writes, then messages and answers. So a line of trace
is in the file before anybody can see its consequence, at the price of one system call per turn.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import time
from collections.abc import Sequence
from typing import Any

from .config import Config
from .configuration import Configuration
from .core import Core
from .disk import DiskThread
from .events import (
    AdminRequest,
    ClientReply,
    ClientRequest,
    Effects,
    Event,
    MessageReceived,
    Persisted,
    Tick,
    Undeliverable,
    Write,
    WriteFailed,
)
from .failpoints import Failpoints
from .frames import BadFrame, Frame, FrameProtocol, frame_text, pack_frame
from .messages import Forward, Message, ReadIndexRequest
from .mutants import core_class, state_machine_class, storage_class
from .server import ROLE_NAMES
from .trace_lines import LineTracer
from .transport import Confirmations, Links
from .weather import RoughLinks, Sender
from .wire import decode, head, payload

log = logging.getLogger(__name__)

ADMIN = frozenset({"transfer", "add_learner", "add_voter", "remove", "snapshot"})
REPLY_BYTES_MAX = 16 << 20
TRACE_MAX = 200


class Node:
    """One running server."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.failpoints = Failpoints(config.failpoints, who=self._who)
        self.storage = storage_class(config.mutants)(
            config.data_dir, fsync=config.fsync, failpoints=self.failpoints, boots_before=config.boots_before
        )
        recovered = self.storage.recover()
        self.tracer = LineTracer(config.trace, config.node, recovered.incarnation) if config.trace else None
        self.core: Core = core_class(config.mutants)(
            config.node,
            Configuration(config.members),
            config.settings,
            recovered,
            rng=random.Random(config.seed),
            state_machine=state_machine_class(config.mutants)(config.settings.sessions_max),
        )
        self.recovered = recovered
        self.links = Links(config.node, config.peers)
        self._way: Sender = RoughLinks(self.links, config.weather, random.Random()) if config.weather else self.links
        self.confirmations = Confirmations()
        self._clients: dict[str, tuple[FrameProtocol, Any]] = {}
        self._requests = 0
        self._writes: list[Write] = []
        self._sends: list[Message] = []
        self._replies: list[ClientReply] = []
        self._flush_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        self._ended: asyncio.Future[str | None] | None = None
        self._seen_role = ""

    # -- life ----------------------------------------------------------------------------------------------
    async def run(self) -> str | None:
        """Serve until told to stop; return why, None when it was a signal. Raises OSError if it cannot listen."""
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        server = await loop.create_server(
            lambda: FrameProtocol(self._on_frame, self._on_lost), *self.config.listen
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, None)
        self.disk = DiskThread(self.storage, lambda event: self._from_disk(loop, event))
        self.disk.start()
        self.links.open()
        last = self.core.log.last
        for note in self.storage.notes:
            log.warning("%s", note)
        log.info(
            "%s listens on %s:%d, boot %d, term %d, log up to (%d, term %d)",
            self.config.node,
            *self.config.listen,
            self.recovered.incarnation,
            self.recovered.term,
            last.index,
            last.term,
        )
        self._collect(self.core.start(time.monotonic_ns(), self.tracer))
        self._flush_trace()  # at once: one that sends nothing may be killed before anything else is flushed
        self._arm_timer()
        try:
            why = await self._ended
        finally:
            self.links.close()
            server.close()
        if why is None:
            self.core.trace("stop", x={"reason": "signal"})
        self._flush()
        self._flush_trace()
        self.disk.stop(timeout_s=2.0)
        if self.tracer is not None:
            self.tracer.close()
        return why

    def _end(self, why: str | None) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(why)

    def _from_disk(self, loop: asyncio.AbstractEventLoop, event: Persisted | WriteFailed) -> None:
        """Bring the disk thread's word into the event loop."""
        try:
            loop.call_soon_threadsafe(self.step, event)
        except RuntimeError:
            log.debug("the loop has ended before the disk")

    def _who(self) -> str:
        """Return what this server is at this moment, from any thread."""
        if not hasattr(self, "core"):
            return f"{self.config.node} is starting"
        last = self.core.log.last
        role, term = ROLE_NAMES[self.core.role], self.core.term
        return f"{self.config.node} is {role} of term {term}, its log ends at {last.index} of term {last.term}"

    # -- events in, effects out ------------------------------------------------------------------------------
    def step(self, event: Event) -> None:
        """Let the core take in one event now."""
        if self._ended is None or self._ended.done():
            return
        try:
            effects = self.core.step(event, time.monotonic_ns())
        except Exception as error:  # a broken invariant of our own: no effect of this step may leave
            log.exception("%s: the core broke at %s", self.config.node, type(event).__name__)
            self._end(f"internal error: {error}")
            return
        self._collect(effects)
        self._arm_timer()

    def _collect(self, effects: Effects) -> None:
        self._writes += effects.writes
        self._sends += effects.sends
        self._replies += effects.replies
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)
        if self.core.role != self._seen_role:
            self._seen_role = self.core.role
            status = self.core.status()
            log.info("%s is %s, term %d", self.config.node, status["role"], status["term"])
        if effects.stop is not None:
            log.error("%s stops: %s", self.config.node, effects.stop)
            self._end(effects.stop)

    def _flush(self) -> None:
        """Carry out what the turn of the loop has collected, in the order of the contract."""
        self._flush_due = False
        texts = self._spelt(self._sends) if self._sends else []
        if self.tracer is not None and (
            self._writes or self._sends or self._replies or len(self.tracer.events) >= TRACE_MAX
        ):
            self.tracer.write()
        if self._writes:
            self.disk.put(self._writes)
            self._writes = []
        if self._sends:
            sends, self._sends = self._sends, []
            self.failpoints.reach("before_send")
            for message, text in zip(sends, texts, strict=True):
                self._send(message, text)
        if self._replies:
            replies, self._replies = self._replies, []
            self.failpoints.reach("before_reply")
            for reply in replies:
                self._reply(reply)

    def _flush_trace(self) -> None:
        """Write the trace; what nobody can see the consequences of yet may wait for what follows."""
        if self.tracer is not None:
            self.tracer.write()

    def _spelt(self, messages: Sequence[Message]) -> list[str]:
        """Return messages as the wire has them; the trace has spelt their heads already."""
        heads: list[str] = []
        if self.tracer is not None:
            heads, self.tracer.heads = self.tracer.heads, heads
        if len(heads) != len(messages):  # no trace; or a server that halts has taken back what it noted as sent
            heads = [head(message) for message in messages]
        return [f"{shown}{payload(message)}}}" for shown, message in zip(heads, messages, strict=True)]

    def _send(self, message: Message, text: str) -> None:
        left = self._way.send(message.to, frame_text(text))
        if not left and isinstance(message, Forward | ReadIndexRequest):
            asyncio.get_running_loop().call_soon(self.step, Undeliverable(message))

    def _reply(self, reply: ClientReply) -> None:
        connection, request_id = self._clients.pop(reply.rid, (None, None))
        if connection is not None:
            content = {
                "id": request_id,
                "outcome": reply.outcome,
                "result": reply.result,
                "error": reply.error,
                "meta": reply.meta,
            }
            self._answer(connection, content)

    def _answer(self, connection: FrameProtocol, content: dict[str, Any]) -> None:
        """Answer a client; one that does not read its answers is disconnected."""
        if connection.waiting_bytes > REPLY_BYTES_MAX:
            connection.abort()
        else:
            connection.send(pack_frame(content))

    # -- time ------------------------------------------------------------------------------------------------
    def _arm_timer(self) -> None:
        """See to it that a Tick comes by the core's deadline; an earlier one does no harm and is left alone."""
        deadline = self.core.deadline_ns
        if self._timer is not None and self._timer_at <= deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        delay = max(0.0, (deadline - time.monotonic_ns()) / 1e9)
        self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._flush_trace()
        if time.monotonic_ns() >= self.core.deadline_ns:
            self.step(Tick())
        else:
            self._arm_timer()

    # -- connections -----------------------------------------------------------------------------------------
    def _on_frame(self, connection: FrameProtocol, frame: Frame, text: str) -> None:
        if "type" in frame:
            try:
                message = decode(frame)
            except ValueError as error:
                raise BadFrame(str(error)) from error
            if self.tracer is not None:
                self.tracer.came = text
            self.confirmations.heard(connection)
            self.step(MessageReceived(message))
            return
        what = frame.get("do")
        if what == "invoke":
            self._on_invoke(connection, frame)
        elif what == "status":
            status = self.core.status()
            status["id"] = frame.get("id")
            status["incarnation"] = self.recovered.incarnation
            self._answer(connection, status)
        elif what == "failpoint":
            self._on_failpoint(connection, frame)
        elif what in ADMIN:
            rid = self._ask(connection, frame)
            self.step(AdminRequest(rid, str(what), frame.get("argument")))
        elif what == "peer":
            connection.peer_name = str(frame.get("node"))
        else:
            raise BadFrame(f"what is {what!r}?")

    def _on_lost(self, connection: FrameProtocol) -> None:
        self.confirmations.lost(connection)

    def _ask(self, connection: FrameProtocol, frame: Frame) -> str:
        self._requests += 1
        rid = f"{self.config.node}.{self.recovered.incarnation}.{self._requests}"
        self._clients[rid] = (connection, frame.get("id"))
        return rid

    def _on_invoke(self, connection: FrameProtocol, frame: Frame) -> None:
        f, client, seq = frame.get("f"), frame.get("client", ""), frame.get("seq", 0)
        if not isinstance(f, str) or not isinstance(client, str) or not isinstance(seq, int):
            raise BadFrame("an invoke needs f, client and seq")
        rid = self._ask(connection, frame)
        self.step(ClientRequest(rid, client, seq, f, frame.get("key"), frame.get("value")))

    def _on_failpoint(self, connection: FrameProtocol, frame: Frame) -> None:
        error = ""
        try:
            self.failpoints.arm(str(frame.get("place")), str(frame.get("action", "")))
        except ValueError as problem:
            error = str(problem)
        self._answer(
            connection, {"id": frame.get("id"), "outcome": "fail" if error else "ok", "error": error, "meta": {}}
        )
