"""Shaping: what arrives from chosen senders is delayed, lost, doubled, corrupted or slowed, packet by packet.

Works where the kernel has no netem: iptables hands the packets to a queue in user space (NFQUEUE), and this process,
a child of the agent, says for each when it may go on. When it ends, the kernel passes packets as if it had never been
there (`--queue-bypass`). One file, standard library only, Python 3.8 or newer.

A packet leaves the queue once: what is to be doubled is sent to this very host once more, through a raw socket and
the loopback device, whose packets the queue is not given.

Orders are JSON lines on stdin, `{"seed": 7, "shapes": {"198.18.0.12": {"delay_ms": 50, "loss": 0.1}}}`; each is
answered with one line on stdout. The whole set is replaced each time; an empty one lets everything pass.
Numbers of the netlink protocol are those of the kernel's linux/netfilter/nfnetlink_queue.h.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time
from typing import Any

QUEUE = 7199
"""The number of our queue."""

NETLINK_NETFILTER = 12
NFNL_SUBSYS_QUEUE = 3 << 8
MSG_PACKET, MSG_VERDICT, MSG_CONFIG = 0, 1, 2
CFG_CMD, CFG_PARAMS, CFG_QUEUE_MAXLEN, CFG_MASK, CFG_FLAGS = 1, 2, 3, 4, 5
BIND, COPY_PACKET, FAIL_OPEN = 1, 2, 1
PACKET_HDR, VERDICT_HDR, PAYLOAD = 1, 2, 10
DROP, ACCEPT = 0, 1
NLM_F_REQUEST, NLM_F_ACK, NLMSG_ERROR = 1, 4, 2
SOL_NETLINK, NETLINK_NO_ENOBUFS = 270, 5

LINE_S = 1.0
"""A packet that would wait longer than this for a slow line is dropped, as routers do."""


class Shape:
    """How packets of one sender are treated; says for each when it arrives, and whether whole.

    Jitter alone never changes the order; a packet drawn for `reorder` skips the delay and overtakes the others.
    """

    def __init__(
        self, *, delay_ms: float = 0.0, jitter_ms: float = 0.0, loss: float = 0.0, reorder: float = 0.0,
        corrupt: float = 0.0, duplicate: float = 0.0, rate_kbit: float | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.delay_s = delay_ms / 1000
        self.jitter_s = jitter_ms / 1000
        self.loss = loss
        self.reorder = reorder
        self.corrupt = corrupt
        self.duplicate = duplicate
        self.rate = rate_kbit * 125.0 if rate_kbit else None
        self.draw = random.Random(seed)
        self.last_due = 0.0
        self.line_free = 0.0

    def lost(self) -> bool:
        return self.draw.random() < self.loss

    def corrupted(self) -> bool:
        return self.draw.random() < self.corrupt

    def doubled(self) -> bool:
        return self.draw.random() < self.duplicate

    def overflows(self, now: float) -> bool:
        """Say whether the line is so far behind that a packet is dropped."""
        return self.rate is not None and self.line_free - now > LINE_S

    def due(self, now: float, size: int) -> float:
        """Return when a packet of `size` bytes that came at `now` is to arrive."""
        if self.rate is not None:
            self.line_free = max(self.line_free, now) + size / self.rate
            now = self.line_free
        if self.draw.random() < self.reorder:
            return now
        due = now + max(0.0, self.delay_s + self.draw.uniform(-self.jitter_s, self.jitter_s))
        self.last_due = max(self.last_due, due)
        return self.last_due


def attribute(kind: int, data: bytes) -> bytes:
    padding = b"\0" * (-len(data) % 4)
    return struct.pack("=HH", 4 + len(data), kind) + data + padding


class PacketQueue:
    """The kernel's end of the queue: packets come out, verdicts go in."""

    def __init__(self, number: int = QUEUE) -> None:
        self.number = number
        self.netlink = socket.socket(16, socket.SOCK_RAW, NETLINK_NETFILTER)  # 16: AF_NETLINK, Linux only
        self.netlink.bind((0, 0))
        self.netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.netlink.setsockopt(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)
        self.configure(attribute(CFG_CMD, struct.pack(">BBH", BIND, 0, 0)))
        self.configure(attribute(CFG_PARAMS, struct.pack(">IB", 0xFFFF, COPY_PACKET)))
        self.configure(attribute(CFG_QUEUE_MAXLEN, struct.pack(">I", 65536)))
        fail_open = struct.pack(">I", FAIL_OPEN)
        self.configure(attribute(CFG_MASK, fail_open) + attribute(CFG_FLAGS, fail_open))
        self.netlink.setblocking(False)

    def send(self, message: int, body: bytes, flags: int = 0) -> None:
        body = struct.pack(">BBH", socket.AF_INET, 0, self.number) + body
        header = struct.pack("=IHHII", 16 + len(body), NFNL_SUBSYS_QUEUE | message, NLM_F_REQUEST | flags, 0, 0)
        self.netlink.send(header + body)

    def configure(self, body: bytes) -> None:
        """Send one setting and read the kernel's yes; raises OSError with its no."""
        self.send(MSG_CONFIG, body, NLM_F_ACK)
        answer = self.netlink.recv(65536)
        if struct.unpack_from("=H", answer, 4)[0] == NLMSG_ERROR:
            number = -struct.unpack_from("=i", answer, 16)[0]
            if number:
                raise OSError(number, f"the kernel refused a packet queue: {os.strerror(number)}")

    def packets(self) -> list[tuple[int, bytes]]:
        """Return what has come: (id, packet) each."""
        found: list[tuple[int, bytes]] = []
        while True:
            try:
                data = self.netlink.recv(1 << 17)
            except BlockingIOError:
                return found
            at = 0
            while at + 16 <= len(data):
                size, kind = struct.unpack_from("=IH", data, at)
                if kind == NFNL_SUBSYS_QUEUE | MSG_PACKET:
                    found.append(self.parse(data[at + 20 : at + size]))
                at += max(16, (size + 3) & ~3)

    @staticmethod
    def parse(body: bytes) -> tuple[int, bytes]:
        number, packet, at = 0, b"", 0
        while at + 4 <= len(body):
            size, kind = struct.unpack_from("=HH", body, at)
            value = body[at + 4 : at + size]
            if kind & 0x7FFF == PACKET_HDR:
                number = struct.unpack_from(">I", value)[0]
            elif kind & 0x7FFF == PAYLOAD:
                packet = value
            at += max(4, (size + 3) & ~3)
        return number, packet

    def judge(self, number: int, verdict: int, packet: bytes | None = None) -> None:
        """Let a packet go on or drop it; `packet` replaces its bytes."""
        body = attribute(VERDICT_HDR, struct.pack(">II", verdict, number))
        if packet is not None:
            body += attribute(PAYLOAD, packet)
        self.send(MSG_VERDICT, body)


