"""Counters: increments that answer the new number, and reads; judged by linearizability."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from capsize.op import Invocation, Value
from capsize.workloads.workload import Workload

if TYPE_CHECKING:
    from capsize.checker.checker import Checker

READ = 0.4


class Counters(Workload):
    """An increment that is applied twice, or not at all, shows in every later answer."""

    name = "counter"
    says = "incr and read counters; linearizability"
    reads = frozenset({"read"})
    model = "counter"
    needs = frozenset({"read", "incr"})

    def requests(self, thread: int) -> Iterator[Invocation]:
        for rng, _, keys in self.generations(thread):
            key = rng.choice(keys)
            yield Invocation("read", key) if rng.random() < READ else Invocation("incr", key, rng.randint(1, 9))

    def final_reads(self, keys: Iterable[Value]) -> list[Invocation]:
        return [Invocation("read", key) for key in keys]

    def checkers(self) -> list[Checker]:
        from capsize.checker.linearizability import Linearizability
        from capsize.checker.models import MODELS

        return [Linearizability(MODELS[self.model]())]
