"""One JSON exchange over HTTP, bounded in time, never repeated by itself, with its outcome told apart.

`http.client` hides no retries. A connection that was refused, or not made in time, carried nothing: that is a
DefiniteError. Whatever happens after the first byte was sent leaves the outcome unknown.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from typing import Any

from capsize.errors import DefiniteError


class HttpStatusError(Exception):
    """The server answered with a status other than 2xx: `status`, and the `body` as JSON if it was JSON, else text."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"HTTP {status}: {body}")
        self.status = status
        self.body = body


class HttpClient:
    """One connection to one address, kept open between exchanges; `timeout_s` bounds each exchange as a whole."""

    def __init__(self, address: tuple[str, int], *, timeout_s: float = 5.0) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def open(self) -> None:
        """Connect; raises DefiniteError when nobody listens or nobody answers in time."""
        host, port = self.address
        connection = http.client.HTTPConnection(host, port, timeout=self.timeout_s)
        try:
            connection.connect()
        except OSError as error:
            raise DefiniteError(f"cannot connect to {host}:{port}: {error}") from error
        connection.auto_open = 0  # never reconnect behind our back
        self._connection = connection

    def post(self, path: str, body: object) -> Any:
        """Send a JSON body; return the JSON answer. Raises HttpStatusError, or any OSError when it is not known."""
        return self.exchange("POST", path, json.dumps(body).encode())

    def get(self, path: str) -> Any:
        """Return the JSON at `path`."""
        return self.exchange("GET", path, None)

    def exchange(self, method: str, path: str, body: bytes | None) -> Any:
        """One request and its answer; connects first when there is no connection."""
        began = time.monotonic()
        if self._connection is None or self._connection.sock is None:  # closed after the last answer: nothing sent yet
            self.close()
            self.open()
        connection = self._connection
        assert connection is not None
        assert connection.sock is not None
        try:
            connection.sock.settimeout(max(0.001, self.timeout_s - (time.monotonic() - began)))
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        try:
            said: Any = json.loads(text)
        except ValueError:
            said = text.decode(errors="replace").strip()
        if not 200 <= answer.status < 300:
            raise HttpStatusError(answer.status, said)
        return said

    def close(self) -> None:
        """Disconnect; never raises."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()


def get_json(address: tuple[str, int], path: str, *, timeout_s: float = 1.0) -> Any:
    """Return the JSON at `path` of a server, over a connection of its own."""
    client = HttpClient(address, timeout_s=timeout_s)
    try:
        return client.get(path)
    finally:
        client.close()


def post_json(address: tuple[str, int], path: str, body: object, *, timeout_s: float = 1.0) -> Any:
    """Return the JSON answer to a JSON body, over a connection of its own."""
    client = HttpClient(address, timeout_s=timeout_s)
    try:
        return client.post(path, body)
    finally:
        client.close()
