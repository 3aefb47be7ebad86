"""Framing: 4 bytes of length, big-endian, then that many bytes of JSON. The same for peers and clients."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any

from .json_text import json_text

LENGTH = struct.Struct(">I")
FRAME_MAX = 64 << 20
RECEIVE_BYTES = 64 << 10

Frame = dict[str, Any]


class BadFrame(Exception):
    """What came over the connection is no frame of ours."""


def pack_frame(content: Any) -> bytes:
    """Return `content` framed."""
    return frame_text(json_text(content))


def frame_text(text: str) -> bytes:
    """Return an object's JSON text framed."""
    data = text.encode()
    return LENGTH.pack(len(data)) + data


def frame_content(data: bytes | bytearray) -> str:
    """Return a frame's bytes as text: decoded once, for whoever reads or shows it. Raises BadFrame."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadFrame(f"not UTF-8: {error}") from error


def unpack_frame(text: str) -> Frame:
    """Return the object in a frame's text. Raises BadFrame."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise BadFrame(f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadFrame(f"expected an object, found {type(content).__name__}")
    return content  # pyright: ignore[reportUnknownVariableType]


class FrameProtocol(asyncio.BufferedProtocol):
    """One connection as frames; `on_frame` (with the frame's own text) and `on_lost` are called in the event loop.

    It receives into memory of its own: asyncio's other way asks for 256 KiB each time, gives nearly all of it back, and
    on a fragmented heap each of that is a call to the kernel (two of three page faults of a node that traces).
    """

    def __init__(
        self,
        on_frame: Callable[[FrameProtocol, Frame, str], None],
        on_lost: Callable[[FrameProtocol], None],
    ) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._arrived = memoryview(bytearray(RECEIVE_BYTES))
        self._buffer = bytearray()
        self.transport: asyncio.Transport | None = None
        self.peer_name: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        harden(transport.get_extra_info("socket"))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._arrived

    def buffer_updated(self, nbytes: int) -> None:
        """Take in what has arrived, and tell every frame that is whole."""
        buffer = self._buffer
        buffer += self._arrived[:nbytes]
        start = 0
        try:
            while len(buffer) - start >= LENGTH.size:
                (length,) = LENGTH.unpack_from(buffer, start)
                if length > FRAME_MAX:
                    raise BadFrame(f"a frame of {length} bytes")
                end = start + LENGTH.size + length
                if len(buffer) < end:
                    break
                text = frame_content(buffer[start + LENGTH.size : end])
                self._on_frame(self, unpack_frame(text), text)
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
