"""One host of a cluster, as adapters and the nemesis see it: the same orders on docker, ssh and local.

Every order runs on the node through its agent, is bounded in time, and raises BackendError with the node's
name when it could not be carried out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SIGKILL = 9
SIGTERM = 15


@dataclass(frozen=True, slots=True)
class Command:
    """How a node of the system is started: argv, environment, working directory; stdout and stderr go to `log`."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None
    log: str = "node.log"
    """Name of the log file inside the node's log directory."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command that ran to its end on a node left: exit code, stdout, stderr (text)."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class ProcessState:
    """The system's main process on a node, seen from outside: alive, its pid, its state letter ("S", "T", "D", …)."""

    alive: bool
    pid: int | None = None
    state: str | None = None
    code: int | None = None
    """The exit code of one that has ended, negative for a signal; None when it is not known."""


@dataclass(frozen=True, slots=True)
class DiskProbe:
    """What a write and fsync of a new file on the data disk met: it was done, it stalled, or it failed with `said`."""

    outcome: Literal["done", "stalled", "failed"]
    elapsed_ms: float
    said: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """What happens to packets on their way: probabilities are of each packet, 0 to 1.

    Jitter alone never changes the order; a packet drawn for `reorder` skips the delay and overtakes the others.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    duplicate: float = 0.0
    rate_kbit: float | None = None


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What became of a series of packets sent to this node: how many were sent, and what arrived whole, in order.

    `delays_ms` are by one monotonic clock where both nodes share a kernel; on ssh the clocks of two hosts are
    compared over their channels, which is right within a few milliseconds.
    """

    sent: int
    numbers: tuple[int, ...]
    delays_ms: tuple[float, ...]
    damaged: int = 0
    """How many arrived with other bytes than were sent."""
    size: int = 0
    """Of each packet, headers included."""
    took_ms: float = 0.0
    """From the first that was sent to the last that was heard."""

    @property
    def lost(self) -> int:
        return self.sent - len(set(self.numbers))

    @property
    def doubled(self) -> int:
        return len(self.numbers) - len(set(self.numbers))

    @property
    def overtaken(self) -> int:
        """How many arrived after one that was sent later."""
        highest, found = -1, 0
        for number in self.numbers:
            found += number < highest
            highest = max(highest, number)
        return found

    @property
    def rate_kbit(self) -> float | None:
        """At which rate they arrived, from the first that was sent to the last that was heard; None when none was."""
        return len(self.numbers) * self.size * 8 / self.took_ms if self.took_ms > 0 else None


@dataclass(frozen=True, slots=True)
class Damage:
    """What was done to a file of the data directory while the process was down, and whether it can be taken back."""

    how: str
    """"torn" (an unfinished write behind the end), "flip" (one bit), "cut" (bytes off the end)."""
    file: str
    """Below the data directory."""
    offset: int
    bytes: int
    size: int
    """Of the file, before."""
    after: int
    bit: int
    mark: int
    """The byte at `offset` as the damage left it."""
    traces: Mapping[str, int] = field(default_factory=dict[str, int])
    """Path of a trace -> where it ended."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What a process of the system takes for the time, seen from outside: its wall clock minus the host's."""

    offset_s: float
    rate: float
    """How fast its clock goes, measured; 1 is right."""
    preloaded: bool
    """Whether the clock library is mapped into the process itself."""
    steps: int = 0
    """How often the clock jumped by more than 50 ms while it was watched."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a node may use now, as its kernel says: CPUs (None: as many as there are), bytes of memory."""

    cpus: float | None
    memory_bytes: int | None
    memory_used: int | None = None


