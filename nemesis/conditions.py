"""What faults make of the conditions a node lives under: the quality of its links, its clients, its clock, its limits.

Links add up: two faults on one link give both delays, either loss, the slower rate. Of a node's clock, CPU and memory
one fault at a time is in charge; one that comes second is skipped. The rest is as in `holds`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from capsize.cluster.node import Shape
from capsize.errors import Declined

if TYPE_CHECKING:
    from capsize.cluster.node import Node

Errors = dict[str, str]
OnEach = Callable[[Iterable[str], Callable[[str], object]], Errors]
Links = Mapping[str, Mapping[str, Shape]]
"""Receiver -> sender -> what happens to packets on the way."""

CHARGES = ("clock", "cpu", "memory")
"""What one fault at a time may be in charge of, on each node."""


class Conditions:
    """Who changed what. `on_each` does something on many nodes at once and returns what went wrong, by node."""

    def __init__(self, nodes: Mapping[str, Node], on_each: OnEach) -> None:
        self._nodes = nodes
        self._on_each = on_each
        self._lock = threading.RLock()
        self._working = {name: threading.Lock() for name in nodes}
        self._links: dict[int, Links] = {}
        self._shut: dict[str, set[int]] = {name: set() for name in nodes}
        self._charge: dict[tuple[str, str], int] = {}
        self._limits: dict[str, dict[str, float]] = {name: {} for name in nodes}

    # -- links -------------------------------------------------------------------------------------------------
    def shape(self, fault: int, links: Links) -> Errors:
        """Add these shapes to what happens on these links."""
        with self._lock:
            self._links[fault] = links
        return self._reshape(links)

    def unshape(self, fault: int) -> Errors:
        """Take away what `fault` added."""
        with self._lock:
            links = self._links.pop(fault, {})
        return self._reshape(links)

    def shape_now(self, receiver: str, sender: str) -> Shape | None:
        """Return what happens on a link now, all faults together; None when nothing does."""
        with self._lock:
            given = [links[receiver][sender] for links in self._links.values() if sender in links.get(receiver, {})]
        return together(given) if given else None

    def _reshape(self, receivers: Iterable[str]) -> Errors:
        def apply(receiver: str) -> None:
            with self._working[receiver]:  # read and applied as one step, or an older set could be applied last
                found = {sender: self.shape_now(receiver, sender) for sender in self._nodes}
                shapes = [(self._nodes[sender], shape) for sender, shape in found.items() if shape is not None]
                self._nodes[receiver].shape_from(shapes, seed=sum(receiver.encode()))

        return self._on_each(receivers, apply)

    # -- clients -----------------------------------------------------------------------------------------------
    def shut_out(self, fault: int, names: Iterable[str]) -> Errors:
        """Cut clients off from these nodes."""
        targets = list(names)
        with self._lock:
            for name in targets:
                self._shut[name].add(fault)
        return self._on_each(targets, self._shut_or_open)

    def let_in(self, fault: int, names: Iterable[str]) -> Errors:
        """Let them in again where no other fault wants them out."""
        targets = list(names)
        with self._lock:
            for name in targets:
                self._shut[name].discard(fault)
        return self._on_each(targets, self._shut_or_open)

    def shut(self, name: str) -> bool:
        """Return whether some fault keeps clients from `name`."""
        with self._lock:
            return bool(self._shut[name])

    def _shut_or_open(self, name: str) -> None:
        with self._working[name]:
            self._nodes[name].shut_clients_out(self.shut(name), list(self._nodes.values()))

    # -- clocks and limits -------------------------------------------------------------------------------------
    def in_charge(self, what: str, name: str) -> int | None:
        """Return the fault in charge of the "clock", "cpu" or "memory" of `name`; None when none is."""
        with self._lock:
            return self._charge.get((what, name))

    def take(self, what: str, fault: int, names: Iterable[str], order: Callable[[Node], object]) -> Errors:
        """Put `fault` in charge of all of them and give the order. Raises Declined where another one came first."""
        targets = list(names)
        with self._lock:
            for name in targets:
                by = self._charge.get((what, name), fault)
                if by != fault:
                    raise Declined(f"fault {by} came first to the {what} of {name}")
            self._charge.update(((what, name), fault) for name in targets)
        return self._on_each(targets, lambda name: order(self._nodes[name]))

    def give(self, what: str, fault: int, names: Iterable[str], order: Callable[[Node], object]) -> Errors:
        """Undo with this order, and be in charge no longer, where `fault` is."""
        ours = [name for name in names if self.in_charge(what, name) == fault]
        errors = self._on_each(ours, lambda name: order(self._nodes[name]))
        with self._lock:
            for name in ours:
                if name not in errors:
                    del self._charge[what, name]
        return errors

    def limit(self, node: Node, what: str, value: float | None) -> None:
        """Limit the "cpu" (CPUs) or "memory" (bytes) of a node and leave the other as it is; None: no limit."""
        with self._working[node.name]:
            limits = self._limits[node.name]
            if value is None:
                limits.pop(what, None)
            else:
                limits[what] = value
            memory = limits.get("memory")
            node.limit(cpus=limits.get("cpu"), memory_bytes=None if memory is None else int(memory))

    def limited(self, name: str, what: str) -> float | None:
        """Return the limit that was asked for."""
        return self._limits[name].get(what)

    # -- everything --------------------------------------------------------------------------------------------
    def heal_all(self) -> Errors:
        """Undo everything any fault still holds."""
        with self._lock:
            shaped = {receiver for links in self._links.values() for receiver in links}
            self._links.clear()
            shut = [name for name, faults in self._shut.items() if faults]
            for faults in self._shut.values():
                faults.clear()
            clocks = [name for what, name in self._charge if what == "clock"]
            limited = [name for name, limits in self._limits.items() if limits]
            self._charge.clear()
            for limits in self._limits.values():
                limits.clear()
        errors = self._reshape(shaped)
        errors |= self._on_each(shut, self._shut_or_open)
        errors |= self._on_each(clocks, lambda name: self._nodes[name].set_clock())
        errors |= self._on_each(limited, lambda name: self._nodes[name].limit())
        return errors


def together(shapes: Iterable[Shape]) -> Shape:
    """Return what several shapes on one link amount to.

    >>> together([Shape(delay_ms=20, loss=0.5), Shape(delay_ms=10, loss=0.5, rate_kbit=100)])
    Shape(delay_ms=30.0, jitter_ms=0.0, loss=0.75, reorder=0.0, corrupt=0.0, duplicate=0.0, rate_kbit=100)
    """
    whole = Shape()
    for shape in shapes:
        rates = [rate for rate in (whole.rate_kbit, shape.rate_kbit) if rate is not None]
        whole = Shape(
            whole.delay_ms + shape.delay_ms,
            whole.jitter_ms + shape.jitter_ms,
            1 - (1 - whole.loss) * (1 - shape.loss),
            1 - (1 - whole.reorder) * (1 - shape.reorder),
            1 - (1 - whole.corrupt) * (1 - shape.corrupt),
            1 - (1 - whole.duplicate) * (1 - shape.duplicate),
            min(rates) if rates else None,
        )
    return whole
