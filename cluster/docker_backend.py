"""Nodes as containers: plain Debian hosts on a network of their own, one agent in each.

No container is privileged. For real disks a container gets the capabilities SYS_ADMIN (mount, freeze), NET_ADMIN
(iptables) and MKNOD (loop devices that are missing inside), the device /dev/loop-control, the device rule `b 7:* rmw`
(loop devices only), and runs without an AppArmor profile, which would refuse the mount. Without disks it gets
NET_ADMIN alone.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import threading
import zlib
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import docker.errors
import docker.types
import requests.exceptions

from capsize.cluster.agent import send_word
from capsize.cluster.agent_node import AgentNode, heal_all
from capsize.cluster.backend import Backend
from capsize.cluster.engine import BASE, OWNER_LABEL, RUN_LABEL, Exec, connect, node_image
from capsize.cluster.ledger import Ledger, Owner
from capsize.cluster.node import Node
from capsize.cluster.orders import Agent
from capsize.errors import BackendError

log = logging.getLogger(__name__)

SUBNETS = ipaddress.IPv4Network("198.18.0.0/15")
"""Reserved for benchmark testing (RFC 2544): nobody's own network is hidden by ours."""
FIRST_HOST = 11
FIRST_PORT = 7001
ROOT = "/capsize"
LOOP_CONTROL = "/dev/loop-control"
PERIOD_US = 100_000
NO_LIMIT_BYTES = 1 << 50


class DockerNode(AgentNode):
    """A container; what it may use is limited by the engine, and read back from within."""

    container: str
    engine: Any
    limited = False

    def prepare(self, needs: frozenset[str]) -> None:
        super().prepare(needs - {"pressure"})  # the container is the group that is limited

    def limit(self, *, cpus: float | None = None, memory_bytes: int | None = None) -> None:
        self.limited = True
        quota = int(cpus * PERIOD_US) if cpus else -1
        memory = memory_bytes or NO_LIMIT_BYTES  # an engine cannot take a memory limit away again
        with _told(f"docker: {self.name} could not be limited"):
            self.engine.update_container(
                self.container, cpu_period=PERIOD_US, cpu_quota=quota, mem_limit=memory, memswap_limit=memory
            )
        self.limited = cpus is not None or memory_bytes is not None
        self.agent.order("expose", much=memory_bytes is not None)

    def give_back(self) -> None:
        """Take every limit away, if there is one."""
        if self.limited:
            self.limit()

    def heal(self) -> Sequence[str]:
        problems = list(super().heal())
        try:
            self.give_back()
        except BackendError as error:
            problems.append(str(error))
        return tuple(problems)


