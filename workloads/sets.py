"""Sets that only grow: add, and read all elements; judged exactly (`checker/grow_only.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from capsize.op import Invocation, Value
from capsize.workloads.on_map import SetOnMap
from capsize.workloads.workload import Workload

if TYPE_CHECKING:
    from capsize.checker.checker import Checker
    from capsize.client import Client

READ = 0.15


class Sets(Workload):
    """Mostly adds: what is looked for is an acknowledged element that is gone."""

    name = "set"
    says = "add to sets, read them whole; no acknowledged element may be missing from a later read"
    reads = frozenset({"read"})
    model = "set"
    needs = frozenset({"read", "cas"})

    def requests(self, thread: int) -> Iterator[Invocation]:
        for rng, number, keys in self.generations(thread):
            key = rng.choice(keys)
            yield Invocation("read", key) if rng.random() < READ else Invocation("add", key, number)

    def final_reads(self, keys: Iterable[Value]) -> list[Invocation]:
        return [Invocation("read", key) for key in keys]

    def on_map(self, of_map: Client, process: int) -> Client:
        return SetOnMap(of_map, process)

    def checkers(self) -> list[Checker]:
        from capsize.checker.grow_only import GrowOnlySet

        return [GrowOnlySet()]
