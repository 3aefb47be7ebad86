"""A key-value map: put, get, delete, cas on some keys, append and incr on others; judged by linearizability."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from capsize.op import Invocation, Value
from capsize.workloads.workload import LIVE_KEYS, Workload

if TYPE_CHECKING:
    from capsize.checker.checker import Checker

GET = 0.45


class KeyValue(Workload):
    """Of four live keys one is a text that grows, one a counter, and two hold single values."""

    name = "kv"
    says = "get, put, delete, cas, append and incr of a map; linearizability"
    reads = frozenset({"get"})
    model = "kv"
    needs = frozenset({"get", "put", "delete", "cas", "append", "incr"})

    def requests(self, thread: int) -> Iterator[Invocation]:
        written: tuple[int, int] | None = None
        for rng, number, keys in self.generations(thread):
            key = rng.choice(keys)
            if rng.random() < GET:
                yield Invocation("get", key)
            elif key % LIVE_KEYS == 2:
                yield Invocation("append", key, f"{number};")
            elif key % LIVE_KEYS == 3:
                yield Invocation("incr", key, rng.randint(1, 9))
            elif written is not None and rng.random() < 0.4:
                key, old = written
                written = (key, number)
                yield Invocation("cas", key, (old, number))
            elif rng.random() < 0.1:
                written = None
                yield Invocation("delete", key)
            else:
                written = (key, number)
                yield Invocation("put", key, number)

    def final_reads(self, keys: Iterable[Value]) -> list[Invocation]:
        return [Invocation("get", key) for key in keys]

    def checkers(self) -> list[Checker]:
        from capsize.checker.linearizability import Linearizability
        from capsize.checker.models import MODELS

        return [Linearizability(MODELS[self.model]())]
