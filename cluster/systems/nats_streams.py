"""JetStream's streams as a set and as a queue: what is published and acknowledged must be there, or have been taken.

A set is a stream that keeps everything, one subject for each set; `read` walks through the subject as the stream's
leader holds it. A queue is a stream with work-queue retention and one durable pull consumer for each queue: `dequeue`
takes the next message and answers only when its acknowledgement was acknowledged. JetStream promises to deliver at
least once and says so in every answer (`meta.delivery`).
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from capsize.cluster.node import Node
from capsize.cluster.systems.nats_client import NO_MESSAGE, JetStreamClient, JetStreamError, token_of
from capsize.errors import DefiniteError
from capsize.op import Invocation, Reply, Value, freeze

ACK_WAIT_S = 5.0
"""After which a message that was handed out and not acknowledged is handed out again."""
AT_LEAST_ONCE = "at-least-once"
NOTHING_NOW = (404, 408)


class StreamClient(JetStreamClient):
    """What both have in common: a subject for each key, publishing, walking through it."""

    def subject(self, key: Value) -> str:
        return f"{self.stream}.{token_of(key)}"

    def publish(self, key: Value, value: Value) -> Mapping[str, Value]:
        said = self.ask(self.subject(key), json.dumps(value).encode())
        return {"sequence": said["seq"], "asked": self.node.name}

    def walk(self, key: Value) -> Reply:
        """Return all messages of the subject, oldest first, as the stream's leader holds them.

        Messages are only ever added behind the others, so what was seen when the end was met is what was there then.
        """
        deadline = time.monotonic() + self.timeout_s
        found: list[Value] = []
        sequence = 0
        while True:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(found)} messages within {self.timeout_s:g} s, and more")
            body = json.dumps({"seq": sequence + 1, "next_by_subj": self.subject(key)}).encode()
            try:
                message = self.ask(f"$JS.API.STREAM.MSG.GET.{self.stream}", body)["message"]
            except JetStreamError as error:
                if error.code == NO_MESSAGE:
                    return Reply(tuple(found), {"asked": self.node.name})
                raise
            sequence = int(message["seq"])
            found.append(freeze(json.loads(_decoded(message))))

    def invoke(self, op: Invocation) -> Reply:
        match op.f:
            case "write" | "add" | "enqueue":
                return Reply(None, self.publish(op.key, op.value))
            case "read":
                return self.unless_gone(lambda: self.walk(op.key), ())
            case _:
                raise DefiniteError(f"this adapter of JetStream's streams knows no operation {op.f!r}")


class SetClient(StreamClient):
    """`add v`, `read`."""

    stream = "capsize-set"
    shape: Mapping[str, Any] = {"subjects": ["capsize-set.*"], "retention": "limits"}


class QueueClient(StreamClient):
    """`enqueue v`, `dequeue`, `read`."""

    stream = "capsize-queue"
    shape: Mapping[str, Any] = {"subjects": ["capsize-queue.*"], "retention": "workqueue"}

    def __init__(
        self, node: Node, *, direct: bool, replicas: int, opened: Callable[[JetStreamClient], object] | None = None
    ) -> None:
        super().__init__(node, direct=direct, replicas=replicas, opened=opened)
        self._consumers: set[Value] = set()

    def invoke(self, op: Invocation) -> Reply:
        return self._take(op.key) if op.f == "dequeue" else super().invoke(op)

    def _take(self, key: Value) -> Reply:
        """Take the next message; None when there is none now. Whatever fails before the message is acknowledged leaves
        it in the queue: it is handed out again later."""
        assert self.connection is not None
        self.connection.timeout_s = self.timeout_s
        try:
            self._have_consumer(key)
            asked = json.dumps({"batch": 1, "no_wait": True}).encode()
            message = self.connection.fetch(f"$JS.API.CONSUMER.MSG.NEXT.{self.stream}.{_consumer(key)}", asked)
        except (OSError, JetStreamError) as error:
            raise DefiniteError(f"nothing was taken: {error}") from error
        if message.status in NOTHING_NOW:
            return Reply(None, {"delivery": AT_LEAST_ONCE, "asked": self.node.name})
        if message.status or not message.answer_to:
            raise DefiniteError(
                f"nothing was taken: status {message.status} {message.payload.decode(errors='replace')}"
            )
        value = freeze(json.loads(message.payload))
        self.connection.request(message.answer_to, b"+ACK")
        delivered, sequence = _counts(message.answer_to)
        where: dict[str, Value] = {"delivered": delivered, "sequence": sequence, "asked": self.node.name}
        return Reply(value, {"delivery": AT_LEAST_ONCE, **where})

    def _have_consumer(self, key: Value) -> None:
        if key in self._consumers:
            return
        name = _consumer(key)
        config = {
            "durable_name": name, "filter_subject": self.subject(key), "ack_policy": "explicit",
            "ack_wait": int(ACK_WAIT_S * 1e9), "deliver_policy": "all", "num_replicas": self.replicas,
        }  # fmt: skip
        body = json.dumps({"stream_name": self.stream, "config": config}).encode()
        self.ask(f"$JS.API.CONSUMER.DURABLE.CREATE.{self.stream}.{name}", body)
        self._consumers.add(key)


def _consumer(key: Value) -> str:
    return f"of-{token_of(key)}"


def _decoded(message: Mapping[str, Any]) -> bytes:
    return base64.b64decode(message.get("data", ""))


def _counts(answer_to: str) -> tuple[int, int]:
    """Return how often a message was handed out, and its number in the stream, from where its taker answers to.

    >>> _counts("$JS.ACK.capsize-queue.of-1.2.17.5.1795436524676871072.0")
    (2, 17)
    """
    parts = answer_to.split(".")
    at = 4 if len(parts) == 9 else 6
    return int(parts[at]), int(parts[at + 1])
