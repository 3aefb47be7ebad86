"""What clients ask, and who judges it: the requests of a run as pure functions of its seed.

Keys are short-lived, several live at once, and shared by all threads: a key sees about `OPS_PER_KEY` operations and
is then never asked again until the final reads, so that what judging costs does not grow with the run. Written values
are never reused: a value read names the write it came from.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

from capsize.op import Invocation, Value
from capsize.seed import stream

if TYPE_CHECKING:
    from capsize.checker.checker import Checker
    from capsize.client import Client
    from capsize.cluster.node import Node
    from capsize.cluster.system import System

OPS_PER_KEY = 150
LIVE_KEYS = 4


class Workload(ABC):
    """Base of all workloads; `threads` client threads share its keys."""

    name: ClassVar[str] = ""
    says: ClassVar[str] = ""
    reads: ClassVar[frozenset[str]] = frozenset()
    """The operations that change nothing: one that timed out has certainly done no harm, and is `fail`."""
    model: ClassVar[str] = ""
    """The model that judges it, as `capsize list models` names it."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Operations of a map without which it asks nothing; one built on a map needs what it is built with."""
    lacks: frozenset[str] = frozenset()
    """Operations that the system it is fitted to does not have."""

    def __init__(self, seed: int, threads: int) -> None:
        self.seed = seed
        self.threads = threads

    @abstractmethod
    def requests(self, thread: int) -> Iterator[Invocation]:
        """Return the endless requests of one thread; the same for the same seed, whatever was answered."""

    @abstractmethod
    def final_reads(self, keys: Iterable[Value]) -> list[Invocation]:
        """Return the reads that each node is asked after recovery."""

    @abstractmethod
    def checkers(self) -> list[Checker]:
        """Return what judges the history."""

    def fit(self, system: System) -> System:
        """Return `system` with clients that can do what this workload asks: its own, or built on its map's."""
        of_map, own = system.client, system.own_client
        self.lacks = frozenset(system.lacks)

        def client(node: Node, process: int) -> Client:
            return own(self.name, node, process) or self.on_map(of_map(node, process), process)

        system.client = client  # type: ignore[method-assign]
        return system

    def on_map(self, of_map: Client, process: int) -> Client:
        """Return a client of this workload's operations, made of a map's."""
        return of_map

    def generations(self, thread: int) -> Iterator[tuple[random.Random, int, list[int]]]:
        """Return (random stream, unique number, the keys that live now) for each request of `thread`.

        Numbers are unique over all threads. Threads are not kept in step: one that was held up still asks for
        keys that others have left, which is worth testing too.
        """
        rng = stream(self.seed, "workload", self.name, thread)
        per_thread = max(1, OPS_PER_KEY * LIVE_KEYS // self.threads)
        count = 0
        while True:
            first = count // per_thread * LIVE_KEYS
            yield rng, count * self.threads + thread + 1, list(range(first, first + LIVE_KEYS))
            count += 1
