"""The controller's end of an agent: bounded, and over more than one connection."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterable

import pytest

from capsize.cluster.orders import Agent
from capsize.errors import BackendError


class Wire:
    """One connection to an agent that answers every order with its own word, until it is cut."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.got: list[str] = []
        self.silent = False

    def send(self, line: bytes) -> None:
        order = json.loads(line)
        self.got.append(order["do"])
        if not self.silent:
            self.answers.put(json.dumps({"id": order["id"], "ok": True, "by": self.name}).encode())

    def lines(self) -> Iterable[bytes]:
        while (line := self.answers.get()) is not None:
            yield line

    def cut(self) -> None:
        self.answers.put(None)


def over(first: Wire, again: Callable[[], tuple[Callable[[bytes], None], Iterable[bytes]]] | None = None) -> Agent:
    return Agent("n1", first.send, first.lines(), lambda: "its last words", again=again)


def test_without_a_second_connection_an_agent_whose_first_ended_is_gone() -> None:
    wire = Wire("first")
    agent = over(wire)
    assert agent.order("hello")["by"] == "first"
    wire.silent = True
    waiting = agent.order_async("freeze")
    wire.cut()
    with pytest.raises(BackendError, match=r"n1: the agent is gone \(its last words\)"):
        agent.answer(waiting, "freeze")
    with pytest.raises(BackendError, match="n1: the agent is gone"):
        agent.order("thaw")


def test_what_was_under_way_has_failed_and_what_is_ordered_meanwhile_waits_for_the_new_connection() -> None:
    first, second, may_come = Wire("first"), Wire("second"), threading.Event()

    def again() -> tuple[Callable[[bytes], None], Iterable[bytes]]:
        assert may_come.wait(5.0)
        return second.send, second.lines()

    agent = over(first, again)
    first.silent = True
    under_way, harmless = agent.order_async("freeze"), agent.order_async("process")
    first.cut()
    with pytest.raises(BackendError, match="n1: the connection was lost"):
        agent.answer(under_way, "freeze")
    meanwhile = agent.order_async("thaw")
    assert second.got == []
    may_come.set()
    assert agent.answer(meanwhile, "thaw")["by"] == "second"
    assert agent.answer(harmless, "process")["by"] == "second"
    assert (first.got, second.got) == (["freeze", "process"], ["process", "thaw"])


def test_a_connection_that_cannot_be_made_anew_fails_what_waited_for_it() -> None:
    first, tried = Wire("first"), threading.Event()

    def again() -> tuple[Callable[[bytes], None], Iterable[bytes]]:
        assert tried.wait(5.0)
        raise BackendError("n1: the agent is gone: nobody answers")

    agent = over(first, again)
    first.cut()
    while agent._parked is None:
        threading.Event().wait(0.001)
    waiting = agent.order_async("thaw")
    tried.set()
    with pytest.raises(BackendError, match="nobody answers"):
        agent.answer(waiting, "thaw")
    assert agent.gone


def test_after_quit_no_new_connection_is_made() -> None:
    first, tries = Wire("first"), list[str]()

    def again() -> tuple[Callable[[bytes], None], Iterable[bytes]]:
        tries.append("again")
        raise BackendError("not to be tried")

    agent = over(first, again)
    agent.order("quit")
    first.cut()
    while not agent.gone:
        threading.Event().wait(0.001)
    with pytest.raises(BackendError, match="n1: the agent is gone"):
        agent.order("ping", within_s=5.0)
    assert tries == []
