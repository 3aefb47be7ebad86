"""A cluster that lives in this process: one linearizable map behind nodes that can be killed, cut off and frozen.

For tests of the nemesis, the load and the runner. Nodes keep the contract of `capsize.cluster.node.Node` as far as
those use it. `World.bugs` makes the map lie.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capsize.client import Client
from capsize.cluster.cluster import Cluster
from capsize.cluster.node import Command, DiskProbe, ProcessState
from capsize.cluster.system import NodeStatus, System
from capsize.errors import BackendError, DefiniteError
from capsize.op import Invocation, Reply, Value


class World:
    """What is true: the map, and the state of every node."""

    def __init__(self, count: int = 5) -> None:
        self.lock = threading.RLock()
        self.values: dict[Value, Value] = {}
        self.names = [f"n{number}" for number in range(1, count + 1)]
        self.alive = dict.fromkeys(self.names, False)
        self.stopped = dict.fromkeys(self.names, False)
        self.frozen = dict.fromkeys(self.names, False)
        self.disk = dict.fromkeys(self.names, "")
        self.drops: dict[str, set[str]] = {name: set() for name in self.names}
        self.gone: set[str] = set()
        self.bugs: set[str] = set()
        self.orders: list[str] = []
        self.writes = 0
        self.led = ""
        self.term = 0
        self.destroyed = False
        self.hang = threading.Event()
        self.hang.set()

    def well(self, name: str) -> bool:
        return self.alive[name] and not self.stopped[name] and not self.frozen[name]

    def serves(self, name: str) -> bool:
        """Whether this node is well and hears a majority that hears it."""
        if not self.well(name):
            return False
        near = [o for o in self.names if self.well(o) and o not in self.drops[name] and name not in self.drops[o]]
        return len(near) > len(self.names) // 2

    def leader(self) -> str | None:
        return next((name for name in self.names if self.serves(name)), None)


class FakeNode:
    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.log_dir, self.data_dir, self.install_dir = "/log", "/data", "/install"

    def _order(self, what: str) -> None:
        if self.name in self.world.gone:
            raise BackendError(f"{self.name}: the host is gone")
        self.world.orders.append(f"{what} {self.name}")

    def start(self, command: Command) -> int:
        self._order("start")
        self.world.alive[self.name] = True
        return 1

    def kill(self, *, wait_s: float = 5.0) -> bool:
        self._order("kill")
        self.world.alive[self.name] = self.world.stopped[self.name] = False
        return True

    def signal(self, number: int) -> None:
        self._order(f"signal-{number}")
        if number == 19:
            self.world.stopped[self.name] = True
        elif number == 18:
            self.world.stopped[self.name] = False
        else:
            self.world.alive[self.name] = False

    def process(self) -> ProcessState:
        if self.name in self.world.gone:
            raise BackendError(f"{self.name}: the host is gone")
        alive = self.world.alive[self.name]
        return ProcessState(
            alive, 1 if alive else None, ("T" if self.world.stopped[self.name] else "S") if alive else None
        )

    def drop_from(self, peers: Sequence[Any]) -> None:
        self._order("drop")
        self.world.drops[self.name] = {peer.name for peer in peers}

    def blocked_from(self, peer: Any) -> bool:
        return peer.name in self.world.drops[self.name] and "leaky" not in self.world.bugs

    def freeze_disk(self) -> None:
        self._order("freeze")
        self.world.frozen[self.name] = True

    def thaw_disk(self) -> None:
        self._order("thaw")
        self.world.frozen[self.name] = False
        self.world.disk[self.name] = ""

    def slow_disk(self, *, stall_ms: float, run_ms: float) -> None:
        self._order("slow")
        self.world.disk[self.name] = "slow"

    def fill_disk(self) -> int:
        self._order("fill")
        self.world.disk[self.name] = "full"
        self.world.alive[self.name] = False  # as a system that ends itself when it cannot write
        return 1

    def drain_disk(self) -> None:
        self._order("drain")
        self.world.disk[self.name] = ""

    def break_disk(self) -> None:
        self._order("break")
        self.world.disk[self.name] = "dead"

    def power_off(self) -> tuple[str, ...]:
        self._order("power-off")
        self.world.alive[self.name] = False
        self.world.disk[self.name] = "off"
        return ("disk-cut", "killed", "unmounted")

    def power_on(self) -> tuple[str, ...]:
        self._order("power-on")
        self.world.disk[self.name] = ""
        return ("mounted",)

    def disk_probe(self, *, wait_s: float = 0.2) -> DiskProbe:
        if self.world.frozen[self.name]:
            return DiskProbe("stalled", 200.0)
        said = {"full": "No space left on device", "dead": "Input/output error", "off": "not mounted"}
        state = self.world.disk[self.name]
        if state in said:
            return DiskProbe("failed", 1.0, said[state])
        return DiskProbe("done", 120.0 if state == "slow" else 1.0)

    def read_tail(self, source: str, offset: int) -> tuple[bytes, int]:
        return b"", 0

    def download(self, source: str, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        (target / "node.log").write_text("hello\n")


class FakeClient(Client):
    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name

    def open(self) -> None:
        if not self.world.alive[self.name]:
            raise DefiniteError("connection refused")

    def invoke(self, op: Invocation) -> Reply:
        time.sleep(0.001)
        self.world.hang.wait(30)
        world = self.world
        with world.lock:
            if not world.alive[self.name]:
                raise ConnectionResetError("reset")
            if not world.serves(self.name):
                raise TimeoutError("no majority")
            return Reply(self._apply(op), {"served_by": self.name, "term": 1})

    def _apply(self, op: Invocation) -> Value:
        values = self.world.values
        if op.f in ("read", "get"):
            if "blind" in self.world.bugs:
                return None
            return values.get(op.key)
        if op.f in ("write", "put"):
            self.world.writes += 1
            if not ("lossy" in self.world.bugs and self.world.writes % 10 == 0):
                values[op.key] = op.value
            return None
        if op.f == "cas":
            assert isinstance(op.value, tuple)
            old, new = op.value
            if values.get(op.key) != old:
                return False
            values[op.key] = new
            return True
        raise DefiniteError(f"no command is called {op.f}")


class FakeSystem(System):
    """A map in this process."""

    name = "fake"
    options = {"depth": "how deep"}  # noqa: RUF012

    world = World()

    def install(self, node: Any) -> None:
        return

    def command(self, node: Any) -> Command:
        return Command(("fake",))

    def client(self, node: Any, process: int) -> Client:
        return FakeClient(self.world, node.name)

    def status(self, node: Any) -> NodeStatus:
        if not self.world.well(node.name):
            raise ConnectionRefusedError(node.name)
        with self.world.lock:
            leader = self.world.leader()
            if leader is not None and leader != self.world.led:
                self.world.led, self.world.term = leader, self.world.term + 1
            return NodeStatus(node.name, "leader" if leader == node.name else "follower", self.world.term)


class FakeBackend:
    """A place in this process."""

    name = "fake"
    label = "fake"

    def __init__(self, world: World, able: Sequence[str] = ("processes", "network", "disks", "power")) -> None:
        self.world, self.able = world, frozenset(able)

    def capabilities(self) -> frozenset[str]:
        return self.able

    def why_not(self, capability: str) -> str:
        return f"no {capability} in a fake"

    def describe(self) -> dict[str, object]:
        return {"name": "fake"}

    def heal(self) -> list[str]:
        for name in self.world.names:
            self.world.drops[name] = set()
            self.world.frozen[name] = self.world.stopped[name] = False
        return []

    def destroy(self) -> None:
        self.world.destroyed = True


def nodes_of(world: World) -> list[Any]:
    return [FakeNode(world, name) for name in world.names]


def cluster_of(
    world: World, system: System, able: Sequence[str] = ("processes", "network", "disks", "power")
) -> Cluster:
    backend: Any = FakeBackend(world, able)
    FakeSystem.world = world
    return Cluster(system, backend, nodes_of(world))
