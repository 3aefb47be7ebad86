"""Nodes as real machines, reached by ssh: the same agent, the same orders, over one channel a host.

Nothing stays on a host: at the end of its channel, or when nothing was heard for a while, the agent heals, ends the
system's process, unmounts, removes its firewall chain and its folder.
"""

from __future__ import annotations

import json
import logging
import shlex
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import paramiko

from capsize.cluster import agent as agent_file
from capsize.cluster import damage as damage_file
from capsize.cluster import shaper as shaper_file
from capsize.cluster.agent_node import AgentNode, heal_all
from capsize.cluster.backend import Backend
from capsize.cluster.hosts import Host
from capsize.cluster.ledger import Ledger, Owner
from capsize.cluster.node import Node
from capsize.cluster.orders import Agent, Send
from capsize.cluster.ssh_connection import KEEPALIVE_S, Connector, channel_for, put_files
from capsize.errors import BackendError, UsageError

log = logging.getLogger(__name__)

FILES = (agent_file.__file__, shaper_file.__file__, damage_file.__file__)
"""What is put on a host: the agent, and what it starts."""
FIRST_PORT = 7001
DEADMAN_S = 60.0
"""An agent that hears nothing for so long takes its controller for dead."""
SILENT_S = 15.0
"""A connection over which nothing came for so long, though pings were sent, is taken for lost."""
WAITS_S = 20.0
"""So long an agent whose connection was lost waits, healed, for the next one."""


