"""Queues: enqueue, dequeue, and in the end a look at what is left; judged as first in, first out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from capsize.op import Invocation, Value
from capsize.workloads.on_map import QueueOnMap
from capsize.workloads.workload import Workload

if TYPE_CHECKING:
    from capsize.checker.checker import Checker
    from capsize.client import Client

DEQUEUE = 0.45


class Queues(Workload):
    """A little more goes in than comes out, so that there is something to be lost; sometimes a queue runs empty."""

    name = "queue"
    says = "enqueue and dequeue; first in first out, nothing lost, nothing twice"
    reads = frozenset({"read"})
    model = "queue"
    needs = frozenset({"read", "cas"})

    def requests(self, thread: int) -> Iterator[Invocation]:
        for rng, number, keys in self.generations(thread):
            key = rng.choice(keys)
            yield Invocation("dequeue", key) if rng.random() < DEQUEUE else Invocation("enqueue", key, number)

    def final_reads(self, keys: Iterable[Value]) -> list[Invocation]:
        return [Invocation("read", key) for key in keys]

    def on_map(self, of_map: Client, process: int) -> Client:
        return QueueOnMap(of_map, process)

    def checkers(self) -> list[Checker]:
        from capsize.checker.fifo import FifoQueue

        return [FifoQueue()]
