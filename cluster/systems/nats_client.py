"""JetStream's key-value bucket over the NATS line protocol on a plain socket: one request, one answer, no retries.

A value is the last message of its subject `$KV.<bucket>.<key>`; its revision is that message's sequence number in the
stream. A write bound to a revision carries the header that makes the stream's leader compare. A request that nobody
was there to take is answered 503 at once by the server that was asked: it certainly did nothing.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from capsize.client import Client
from capsize.cluster.node import Node
from capsize.cluster.revision import Found, change
from capsize.errors import DefiniteError
from capsize.op import Invocation, Reply, Value, freeze

BUCKET = "capsize"
STREAM = f"KV_{BUCKET}"
WRONG_LAST_SEQUENCE = (10071, 10164)
NO_MESSAGE = 10037
NO_STREAM = 10059
GONE_S = 1.0
"""How long the cluster must go on saying that there is no such stream before it is believed."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: the code of its status line (0 without one), headers, payload, and where to answer to."""

    status: int
    headers: Mapping[str, str]
    payload: bytes
    answer_to: str = ""


class JetStreamError(Exception):
    """JetStream refused: its own error code (`err_code`) and description. Not known to have done nothing."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"{said} (err_code {code})")
        self.code = code


class NatsConnection:
    """One connection to one server; every exchange is bounded by `timeout_s`."""

    def __init__(self, address: tuple[str, int], *, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.inbox = f"_INBOX.{secrets.token_hex(8)}"
        self.count = 0
        self.buffer = b""
        host, port = address
        try:
            self.socket = socket.create_connection(address, timeout=timeout_s)
        except OSError as error:
            raise DefiniteError(f"cannot connect to {host}:{port}: {error}") from error
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.info: dict[str, Any] = json.loads(self._line(time.monotonic() + timeout_s).removeprefix(b"INFO "))
            hello = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "protocol": 1,
                     "lang": "capsize", "version": "1", "name": "capsize"}  # fmt: skip
            self._send(f"CONNECT {json.dumps(hello)}\r\nSUB {self.inbox}.* 1\r\n".encode())
        except (OSError, ValueError) as error:
            self.close()
            raise DefiniteError(f"{host}:{port} did not greet: {error}") from error

    def request(self, subject: str, payload: bytes = b"", headers: Mapping[str, str] | None = None) -> Message:
        """Publish and return the answer.

        Raises DefiniteError when the server says that nobody takes the subject; OSError or TimeoutError when the
        answer did not come: it is not known what was done.
        """
        self.count += 1
        return self._exchange(subject, payload, headers, f"{self.inbox}.{self.count}", b"1")

    def fetch(self, subject: str, payload: bytes = b"") -> Message:
        """Do the same for an answer that comes under its own subject, as a consumer's messages do."""
        self.count += 1
        answer_to, subscription = f"{self.inbox}.m.{self.count}", str(self.count + 1).encode()
        self._send(f"SUB {answer_to} {self.count + 1}\r\nUNSUB {self.count + 1} 1\r\n".encode())
        return self._exchange(subject, payload, None, answer_to, subscription)

    def _exchange(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None, answer_to: str, subscription: bytes
    ) -> Message:
        if headers:
            head = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
            sizes = f"{len(head)} {len(head) + len(payload)}"
            self._send(f"HPUB {subject} {answer_to} {sizes}\r\n{head}".encode() + payload + b"\r\n")
        else:
            self._send(f"PUB {subject} {answer_to} {len(payload)}\r\n".encode() + payload + b"\r\n")
        deadline = time.monotonic() + self.timeout_s
        while True:
            line = self._line(deadline)
            words = line.split()
            if words[:1] == [b"PING"]:
                self._send(b"PONG\r\n")
            elif words[:1] == [b"-ERR"]:
                raise ConnectionError(line.decode(errors="replace"))
            elif words[:1] in ([b"MSG"], [b"HMSG"]):
                body = self._exactly(int(words[-1]) + 2, deadline)[:-2]
                if words[2] != subscription or (subscription == b"1" and words[1].decode() != answer_to):
                    continue  # the late answer to a request that was given up
                given = 5 if words[0] == b"HMSG" else 4
                message = _message(body, int(words[-2]) if words[0] == b"HMSG" else 0)
                if len(words) > given:
                    message = replace(message, answer_to=words[3].decode())
                if message.status == 503 and not message.payload:
                    raise DefiniteError(f"nobody takes {subject} (no responders)")
                return message

    def close(self) -> None:
        """Disconnect; never raises."""
        with contextlib.suppress(OSError):
            self.socket.close()

    def _send(self, data: bytes) -> None:
        self.socket.settimeout(self.timeout_s)
        self.socket.sendall(data)

    def _line(self, deadline: float) -> bytes:
        while b"\r\n" not in self.buffer:
            self._more(deadline)
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def _exactly(self, size: int, deadline: float) -> bytes:
        while len(self.buffer) < size:
            self._more(deadline)
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def _more(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no answer within {self.timeout_s:g} s")
        self.socket.settimeout(left)
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionResetError("the server closed the connection")
        self.buffer += part


def _message(body: bytes, head_size: int) -> Message:
    head, payload = body[:head_size].decode(errors="replace"), body[head_size:]
    first, *lines = head.split("\r\n")
    status = first.removeprefix("NATS/1.0").split()
    pairs = (line.partition(":") for line in lines if line)
    return Message(int(status[0]) if status else 0, {name: value.strip() for name, _, value in pairs}, payload)


class JetStreamClient(Client):
    """One connection to one server; `direct` reads are answered by any replica. `opened` is told of each one opened."""

    stream = STREAM
    shape: Mapping[str, Any] = {
        "subjects": [f"$KV.{BUCKET}.>"], "retention": "limits", "discard": "new", "max_msgs_per_subject": 1,
        "allow_direct": True, "allow_rollup_hdrs": True, "deny_delete": True,
    }  # fmt: skip
    """What makes the stream a bucket."""

    def __init__(
        self, node: Node, *, direct: bool, replicas: int, opened: Callable[[JetStreamClient], object] | None = None
    ) -> None:
        self.node = node
        self.direct = direct
        self.replicas = replicas
        self.opened = opened
        self.connection: NatsConnection | None = None

    def open(self) -> None:
        self.connection = NatsConnection(self.node.reach("client"), timeout_s=self.timeout_s)
        if self.opened is not None:
            self.opened(self)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def create(self) -> str:
        """Make the stream; nothing happens when it is there. Returns the name of its Raft group."""
        config = {"name": self.stream, "storage": "file", "num_replicas": self.replicas, **self.shape}
        said = self.ask(f"$JS.API.STREAM.CREATE.{self.stream}", json.dumps(config).encode())
        return str(said.get("cluster", {}).get("raft_group", ""))

    def invoke(self, op: Invocation) -> Reply:
        match op.f:
            case "read" | "get":
                return self.unless_gone(lambda: self._read(op.key), None)
            case "write" | "put":
                return Reply(None, self._write(op.key, op.value))
            case "delete":
                said = self.ask(_subject(op.key), b"", {"KV-Operation": "DEL"})
                return Reply(None, {"revision": said["seq"], "asked": self.node.name})
            case "cas" | "append" | "incr":
                return change(self, op)
            case _:
                raise DefiniteError(f"this adapter of JetStream knows no operation {op.f!r}")

    def unless_gone(self, read: Callable[[], Reply], nothing: Value) -> Reply:
        """Return what `read` does; `nothing` once the cluster has said for a while that there is no such stream.

        The stream was made before the first operation and is never deleted: without it, nothing of what it
        acknowledged is there. An error that passes is an error; one that stays is the answer.
        """
        began = time.monotonic()
        while True:
            try:
                return read()
            except JetStreamError as error:
                waited_s = time.monotonic() - began
                if error.code != NO_STREAM or waited_s > self.timeout_s:
                    raise
                if waited_s >= min(GONE_S, self.timeout_s / 2):
                    return Reply(nothing, {"asked": self.node.name, "stream": "not found"})
                time.sleep(0.1)

    def _read(self, key: Value) -> Reply:
        found = self._direct(key) if self.direct else self.latest(key)
        return Reply(found.value, {"revision": found.revision, "asked": self.node.name})

    def latest(self, key: Value) -> Found:
        """Return what the stream's leader holds."""
        try:
            body = json.dumps({"last_by_subj": _subject(key)}).encode()
            said = self.ask(f"$JS.API.STREAM.MSG.GET.{STREAM}", body)["message"]
        except JetStreamError as error:
            if error.code == NO_MESSAGE:
                return Found(None, 0)
            raise
        deleted = b"KV-Operation: DEL" in base64.b64decode(said.get("hdrs", ""))
        data = base64.b64decode(said.get("data", ""))
        return Found(None if deleted else freeze(json.loads(data)), said["seq"])

    def write_if(self, key: Value, value: Value, revision: int) -> Mapping[str, Value] | None:
        """Write if the key's last revision is still that one; the leader compares."""
        try:
            return self._write(key, value, {"Nats-Expected-Last-Subject-Sequence": str(revision)})
        except JetStreamError as error:
            if error.code in WRONG_LAST_SEQUENCE:
                return None
            raise

    def _write(self, key: Value, value: Value, headers: Mapping[str, str] | None = None) -> Mapping[str, Value]:
        said = self.ask(_subject(key), json.dumps(value).encode(), headers)
        return {"revision": said["seq"], "asked": self.node.name}

    def _direct(self, key: Value) -> Found:
        """Return what whichever replica answers holds."""
        assert self.connection is not None
        message = self.connection.request(f"$JS.API.DIRECT.GET.{STREAM}.{_subject(key)}")
        if message.status == 404:
            return Found(None, 0)
        if message.status:
            raise JetStreamError(message.status, message.payload.decode(errors="replace"))
        deleted = message.headers.get("KV-Operation") == "DEL"
        sequence = int(message.headers["Nats-Sequence"])
        return Found(None if deleted else freeze(json.loads(message.payload)), sequence)

    def ask(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> Any:
        """Return the JSON answer of JetStream's interface, or of a publish; raises JetStreamError for an error."""
        assert self.connection is not None
        self.connection.timeout_s = self.timeout_s
        said: Any = json.loads(self.connection.request(subject, payload, headers).payload)
        if "error" in said:
            error = said["error"]
            raise JetStreamError(int(error.get("err_code", error.get("code", 0))), str(error.get("description", "")))
        return said


def token_of(key: Value) -> str:
    """Whole numbers and plain words are tokens as they are; everything else is encoded, each key to one token.

    >>> token_of(7), token_of("ready-1"), token_of("7")
    ('7', 'ready-1', '=Ijci')
    """
    text = str(key)
    plain = isinstance(key, int) and not isinstance(key, bool)
    if isinstance(key, str):
        plain = key.isascii() and key[:1].isalpha() and all(c.isalnum() or c in "-_" for c in key)
    return text if plain else "=" + base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def _subject(key: Value) -> str:
    return f"$KV.{BUCKET}.{token_of(key)}"
