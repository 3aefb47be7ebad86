"""What becomes of an operation: ok, fail, info, and which process may act next."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capsize.client import Client
from capsize.clock import MonotonicClock
from capsize.errors import DefiniteError
from capsize.load import Worker
from capsize.op import Invocation, Reply
from capsize.recorder import Recorder

WRITE, READ = Invocation("write", 1, 5), Invocation("read", 1)


class Scripted(Client):
    def __init__(self, opened: Exception | None, answer: Reply | Exception) -> None:
        self.opened, self.answer, self.closed = opened, answer, False

    def open(self) -> None:
        if self.opened is not None:
            raise self.opened

    def invoke(self, op: Invocation) -> Reply:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self) -> None:
        self.closed = True


class Bench:
    def __init__(self, tmp_path: Path, make: Callable[[], Client]) -> None:
        self.path = tmp_path / "history.jsonl"
        self.made: list[Client] = []

        def made(node: str, process: int) -> Client:
            self.made.append(make())
            return self.made[-1]

        clock = MonotonicClock()
        self.recorder = Recorder(self.path, clock)
        self.worker = Worker(
            3, 10, "n4", make=made, recorder=self.recorder, reads=frozenset({"read"}), timeout_s=0.1, clock=clock
        )

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()[1:]]


def refused() -> Exception:
    return ConnectionRefusedError("nobody listens")


@pytest.mark.parametrize(
    ("op", "opened", "answer", "outcome", "next_process"),
    [
        (WRITE, None, Reply(None), "ok", 3),
        (WRITE, None, DefiniteError("not the leader"), "fail", 3),
        (WRITE, None, TimeoutError("timed out"), "info", 13),
        (WRITE, None, ConnectionResetError("reset"), "info", 13),
        (WRITE, None, ValueError("a client's own bug"), "info", 13),
        (READ, None, TimeoutError("timed out"), "fail", 3),
        (WRITE, DefiniteError("connection refused"), Reply(None), "fail", 3),
        (WRITE, refused(), Reply(None), "fail", 3),
        (WRITE, TimeoutError("connecting"), Reply(None), "fail", 3),
        (WRITE, None, Reply({"no": "value"}), "info", 13),  # type: ignore[arg-type]
    ],
)
def test_the_outcome_says_what_is_known_and_an_unknown_one_ends_the_process(
    tmp_path: Path, op: Invocation, opened: Exception | None, answer: Any, outcome: str, next_process: int
) -> None:
    bench = Bench(tmp_path, lambda: Scripted(opened, answer))
    assert bench.worker.perform(op) == outcome
    assert bench.worker.process == next_process
    invoke, completion = bench.events()
    assert (invoke["type"], invoke["process"], invoke["node"]) == ("invoke", 3, "n4")
    assert (completion["type"], completion["process"]) == (outcome, 3)
    assert completion["time_ns"] >= invoke["time_ns"]


def test_after_anything_but_ok_the_next_operation_gets_a_new_connection(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda: Scripted(None, DefiniteError("no")))
    bench.worker.perform(WRITE)
    bench.worker.perform(WRITE)
    assert len(bench.made) == 2
    assert all(isinstance(client, Scripted) and client.closed for client in bench.made)


def test_a_connection_that_works_is_kept_and_the_timeout_is_the_clients(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda: Scripted(None, Reply(7)))
    bench.worker.perform(READ)
    bench.worker.perform(READ, final=True)
    assert len(bench.made) == 1
    assert bench.made[0].timeout_s == 0.1
    assert [event.get("final") for event in bench.events()] == [None, None, True, None]


def test_the_invocation_is_on_disk_before_the_client_is_asked(tmp_path: Path) -> None:
    seen: list[int] = []

    class Looks(Client):
        def invoke(self, op: Invocation) -> Reply:
            seen.append(len((tmp_path / "history.jsonl").read_text().splitlines()))
            return Reply(None)

    Bench(tmp_path, Looks).worker.perform(WRITE)
    assert seen == [2]


def test_keys_and_values_of_every_shape_are_recorded(tmp_path: Path) -> None:
    big = 2**80
    bench = Bench(tmp_path, lambda: Scripted(None, Reply((1, (2, None)))))
    bench.worker.perform(Invocation("cas", "käse", (None, big)))
    invoke, completion = bench.events()
    assert (invoke["key"], invoke["value"]) == ("käse", [None, big])
    assert completion["result"] == [1, [2, None]]