class Node(ABC):
    """One host. Paths are paths on that host; all methods are safe to call from any thread."""

    name: str
    """n1, n2, …"""
    install_dir: str
    """Where adapters put binaries and configuration; survives a restart, not a wipe."""
    data_dir: str
    """The system's data: a mounted disk of its own when the place has `disks`."""
    log_dir: str
    """Logs and traces, outside the data disk, collected after the run."""
    python: str = "python3"
    """The Python of that host."""

    # -- addresses -------------------------------------------------------------------------------------------
    @abstractmethod
    def listen(self, port: str) -> tuple[str, int]:
        """Return the (host, port) on which this node should listen for the named purpose, e.g. "peer", "client"."""

    @abstractmethod
    def reach(self, port: str, *, frm: Node | None = None) -> tuple[str, int]:
        """Return the (host, port) at which `port` of this node is reached from node `frm`; None: from the controller.

        On `local`, from another node it is the relay of that directed link.
        """

    # -- files and commands ------------------------------------------------------------------------------------
    @abstractmethod
    def run(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> Completed:
        """Run a command to its end."""

    @abstractmethod
    def upload(self, source: Path | bytes, target: str, *, mode: int = 0o644) -> None:
        """Put a file (or a folder, recursively) of the controller, or these bytes, at `target`."""

    @abstractmethod
    def download(self, source: str, target: Path) -> None:
        """Fetch a file or folder of the node to `target` of the controller."""

    @abstractmethod
    def read_tail(self, source: str, offset: int) -> tuple[bytes, int]:
        """Return what was appended to the file `source` since byte `offset`, and the new offset."""

    # -- the system's process --------------------------------------------------------------------------------
    @abstractmethod
    def start(self, command: Command) -> int:
        """Start the system's process, detached, log appended; return its pid. Idempotent: a running one is kept."""

    @abstractmethod
    def signal(self, number: int) -> None:
        """Send a signal to the system's process group, by its recorded pid; nothing happens when it is not running."""

    @abstractmethod
    def process(self) -> ProcessState:
        """Return the state of the system's process, read from /proc."""

    @abstractmethod
    def kill(self, *, wait_s: float = 5.0) -> bool:
        """End the system's process group with SIGKILL; return whether it is gone within `wait_s`.

        One that hangs in a write to a frozen disk cannot die before the thaw: then this is False.
        """

    # -- network -------------------------------------------------------------------------------------------------
    @abstractmethod
    def drop_from(self, peers: Sequence[Node], *, severed: Sequence[Node] = ()) -> None:
        """Drop what arrives from exactly these nodes (the whole set; an empty one heals). Clients stay connected.

        What was sent over a connection meanwhile arrives after the heal, as over any network. With those of `severed`,
        which are among them, connections are ended instead: nothing of that time arrives later.
        """

    @abstractmethod
    def blocked_from(self, peer: Node) -> bool:
        """Probe from the outside whether packets from `peer` to this node are dropped now."""

    @abstractmethod
    def shape_from(self, shapes: Sequence[tuple[Node, Shape]], *, seed: int = 0) -> None:
        """Delay, lose, reorder, corrupt or slow what arrives from exactly these nodes; an empty set heals.

        Raises Refused without `shape`, BackendError for what this place cannot do to packets. On `local`, streams
        keep their order and their bytes, as TCP would: what is lost or corrupted arrives 200 ms later.
        """

    @abstractmethod
    def arrivals_from(
        self, peer: Node, *, count: int = 50, gap_ms: float = 2.0, wait_ms: float = 300.0, size: int = 0
    ) -> Arrivals:
        """Probe: have `peer` send a series of packets of at least `size` bytes to this node; tell what arrived."""

    @abstractmethod
    def shapes_now(self, peers: Sequence[Node]) -> frozenset[str]:
        """Return those of these nodes whose packets are handed to whatever shapes them, as the place itself says."""

    @abstractmethod
    def shut_clients_out(self, shut: bool, peers: Sequence[Node]) -> None:
        """Drop what anybody but `peers` sends to the system on this node; False lets them in again.

        Raises Refused without `clients`.
        """

    @abstractmethod
    def clients_shut_out(self) -> bool:
        """Probe from the controller whether its packets to the system on this node are dropped now."""

    # -- disk ------------------------------------------------------------------------------------------------------
    @abstractmethod
    def freeze_disk(self) -> None:
        """Make writes and fsyncs of the data disk block (FIFREEZE); idempotent. Raises Refused without `disks`."""

    @abstractmethod
    def thaw_disk(self) -> None:
        """Let them go on (FITHAW), also after `slow_disk`; idempotent."""

    @abstractmethod
    def disk_probe(self, *, wait_s: float = 0.2) -> DiskProbe:
        """Write and fsync a new file on the data disk, in a process of its own, and tell what happened."""

    def disk_stalls(self, *, wait_s: float = 0.2) -> bool:
        """Probe: return True when an fsync on the data disk does not return within `wait_s`."""
        return self.disk_probe(wait_s=wait_s).outcome == "stalled"

    @abstractmethod
    def slow_disk(self, *, stall_ms: float, run_ms: float) -> None:
        """Freeze the disk for `stall_ms`, let it go on for `run_ms`, over and over, until `thaw_disk`."""

    @abstractmethod
    def fill_disk(self) -> int:
        """Take all free space of the data disk (writes meet ENOSPC); return the bytes taken."""

    @abstractmethod
    def drain_disk(self) -> None:
        """Give the space back; idempotent."""

    @abstractmethod
    def break_disk(self) -> None:
        """Make every further write fail (EIO) and lose what was never synced. Ended by `power_off`, `power_on`."""

    @abstractmethod
    def power_off(self) -> Sequence[str]:
        """Pull the plug: everything that was not synced is lost. Return the steps, each confirmed, in order:

        "stopped" (when it ran), "disk-cut", "killed", "unmounted".
        """

    @abstractmethod
    def power_on(self) -> Sequence[str]:
        """Mount the data disk again, which replays its journal; returns ("mounted",). The process is not started."""

    @abstractmethod
    def damage(self, how: str, *, pattern: str = "", seed: int = 0, traces: Sequence[str] = ()) -> Damage:
        """Damage a file of the data directory: the newest that `pattern` matches. The process must be down.

        "torn": append what an unfinished write leaves; "flip": turn one bit over, well before the end; "cut": take
        bytes off the end. What "cut" will need to be taken back is kept outside the data directory; `traces` are
        files of the log directory from which a repair of "cut" sets aside what was told in between.
        """

    @abstractmethod
    def repair(self, damage: Damage) -> bool:
        """Take `damage` back; the process must be down. False when the file is no longer as the damage left it."""

    # -- clock and pressure ----------------------------------------------------------------------------------------
    @abstractmethod
    def prepare(self, needs: frozenset[str]) -> None:
        """Have processes started from now on so that these can be done to them: "clock", "monotonic", "pressure".

        Raises Refused for what cannot be had on this node.
        """

    @abstractmethod
    def set_clock(self, *, offset_s: float = 0.0, rate: float = 1.0) -> None:
        """Set the clock of the system's process off by `offset_s` now, going at `rate` from here on."""

    @abstractmethod
    def strobe_clock(self, *, offset_s: float, period_ms: float) -> None:
        """Let the clock jump to and fro by `offset_s`, each time after `period_ms`, until `set_clock`."""

    @abstractmethod
    def read_clock(self, *, watch_s: float = 0.3) -> ClockReading:
        """Probe: read the clock as the system's process reads it, in a process of its own with its environment."""

    @abstractmethod
    def limit(self, *, cpus: float | None = None, memory_bytes: int | None = None) -> None:
        """Limit what this node may use; what is not given is not limited any more. Raises Refused without them."""

    @abstractmethod
    def limits(self) -> Limits:
        """Probe: read the limits back from the kernel."""

    @abstractmethod
    def cpu_obtained(self, *, for_s: float = 0.3) -> float:
        """Probe: burn time in a process under the node's limits; return the CPUs it obtained."""

    @abstractmethod
    def wipe(self) -> None:
        """Empty the data directory; the process must be stopped."""

    @abstractmethod
    def heal(self) -> Sequence[str]:
        """Undo every fault of this node, idempotently; return what could not be undone.

        A stopped process goes on, a dead disk is mounted anew (its process is ended by that and is not started).
        """
