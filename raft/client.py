"""A blocking client, pinned to one node. One request at a time, no hidden retries.

    with RaftClient(("127.0.0.1", 7001), client_id="c1", timeout_s=5) as client:
        client.invoke("put", "x", 42)
        value, meta = client.invoke("get", "x")

A request that certainly did nothing raises NotDone; anything else that goes wrong raises another exception, and the
request may or may not happen, now or later. To try it again without the risk of doing it twice, invoke it again with
the same `seq`: the cluster applies a client's request once.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from types import TracebackType
from typing import Any

from .json_text import json_text

_LENGTH = struct.Struct(">I")
Meta = dict[str, Any]


class NotDone(Exception):
    """The request certainly did nothing and never will."""


class Unknown(Exception):
    """The node answered that it does not know whether the request took, or will take, effect."""


class RaftClient:
    """One logical client: `client_id` is its name in the cluster's session table, `address` the node it asks."""

    def __init__(self, address: tuple[str, int], *, client_id: str, timeout_s: float = 5.0) -> None:
        self.address = address
        self.client_id = client_id
        self.timeout_s = timeout_s
        self.seq = 0
        self._connection: socket.socket | None = None
        self._asked = 0

    # -- connection ------------------------------------------------------------------------------------------
    def open(self) -> None:
        """Connect. Raises NotDone when that fails: nothing was sent."""
        self.close()
        try:
            self._connection = socket.create_connection(self.address, timeout=self.timeout_s)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise NotDone(f"cannot connect to {self.address[0]}:{self.address[1]}: {error}") from error

    def close(self) -> None:
        """Disconnect; also when the connection is gone already."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> RaftClient:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- requests --------------------------------------------------------------------------------------------
    def invoke(self, f: str, key: Any = None, value: Any = None, *, seq: int | None = None) -> tuple[Any, Meta]:
        """Carry out one request; return its result and the node's evidence (served_by, term, log_index).

        f: get · put · delete · cas (value [old, new]) · append · incr. `seq` repeats an earlier request.
        Raises NotDone, Unknown, TimeoutError, ConnectionError.
        """
        if seq is None:
            self.seq += 1
            seq = self.seq
        order = {"do": "invoke", "f": f, "key": key, "value": value, "client": self.client_id, "seq": seq}
        answer = self._ask(order)
        meta: Meta = answer.get("meta") or {}
        if answer["outcome"] == "ok":
            return answer["result"], meta
        if answer["outcome"] == "fail":
            raise NotDone(answer["error"])
        raise Unknown(answer["error"])

    def status(self) -> dict[str, Any]:
        """Return what the node says of itself: role, term, vote, leader, commit_index, applied_index …"""
        answer = self._ask({"do": "status"})
        answer.pop("id", None)
        return answer

    def admin(self, action: str, argument: Any = None) -> None:
        """Ask for transfer · add_learner · add_voter · remove (a node) or snapshot. Raises NotDone, Unknown."""
        answer = self._ask({"do": action, "argument": argument})
        if answer["outcome"] != "ok":
            raise (NotDone if answer["outcome"] == "fail" else Unknown)(answer["error"])

    def failpoint(self, place: str, action: str) -> None:
        """Arm a failpoint of the node. Raises NotDone if there is no such place or action."""
        answer = self._ask({"do": "failpoint", "place": place, "action": action})
        if answer["outcome"] != "ok":
            raise NotDone(answer["error"])

    # -- frames ----------------------------------------------------------------------------------------------
    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send one order and wait for its answer, at most `timeout_s` in all.

        After any error the connection is closed: a late answer must not be taken for that of a later request.
        """
        deadline = time.monotonic() + self.timeout_s
        if self._connection is not None and self._hung_up(self._connection):
            self.close()
        if self._connection is None:
            self.open()
        connection = self._connection
        assert connection is not None
        self._asked += 1
        order["id"] = self._asked
        data = json_text(order).encode()
        try:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            connection.sendall(_LENGTH.pack(len(data)) + data)
            while True:
                (length,) = _LENGTH.unpack(self._read(connection, _LENGTH.size, deadline))
                answer: dict[str, Any] = json.loads(self._read(connection, length, deadline))
                if answer.get("id") == self._asked:
                    return answer
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _hung_up(connection: socket.socket) -> bool:
        """Say whether the node closed the connection since the last answer: then nothing was sent yet."""
        readable, _, _ = select.select([connection], [], [], 0)
        if not readable:
            return False
        try:
            return not connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    @staticmethod
    def _read(connection: socket.socket, count: int, deadline: float) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no answer in time")
            connection.settimeout(left)
            part = connection.recv(count - len(parts))
            if not part:
                raise ConnectionError("the node closed the connection")
            parts += part
        return bytes(parts)
