"""Many single registers: read, write, and compare-and-set, judged by linearizability key by key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from capsize.op import Invocation, Value
from capsize.workloads.workload import Workload

if TYPE_CHECKING:
    from capsize.checker.checker import Checker

READ, CAS_AFTER_WRITE = 0.5, 0.35


class Register(Workload):
    """Half reads. A third of the writes are followed by a cas of the value just written: it holds, unless another
    client came between, so that both outcomes are common although no request depends on an answer. A system that lacks
    cas is asked for a write there."""

    name = "register"
    says = "read, write and cas of many registers; linearizability"
    reads = frozenset({"read"})
    model = "cas-register"
    needs = frozenset({"read", "write"})

    def requests(self, thread: int) -> Iterator[Invocation]:
        written: tuple[int, int] | None = None
        for rng, number, keys in self.generations(thread):
            key = rng.choice(keys)
            if written is not None and rng.random() < CAS_AFTER_WRITE:
                key, old = written
                written = (key, number)
                yield Invocation("write", key, number) if "cas" in self.lacks else Invocation("cas", key, (old, number))
            elif rng.random() < READ:
                yield Invocation("read", key)
            else:
                written = (key, number)
                yield Invocation("write", key, number)
                continue
            written = None if rng.random() < 0.5 else written

    def final_reads(self, keys: Iterable[Value]) -> list[Invocation]:
        return [Invocation("read", key) for key in keys]

    def checkers(self) -> list[Checker]:
        from capsize.checker.linearizability import Linearizability
        from capsize.checker.models import MODELS

        return [Linearizability(MODELS[self.model]())]
