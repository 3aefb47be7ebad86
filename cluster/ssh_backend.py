"""Nodes as real machines, reached by ssh: the same agent, the same orders, over one channel a host.

Nothing stays on a host: at the end of its channel, or when nothing was heard for a while, the agent heals, ends the
system's process, unmounts, removes its firewall chain and its folder.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import shlex
import socket
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import paramiko
from paramiko.pkey import UnknownKeyType

from capsize.cluster import agent as agent_file
from capsize.cluster import damage as damage_file
from capsize.cluster import shaper as shaper_file
from capsize.cluster.agent_node import AgentNode, heal_all
from capsize.cluster.backend import Backend
from capsize.cluster.hosts import Host
from capsize.cluster.ledger import Ledger, Owner
from capsize.cluster.node import Node
from capsize.cluster.orders import Agent, Answer, Send
from capsize.errors import BackendError, UsageError

log = logging.getLogger(__name__)

FIRST_PORT = 7001
CONNECT_S = 10.0
TRIES = 3
"""Connections are tried this often: an sshd that is asked by many at once drops some."""
KEEPALIVE_S = 5.0
DEADMAN_S = 60.0
"""An agent that hears nothing for so long takes its controller for dead."""
SILENT_S = 15.0
"""A connection over which a ping is unanswered for so long is taken for lost."""
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
        self.user = user or getpass.getuser()
        self.port = port
        self.key = key
        self.known_hosts = known_hosts
        self.strict = strict
        self.sudo = sudo
        self.disk_mb = disk_mb
        self.nodes: tuple[AgentNode, ...] = ()
        self._no_disks = "disks were switched off" if disks is False else ""
        self._no_network = ""
        self._no_shape = ""
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
            found.add("network")
        if not self._no_shape:
            found.add("shape")
        if not self._no_disks:
            found |= {"disks", "power"}
        return frozenset(found)

    def why_not(self, capability: str) -> str:
        if capability in ("disks", "power"):
            return f"ssh: {self._no_disks or 'real disks are there'}"
        if capability == "network":
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
        client = self._connect(where, host)
        with self._lock:
            self._clients[name] = client
        root = f"/var/tmp/capsize-{self.label}-{name}"
        if self._ledger is not None:
            self._ledger.record("host", host=host.host, root=root)
        config = {
            "label": self.label, "node": name, "root": root, "disk_mb": self.disk_mb, "ends": True, "removes": True,
            "private": True, "deadman_s": DEADMAN_S, "waits_s": WAITS_S, "owner": str(Owner.this()),
        }  # fmt: skip
        script = f"{root}/agent.py"
        for file in (agent_file.__file__, shaper_file.__file__, damage_file.__file__):
            self._put(client, where, Path(file), root)
        become = "sudo -n " if self.sudo else ""
        channel = _channel(client, f"{become}python3 -u {script} {shlex.quote(json.dumps(config))}")
        said: deque[str] = deque(maxlen=5)
        threading.Thread(target=_listen, args=(channel, said), name=f"stderr of {name}", daemon=True).start()

        def again() -> tuple[Send, Iterable[bytes]]:
            return self._come_back(name, where, host, f"{become}python3 -u {script} --attach {root}")

        words = partial(_last, said)
        agent = Agent(name, channel.sendall, channel.makefile("rb"), words, again=again)
        agent.order("hello", within_s=20.0)
        return AgentNode(name, agent, root, _address(host.host), self._number, lambda: self._no_disks)

    def _come_back(self, name: str, where: str, host: Host, command: str) -> tuple[Send, Iterable[bytes]]:
        """Connect again to an agent whose connection was lost, and note what it had healed meanwhile."""
        began = time.monotonic()
        log.warning("%s: the connection was lost", where)
        if self._ended.is_set():
            raise BackendError(f"{name}: the agent is gone")
        try:
            client = self._connect(where, host)
            with self._lock:
                self._clients[name] = client
            channel = _channel(client, command)
            channel.settimeout(CONNECT_S)
            answers = channel.makefile("rb")
            greeting = answers.readline()
            channel.settimeout(None)
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

    def _connect(self, where: str, host: Host) -> paramiko.SSHClient:
        """Connect, with a few tries for what may pass; a host key that is not known is refused at once."""
        last: Exception = BackendError(f"{where}: not tried")
        key = _private_key(self.key) if self.key is not None else None
        for attempt in range(TRIES):
            time.sleep(0.3 * attempt)
            client = paramiko.SSHClient()
            with self._told_known_hosts():
                if self.known_hosts is not None:
                    client.load_host_keys(str(self.known_hosts))
                else:
                    client.load_system_host_keys()
            client.set_missing_host_key_policy(paramiko.RejectPolicy() if self.strict else paramiko.WarningPolicy())
            try:
                client.connect(
                    host.host, host.port or self.port, host.user or self.user, timeout=CONNECT_S,
                    banner_timeout=CONNECT_S, auth_timeout=CONNECT_S, channel_timeout=CONNECT_S,
                    pkey=key, look_for_keys=key is None, allow_agent=key is None,
                )  # fmt: skip
            except paramiko.BadHostKeyException as error:
                client.close()
                raise BackendError(f"{where}: its host key is not the one that is known; {error}") from None
            except paramiko.AuthenticationException as error:
                client.close()
                asked = f"user {host.user or self.user}, " + (f"key {self.key}" if self.key else "keys of this user")
                raise BackendError(f"{where}: it lets us not in ({asked}): {error}") from None
            except (paramiko.SSHException, OSError, EOFError) as error:
                client.close()
                if "not found in known_hosts" in str(error):
                    raise BackendError(
                        f"{where}: its host key is not known; look at it and add it to known_hosts "
                        f"(ssh-keyscan -p {host.port or self.port} {host.host})"
                    ) from None
                last = error
                continue
            transport = client.get_transport()
            assert transport is not None
            transport.set_keepalive(int(KEEPALIVE_S))
            return client
        raise BackendError(f"{where}: no connection after {TRIES} tries: {last}") from None

    @contextlib.contextmanager
    def _told_known_hosts(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            raise BackendError(f"ssh: cannot read {self.known_hosts}: {error.strerror}") from None

    def _put(self, client: paramiko.SSHClient, where: str, file: Path, root: str) -> None:
        """Write one file of the agent's; also says early what the host lacks."""
        channel = _channel(client, f"mkdir -p {root} && cat > {root}/{file.name} && command -v python3 >/dev/null")
        channel.sendall(file.read_bytes())
        channel.shutdown_write()
        said = channel.makefile_stderr("rb").read().decode(errors="replace").strip()
        if channel.recv_exit_status():
            raise BackendError(f"{where}: the agent cannot be put there: {said or 'python3 is not installed'}")

    def _see_what_they_can(self, pool: ThreadPoolExecutor) -> None:
        """Prepare firewall and disks on every host; what one of them refuses, none has."""
        if failed := _first_failure(pool, self.nodes, "prepare_network"):
            self._no_network = f"links cannot be cut ({failed}); run as root, or with sudo"
            self._no_shape = f"packets cannot be shaped ({failed}); run as root, or with sudo"
        else:
            self._no_shape = next(filter(None, pool.map(AgentNode.why_no_shape, self.nodes)), "")
        if self._no_disks:
            return
        if failed := _first_failure(pool, self.nodes, "create_disk"):
            self._no_disks = f"real disks cannot be had ({failed}); run as root, or with sudo"
            _first_failure(pool, self.nodes, "unmount")

    def _keep_alive(self) -> None:
        """Let every agent hear from us, so that it ends only when we are gone; drop a connection that is silent."""
        pings: dict[str, tuple[Future[Answer], float]] = {}
        while not self._ended.wait(KEEPALIVE_S):
            for node in self.nodes:
                ping, since = pings.get(node.name, (None, 0.0))
                if ping is None or ping.done():
                    pings[node.name] = node.agent.order_async("ping"), time.monotonic()
                elif time.monotonic() - since > SILENT_S:
                    log.warning("%s: nothing was heard for %g s", node.name, SILENT_S)
                    pings.pop(node.name)
                    self._clients[node.name].close()

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


def _private_key(path: Path) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_path(path)
    except paramiko.PasswordRequiredException:
        raise BackendError(f"ssh: the key {path} has a passphrase; add it to ssh-agent and name no key") from None
    except OSError as error:
        raise BackendError(f"ssh: cannot read the key {path}: {error.strerror}") from None
    except (paramiko.SSHException, UnknownKeyType, ValueError, TypeError) as error:
        raise BackendError(f"ssh: {path} is no private key that can be used: {error}") from None


def _channel(client: paramiko.SSHClient, command: str) -> paramiko.Channel:
    transport = client.get_transport()
    assert transport is not None
    channel = transport.open_session(timeout=CONNECT_S)
    channel.exec_command(command)
    return channel


def _last(said: deque[str]) -> str:
    return said[-1] if said else ""


def _listen(channel: paramiko.Channel, said: deque[str]) -> None:
    for line in channel.makefile_stderr("rb"):
        said.append(line.decode(errors="replace").strip())


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