class DockerBackend(Backend):
    """Containers on the Docker engine that answers."""

    name = "docker"

    def __init__(self, label: str, *, disks: bool | None = None, disk_mb: int = 256, base: str = BASE) -> None:
        self.label = label
        self.disk_mb = disk_mb
        self.base = base
        self.nodes: tuple[DockerNode, ...] = ()
        self._no_disks = "disks were switched off" if disks is False else ""
        self._no_shape = ""
        self._no_clock = ""
        self._no_pressure = ""
        self._client = connect()
        self._ledger: Ledger | None = None
        self._execs: list[Exec] = []
        self._network = f"capsize-{label}"
        self._subnet = ""
        self._ports: dict[str, int] = {}
        self._lock = threading.Lock()

    def capabilities(self) -> frozenset[str]:
        found = {"processes", "network", "clients"}
        if not self._no_shape:
            found.add("shape")
        if not self._no_clock:
            found |= {"clock", "monotonic"}
        if not self._no_pressure:
            found.add("pressure")
        return frozenset(found | (set() if self._no_disks else {"disks", "power"}))

    def why_not(self, capability: str) -> str:
        if capability in ("disks", "power"):
            return f"docker: {self._no_disks or 'real disks are there'}"
        if capability == "shape":
            return f"docker: {self._no_shape or 'packets can be shaped'}"
        if capability in ("clock", "monotonic"):
            return f"docker: {self._no_clock or 'clocks can be set'}"
        if capability == "pressure":
            return f"docker: {self._no_pressure or 'limits can be set'}"
        return f"docker: containers of this engine have no {capability!r}"

    def describe(self) -> dict[str, object]:
        return {
            "name": self.name, "engine": self._client.version()["Version"], "subnet": self._subnet,
            "disks": self._no_disks or f"ext4, {self.disk_mb} MB, on a loop device", "ports": dict(self._ports),
        }  # fmt: skip

    # -- bringing up -----------------------------------------------------------------------------------------
    def create(self, count: int) -> Sequence[Node]:
        self._ledger = Ledger.open(self.label)
        try:
            with _told(f"docker: {count} nodes could not be brought up"):
                image = node_image(self._client, self.base)
                self._make_network()
                try:
                    self._bring_up(count, image)
                except docker.errors.APIError as error:
                    if self._no_disks:
                        raise
                    # Engines without root, or without loop devices, refuse what disks need: try without.
                    self._lose_disks(f"this engine refuses what real disks need ({_said(error)})")
                    self._remove_containers()
                    self._bring_up(count, image)
            self._check_reach()
            self._no_shape = self.nodes[0].why_no_shape()  # all nodes share one kernel, and one image
            self._no_clock = self.nodes[0].why_no_clock()
            self._no_pressure = self._why_no_pressure()
        except BaseException:
            self.destroy()
            raise
        return self.nodes

    def _bring_up(self, count: int, image: str) -> None:
        addresses = self._addresses(count)
        with ThreadPoolExecutor(count) as pool:
            self.nodes = tuple(pool.map(partial(self._host, addresses=addresses, image=image), addresses))
            if not self._no_disks:
                self._make_disks(pool)

    def _check_reach(self) -> None:
        """Send a packet to a node: clients talk to containers at their own addresses."""
        node = self.nodes[0]
        port = int(node.agent.order("listen_probe")["port"])
        send_word(node.address, port, "from the controller")
        if not node.agent.order("wait_probe", word="from the controller", wait_s=1.0)["heard"]:
            raise BackendError(
                f"docker: containers cannot be reached from here at {node.address} (Docker Desktop and engines on "
                "other hosts keep their networks to themselves); use --backend local"
            )

    def _why_no_pressure(self) -> str:
        """Return why this engine cannot limit a container; empty when it can."""
        info = self._client.info()
        lacking = [word for word in ("CpuCfsQuota", "MemoryLimit") if not info.get(word)]
        return f"this engine's kernel cannot limit a container ({', '.join(lacking)} is off)" if lacking else ""

    def _lose_disks(self, why: str) -> None:
        self._no_disks = why
        log.warning("docker: nodes have no disks of their own: %s", why)

    def _labels(self) -> dict[str, str]:
        return {RUN_LABEL: self.label, OWNER_LABEL: str(Owner.this())}

    def _make_network(self) -> None:
        """Make the run's network on a free /24; other runs may be choosing at the same moment."""
        self._record("network", name=self._network)
        subnets = [ipaddress.IPv4Network(subnet) for subnet in SUBNETS.subnets(new_prefix=24)]
        first = zlib.crc32(self.label.encode()) % len(subnets)
        taken = list(self._taken())
        said = ""
        for subnet in subnets[first:] + subnets[:first]:
            if any(subnet.overlaps(other) for other in taken):
                continue
            pool = docker.types.IPAMPool(subnet=str(subnet), gateway=str(subnet[1]))
            try:
                self._client.networks.create(
                    self._network, driver="bridge", labels=self._labels(),
                    ipam=docker.types.IPAMConfig(pool_configs=[pool]),
                )  # fmt: skip
            except docker.errors.APIError as error:
                said = _said(error)
                if "overlap" not in said.lower():
                    raise
                taken.append(subnet)
                continue
            self._subnet = str(subnet)
            return
        raise BackendError(
            f"docker: no free /24 left in {SUBNETS}; `capsize cleanup` removes networks left over ({said})"
        )

    def _taken(self) -> Iterator[ipaddress.IPv4Network]:
        for network in self._client.networks.list():
            for pool in (network.attrs.get("IPAM") or {}).get("Config") or []:
                with contextlib.suppress(ValueError, KeyError):
                    yield ipaddress.IPv4Network(pool["Subnet"])

    def _addresses(self, count: int) -> dict[str, str]:
        subnet = ipaddress.IPv4Network(self._subnet)
        return {f"n{number}": str(subnet[FIRST_HOST + number - 1]) for number in range(1, count + 1)}

    def _host(self, name: str, addresses: dict[str, str], image: str) -> DockerNode:
        api: Any = self._client.api
        container = f"capsize-{self.label}-{name}"
        self._record("container", name=container)
        capabilities = ["NET_ADMIN"]
        more: dict[str, Any] = {}
        if not self._no_disks:
            capabilities += ["SYS_ADMIN", "MKNOD"]
            more = {
                "devices": [f"{LOOP_CONTROL}:{LOOP_CONTROL}:rwm"],
                "device_cgroup_rules": ["b 7:* rmw"],
                "security_opt": ["apparmor=unconfined"],
            }
        host = api.create_host_config(init=True, cap_add=capabilities, extra_hosts=addresses, **more)
        endpoint = api.create_endpoint_config(ipv4_address=addresses[name])
        made = api.create_container(
            image, ["sleep", "infinity"], name=container, hostname=name, labels=self._labels(), host_config=host,
            networking_config=api.create_networking_config({self._network: endpoint}), stop_signal="SIGKILL",
        )  # fmt: skip
        api.start(made["Id"])
        config = {"label": self.label, "node": name, "root": ROOT, "disk_mb": self.disk_mb}
        environment = {"CAPSIZE_RUN": self.label, "CAPSIZE_OWNER": str(Owner.this())}
        argv = ["python3", "-u", f"{ROOT}/agent.py", json.dumps(config)]
        channel = Exec(self._client, made["Id"], argv, environment)
        with self._lock:
            self._execs.append(channel)
        agent = Agent(name, channel.send, channel.lines(), channel.last_words)
        agent.order("hello", within_s=30.0)
        agent.order("prepare_network", within_s=30.0)
        node = DockerNode(name, agent, ROOT, addresses[name], self._number, lambda: self._no_disks)
        node.container, node.engine = made["Id"], api
        return node

    def _make_disks(self, pool: ThreadPoolExecutor) -> None:
        """Give every node its disk; where the kernel or the engine refuses, no node has one, and `why_not` says why."""
        try:
            made = list(pool.map(_create_disk, self.nodes))
        except BackendError as error:
            self._lose_disks(f"this engine gave no real disk ({error})")
            for node in self.nodes:
                node.agent.order("unmount")
            return
        for disk in made:
            self._record("loop", device=disk["loop"], image=disk["image"])

    def _number(self, port: str) -> int:
        with self._lock:
            return self._ports.setdefault(port, FIRST_PORT + len(self._ports))

    def _record(self, kind: str, **facts: Any) -> None:
        if self._ledger is not None:
            self._ledger.record(kind, **facts)

    # -- taking down -----------------------------------------------------------------------------------------
    def heal(self) -> Sequence[str]:
        problems = heal_all(self.nodes)
        for node in self.nodes:
            try:
                node.give_back()
            except BackendError as error:
                problems.append(str(error))
        return problems

    def destroy(self) -> None:
        """Thaw, unmount and remove: a container with a frozen disk could not be removed."""
        asked = [(node, node.agent.order_async("quit")) for node in self.nodes]
        for node, future in asked:
            try:
                node.agent.answer(future, "quit", 15.0)
            except BackendError as error:
                log.warning("%s", error)
        for channel in self._execs:
            channel.close()
        self._execs.clear()
        self.nodes = ()
        try:
            self._remove()
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            log.warning("docker: not everything could be removed (%s); `capsize cleanup` tries again", error)
            return
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _remove(self) -> None:
        self._remove_containers()
        for network in self._client.networks.list(filters={"label": f"{RUN_LABEL}={self.label}"}):
            network.remove()

    def _remove_containers(self) -> None:
        containers = self._client.api.containers(all=True, filters={"label": f"{RUN_LABEL}={self.label}"})
        if containers:
            with ThreadPoolExecutor(len(containers)) as pool:
                list(pool.map(self._remove_container, [container["Id"] for container in containers]))

    def _remove_container(self, container: str) -> None:
        with contextlib.suppress(docker.errors.NotFound):
            self._client.api.remove_container(container, force=True, v=True)


def _create_disk(node: AgentNode) -> dict[str, Any]:
    return node.agent.order("create_disk", within_s=30.0)


def _said(error: docker.errors.APIError) -> str:
    """Return what the engine itself said."""
    return str(error.explanation or error)


@contextlib.contextmanager
def _told(what: str) -> Generator[None, None, None]:
    """Turn what the engine's client raises into one sentence for a person."""
    try:
        yield
    except docker.errors.APIError as error:
        raise BackendError(f"{what}: {_said(error)}") from None
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise BackendError(f"{what}: {error}") from None
