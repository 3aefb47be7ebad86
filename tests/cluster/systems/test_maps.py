"""Every map that capsize brings does with an operation what the model of the map says, one operation after the other.

No network: what is tried is the part of each adapter that carries an operation out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import pytest

from capsize.checker.linearizability import check_linearizable
from capsize.checker.models import MODELS
from capsize.cluster.revision import Found, change
from capsize.cluster.systems.pysyncobj_server import carry_out
from capsize.errors import DefiniteError
from capsize.history import History
from capsize.op import Invocation, Operation, Value, freeze
from capsize.raft.state_machine import StateMachine
from capsize.workloads import WORKLOADS

Ask = Callable[[Invocation], Value]


class Revisions:
    """A store in memory whose writes can be bound to a revision, as etcd's and JetStream's."""

    def __init__(self) -> None:
        self.held: dict[Value, Found] = {}

    def latest(self, key: Value) -> Found:
        return self.held.get(key, Found(None, 0))

    def write_if(self, key: Value, value: Value, revision: int) -> Mapping[str, Value] | None:
        if self.latest(key).revision != revision:
            return None
        self.held[key] = Found(freeze(json.loads(json.dumps(value))), revision + 1)
        return {}

    def ask(self, op: Invocation) -> Value:
        if op.f in ("get", "read"):
            return self.latest(op.key).value
        if op.f in ("append", "incr", "cas"):
            return change(self, op).result
        self.write_if(op.key, op.value, self.latest(op.key).revision)
        return None


def of_raft() -> Ask:
    machine = StateMachine()

    def ask(op: Invocation) -> Value:
        if op.f in ("get", "read"):
            return freeze(machine.read(op.key))
        done = machine.execute(op.f, op.key, json.loads(json.dumps(op.value)))
        if done.outcome == "fail":
            raise DefiniteError(done.error)
        return freeze(done.value)

    return ask


def of_pysyncobj() -> Ask:
    data: dict[str, Any] = {}
    return lambda op: freeze(carry_out(data, op.f, json.dumps(op.key), json.loads(json.dumps(op.value))))


MAPS: dict[str, Callable[[], Ask]] = {"raft": of_raft, "pysyncobj": of_pysyncobj, "revisions": lambda: Revisions().ask}


@pytest.mark.parametrize("name", sorted(MAPS))
@pytest.mark.parametrize("word", ["kv", "register"])
def test_what_is_asked_is_answered_as_the_model_says(name: str, word: str) -> None:
    ask, told = MAPS[name](), list[Operation]()
    for number, op in enumerate(islice(WORKLOADS[word](7, 1).requests(0), 400)):
        told.append(
            Operation(0, op.f, op.key, op.value, 2 * number, 2 * number + 1, "ok", ask(op), 2 * number, 2 * number + 1)
        )
    verdict = check_linearizable(History.of(told), MODELS[WORKLOADS[word].model]())
    assert verdict.valid is True, verdict.anomalies
    assert len({op.f for op in told}) >= 3


@pytest.mark.parametrize("name", ["raft", "revisions"])
def test_what_cannot_be_joined_is_refused(name: str) -> None:
    ask = MAPS[name]()
    ask(Invocation("put", 1, 5))
    with pytest.raises(DefiniteError, match="cannot"):
        ask(Invocation("append", 1, 6))
