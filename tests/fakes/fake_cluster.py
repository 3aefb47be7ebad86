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
from capsize.cluster.node import (
    Arrivals,
    ClockReading,
    Command,
    Damage,
    DiskProbe,
    Limits,
    ProcessState,
    Shape,
)
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
        self.shapes: dict[str, dict[str, Shape]] = {name: {} for name in self.names}
        self.shut: set[str] = set()
        self.clocks: dict[str, ClockReading] = {}
        self.limits: dict[str, Limits] = {}
        self.refuses_damage = {"flip"}
        """What a node refuses to start on."""
        self.damaged: dict[str, Damage] = {}
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
        damage = self.world.damaged.get(self.name)
        self.world.alive[self.name] = damage is None or damage.how not in self.world.refuses_damage
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

    def drop_from(self, peers: Sequence[Any], *, severed: Sequence[Any] = ()) -> None:
        self._order("drop")
        self.world.drops[self.name] = {peer.name for peer in peers}

    def blocked_from(self, peer: Any) -> bool:
        return peer.name in self.world.drops[self.name] and "leaky" not in self.world.bugs

    def shape_from(self, shapes: Sequence[tuple[Any, Shape]], *, seed: int = 0) -> None:
        self._order("shape")
        self.world.shapes[self.name] = {peer.name: shape for peer, shape in shapes}

    def arrivals_from(
        self, peer: Any, *, count: int = 50, gap_ms: float = 2.0, wait_ms: float = 300.0, size: int = 0
    ) -> Arrivals:
        if peer.name in self.world.drops[self.name]:
            return Arrivals(count, (), (), 0, size)
        shape = self.world.shapes[self.name].get(peer.name, Shape())
        if "leaky" in self.world.bugs:
            shape = Shape()
        numbers = list(range(int(count * shape.loss), count))
        if shape.reorder:
            numbers[:2] = reversed(numbers[:2])
        if shape.duplicate:
            numbers.append(numbers[-1])
        delays = [shape.delay_ms + (shape.jitter_ms if n % 2 else 0.0) for n in range(len(numbers))]
        if shape.rate_kbit:
            delays = [n * size * 8 / shape.rate_kbit for n in range(len(numbers))]
        return Arrivals(count, tuple(numbers), tuple(delays), 3 if shape.corrupt else 0, size, delays[-1] + 1.0)

    def shut_clients_out(self, shut: bool, peers: Sequence[Any]) -> None:
        self._order("shut-out" if shut else "let-in")
        (self.world.shut.add if shut else self.world.shut.discard)(self.name)

    def clients_shut_out(self) -> bool:
        return self.name in self.world.shut and "leaky" not in self.world.bugs

    def set_clock(self, *, offset_s: float = 0.0, rate: float = 1.0) -> None:
        self._order("clock")
        self.world.clocks[self.name] = ClockReading(offset_s, rate, "static" not in self.world.bugs)

    def strobe_clock(self, *, offset_s: float, period_ms: float) -> None:
        self._order("strobe")
        self.world.clocks[self.name] = ClockReading(offset_s, 1.0, True, 4)

    def read_clock(self, *, watch_s: float = 0.3) -> ClockReading:
        return self.world.clocks.get(self.name, ClockReading(0.0, 1.0, True))

    def limit(self, *, cpus: float | None = None, memory_bytes: int | None = None) -> None:
        self._order("limit")
        self.world.limits[self.name] = Limits(cpus, memory_bytes)

    def limits(self) -> Limits:
        seen = self.world.limits.get(self.name, Limits(None, None))
        return Limits(seen.cpus, seen.memory_bytes, 20 << 20)

    def cpu_obtained(self, *, for_s: float = 0.3) -> float:
        return 1.0 if "leaky" in self.world.bugs else self.limits().cpus or 1.0

    def damage(self, how: str, *, pattern: str = "", seed: int = 0, traces: Sequence[str] = ()) -> Damage:
        self._order(f"damage-{how}")
        self.world.damaged[self.name] = Damage(how, "log", 10, 1, 100, 100, 0, 7)
        return self.world.damaged[self.name]

    def repair(self, damage: Damage) -> bool:
        self._order("repair")
        return self.world.damaged.pop(self.name, None) is not None

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
