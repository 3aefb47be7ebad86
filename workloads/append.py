"""Texts that only grow: append unique items, read the whole; judged by linearizability.

A read names every append before it and their order, so that one late read proves more than many of a register.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from capsize.op import Invocation, Value
from capsize.workloads.workload import Workload

if TYPE_CHECKING:
    from capsize.checker.checker import Checker

GET = 0.4


class Append(Workload):
    """Items are "17;": text that joins text, and can be told apart in what is read."""

    name = "append"
    says = "append unique items to texts, get the whole; linearizability"
    reads = frozenset({"get"})
    model = "kv"
    needs = frozenset({"get", "append"})

    def requests(self, thread: int) -> Iterator[Invocation]:
        for rng, number, keys in self.generations(thread):
            key = rng.choice(keys)
            yield Invocation("get", key) if rng.random() < GET else Invocation("append", key, f"{number};")

    def final_reads(self, keys: Iterable[Value]) -> list[Invocation]:
        return [Invocation("get", key) for key in keys]

    def checkers(self) -> list[Checker]:
        from capsize.checker.linearizability import Linearizability
        from capsize.checker.models import MODELS

        return [Linearizability(MODELS[self.model]())]
