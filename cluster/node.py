"""One host of a cluster, as adapters and the nemesis see it: the same orders on docker, ssh and local.

Every order runs on the node through its agent, is bounded in time, and raises BackendError with the node's
name when it could not be carried out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
    """The system's main process, read from the outside: alive, its pid, its state letter ("S", "T", "D", …)."""

    alive: bool
    pid: int | None = None
    state: str | None = None


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
        """Send a signal to the system's process group, by its recorded pid."""

    @abstractmethod
    def process(self) -> ProcessState:
        """Return the state of the system's process, read from /proc."""

    # -- network -------------------------------------------------------------------------------------------------
    @abstractmethod
    def drop_from(self, peers: Sequence[Node]) -> None:
        """Drop what arrives from exactly these nodes (the whole set; an empty one heals). Clients stay connected."""

    @abstractmethod
    def blocked_from(self, peer: Node) -> bool:
        """Probe from the outside whether packets from `peer` to this node are dropped now."""

    # -- disk ------------------------------------------------------------------------------------------------------
    @abstractmethod
    def freeze_disk(self) -> None:
        """Make writes and fsyncs of the data disk block (FIFREEZE); idempotent. Raises Refused without `disks`."""

    @abstractmethod
    def thaw_disk(self) -> None:
        """Let them go on (FITHAW); idempotent."""

    @abstractmethod
    def disk_stalls(self, *, wait_s: float = 0.2) -> bool:
        """Probe: return True when an fsync on the data disk does not return within `wait_s`."""

    @abstractmethod
    def wipe(self) -> None:
        """Empty the data directory; the process must be stopped."""
