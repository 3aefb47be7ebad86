"""Nodes as processes of this machine, on loopback: no engine and no root are needed.

Links between nodes go through the relay (`relay.py`). As root on Linux every node also has a disk of its own, an
ext4 on a loop device, mounted in a mount namespace of the node's agent: nobody else sees it, and when the last
process of the node has ended the kernel takes mount and loop device away.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import capsize
from capsize.cluster import agent as agent_file
from capsize.cluster.agent_node import AgentNode, heal_all
from capsize.cluster.backend import Backend
from capsize.cluster.ledger import Ledger, Owner, ledgers
from capsize.cluster.node import Node, Shape
from capsize.cluster.orders import Agent
from capsize.errors import BackendError, Refused

HOST = "127.0.0.1"
PORTS = range(20000, 32000)
"""Below the range from which Linux takes the ports of outgoing connections: a node that restarts finds its own free."""


NO_CLIENTS = "clients reach nodes on loopback directly, not through the relay, and cannot be cut off"


class LocalNode(AgentNode):
    """A node on loopback; from another node it is reached through the relay of that link."""

    relay: Agent

    def reach(self, port: str, *, frm: Node | None = None) -> tuple[str, int]:
        direct = self.listen(port)
        if frm is None or frm is self:
            return direct
        opened = self.relay.order("open", frm=frm.name, to=self.name, port=port, target=list(direct))
        return HOST, int(opened["port"])

    def drop_from(self, peers: Sequence[Node], *, severed: Sequence[Node] = ()) -> None:
        self.relay.order(
            "cut", to=self.name, frm=[peer.name for peer in peers], severed=[peer.name for peer in severed]
        )

    def shape_from(self, shapes: Sequence[tuple[Node, Shape]], *, seed: int = 0) -> None:
        given = {peer.name: asdict(shape) for peer, shape in shapes}
        self.relay.order("shape", to=self.name, shapes=given, seed=seed)

    def shapes_now(self, peers: Sequence[Node]) -> frozenset[str]:
        shaped = self.relay.order("ping")["shaped"]
        return frozenset(peer.name for peer in peers if f"{peer.name}-{self.name}" in shaped)

    def shut_clients_out(self, shut: bool, peers: Sequence[Node]) -> None:
        if shut:
            raise Refused(f"{self.name}: {NO_CLIENTS}")

    def clients_shut_out(self) -> bool:
        return False

    def _probe_way(self, peer: AgentNode, port: int) -> tuple[str, int]:
        opened = self.relay.order("open_datagrams", frm=peer.name, to=self.name, target=[HOST, port])
        return HOST, int(opened["port"])

    def _probe_sent(self) -> None:
        """Ping the relay twice: it has then gone once through everything that had reached it before."""
        self.relay.order("ping")
        self.relay.order("ping")


class LocalBackend(Backend):
    """Processes on loopback; real disks for root on Linux."""

    name = "local"

    def __init__(
        self, label: str, *, disks: bool | None = None, disk_mb: int = 256, base_port: int | None = None
    ) -> None:
        self.label = label
        self.disk_mb = disk_mb
        self.base_port = base_port
        self.nodes: tuple[LocalNode, ...] = ()
        self._no_disks = "disks were switched off" if disks is False else _why_no_disks()
        self._no_clock = _why_no_clock()
        self._no_pressure = _why_no_pressure()
        self._ledger: Ledger | None = None
        self._children: list[subprocess.Popen[bytes]] = []
        self._relay: Agent | None = None
        self._work: Path | None = None
        self._ports: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def capabilities(self) -> frozenset[str]:
        found = {"processes", "network", "shape"}
        if not self._no_disks:
            found |= {"disks", "power"}
        if not self._no_clock:
            found |= {"clock", "monotonic"}
        if not self._no_pressure:
            found.add("pressure")
        return frozenset(found)

    def why_not(self, capability: str) -> str:
        if capability in ("disks", "power"):
            return f"local: {self._no_disks or 'real disks are there'}"
        if capability == "clients":
            return f"local: {NO_CLIENTS}; use docker or ssh"
        if capability in ("clock", "monotonic"):
            return f"local: {self._no_clock or 'clocks can be set'}"
        if capability == "pressure":
            return f"local: {self._no_pressure or 'limits can be set'}"
        return f"local: nodes on loopback have no {capability!r}; the docker backend may"

    def create(self, count: int) -> Sequence[Node]:
        self._ledger = Ledger.open(self.label)
        try:
            self._work = Path(tempfile.mkdtemp(prefix=f"capsize-{self.label}-"))
            self._ledger.record("folder", path=str(self._work))
            self._relay = self._spawn(
                "relay", [sys.executable, "-m", "capsize.cluster.relay", HOST], PYTHONPATH=_python_path()
            )
            names = [f"n{number}" for number in range(1, count + 1)]
            for name in names:  # ports first: a port in use is told before anything is made
                self._number(name, "peer")
            with ThreadPoolExecutor(count) as pool:
                self.nodes = tuple(pool.map(self._host, names))
        except BaseException:
            self.destroy()
            raise
        return self.nodes

    def _host(self, name: str) -> LocalNode:
        assert self._work is not None
        assert self._relay is not None
        root = self._work / name
        root.mkdir()
        config = {
            "label": self.label, "node": name, "root": str(root), "disk_mb": self.disk_mb,
            "ends": True, "private": not self._no_disks,
        }  # fmt: skip
        agent = self._spawn(name, [sys.executable, str(Path(agent_file.__file__)), json.dumps(config)])
        node = LocalNode(name, agent, str(root), HOST, lambda port: self._number(name, port), lambda: self._no_disks)
        node.relay = self._relay
        node.python = sys.executable
        agent.order("hello", within_s=20.0)
        if not self._no_disks:
            made = agent.order("create_disk", within_s=30.0)
            self._record("loop", device=made["loop"], image=made["image"])
        return node

    def _spawn(self, name: str, argv: list[str], **more: str) -> Agent:
        """Start the relay or an agent, detached from our terminal and our process group."""
        assert self._work is not None
        log = self._work / f"{name}.agent.log"
        ours = {"CAPSIZE_RUN": self.label, "CAPSIZE_OWNER": str(Owner.this())}
        with log.open("wb") as err:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                bufsize=0,
                start_new_session=True,
                cwd="/",
                env={**os.environ, **ours, **more},
            )
        with self._lock:
            self._children.append(child)
        if self._ledger is not None:
            self._ledger.record_process(child.pid)
        assert child.stdin is not None
        assert child.stdout is not None
        return Agent(name, _writer(child.stdin), _lines(child.stdout), lambda: _last_words(child, log))

    def _record(self, kind: str, **facts: Any) -> None:
        if self._ledger is not None:
            self._ledger.record(kind, **facts)

    def _number(self, node: str, port: str) -> int:
        """Return the port number of a node for a purpose; the same one each time it is asked for."""
        with self._lock:
            if (node, port) in self._ports:
                return self._ports[node, port]
            if self.base_port is not None:
                number: int = self.base_port + len(self._ports)
                if not _free(number):
                    raise BackendError(
                        f"local: port {number} of {HOST} is in use; "
                        "choose another base port, or none to have free ones found"
                    )
            else:
                number = self._find_port()
            self._ports[node, port] = number
            self._record("port", number=number)
            return number

    def _find_port(self) -> int:
        taken = {int(thing["number"]) for ledger in ledgers() for thing in ledger.all("port")}
        taken.update(self._ports.values())
        first = PORTS.start + (os.getpid() * 97) % len(PORTS)
        for number in itertools.chain(range(first, PORTS.stop), range(PORTS.start, first)):
            if number not in taken and _free(number):
                return number
        raise BackendError(f"local: no free port between {PORTS.start} and {PORTS.stop - 1} of {HOST}")

    def heal(self) -> Sequence[str]:
        problems: list[str] = []
        if self._relay is not None:
            try:
                self._relay.order("heal")
            except BackendError as error:
                problems.append(str(error))
        return [*problems, *heal_all(self.nodes)]

    def destroy(self) -> None:
        """End agents by the end of their stdin: each heals, ends its process, unmounts, and goes."""
        children, self._children = self._children, []
        for child in children:
            assert child.stdin is not None
            try:
                child.stdin.close()
            except OSError:
                continue
        for child in children:
            try:
                child.wait(15.0)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(5.0)
        if self._work is not None:
            shutil.rmtree(self._work, ignore_errors=True)
            self._work = None
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        self.nodes = ()

    def describe(self) -> dict[str, object]:
        return {
            "name": self.name, "disks": self._no_disks or f"ext4, {self.disk_mb} MB, on a loop device",
            "ports": {f"{node}/{port}": number for (node, port), number in self._ports.items()},
        }  # fmt: skip


def _python_path() -> str:
    """Return a PYTHONPATH that finds this very package, wherever it was imported from."""
    here = str(Path(capsize.__file__).parent.parent)
    return os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))


def _why_no_disks() -> str:
    """Return why this machine gives no real disks; empty when it does."""
    if not sys.platform.startswith("linux"):
        return "real disks need Linux; use the docker backend"
    if os.geteuid() != 0:
        return "real disks need root (loop devices, mounts); run as root, or use the docker backend"
    if not os.access("/dev/loop-control", os.R_OK | os.W_OK):
        return "real disks need /dev/loop-control, which is not here; use the docker backend"
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    if shutil.which("mkfs.ext4", path=search) is None:
        return "real disks need mkfs.ext4; install e2fsprogs"
    return ""


def _why_no_clock() -> str:
    """Return why no clock can be set here; empty when libfaketime is installed."""
    if not sys.platform.startswith("linux"):
        return "clocks are set through libfaketime, on Linux only; use the docker backend"
    if not any(list(Path("/").glob(f"{place[1:]}/libfaketimeMT.so.1")) for place in agent_file.Clock.PLACES):
        return "clocks are set through libfaketime, which is not installed (Debian: apt-get install libfaketime)"
    return ""


def _why_no_pressure() -> str:
    """Return why processes cannot be limited here; empty when control groups can be made."""
    if not sys.platform.startswith("linux"):
        return "limits need Linux's control groups; use the docker backend"
    if os.geteuid() != 0:
        return "limits need root (control groups); run as root, or use the docker backend"
    root = Path(agent_file.Limits.ROOT)
    two = (root / "cgroup.controllers").exists()
    for folder in [root] if two else [root / "cpu", root / "memory"]:
        if not os.access(folder, os.W_OK):
            return f"limits need control groups that can be made in {folder}; use the docker backend"
    return ""


def _free(number: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, number))
        except OSError:
            return False
    return True


def _writer(pipe: IO[bytes]) -> Callable[[bytes], None]:
    def send(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[pipe.write(rest) :]

    return send


def _lines(pipe: IO[bytes]) -> Iterator[bytes]:
    with os.fdopen(os.dup(pipe.fileno()), "rb") as buffered:
        yield from buffered


def _last_words(child: subprocess.Popen[bytes], log: Path) -> str:
    try:
        said = log.read_text(errors="replace").strip().splitlines()[-1:]
    except OSError:
        said = []
    return said[0] if said else f"exit code {child.poll()}"
