"""When a missing stream is an answer, and when an error."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from capsize.cluster.node import Node
from capsize.cluster.systems.nats_client import NO_STREAM, JetStreamClient, JetStreamError
from capsize.op import Invocation, Reply, Value


class Answering(JetStreamClient):
    """Says one after the other what it was given; the last one for ever."""

    timeout_s = 0.6

    def __init__(self, *answers: Value | JetStreamError) -> None:
        super().__init__(cast(Node, SimpleNamespace(name="n1")), direct=False, replicas=3)
        self.answers = list(answers)

    def _read(self, key: Value) -> Reply:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, JetStreamError):
            raise answer
        return Reply(answer, {"revision": 1})


def read(*answers: Any) -> Reply:
    return Answering(*answers).invoke(Invocation("read", 1))


GONE = JetStreamError(NO_STREAM, "stream not found")


def test_a_stream_that_stays_gone_holds_nothing() -> None:
    reply = read(GONE)
    assert reply.result is None
    assert reply.meta["stream"] == "not found"


def test_a_stream_that_comes_back_was_never_gone() -> None:
    assert read(GONE, GONE, 7).result == 7


def test_any_other_error_is_one() -> None:
    with pytest.raises(JetStreamError, match="unavailable"):
        read(GONE, JetStreamError(10008, "unavailable"))
