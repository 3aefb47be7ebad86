"""The relay: every directed link between two local nodes goes through it, so that it can be cut without root.

Speaks like the agent: JSON-lines orders on stdin, answers on stdout, ends with stdin.

A link (frm, to, port) is a listening socket that node `frm` connects to in order to reach `port` of node `to`. What
flows through its connections belongs to two *flows*, frm→to and to→frm: a flow is what packets sent from one host
to another are on a real network, and a flow is what is cut. A cut flow passes nothing and closes nothing, like
dropped packets: its bytes wait, bounded, in the sender's socket; a connection that is opened meanwhile stays silent;
that the other side has gone is not learnt. When the flow is healed the bytes go on, as TCP would send them again.

A flow can also be shaped. Single packets are then delayed, lost, doubled, corrupted and overtaken; streams are delayed
and slowed and keep their bytes and their order, as TCP would: a part drawn as lost or corrupted arrives 200 ms later.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from capsize.cluster.shaper import Shape

RESENT_S = 0.2
"""After how long TCP would have sent a lost packet again (Linux's least retransmission timeout)."""
HELD_BYTES_MAX = 1 << 20
"""A side that has this much unsent stops its sender from being read."""


class Flow:
    """What travels from one node to another, over whichever connection."""

    def __init__(self, frm: str, to: str) -> None:
        self.frm = frm
        self.to = to
        self.cut = False
        self.severed = False
        self.shape: Shape | None = None
        self.sides: set[Side] = set()
        self.waiting: list[Callable[[], None]] = []
        self.passed_bytes = 0

    def sever(self, severed: bool) -> None:
        """End every connection that this flow is a half of, and let none begin; or let them begin again."""
        self.severed = severed
        if not severed:
            return
        for side in list(self.sides):
            side.forget()
        waiting, self.waiting = self.waiting, []
        for go_on in waiting:
            go_on()

    def set(self, cut: bool) -> None:
        """Cut or heal; takes effect on every connection at once."""
        if cut == self.cut:
            return
        self.cut = cut
        for side in list(self.sides):
            side.adjust()
        if not cut:
            waiting, self.waiting = self.waiting, []
            for go_on in waiting:
                go_on()


class Side(asyncio.Protocol):
    """One end of a relayed connection: reads what its node sends, and hands it to the other end."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.other: Side | None = None
        self.transport: asyncio.Transport | None = None
        self.held = bytearray()
        self.travelling: deque[tuple[float, bytes | Callable[[Side], None]]] = deque()
        """What is under way through a shaped flow: when it is due, and the bytes, or the end of the connection."""
        self.travelling_bytes = 0
        self.end: Callable[[Side], None] | None = None
        """How this end has ended, to be told to the other once the flow lets it through."""
        self.full = False
        self.reading = True
        self.read_all = False
        self.written_all = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HELD_BYTES_MAX)
        self.flow.sides.add(self)
        # Later: before Python 3.11.3 a transport that is paused right here is read from nevertheless.
        asyncio.get_running_loop().call_soon(self.adjust)

    def adjust(self) -> None:
        """Pass on or hold, read on or stop, as the flow, the other end and its buffer say."""
        passes = not self.flow.cut and self.other is not None
        if passes:
            self.pass_on()
        if self.transport is None or self.transport.is_closing():
            return
        wanted = passes and self.other is not None and not self.other.full and self.travelling_bytes < HELD_BYTES_MAX
        if wanted and not self.reading:
            self.transport.resume_reading()
        elif not wanted and self.reading:
            self.transport.pause_reading()
        self.reading = wanted

    def pass_on(self) -> None:
        """Hand what is held to the other end, and then the end, if there is one; at once, or when it is due."""
        if self.other is None or self.other.transport is None:
            return
        if self.held:
            self.send(bytes(self.held))
            self.held.clear()
        if self.end is not None:
            end, self.end = self.end, None
            self.send(end)
        if self.travelling:
            self.arrive()

    def send(self, what: bytes | Callable[[Side], None]) -> None:
        shape = self.flow.shape
        if shape is None and not self.travelling:
            self.deliver(what)
            return
        now = asyncio.get_running_loop().time()
        size = len(what) if isinstance(what, bytes) else 0
        due = shape.due(now, size) if shape is not None else now
        if shape is not None and (shape.lost() or shape.corrupted()):
            due += RESENT_S
        due = max(due, self.travelling[-1][0] if self.travelling else 0.0)
        self.travelling.append((due, what))
        self.travelling_bytes += size

    def arrive(self) -> None:
        """Deliver what is due, and come back for the rest; a cut flow is left as it is until its heal."""
        loop = asyncio.get_running_loop()
        while self.travelling and not self.flow.cut and self.travelling[0][0] <= loop.time():
            what = self.travelling.popleft()[1]
            self.travelling_bytes -= len(what) if isinstance(what, bytes) else 0
            self.deliver(what)
        if self.travelling and not self.flow.cut:
            loop.call_at(self.travelling[0][0], self.arrive)
        if not self.reading:
            asyncio.get_running_loop().call_soon(self.adjust)

    def deliver(self, what: bytes | Callable[[Side], None]) -> None:
        other = self.other
        if other is None or other.transport is None:
            return
        if isinstance(what, bytes):
            self.flow.passed_bytes += len(what)
            other.transport.write(what)
            return
        what(other)
        if what is not Side.half_close:
            self.flow.sides.discard(self)

    def data_received(self, data: bytes) -> None:
        self.held += data
        if not self.flow.cut:
            self.pass_on()

    def eof_received(self) -> bool:
        self.read_all = True
        self.ended(Side.half_close)
        return not self.written_all

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended(Side.abort if exc else Side.close)

    def ended(self, end: Callable[[Side], None]) -> None:
        self.end = end
        if not self.flow.cut:
            self.pass_on()

    def half_close(self) -> None:
        """Say that no more will come; when both directions are through, the connection is over."""
        self.written_all = True
        if self.read_all:
            self.close()
        elif self.transport is not None and not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()

    def forget(self) -> None:
        """End the connection on both ends, and whatever was under way with it."""
        self.held.clear()
        self.travelling.clear()
        self.end = None
        self.flow.sides.discard(self)
        self.abort()
        if self.other is not None:
            self.other.held.clear()
            self.other.travelling.clear()
            self.other.abort()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def pause_writing(self) -> None:
        self.full = True
        if self.other is not None:
            self.other.adjust()

    def resume_writing(self) -> None:
        self.full = False
        if self.other is not None:
            self.other.adjust()


class Link:
    """A listening socket: the way from node `frm` to one port of node `to`."""

    def __init__(self, relay: Relay, frm: str, to: str, target: tuple[str, int]) -> None:
        self.there = relay.flow(frm, to)
        self.back = relay.flow(to, frm)
        self.target = target
        self.tasks: set[asyncio.Task[None]] = set()

    async def listen(self, host: str) -> tuple[asyncio.Server, int]:
        server = await asyncio.get_running_loop().create_server(self.accept, host, 0, backlog=512)
        return server, int(server.sockets[0].getsockname()[1])

    def accept(self) -> Side:
        near = Side(self.there)
        task = asyncio.get_running_loop().create_task(self.join(near))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return near

    async def join(self, near: Side) -> None:
        """Connect onwards once both flows are open: a handshake needs both directions."""
        loop = asyncio.get_running_loop()
        for flow in (self.there, self.back, self.there):
            while flow.cut:
                if flow.severed:
                    near.forget()
                    return
                opened: asyncio.Future[None] = loop.create_future()
                flow.waiting.append(partial(opened.set_result, None))
                await opened
        far = Side(self.back)
        far.other = near
        try:
            await loop.create_connection(lambda: far, *self.target)
        except OSError:
            near.abort()
            return
        near.other = far
        near.adjust()
        far.adjust()


class Datagrams(asyncio.DatagramProtocol):
    """The way of single packets from one node to another: handed on, or dropped when the flow is cut."""

    def __init__(self, flow: Flow, target: tuple[str, int]) -> None:
        self.flow = flow
        self.target = target
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        shape = self.flow.shape
        if self.flow.cut:
            return
        if shape is None:
            self.deliver(data)
        elif not shape.lost() and not shape.overflows(asyncio.get_running_loop().time()):
            if shape.corrupted():
                return  # the receiving host's checksum would catch it
            loop = asyncio.get_running_loop()
            for _ in range(2 if shape.doubled() else 1):
                loop.call_at(shape.due(loop.time(), len(data)), self.deliver, data)

    def deliver(self, data: bytes) -> None:
        if not self.flow.cut and self.transport is not None:
            self.transport.sendto(data, self.target)


class Relay:
    """All links and flows of one run, and the orders on them."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.flows: dict[tuple[str, str], Flow] = {}
        self.links: dict[tuple[str, str, str], tuple[asyncio.Server, int]] = {}
        self.datagrams: dict[tuple[str, str, int], tuple[asyncio.BaseTransport, int]] = {}

    def flow(self, frm: str, to: str) -> Flow:
        return self.flows.setdefault((frm, to), Flow(frm, to))

    async def do_open(self, frm: str, to: str, port: str, target: list[Any]) -> dict[str, Any]:
        """Make the link if it is not there yet; return the port on which it listens."""
        if (frm, to, port) not in self.links:
            self.links[frm, to, port] = await Link(self, frm, to, (target[0], target[1])).listen(self.host)
        return {"port": self.links[frm, to, port][1]}

    async def do_open_datagrams(self, frm: str, to: str, target: list[Any]) -> dict[str, Any]:
        """Make the way of datagrams to this target if it is not there yet; return the port on which it listens."""
        key = frm, to, int(target[1])
        if key not in self.datagrams:
            way = Datagrams(self.flow(frm, to), (target[0], target[1]))
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(lambda: way, local_addr=(self.host, 0))
            self.datagrams[key] = transport, int(transport.get_extra_info("sockname")[1])
        return {"port": self.datagrams[key][1]}

    async def do_cut(self, to: str, frm: list[str], severed: list[str] | None = None) -> None:
        """Cut exactly the flows from these nodes to `to`; heal the others that lead there.

        Over those that are severed as well no connection lives on, and none begins: nothing waits for the heal.
        """
        for name in frm:
            self.flow(name, to)
        for flow in list(self.flows.values()):
            if flow.to == to:
                flow.sever(flow.frm in (severed or []))
                flow.set(flow.frm in frm)

    async def do_shape(self, to: str, shapes: dict[str, dict[str, Any]], seed: int) -> None:
        """Shape exactly the flows from these nodes to `to`; the others that lead there go unshaped."""
        for name in shapes:
            self.flow(name, to)
        for index, flow in enumerate(self.flows.values()):
            if flow.to == to:
                flow.shape = Shape(seed=seed + index, **shapes[flow.frm]) if flow.frm in shapes else None

    async def do_heal(self) -> None:
        for flow in list(self.flows.values()):
            flow.shape = None
            flow.severed = False
            flow.set(False)

    async def do_ping(self) -> dict[str, Any]:
        flows = self.flows.values()
        return {
            "passed_bytes": {f"{flow.frm}-{flow.to}": flow.passed_bytes for flow in flows},
            "shaped": [f"{flow.frm}-{flow.to}" for flow in flows if flow.shape is not None],
            "ends_open": sum(len(flow.sides) for flow in flows),
        }

    async def carry_out(self, order: dict[str, Any]) -> dict[str, Any]:
        number, do = order.pop("id"), order.pop("do")
        try:
            result = await getattr(self, f"do_{do}")(**order)
        except Exception as error:  # whatever an order meets is the controller's to judge
            return {"id": number, "ok": False, "error": f"{type(error).__name__}: {error}"}
        return {"id": number, "ok": True, "at_ns": time.monotonic_ns(), **(result or {})}


async def serve(host: str) -> None:
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    relay = Relay(host)
    while line := await orders.readline():
        answer = await relay.carry_out(json.loads(line))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main() -> None:
    asyncio.run(serve(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"))


if __name__ == "__main__":
    main()
