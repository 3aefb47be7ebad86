"""Clients in the virtual world: each pinned to a node, asking one thing after another, recording a history.

A request that is not answered, or whose connection breaks, is asked again under the same client name and number at
another node: the session must apply it once (Raft paper §8). What is still not known then is `info`, and a new
process takes its place. A request that was refused on its first try surely did nothing and is `fail`; so is a read.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from capsize.op import Invocation, Operation, Outcome, freeze
from capsize.raft.events import ClientReply
from capsize.simulator.world import MS, World

READS = frozenset({"get", "read"})


@dataclass(frozen=True, slots=True)
class Habits:
    """How clients behave. Times in milliseconds."""

    think_ms: tuple[float, float] = (60.0, 460.0)
    network_ms: tuple[float, float] = (0.2, 1.0)
    timeout_ms: float = 700.0
    tries: int = 3
    wander: float = 0.1
    """The share of requests that go to a node other than the client's own."""


class Recording:
    """The operations of one run, and how many may still be asked."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.operations: list[Operation] = []
        self.open = 0


class Client:
    """One client thread. `begin` sets it going; it stops when the recording has no operations left."""

    def __init__(
        self,
        number: int,
        threads: int,
        world: World,
        requests: Iterator[Invocation],
        recording: Recording,
        rng: random.Random,
        habits: Habits,
    ) -> None:
        self.process = number
        self.threads = threads
        self.world = world
        self.requests = requests
        self.recording = recording
        self.rng = rng
        self.habits = habits
        self.home = world.names[number % len(world.names)]
        self.sequence = 0
        self.stopped = False
        self._call_ns = 0
        self._asked: Invocation | None = None
        self._attempt = 0
        self._tries = 1
        self._uncertain = False
        self._node = self.home

    def begin(self) -> None:
        """Ask the first request after a moment of thought."""
        self.world.after(self._between(self.habits.think_ms), self._next)

    def _between(self, bounds: tuple[float, float]) -> int:
        low, high = bounds
        return int((low + (high - low) * self.rng.random()) * MS)

    # -- one operation -----------------------------------------------------------------------------------------------
    def _next(self) -> None:
        if self.stopped or self.recording.left <= 0:
            self.stopped = True
            return
        self.ask(next(self.requests))

    def ask(self, invocation: Invocation, node: str | None = None) -> None:
        """Invoke one operation now."""
        self.recording.left -= 1
        self.recording.open += 1
        self._asked = invocation
        self._call_ns = self.world.now_ns
        self.sequence += 1
        self._uncertain = False
        if node is None:
            wanders = self.rng.random() < self.habits.wander
            node = self.rng.choice(self.world.names) if wanders else self.home
        self._node = node
        self._try(node)

    def _try(self, node: str) -> None:
        self._attempt += 1
        attempt = self._attempt
        self.world.after(self._between(self.habits.network_ms), self._arrive, attempt, node)
        self.world.after(int(self.habits.timeout_ms * MS), self._timed_out, attempt)

    def _arrive(self, attempt: int, node: str) -> None:
        asked = self._asked
        if attempt != self._attempt or asked is None:
            return

        def answer(reply: ClientReply | None) -> None:
            self.world.after(self._between(self.habits.network_ms), self._answered, attempt, reply)

        session = f"c{self.process}"
        accepted = self.world.request(node, session, self.sequence, asked.f, asked.key, listed(asked.value), answer)
        if not accepted:
            self.world.after(self._between(self.habits.network_ms), self._refused, attempt, "connection refused")

    def _answered(self, attempt: int, reply: ClientReply | None) -> None:
        if attempt != self._attempt or self._asked is None:
            return
        if reply is None:
            self._not_known("the connection broke")
        elif reply.outcome == "ok":
            self._done("ok", reply)
        elif reply.outcome == "fail":
            self._refused(attempt, reply.error)
        else:
            self._not_known(reply.error)

    def _refused(self, attempt: int, why: str) -> None:
        if attempt != self._attempt or self._asked is None:
            return
        if self._uncertain and self._asked.f not in READS:
            self._not_known(why)
        else:
            self._done("fail", None, why)

    def _timed_out(self, attempt: int) -> None:
        if attempt == self._attempt and self._asked is not None:
            self._not_known("no answer in time")

    def _not_known(self, why: str) -> None:
        """Ask again elsewhere under the same number, or give up."""
        assert self._asked is not None
        self._uncertain = True
        if self._asked.f not in READS and self._tries < self.habits.tries and not self.stopped:
            self._tries += 1
            self._try(self.rng.choice(self.world.names))
        else:
            self._done("fail" if self._asked.f in READS else "info", None, why)

    def _done(self, outcome: Outcome, reply: ClientReply | None, why: str | None = None) -> None:
        asked = self._asked
        assert asked is not None
        self._asked = None
        self._tries = 1
        self._attempt += 1
        self.recording.open -= 1
        self.recording.operations.append(
            Operation(
                process=self.process,
                f=asked.f,
                key=asked.key,
                value=asked.value,
                call_ns=self._call_ns,
                return_ns=None if outcome == "info" else self.world.now_ns,
                outcome=outcome,
                result=freeze(reply.result) if reply is not None else None,
                node=self._node,
                error=why,
                meta=reply.meta if reply is not None else {},
            )
        )
        if outcome == "info":
            self.process += self.threads
            self.sequence = 0
        self.world.after(self._between(self.habits.think_ms), self._next)

    def give_up(self) -> None:
        """End the run for this client: what is open stays unknown."""
        self.stopped = True
        if self._asked is not None:
            self._uncertain = True
            self._done("fail" if self._asked.f in READS else "info", None, "the run ended")


def listed(value: object) -> object:
    """Return a value with its tuples as lists, as JSON has them."""
    return [listed(item) for item in value] if isinstance(value, tuple) else value
