"""Locks: acquire and release in turn; nobody is granted a lock that another one holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from capsize.op import Invocation, Value
from capsize.workloads.on_map import LockOnMap
from capsize.workloads.workload import Workload

if TYPE_CHECKING:
    from capsize.checker.checker import Checker
    from capsize.client import Client


class Locks(Workload):
    """Every thread asks for a lock and then gives it back, whatever came of the asking."""

    name = "lock"
    says = "acquire and release locks; nobody is granted one that another process holds"
    reads = frozenset({"read"})
    model = "fenced-lock"
    needs = frozenset({"read", "cas"})

    def requests(self, thread: int) -> Iterator[Invocation]:
        for rng, _, keys in self.generations(thread):
            key = rng.choice(keys)
            yield Invocation("acquire", key)
            yield Invocation("release", key)

    def final_reads(self, keys: Iterable[Value]) -> list[Invocation]:
        return [Invocation("read", key) for key in keys]

    def on_map(self, of_map: Client, process: int) -> Client:
        return LockOnMap(of_map, process)

    def checkers(self) -> list[Checker]:
        from capsize.checker.mutual_exclusion import MutualExclusion

        return [MutualExclusion()]
