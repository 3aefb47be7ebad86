"""A connection for clients of one's own protocol: lines, JSON values or frames over TCP, every wait bounded.

What it raises is what it means: a refused connection is a DefiniteError (nothing was sent), a timeout and a connection
that was closed are not (what was sent may have been carried out).
"""

from __future__ import annotations

import codecs
import contextlib
import json
import socket
import time
from typing import Any

from capsize.errors import DefiniteError

MOST = 1 << 26
"""An answer of more than 64 MB is none."""


class Stream:
    """Connects at once. `send` starts the time in which the answer must have come: `timeout_s`."""

    def __init__(self, address: tuple[str, int], timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._rest = b""
        try:
            self._socket = socket.create_connection(address, timeout=timeout_s)
        except OSError as error:
            raise DefiniteError(f"cannot connect to {address[0]}:{address[1]}: {error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        """Send everything."""
        self._deadline = time.monotonic() + self.timeout_s
        self._socket.settimeout(self.timeout_s)
        self._socket.sendall(data)

    def line(self) -> bytes:
        """Return the next line, without its end."""
        while b"\n" not in self._rest:
            self._more()
        line, _, self._rest = self._rest.partition(b"\n")
        return line.removesuffix(b"\r")

    def exactly(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        while len(self._rest) < count:
            self._more()
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def json(self) -> Any:
        """Return the next JSON object or array, whether or not anything stands between them."""
        while True:
            text = codecs.decode(self._rest, "utf-8", "surrogateescape").lstrip()
            with contextlib.suppress(json.JSONDecodeError):
                value, end = json.JSONDecoder().raw_decode(text)
                self._rest = text[end:].encode("utf-8", "surrogateescape")
                return value
            self._more()

    def close(self) -> None:
        """Disconnect; never raises."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def _more(self) -> None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"no answer within {self.timeout_s:g} s")
        self._socket.settimeout(left_s)
        try:
            part = self._socket.recv(65536)
        except TimeoutError:
            raise TimeoutError(f"no answer within {self.timeout_s:g} s") from None
        if not part:
            raise ConnectionResetError("the server closed the connection")
        self._rest += part
        if len(self._rest) > MOST:
            raise ValueError("an answer of more than 64 MB")
