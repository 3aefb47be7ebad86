"""A node that is driven through its agent, whatever carries the orders: an exec, a pipe or an ssh channel."""

from __future__ import annotations

import base64
import io
import itertools
import platform
import secrets
import socket
import tarfile
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO

from capsize.cluster.node import (
    Arrivals,
    ClockReading,
    Command,
    Completed,
    Damage,
    DiskProbe,
    Limits,
    Node,
    ProcessState,
    Shape,
)
from capsize.cluster.orders import Agent, Answer
from capsize.cluster.unpacking import unpack
from capsize.errors import BackendError, Refused

CHUNK = 256 << 10
IP_AND_UDP = 28
IN_FLIGHT = 4
CLIENT_PORTS = "7001:7999"
"""Where systems listen on docker and ssh."""
FIRST_CLIENT_PORT = 7001
CONNECT_S = 0.3
"""A connection that is neither taken nor refused for so long is dropped."""
LIBRARIES = "/usr/lib/*/faketime"


class AgentNode(Node):
    """What docker, ssh and local nodes have in common; `address` is the node's own, as its peers see it."""

    def __init__(
        self,
        name: str,
        agent: Agent,
        root: str,
        address: str,
        number: Callable[[str], int],
        why_no_disks: Callable[[], str],
    ) -> None:
        self.name = name
        self.agent = agent
        self.root = root
        self.address = address
        self.install_dir = f"{root}/install"
        self.data_dir = f"{root}/disk/data"
        self.log_dir = f"{root}/log"
        self._number = number
        self._why_no_disks = why_no_disks
        self._boot = ""

    def __repr__(self) -> str:
        return f"<node {self.name} at {self.address}>"

    # -- addresses -------------------------------------------------------------------------------------------
    def listen(self, port: str) -> tuple[str, int]:
        return self.address, self._number(port)

    def reach(self, port: str, *, frm: Node | None = None) -> tuple[str, int]:
        return self.address, self._number(port)

    # -- files and commands ------------------------------------------------------------------------------------
    def run(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> Completed:
        done = self.agent.order("run", within_s=timeout_s + 5.0, argv=list(argv), timeout_s=timeout_s)
        return Completed(done["code"], done["out"], done["err"])

    def upload(self, source: Path | bytes, target: str, *, mode: int = 0o644) -> None:
        if isinstance(source, bytes):
            self._put(source, target, mode)
        elif source.is_dir():
            archive = f"{self.root}/run/upload-{secrets.token_hex(4)}.tar"
            self._put(_packed(source), archive, 0o600)
            self.agent.order("unpack", within_s=60.0, archive=archive, target=target)
        elif source.is_file():
            self._put(source.read_bytes(), target, mode)
        else:
            raise BackendError(f"{self.name}: cannot upload {source}: there is no such file or folder here")

    def _put(self, data: bytes, target: str, mode: int) -> None:
        """Send in parts; all but the last may be in flight together, the last one moves the file into place."""
        flying: deque[Future[Answer]] = deque()
        for offset in range(0, max(len(data), 1), CHUNK):
            last = offset + CHUNK >= len(data)
            while flying and (last or offset == CHUNK or len(flying) >= IN_FLIGHT):
                self.agent.answer(flying.popleft(), "put", 30.0)
            part = base64.b64encode(data[offset : offset + CHUNK]).decode()
            more = {"mode": mode} if last else {}
            flying.append(self.agent.order_async("put", target=target, data=part, offset=offset, **more))
        self.agent.answer(flying.popleft(), "put", 30.0)

    def download(self, source: str, target: Path) -> None:
        packed = self.agent.order("pack", within_s=120.0, source=source)
        if not packed["folder"]:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                self._fetch(packed["path"], packed["size"], file)
            return
        with tempfile.TemporaryFile() as archive:
            self._fetch(packed["path"], packed["size"], archive)
            self.agent.order("remove", path=packed["path"])
            archive.seek(0)
            target.mkdir(parents=True, exist_ok=True)
            with tarfile.open(fileobj=archive) as tar:
                unpack(tar, target)

    def _fetch(self, source: str, size: int, into: IO[bytes]) -> None:
        offset = 0
        while offset < size:
            part, offset = self._read(source, offset, min(CHUNK, size - offset))
            if not part:
                break
            into.write(part)

    def read_tail(self, source: str, offset: int) -> tuple[bytes, int]:
        whole = bytearray()
        for _ in itertools.repeat(None):
            part, offset = self._read(source, offset, CHUNK)
            whole += part
            if len(part) < CHUNK:
                break
        return bytes(whole), offset

    def _read(self, source: str, offset: int, limit: int) -> tuple[bytes, int]:
        read = self.agent.order("read", within_s=30.0, source=source, offset=offset, limit=limit)
        return base64.b64decode(read["data"]), read["offset"]

    # -- the system's process --------------------------------------------------------------------------------
    def start(self, command: Command) -> int:
        started = self.agent.order(
            "start", argv=list(command.argv), env=dict(command.env), cwd=command.cwd, log=command.log
        )
        return int(started["pid"])

    def signal(self, number: int) -> None:
        self.agent.order("signal", number=int(number))

    def process(self) -> ProcessState:
        seen = self.agent.order("process")
        return ProcessState(seen["alive"], seen["pid"], seen["state"], seen["code"])

    def kill(self, *, wait_s: float = 5.0) -> bool:
        return bool(self.agent.order("kill", within_s=wait_s + 5.0, wait_s=wait_s)["gone"])

    # -- network -------------------------------------------------------------------------------------------------
    def drop_from(self, peers: Sequence[Node], *, severed: Sequence[Node] = ()) -> None:
        self.agent.order(
            "drop", sources=[_address(peer) for peer in peers], severed=[_address(peer) for peer in severed]
        )

    def shape_from(self, shapes: Sequence[tuple[Node, Shape]], *, seed: int = 0) -> None:
        self.agent.order("shape", shapes={_address(peer): asdict(shape) for peer, shape in shapes}, seed=seed)

    def why_no_shape(self) -> str:
        """Try whether this host's kernel hands packets to a queue; return why not, empty when it does."""
        try:
            self.agent.order("shape", shapes={"192.0.2.1": {}}, seed=0)
            self.agent.order("shape", shapes={}, seed=0)
        except BackendError as error:
            return f"this kernel gives no packets to a queue in user space ({error})"
        return ""

    def arrivals_from(
        self, peer: Node, *, count: int = 50, gap_ms: float = 2.0, wait_ms: float = 300.0, size: int = 0
    ) -> Arrivals:
        assert isinstance(peer, AgentNode)
        port = int(self.agent.order("listen_probe")["port"])
        host, number = self._probe_way(peer, port)
        name = f"{peer.name}-to-{self.name}-{secrets.token_hex(6)}"
        within_s = 10.0 + count * gap_ms / 100
        peer.agent.order(
            "send_series", within_s=within_s, host=host, port=number, name=name, count=count, gap_s=gap_ms / 1000,
            size=size,
        )  # fmt: skip
        time.sleep(wait_ms / 1000)
        self._probe_sent()
        self.agent.order("wait_probe", word=name, wait_s=0.0)  # everything that has reached this node is read by now
        arrived = self.agent.order("take_series", name=name)["arrived"]
        apart_ns = self._clock_ahead_of(peer)
        whole = [(number, sent, heard - apart_ns) for number, sent, heard, damaged in arrived if not damaged]
        return Arrivals(
            count,
            tuple(number for number, _, _ in whole),
            tuple((heard - sent) / 1e6 for _, sent, heard in whole),
            len(arrived) - len(whole),
            size + IP_AND_UDP,
            (max(heard for _, _, heard in whole) - min(sent for _, sent, _ in whole)) / 1e6 if whole else 0.0,
        )

    def _clock_ahead_of(self, peer: AgentNode) -> float:
        """Return by how many nanoseconds this node's monotonic clock is ahead; 0 where the two share a kernel."""
        if self.boot == peer.boot:
            return 0.0
        return self._clock_ahead() - peer._clock_ahead()

    def _clock_ahead(self) -> float:
        """Return by how many nanoseconds its clock is ahead of the controller's, by the quickest of a few answers."""
        best: tuple[float, float] | None = None
        for _ in range(5):
            sent = time.monotonic_ns()
            said = float(self.agent.order("ping")["at_ns"])
            got = time.monotonic_ns()
            if best is None or got - sent < best[0]:
                best = got - sent, said - (sent + got) / 2
        assert best is not None
        return best[1]

    @property
    def boot(self) -> str:
        """Names the running kernel of this node."""
        if not self._boot:
            self._boot = str(self.agent.order("hello").get("boot", self.name))
        return self._boot

    def shapes_now(self, peers: Sequence[Node]) -> frozenset[str]:
        rules = self.agent.order("rules")["rules"]
        return frozenset(
            peer.name
            for peer in peers
            if any(f"-s {_address(peer)}/32 " in rule and "NFQUEUE" in rule for rule in rules)
        )

    def shut_clients_out(self, shut: bool, peers: Sequence[Node]) -> None:
        given = [_address(peer) for peer in peers if peer is not self]
        self.agent.order("shut_out", ports=CLIENT_PORTS if shut else "", peers=given)

    def clients_shut_out(self) -> bool:
        try:
            socket.create_connection((self.address, FIRST_CLIENT_PORT), timeout=CONNECT_S).close()
        except TimeoutError:
            return True
        except ConnectionRefusedError:
            return False
        return False

    def blocked_from(self, peer: Node) -> bool:
        assert isinstance(peer, AgentNode)
        port = int(self.agent.order("listen_probe")["port"])
        host, number = self._probe_way(peer, port)
        word = f"{peer.name}-to-{self.name}-{secrets.token_hex(6)}"
        sent = peer.agent.order("send_probe", host=host, port=number, word=word)
        if not sent["sent"]:
            raise BackendError(f"{peer.name}: could not send a probe to {self.name}: {sent['said']}")
        self._probe_sent()
        return not self.agent.order("wait_probe", word=word, wait_s=0.1)["heard"]

    def _probe_way(self, peer: AgentNode, port: int) -> tuple[str, int]:
        """Return where `peer` sends a probe that this node's agent is to hear at its `port`."""
        return self.address, port

    def _probe_sent(self) -> None:
        """Wait until what was sent on the way is through, or certainly dropped."""

    # -- disk ------------------------------------------------------------------------------------------------------
    def _need_disk(self) -> None:
        why = self._why_no_disks()
        if why:
            raise Refused(f"{self.name}: {why}")

    def freeze_disk(self) -> None:
        self._need_disk()
        self.agent.order("freeze")

    def thaw_disk(self) -> None:
        self._need_disk()
        self.agent.order("thaw")

    def disk_probe(self, *, wait_s: float = 0.2) -> DiskProbe:
        self._need_disk()
        met = self.agent.order("disk_probe", within_s=wait_s + 10.0, wait_s=wait_s)
        return DiskProbe(met["outcome"], met["elapsed_ms"], met["said"])

    def slow_disk(self, *, stall_ms: float, run_ms: float) -> None:
        self._need_disk()
        self.agent.order("slow", stall_ms=stall_ms, run_ms=run_ms)

    def fill_disk(self) -> int:
        self._need_disk()
        return int(self.agent.order("fill", within_s=30.0)["filled_bytes"])

    def drain_disk(self) -> None:
        self._need_disk()
        self.agent.order("drain", within_s=30.0)

    def break_disk(self) -> None:
        self._need_disk()
        self.agent.order("kill_writes")

    def power_off(self) -> Sequence[str]:
        self._need_disk()
        return tuple(self.agent.order("power_off", within_s=20.0)["steps"])

    def power_on(self) -> Sequence[str]:
        self._need_disk()
        return tuple(self.agent.order("power_on", within_s=20.0)["steps"])

    def damage(self, how: str, *, pattern: str = "", seed: int = 0, traces: Sequence[str] = ()) -> Damage:
        paths = [f"{self.log_dir}/{name}" for name in traces]
        done = self.agent.order("damage", within_s=40.0, how=how, pattern=pattern, seed=seed, traces=paths)
        return Damage(**{item.name: done[item.name] for item in fields(Damage)})

    def repair(self, damage: Damage) -> bool:
        return bool(self.agent.order("repair", within_s=40.0, damage=asdict(damage))["repaired"])

    # -- clock and pressure --------------------------------------------------------------------------------------
    def prepare(self, needs: frozenset[str]) -> None:
        if "clock" in needs and (why := self.why_no_clock()):
            raise Refused(f"{self.name}: {why}")
        if needs:
            self.agent.order("prepare", needs=sorted(needs))

    def why_no_clock(self) -> str:
        """Return why no process of this node can be given another clock; empty when libfaketime is there.

        A node without the library is given this machine's, where both have the same processor.
        """
        found = self.agent.order("find_clock")
        if found["library"]:
            return ""
        ours = sorted(Path("/").glob(f"{LIBRARIES[1:]}/libfaketimeMT.so.1"))
        if not ours or platform.machine() != found["machine"]:
            return "libfaketime is not installed there (Debian: apt-get install libfaketime), nor on this machine"
        self.upload(ours[0], found["put"])
        return ""

    def why_no_pressure(self) -> str:
        """Try whether this host lets us limit processes; return why not, empty when it does."""
        try:
            self.agent.order("prepare", needs=["pressure"])
        except BackendError as error:
            return f"processes cannot be limited ({error}); run as root, or with sudo"
        return ""

    def set_clock(self, *, offset_s: float = 0.0, rate: float = 1.0) -> None:
        self.agent.order("set_clock", offset_s=offset_s, rate=rate)

    def strobe_clock(self, *, offset_s: float, period_ms: float) -> None:
        self.agent.order("strobe_clock", offset_s=offset_s, period_s=period_ms / 1000)

    def read_clock(self, *, watch_s: float = 0.3) -> ClockReading:
        seen = self.agent.order("read_clock", within_s=watch_s + 15.0, watch_s=watch_s)
        return ClockReading(seen["offset_s"], seen["rate"], seen["preloaded"], seen["steps"])

    def limit(self, *, cpus: float | None = None, memory_bytes: int | None = None) -> None:
        self.agent.order("set_limits", cpus=cpus, memory_bytes=memory_bytes)

    def limits(self) -> Limits:
        seen = self.agent.order("limits")
        return Limits(seen["cpus"], seen["memory_bytes"], seen["memory_used"])

    def cpu_obtained(self, *, for_s: float = 0.3) -> float:
        return float(self.agent.order("burn", within_s=for_s * 20 + 20.0, for_s=for_s)["cpus"])

    def wipe(self) -> None:
        self.agent.order("wipe", within_s=30.0)

    def heal(self) -> Sequence[str]:
        return tuple(f"{self.name}: {problem}" for problem in self.agent.order("heal", within_s=30.0)["problems"])


def _address(peer: Node) -> str:
    assert isinstance(peer, AgentNode)
    return peer.address


def heal_all(nodes: Sequence[AgentNode]) -> list[str]:
    """Have all nodes undo every fault at once; return one sentence for each thing that could not be undone."""
    asked = [(node, node.agent.order_async("heal")) for node in nodes]
    problems: list[str] = []
    for node, future in asked:
        try:
            answer = node.agent.answer(future, "heal", 30.0)
            problems += [f"{node.name}: {problem}" for problem in answer["problems"]]
        except BackendError as error:
            problems.append(str(error))
    return problems


def _packed(folder: Path) -> bytes:
    """Return the folder's contents as a tar archive, without what Python compiled."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for path in sorted(folder.rglob("*")):
            if "__pycache__" not in path.parts:
                tar.add(path, arcname=str(path.relative_to(folder)), recursive=False)
    return data.getvalue()
