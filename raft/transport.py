"""The way to the other servers: one outgoing connection each, kept up, bounded, given up when it is dead.

Messages to a peer leave over the connection this node opened, so that each direction of each link can be cut
alone. The peer confirms now and then that it hears; when it does not although something was sent, the connection is
half-open (a firewall dropped it) and is replaced, instead of waiting for the kernel's retransmissions.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from .config import Address
from .frames import Frame, FrameProtocol, pack_frame

log = logging.getLogger(__name__)

CONNECT_S = 1.0
RETRY_S = (0.05, 0.5)
SILENCE_S = 1.5
CONFIRM_S = 0.2
QUEUE_BYTES = 8 << 20


class Link:
    """The outgoing connection to one peer."""

    def __init__(self, own: str, peer: str, address: Address) -> None:
        self.own = own
        self.peer = peer
        self.address = address
        self._connection: FrameProtocol | None = None
        self._lost = asyncio.Event()
        self._unconfirmed_since: float | None = None
        self.dropped = 0

    def send(self, frame: bytes) -> bool:
        """Hand over a packed message; False when it surely does not leave (no connection, or its queue is full)."""
        connection = self._connection
        if connection is None or connection.waiting_bytes > QUEUE_BYTES or not connection.send(frame):
            self.dropped += 1
            return False
        if self._unconfirmed_since is None:
            self._unconfirmed_since = time.monotonic()
        return True

    async def keep_up(self) -> None:
        """Connect, watch, connect again; waits between attempts are short and bounded."""
        loop = asyncio.get_running_loop()
        wait = RETRY_S[0]
        while True:
            try:
                async with asyncio.timeout(CONNECT_S):
                    _, connection = await loop.create_connection(
                        lambda: FrameProtocol(self._on_frame, self._on_lost), *self.address
                    )
            except (OSError, TimeoutError):
                await asyncio.sleep(wait)
                wait = min(wait * 2, RETRY_S[1])
                continue
            wait = RETRY_S[0]
            self._lost.clear()
            self._unconfirmed_since = None
            connection.send(pack_frame({"do": "peer", "node": self.own}))
            self._connection = connection
            await self._watch(connection)

    async def _watch(self, connection: FrameProtocol) -> None:
        """Return when the connection is gone, and see to it that it goes when nobody hears us."""
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(SILENCE_S / 3):
                    await self._lost.wait()
            except TimeoutError:
                since = self._unconfirmed_since
                if since is not None and time.monotonic() - since > SILENCE_S:
                    log.debug("%s does not hear %s: connecting anew", self.peer, self.own)
                    connection.abort()
                    self._connection = None
                    await self._lost.wait()
        await asyncio.sleep(RETRY_S[0])

    def _on_frame(self, connection: FrameProtocol, frame: Frame, text: str) -> None:
        self._unconfirmed_since = None

    def _on_lost(self, connection: FrameProtocol) -> None:
        if self._connection is connection:
            self._connection = None
        self._lost.set()


class Links:
    """The links to every peer."""

    def __init__(self, own: str, peers: Mapping[str, Address]) -> None:
        self._links = {peer: Link(own, peer, address) for peer, address in peers.items() if peer != own}
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        self._tasks = [asyncio.create_task(link.keep_up()) for link in self._links.values()]

    def send(self, peer: str, frame: bytes) -> bool:
        link = self._links.get(peer)
        return link is not None and link.send(frame)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()


class Confirmations:
    """The receiving side: tell a sender, soon after it sent something, that it is heard."""

    def __init__(self) -> None:
        self._due: dict[FrameProtocol, asyncio.TimerHandle] = {}
        self._frame = pack_frame({"do": "heard"})

    def heard(self, connection: FrameProtocol) -> None:
        if connection not in self._due:
            self._due[connection] = asyncio.get_running_loop().call_later(CONFIRM_S, self._confirm, connection)

    def _confirm(self, connection: FrameProtocol) -> None:
        del self._due[connection]
        connection.send(self._frame)

    def lost(self, connection: FrameProtocol) -> None:
        handle = self._due.pop(connection, None)
        if handle is not None:
            handle.cancel()
