"""Framing: 4 bytes of length, big-endian, then that many bytes of JSON. The same for peers and clients."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any

LENGTH = struct.Struct(">I")
FRAME_MAX = 64 << 20

Frame = dict[str, Any]


class BadFrame(Exception):
    """What came over the connection is no frame of ours."""


def pack_frame(content: Any) -> bytes:
    """Return `content` framed."""
    return frame_text(json.dumps(content, separators=(",", ":")))


def frame_text(text: str) -> bytes:
    """Return an object's JSON text framed."""
    data = text.encode()
    return LENGTH.pack(len(data)) + data


def unpack_frame(data: bytes) -> Frame:
    """Return the object in a frame's bytes. Raises BadFrame."""
    try:
        content = json.loads(data)
    except ValueError as error:
        raise BadFrame(f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadFrame(f"expected an object, found {type(content).__name__}")
    return content  # pyright: ignore[reportUnknownVariableType]


class FrameProtocol(asyncio.Protocol):
    """One connection as frames; `on_frame` (with the frame's own bytes) and `on_lost` are called in the event loop."""

    def __init__(
        self,
        on_frame: Callable[[FrameProtocol, Frame, bytes], None],
        on_lost: Callable[[FrameProtocol], None],
    ) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._buffer = bytearray()
        self.transport: asyncio.Transport | None = None
        self.peer_name: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        harden(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= LENGTH.size:
                (length,) = LENGTH.unpack_from(buffer, start)
                if length > FRAME_MAX:
                    raise BadFrame(f"a frame of {length} bytes")
                end = start + LENGTH.size + length
                if len(buffer) < end:
                    break
                content = bytes(buffer[start + LENGTH.size : end])
                self._on_frame(self, unpack_frame(content), content)
                start = end
        except BadFrame:
            self.abort()
            return
        del buffer[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._on_lost(self)

    # -- sending -------------------------------------------------------------------------------------------
    @property
    def waiting_bytes(self) -> int:
        """Return how much was given to `send` and has not left yet."""
        return self.transport.get_write_buffer_size() if self.transport is not None else 0

    def send(self, frame: bytes) -> bool:
        """Queue a packed frame; False if the connection is gone."""
        if self.transport is None or self.transport.is_closing():
            return False
        self.transport.write(frame)
        return True

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


def harden(connection: socket.socket | None, *, unanswered_ms: int = 2000) -> None:
    """Send at once, and give a connection up when the other side answers nothing, where the system can do so."""
    if connection is None:
        return
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_USER_TIMEOUT", unanswered_ms),
        ("TCP_KEEPIDLE", 2),
        ("TCP_KEEPINTVL", 1),
        ("TCP_KEEPCNT", 3),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
