"""Why no order exists, as a ring of arrows: each operation must come before the next, and the last before the first.

Arrows stand for what any order has to respect:
    time       one was answered before the other was called
    read-from  one wrote what the other found
    overwrite  of two writes, one must come first, because somebody found the second, or the first, around the other
Registers of a transaction count one by one. Following Gibbons & Korach (1997): given who read from whom, a write w'
cannot stand between a write and its reader, so each arrow into that gap forces another one. A ring of them is a proof;
the shortest one is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx

from capsize.checker.models.model import same
from capsize.op import Operation, Value

MOST_OPERATIONS = 60
TIME, READ, OVER = "time", "read-from", "overwrite"
START = -1
"""Stands for the initial value, which comes before everything."""


@dataclass(frozen=True, slots=True)
class Arrow:
    """`before` must come before `after`, by their places in the witness (START: the initial value), because `why`."""

    before: int
    after: int
    kind: str
    why: str


def shortest_cycle(operations: Sequence[Operation], names: Sequence[str]) -> list[Arrow]:
    """Return the shortest ring of arrows among `operations`; none where that alone does not show the contradiction.

    `names` are the words by which the operations are called, "#93".
    """
    if len(operations) > MOST_OPERATIONS:
        return []
    graph = _Reasons(operations, names)
    graph.close()
    rings: list[list[int]] = []
    for arrow in graph.arrows():
        try:
            back: list[int] = nx.shortest_path(graph.graph, arrow.after, arrow.before)
        except nx.NetworkXNoPath:
            continue
        rings.append([arrow.before, *back[:-1]])
    if not rings:
        return []
    ring = min(rings, key=lambda places: (len(places), START in places, places))
    pairs = list(zip(ring, [*ring[1:], ring[0]], strict=True))
    first = next((number for number, (one, _) in enumerate(pairs) if one == min(ring)), 0)
    return [graph.arrow(one, other) for one, other in [*pairs[first:], *pairs[:first]]]


READS = frozenset({"read", "get"})
WRITES = frozenset({"write", "put", "delete", "cas"})


Cells = list[tuple[Value, Value]]
"""Registers, by name, and what was written to or found in them."""


def written(op: Operation) -> Cells:
    """Return what `op` wrote, or may have written; nothing for what is no write of a register, map or transaction."""
    if op.outcome == "fail":
        return []
    if op.f == "txn":
        return list({part[1]: part[2] for part in _parts(op.value) if part[0] == "write"}.items())
    if op.f == "cas":
        return [(op.key, op.value[1])] if op.result is not False and _is_pair(op.value) else []  # type: ignore[index]
    return [(op.key, None if op.f == "delete" else op.value)] if op.f in WRITES else []


def observed(op: Operation) -> Cells:
    """Return what `op` found, as far as that is known; what a transaction wrote itself before is not found."""
    if op.f == "txn":
        own: set[Value] = set()
        found: Cells = []
        for part in _parts(op.result) if op.outcome == "ok" else ():
            if part[0] == "write":
                own.add(part[1])
            elif part[0] == "read" and part[1] not in own:
                found.append((part[1], part[2]))
        return found
    if op.f in READS:
        return [(op.key, op.result)] if op.outcome == "ok" else []
    return [(op.key, op.value[0])] if op.f == "cas" and written(op) else []  # type: ignore[index]


def _parts(value: Value) -> list[tuple[Value, Value, Value]]:
    """Return the parts of a transaction, (word, register, value) each."""
    parts = value if isinstance(value, tuple) else ()
    return [(part[0], part[1], part[2]) for part in parts if isinstance(part, tuple) and len(part) == 3]


def _is_pair(value: Value) -> bool:
    return isinstance(value, tuple) and len(value) == 2


class _Reasons:
    """The arrows known so far, each with the first reason found for it."""

    def __init__(self, operations: Sequence[Operation], names: Sequence[str]) -> None:
        self.operations, self.names = operations, names
        self.graph: nx.DiGraph[int] = nx.DiGraph()
        self.graph.add_nodes_from([START, *range(len(operations))])
        self.several = any(op.f == "txn" for op in operations)
        self.writes = [written(op) for op in operations]
        self.source: dict[tuple[int, Value], int] = {}
        for one, first in enumerate(operations):
            for other, second in enumerate(operations):
                if first.ret is not None and first.ret < second.call:
                    self.add(one, other, TIME, f"{names[one]} was answered before {names[other]} was called")
        for place, op in enumerate(operations):
            for cell, value in observed(op) if op.outcome == "ok" else ():
                source = self._writer(cell, value, place)
                if source is not None:
                    self.source[place, cell] = source
                    if source != START:
                        self.add(source, place, READ, f"{names[place]} found the value that {names[source]} wrote")

    def _writer(self, cell: Value, value: Value, reader: int) -> int | None:
        """Return the only operation that can have written `value`; None when there are several, or none is shown."""
        found = [
            place
            for place, wrote in enumerate(self.writes)
            if place != reader and any(same(where, cell) and same(new, value) for where, new in wrote)
        ]
        if value is None and not found:
            return START
        return found[0] if len(found) == 1 and value is not None else None

    def add(self, before: int, after: int, kind: str, why: str) -> bool:
        if before == after or self.graph.has_edge(before, after):
            return False
        self.graph.add_edge(before, after, kind=kind, why=why)
        return True

    def arrow(self, before: int, after: int) -> Arrow:
        told = self.graph.edges[before, after]
        return Arrow(before, after, told["kind"], told["why"])

    def arrows(self) -> list[Arrow]:
        return [self.arrow(one, other) for one, other in self.graph.edges]

    def close(self) -> None:
        """Add what the arrows force, until a ring is there or nothing more follows."""
        for _ in range(len(self.operations) ** 2):
            if not self._force() or not nx.is_directed_acyclic_graph(self.graph):
                return

    def _force(self) -> bool:
        forced = False
        for (reader, cell), source in self.source.items():
            for writer, wrote in enumerate(self.writes):
                if writer in (reader, source) or self.operations[writer].outcome == "info":
                    continue
                if any(same(where, cell) for where, _ in wrote):
                    forced |= self._around(reader, source, writer, cell)
        return forced

    def _around(self, reader: int, source: int, writer: int, cell: Value) -> bool:
        """`writer` cannot stand between `source` and `reader`, who found what `source` wrote in `cell`."""
        name = [*self.names, "the initial value"]
        where = f" in {cell}" if self.several else ""
        if source == START or nx.has_path(self.graph, source, writer):
            why = (
                f"{name[reader]} found the initial value{where}: it came before {name[writer]} wrote another one"
                if source == START
                else f"{name[writer]} replaced the value of {name[source]}{where}, which {name[reader]} still found"
            )
            return self.add(reader, writer, OVER, why)
        if nx.has_path(self.graph, writer, reader):
            why = f"{name[reader]} found the value of {name[source]}{where}, not that of {name[writer]} before it"
            return self.add(writer, source, OVER, why)
        return False
