"""The reference Raft's adapter: what its clients do when no answer comes."""

from __future__ import annotations

from typing import Any

import pytest

from capsize.cluster.systems import raft
from capsize.errors import DefiniteError
from capsize.op import Invocation
from capsize.raft.client import NotDone, Unknown


class Scripted:
    """A RaftClient whose answers are scripted by address; notes what it was asked."""

    answers: dict[str, list[Any]] = {}  # noqa: RUF012
    asked: list[tuple[str, str, int]] = []  # noqa: RUF012

    def __init__(self, address: tuple[str, int], *, client_id: str, timeout_s: float = 5.0) -> None:
        self.address, self.client_id, self.timeout_s, self.seq = address, client_id, timeout_s, 0

    def open(self) -> None:
        return

    def invoke(self, f: str, key: Any, value: Any, *, seq: int | None = None) -> tuple[Any, dict[str, Any]]:
        self.seq += seq is None
        self.asked.append((self.address[0], self.client_id, self.seq if seq is None else seq))
        answer = self.answers[self.address[0]].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer, {"served_by": self.address[0]}

    def close(self) -> None:
        return


class Host:
    name = "n1"

    def reach(self, port: str) -> tuple[str, int]:
        return ("n1", 1)


def client(monkeypatch: pytest.MonkeyPatch, **answers: list[Any]) -> raft.ReferenceClient:
    monkeypatch.setattr(raft, "RaftClient", Scripted)
    Scripted.answers, Scripted.asked = answers, []
    return raft.ReferenceClient(Host(), 3, [("n2", 1), ("n3", 1)])  # type: ignore[arg-type]


def test_a_write_without_an_answer_is_asked_again_under_the_same_number(monkeypatch: pytest.MonkeyPatch):
    asking = client(monkeypatch, n1=[TimeoutError("no answer in time")], n2=[Unknown("?")], n3=[7])
    reply = asking.invoke(Invocation("incr", 1, 2))
    assert (reply.result, reply.meta["served_by"]) == (7, "n3")
    assert [node for node, _, _ in Scripted.asked] == ["n1", "n2", "n3"]
    assert len({(name, seq) for _, name, seq in Scripted.asked}) == 1


def test_a_refusal_after_an_unanswered_try_decides_nothing(monkeypatch: pytest.MonkeyPatch):
    asking = client(monkeypatch, n1=[Unknown("?")], n2=[NotDone("no leader")], n3=[NotDone("no leader")])
    with pytest.raises(Unknown):
        asking.invoke(Invocation("put", 1, 2))


def test_a_refusal_at_once_is_definite_and_reads_are_not_asked_again(monkeypatch: pytest.MonkeyPatch):
    asking = client(monkeypatch, n1=[NotDone("no leader"), TimeoutError("late")], n2=[], n3=[])
    with pytest.raises(DefiniteError):
        asking.invoke(Invocation("put", 1, 2))
    with pytest.raises(TimeoutError):
        asking.invoke(Invocation("get", 1))
    assert [node for node, _, _ in Scripted.asked] == ["n1", "n1"]


def test_without_retries_nobody_else_is_asked():
    assert raft.ReferenceRaft().retries == 0
    assert raft.ReferenceRaft(retries="2").retries == 2
    assert raft.ReferenceRaft(weather="rough").weather == raft.ROUGH
