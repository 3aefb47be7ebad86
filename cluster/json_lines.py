"""The JSON-lines client protocol: one request a line, one answer a line, outcomes in Jepsen's words.

    -> {"id": 1, "f": "write", "key": 3, "value": 17}
    <- {"id": 1, "type": "ok", "result": null, "meta": {"term": 4}}
    <- {"id": 1, "type": "fail", "error": "no leader is known; nothing was sent"}      certainly did nothing
    <- {"id": 1, "type": "info", "error": "the leader changed"}                        not known

Spoken over a socket here, and over stdin and stdout of a program in `program.py`. docs/hooks.md is its reference.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import Any

from capsize.client import Client
from capsize.errors import DefiniteError
from capsize.op import Invocation, Reply, freeze

LINE_MAX = 1 << 24


class NotKnown(Exception):
    """The other side's word that it does not know what became of the operation, or an answer that is none."""


def request_line(number: int, op: Invocation) -> bytes:
    """Return the line that asks for `op`.

    >>> request_line(1, Invocation("cas", "x", (1, 2)))
    b'{"id": 1, "f": "cas", "key": "x", "value": [1, 2]}\\n'
    """
    return json.dumps({"id": number, "f": op.f, "key": op.key, "value": op.value}).encode() + b"\n"


def parse_answer(line: bytes, number: int) -> Reply | None:
    """Return the reply in an answer to request `number`; None when it answers an earlier one.

    Raises DefiniteError for `fail`, NotKnown for `info` and for whatever is no answer.
    """
    try:
        said: Any = json.loads(line)
        found, kind = said["id"], said["type"]
    except (ValueError, KeyError, TypeError):
        raise NotKnown(f'{line[:200]!r} is no answer; expected {{"id": {number}, "type": …}}') from None
    if isinstance(found, int) and found < number:
        return None
    if found != number:
        raise NotKnown(f"an answer to request {found!r}, which was never asked (the last one was {number})")
    if kind == "ok":
        meta = said.get("meta") or {}
        if not isinstance(meta, dict):
            raise NotKnown(f"meta is {meta!r}; expected an object")
        return Reply(freeze(said.get("result")), {str(name): freeze(value) for name, value in meta.items()})
    error = str(said.get("error", "no reason was given"))
    if kind == "fail":
        raise DefiniteError(error)
    raise NotKnown(error if kind == "info" else f"type {kind!r}; expected ok, fail or info")


class JsonLinesClient(Client):
    """The protocol over a TCP connection to `address`."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.number = 0
        self._socket: socket.socket | None = None
        self._buffer = b""

    def open(self) -> None:
        host, port = self.address
        try:
            self._socket = socket.create_connection(self.address, timeout=self.timeout_s)
        except OSError as error:
            raise DefiniteError(f"cannot connect to {host}:{port}: {error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def invoke(self, op: Invocation) -> Reply:
        self.number += 1
        self._send(request_line(self.number, op))
        deadline = time.monotonic() + self.timeout_s
        while True:
            reply = parse_answer(self._line(deadline), self.number)
            if reply is not None:
                return reply

    def ask(self, question: str) -> dict[str, Any]:
        """Return the `result` of a question that is no operation, for instance {"f": "status"}."""
        self.number += 1
        self._send(request_line(self.number, Invocation(question)))
        said = json.loads(self._line(time.monotonic() + self.timeout_s))
        return dict(said["result"])

    def close(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    def _send(self, line: bytes) -> None:
        if self._socket is None:
            raise DefiniteError("not connected")
        self._socket.settimeout(self.timeout_s)
        self._socket.sendall(line)

    def _line(self, deadline: float) -> bytes:
        assert self._socket is not None
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no answer within {self.timeout_s:g} s")
            self._socket.settimeout(left)
            part = self._socket.recv(65536)
            if not part:
                raise ConnectionResetError("the server closed the connection")
            self._buffer += part
            if len(self._buffer) > LINE_MAX:
                raise NotKnown("an answer of more than 16 MB")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line