class SshBackend(Backend):
    """Hosts that run sshd and Python 3.8 or newer; as root (or with sudo) on Linux they get every fault."""

    name = "ssh"

    def __init__(
        self, label: str, *, hosts: Sequence[Host], user: str | None = None, port: int = 22, key: Path | None = None,
        known_hosts: Path | None = None, strict: bool = True, sudo: bool = False, disks: bool | None = None,
        disk_mb: int = 256,
    ) -> None:  # fmt: skip
        self.label = label
        self.hosts = tuple(hosts)
        self.way = Connector(user, port, key, known_hosts, strict, sudo)
        self.disk_mb = disk_mb
        self.nodes: tuple[AgentNode, ...] = ()
        self._no_disks = "disks were switched off" if disks is False else ""
        self._no_network = ""
        self._no_shape = ""
        self._no_clock = ""
        self._no_pressure = ""
        self._clients: dict[str, paramiko.SSHClient] = {}
        self._lost: list[str] = []
        """What connections that were lost did to the run, not told yet."""
        self._ports: dict[str, int] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ledger: Ledger | None = None

    def capabilities(self) -> frozenset[str]:
        """Return what the hosts can do; before `create` has met them, what hosts can do in general."""
        found = {"processes"}
        if not self._no_network:
            found |= {"network", "clients"}
        if not self._no_clock:
            found |= {"clock", "monotonic"}
        if not self._no_pressure:
            found.add("pressure")
        if not self._no_shape:
            found.add("shape")
        if not self._no_disks:
            found |= {"disks", "power"}
        return frozenset(found)

    def why_not(self, capability: str) -> str:
        if capability in ("disks", "power"):
            return f"ssh: {self._no_disks or 'real disks are there'}"
        if capability in ("clock", "monotonic"):
            return f"ssh: {self._no_clock or 'clocks can be set'}"
        if capability == "pressure":
            return f"ssh: {self._no_pressure or 'limits can be set'}"
        if capability in ("network", "clients"):
            return f"ssh: {self._no_network or 'links can be cut'}"
        if capability == "shape":
            return f"ssh: {self._no_shape or 'packets can be shaped'}"
        return f"ssh: these hosts have no {capability!r}"

    def describe(self) -> dict[str, object]:
        return {
            "name": self.name, "hosts": {node.name: node.address for node in self.nodes}, "ports": dict(self._ports),
            "disks": self._no_disks or f"ext4, {self.disk_mb} MB, on a loop device",
        }  # fmt: skip

    # -- bringing up -----------------------------------------------------------------------------------------
    def create(self, count: int) -> Sequence[Node]:
        if count > len(self.hosts):
            raise UsageError(f"--nodes: {count} nodes were asked for, and only {len(self.hosts)} hosts are named")
        self._ledger = Ledger.open(self.label)
        try:
            names = [f"n{number}" for number in range(1, count + 1)]
            with ThreadPoolExecutor(count) as pool:
                self.nodes = tuple(pool.map(self._host, names, self.hosts))
                self._see_what_they_can(pool)
            threading.Thread(target=self._keep_alive, name="ssh keepalive", daemon=True).start()
        except BaseException:
            self.destroy()
            raise
        return self.nodes

    def _host(self, name: str, host: Host) -> AgentNode:
        where = f"ssh: {name} ({host.host})"
        client = self.way.connect(where, host)
        with self._lock:
            self._clients[name] = client
        root = f"/var/tmp/capsize-{self.label}-{name}"
        if self._ledger is not None:
            self._ledger.record("host", host=host.host, root=root)
        config = {
            "label": self.label, "node": name, "root": root, "disk_mb": self.disk_mb, "ends": True, "removes": True,
            "private": True, "deadman_s": DEADMAN_S, "waits_s": WAITS_S, "owner": str(Owner.this()),
        }  # fmt: skip
        put_files(client, where, [Path(file) for file in FILES], root)
        script = f"python3 -u {root}/agent.py"
        channel = channel_for(client, self.way.become(f"{script} {shlex.quote(json.dumps(config))}"), silent_s=SILENT_S)
        said: deque[str] = deque(maxlen=5)
        threading.Thread(target=_listen, args=(channel, said), name=f"stderr of {name}", daemon=True).start()

        def again() -> tuple[Send, Iterable[bytes]]:
            return self._come_back(name, where, host, self.way.become(f"{script} --attach {root}"))

        agent = Agent(name, channel.sendall, channel.makefile("rb"), partial(_last, said), again=again)
        agent.order("hello", within_s=20.0)
        return AgentNode(name, agent, root, _address(host.host), self._number, lambda: self._no_disks)

    def _come_back(self, name: str, where: str, host: Host, command: str) -> tuple[Send, Iterable[bytes]]:
        """Connect again to an agent whose connection was lost, and note what it had healed meanwhile."""
        began = time.monotonic()
        log.warning("%s: the connection was lost", where)
        if self._ended.is_set():
            raise BackendError(f"{name}: the agent is gone")
        try:
            client = self.way.connect(where, host)
            with self._lock:
                before, self._clients[name] = self._clients.get(name), client
            if before is not None:
                before.close()
            channel = channel_for(client, command, silent_s=SILENT_S)
            answers = channel.makefile("rb")
            greeting = answers.readline()
            if not greeting:
                said = channel.makefile_stderr("rb").readline().decode(errors="replace").strip()
                raise BackendError(said or "the agent said nothing")
            healed = [str(word) for word in json.loads(greeting).get("healed", ())]
        except (BackendError, paramiko.SSHException, OSError, EOFError, ValueError) as error:
            raise BackendError(f"{name}: the agent is gone: its connection was lost, and {error}") from None
        told = f"{name}: the ssh connection was lost, and back after {time.monotonic() - began:.1f} s"
        log.warning("%s; healed meanwhile: %s", told, ", ".join(healed) or "nothing")
        if healed:
            with self._lock:
                self._lost.append(f"{told}; its agent had healed {', '.join(healed)} by itself")
        return channel.sendall, answers

    def _see_what_they_can(self, pool: ThreadPoolExecutor) -> None:
        """Prepare firewall and disks on every host; what one of them refuses, none has."""
        if failed := _first_failure(pool, self.nodes, "prepare_network"):
            self._no_network = f"links cannot be cut ({failed}); run as root, or with sudo"
            self._no_shape = f"packets cannot be shaped ({failed}); run as root, or with sudo"
        else:
            self._no_shape = next(filter(None, pool.map(AgentNode.why_no_shape, self.nodes)), "")
        self._no_clock = next(filter(None, pool.map(AgentNode.why_no_clock, self.nodes)), "")
        self._no_pressure = next(filter(None, pool.map(AgentNode.why_no_pressure, self.nodes)), "")
        if self._no_disks:
            return
        if failed := _first_failure(pool, self.nodes, "create_disk"):
            self._no_disks = f"real disks cannot be had ({failed}); run as root, or with sudo"
            _first_failure(pool, self.nodes, "unmount")

    def _keep_alive(self) -> None:
        """Let every agent hear from us, so that it ends only when we are gone, and us from it."""
        while not self._ended.wait(KEEPALIVE_S):
            for node in self.nodes:
                node.agent.order_async("ping")

    def _number(self, port: str) -> int:
        with self._lock:
            return self._ports.setdefault(port, FIRST_PORT + len(self._ports))

    # -- taking down -----------------------------------------------------------------------------------------
    def heal(self) -> Sequence[str]:
        """As every backend; also tells, once, which faults did not last because a connection was lost."""
        problems = heal_all(self.nodes)
        with self._lock:
            lost, self._lost = self._lost, []
        return [*lost, *problems]

    def destroy(self) -> None:
        self._ended.set()
        asked = [(node, node.agent.order_async("quit")) for node in self.nodes]
        for node, future in asked:
            try:
                node.agent.answer(future, "quit", 15.0)
            except BackendError as error:
                log.warning("%s; its agent ends by itself within %g s of silence", error, DEADMAN_S)
        for client in list(self._clients.values()):
            client.close()
        self._clients.clear()
        self.nodes = ()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None


def _last(said: deque[str]) -> str:
    return said[-1] if said else ""


def _listen(channel: paramiko.Channel, said: deque[str]) -> None:
    rest = b""
    while not channel.closed:
        try:
            data = channel.recv_stderr(4096)
        except TimeoutError:  # silence on stderr is what there should be
            continue
        except OSError:
            return
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        said.extend(line.decode(errors="replace").strip() for line in lines)


def _address(host: str) -> str:
    """Return the address by which the other nodes and the firewall know a host."""
    try:
        return str(socket.getaddrinfo(host, None, socket.AF_INET)[0][4][0])
    except OSError as error:
        raise BackendError(f"ssh: {host} has no IPv4 address: {error.strerror}") from None


def _first_failure(pool: ThreadPoolExecutor, nodes: Sequence[AgentNode], do: str) -> str:
    """Give all nodes one order; return what the first that failed said, empty when none did."""
    failures = [said for said in pool.map(partial(_failure, do), nodes) if said]
    return failures[0] if failures else ""


def _failure(do: str, node: AgentNode) -> str:
    try:
        node.agent.order(do, within_s=30.0)
    except BackendError as error:
        return str(error)
    return ""