def flipped(packet: bytes, draw: random.Random) -> bytes:
    """Return the packet with one bit of what follows its IP header turned over."""
    header = (packet[0] & 15) * 4
    if len(packet) <= header:
        return packet
    at = draw.randrange(header, len(packet))
    return packet[:at] + bytes([packet[at] ^ (1 << draw.randrange(8))]) + packet[at + 1 :]


class Shaper:
    """Holds packets until they are due."""

    def __init__(self) -> None:
        self.queue = PacketQueue()
        self.shapes: dict[bytes, Shape] = {}
        self.waiting: list[tuple[float, int, int, bytes | None, bytes | None]] = []
        """When due, order, number in the queue, changed bytes, bytes of a copy."""
        self.count = 0
        self.again = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def set(self, order: dict[str, Any]) -> None:
        """Replace all shapes; what is on its way keeps its time."""
        seed = int(order.get("seed", 0))
        self.shapes = {
            socket.inet_aton(address): Shape(seed=seed + index, **given)
            for index, (address, given) in enumerate(sorted(order["shapes"].items()))
        }

    def take(self, number: int, packet: bytes, now: float) -> None:
        shape = self.shapes.get(packet[12:16])
        if shape is None:
            self.queue.judge(number, ACCEPT)
        elif shape.lost() or shape.overflows(now):
            self.queue.judge(number, DROP)
        else:
            changed = flipped(packet, shape.draw) if shape.corrupted() else None
            copy = packet if shape.doubled() else None
            self.count += 1
            heapq.heappush(self.waiting, (shape.due(now, len(packet)), self.count, number, changed, copy))

    def let_go(self, number: int, changed: bytes | None, copy: bytes | None) -> None:
        self.queue.judge(number, ACCEPT, changed)
        if copy is not None:
            with contextlib.suppress(OSError):  # a copy that the kernel does not take is a copy less
                self.again.sendto(copy, (socket.inet_ntoa(copy[16:20]), 0))

    def serve(self) -> None:
        orders = b""
        netlink = self.queue.netlink.fileno()
        while True:
            wait = max(0.0, self.waiting[0][0] - time.monotonic()) if self.waiting else None
            ready, _, _ = select.select([netlink, 0], [], [], wait)
            now = time.monotonic()
            while self.waiting and self.waiting[0][0] <= now:
                self.let_go(*heapq.heappop(self.waiting)[2:])
            if netlink in ready:
                for number, packet in self.queue.packets():
                    self.take(number, packet, now)
            if 0 in ready:
                data = os.read(0, 65536)
                if not data:
                    return
                *lines, orders = (orders + data).split(b"\n")
                for line in lines:
                    self.set(json.loads(line))
                    print('{"ok": true}', flush=True)  # noqa: T201 (the answer)


if __name__ == "__main__":
    try:
        Shaper().serve()
    except OSError as error:
        print(json.dumps({"error": str(error)}), flush=True)  # noqa: T201 (the answer)
        sys.exit(1)
