"""The cluster under examination, and the few things that every check does with it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from capsize.client import Client
from capsize.cluster.backend import Backend
from capsize.cluster.cluster import Cluster
from capsize.cluster.node import Node
from capsize.cluster.system import System
from capsize.errors import AdapterError, DefiniteError
from capsize.op import Invocation, Reply, Value

FIXED_KEY = "capsize-doctor"
"""Written in every examination: what an earlier one left is found under it."""
READY_S = 60.0


class Patient:
    """A cluster of the system, started anew when it is wiped. Keys and values are never used twice."""

    def __init__(self, make_system: Callable[[], System], backend: Backend, count: int, *, timeout_s: float) -> None:
        self.make_system = make_system
        self.backend = backend
        self.timeout_s = timeout_s
        self.nodes: tuple[Node, ...] = tuple(backend.create(count))
        self._numbers = itertools.count(1_000_001)
        self._processes = itertools.count(1)
        self.cluster = Cluster(make_system(), backend, self.nodes)

    @property
    def system(self) -> System:
        return self.cluster.system

    @property
    def tells_leader(self) -> bool:
        return "status" in self.system.capabilities()

    def start(self) -> None:
        """Install, start, and wait until a write was accepted."""
        self.cluster.start()
        self.cluster.wait_ready(READY_S)

    def start_anew(self) -> None:
        """The same hosts, a new system: as the first time, but for what the hosts still hold."""
        self.cluster = Cluster(self.make_system(), self.backend, self.nodes)
        self.start()

    def number(self) -> int:
        """Return a value that was never used before."""
        return next(self._numbers)

    def key(self) -> str:
        """Return a key that was never used before."""
        return f"doctor-{next(self._numbers)}"

    @contextmanager
    def client(self, node: Node, *, timeout_s: float | None = None) -> Generator[Client]:
        """An opened client of `node`."""
        client = self.system.client(node, next(self._processes))
        client.timeout_s = timeout_s or self.timeout_s
        client.open()
        try:
            yield client
        finally:
            client.close()

    def unopened(self, node: Node, *, timeout_s: float | None = None) -> Client:
        """A client of `node` that is not open yet."""
        client = self.system.client(node, next(self._processes))
        client.timeout_s = timeout_s or self.timeout_s
        return client

    def ask(self, node: Node, op: Invocation) -> Reply:
        """One operation over a client of its own."""
        with self.client(node) as client:
            return client.invoke(op)

    def write(self, key: str, value: Value, *, within_s: float = 20.0, among: tuple[Node, ...] | None = None) -> Node:
        """Write on whichever node accepts it first; return that node. Raises AdapterError when none does in time."""
        return self._anywhere(Invocation("write", key, value), within_s, among or self.nodes)

    def read(self, node: Node, key: str, *, within_s: float = 20.0) -> Value:
        """Read on this node until it answers; on another one while it refuses (it may not be the leader)."""
        deadline = time.monotonic() + within_s
        others = itertools.cycle([other for other in self.nodes if other is not node] or [node])
        asked = node
        while True:
            try:
                return self.ask(asked, Invocation("read", key)).result
            except Exception as error:  # a client call: whatever it raises means "not yet"
                if time.monotonic() > deadline:
                    raise AdapterError(
                        f"a read on {node.name} was not answered within {within_s:g} s: {type(error).__name__}: {error}"
                    ) from error
                asked = next(others) if asked is node and isinstance(error, DefiniteError) else node
                time.sleep(0.1)

    def read_with(self, client: Client, key: str, *, within_s: float = 20.0) -> Value:
        """Read over this very client until it is answered: right after the check before, a cluster may not be ready.

        Raises AdapterError when it is not in time.
        """
        deadline = time.monotonic() + within_s
        while True:
            try:
                return client.invoke(Invocation("read", key)).result
            except Exception as error:  # a client call: whatever it raises means "not yet"
                if time.monotonic() > deadline:
                    raise AdapterError(
                        f"a read was not answered within {within_s:g} s: {type(error).__name__}: {error}"
                    ) from error
                if not isinstance(error, DefiniteError):
                    client.close()
                    client.open()
                time.sleep(0.1)

    def kill_all(self) -> list[str]:
        """SIGKILL on every node; return the names of those whose process is still there."""
        gone = self.cluster.at_once(lambda node: node.kill())
        return [name for name, ended in gone.items() if ended is not True]

    def restart_all(self) -> None:
        """Start every process again and wait until a write was accepted."""
        self.cluster.at_once(self.cluster.restart)
        self.cluster.wait_ready(READY_S)

    def _anywhere(self, op: Invocation, within_s: float, among: tuple[Node, ...]) -> Node:
        deadline = time.monotonic() + within_s
        last = "nothing was tried"
        for node in itertools.cycle(among):
            try:
                self.ask(node, op)
                return node
            except Exception as error:  # a client call: whatever it raises means "not here, not yet"
                last = f"{node.name}: {type(error).__name__}: {error}"
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        raise AdapterError(f"no node accepted a write within {within_s:g} s; the last said {last}")
