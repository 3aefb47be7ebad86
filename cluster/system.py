"""The adapter of one product: what capsize needs to know to run a Raft that is not ours.

Four things to write; the rest is optional and discovered by `capabilities`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from capsize.client import Client
from capsize.cluster.node import Command, Node


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What a node says of itself when polled (evidence level L1); None where the system does not tell."""

    node: str
    role: str | None = None
    """leader, follower, candidate …"""
    term: int | None = None
    vote: str | None = None
    leader: str | None = None
    commit_index: int | None = None
    applied_index: int | None = None
    last_index: int | None = None
    base_index: int | None = None
    """Up to where a snapshot has replaced the log."""
    term_lags: bool = False
    """Whether the term is that of the last entry applied, so that a new leader may still name an old one."""


class System(ABC):
    """One product under test. Subclass it, and name the class in the entry point group `capsize.systems`."""

    name: str = ""
    options: dict[str, str] = {}  # noqa: RUF012 (name -> one-line description; shown by `capsize list systems`)
    restart_timeout_s: float = 30.0
    lacks: frozenset[str] = frozenset()
    """Operations its clients do not have: `register` does without "cas", a workload that needs one is refused."""
    left_out: Mapping[str, str] = {}
    """Optional hook -> why this adapter does not have it: told with the refusal of what needs it."""

    def __init__(self, **options: Any) -> None:
        self.chosen = options

    def prepare(self) -> None:
        """Have ready on this machine what `install` will upload. Called once, before any host is made.

        Raises AdapterError in one line when it cannot be had.
        """
        return

    @abstractmethod
    def install(self, node: Node) -> None:
        """Put the system's files on `node`: upload, unpack, write configuration. Called once for each node."""

    @abstractmethod
    def command(self, node: Node) -> Command:
        """Return what to run on `node`."""

    @abstractmethod
    def client(self, node: Node, process: int) -> Client:
        """Return an unopened client pinned to `node`, for logical process `process`."""

    # Set by the cluster before `install`: every node, in order.
    nodes: tuple[Node, ...] = ()

    # -- optional ------------------------------------------------------------------------------------------------
    def status(self, node: Node) -> NodeStatus:
        """Return what `node` says of itself now; raises any exception when it does not answer."""
        raise NotImplementedError

    def traces(self, node: Node) -> tuple[str, ...]:
        """Return the files of the node's log directory that hold event traces (evidence level L3)."""
        return ()

    def refuses(self, backend: str) -> Mapping[str, str]:
        """Return what cannot be done to this system on that backend, though the backend can: capability -> why.

        For instance {"network": "…"} where the system's nodes cannot be made to reach each other through the links
        of the local backend.
        """
        return {}

    def own_client(self, workload: str, node: Node, process: int) -> Client | None:
        """Return an unopened client that has this workload's operations itself; None where the map's will do.

        Without it, sets, queues and locks are built on `read` and `cas` of the map (docs/workloads.md). It must also
        do `write`, with which the cluster is found ready.
        """
        return None

    def transfer_leadership(self, leader: Node, to: Node) -> None:
        """Ask `leader` to hand over to `to`; returns when it was asked."""
        raise NotImplementedError

    def members(self, node: Node) -> tuple[str, ...]:
        """Return the names of the voting members as `node` knows them now."""
        raise NotImplementedError

    def add_member(self, through: Node, node: Node) -> None:
        """Ask the cluster, through the running node `through`, to take `node` in as a voter; bounded.

        `node` runs, or is started by the caller afterwards, with the data directory it has.
        """
        raise NotImplementedError

    def remove_member(self, through: Node, node: Node) -> None:
        """Ask the cluster, through the running node `through`, to remove `node` from its voters; bounded.

        Returns only when the removal is committed: the nemesis may destroy `node`'s data next.
        """
        raise NotImplementedError

    def snapshot(self, node: Node) -> None:
        """Ask `node` to take a snapshot of its state and compact its log now."""
        raise NotImplementedError

    def failpoints(self) -> Mapping[str, str]:
        """Return the exact instants at which a node can be made to act: name -> one line of description."""
        raise NotImplementedError

    def arm(self, node: Node, failpoint: str, action: str) -> None:
        """Make `node` do `action` ("crash", "pause", …) when it next reaches `failpoint`; "off" disarms it."""
        raise NotImplementedError

    def replica(self, node: Node, at: int | None) -> tuple[int, str]:
        """Return how far `node` has applied its log, and a digest of its state there; equal states, equal digests.

        Asked of every node when the run is over and healed: replicas that say the same of how far they are must have
        the same digest. `at` is where another node is: a system that can look back answers for there.
        """
        raise NotImplementedError

    def dump_log(self, node: Node) -> tuple[Mapping[str, Any], ...]:
        """Return the stopped node's log as `{"index", "term", …}` (evidence level L2), oldest first."""
        raise NotImplementedError

    def has_own_clients(self) -> bool:
        """Say whether the adapter brings clients of its own for some workloads."""
        return type(self).own_client is not System.own_client

    def capabilities(self) -> frozenset[str]:
        """Return the optional hooks this adapter overrides, by name."""
        return frozenset(name for name in OPTIONAL if getattr(type(self), name) is not getattr(System, name))


OPTIONAL = (
    "status",
    "traces",
    "transfer_leadership",
    "members",
    "add_member",
    "remove_member",
    "snapshot",
    "failpoints",
    "arm",
    "replica",
    "dump_log",
)
"""The optional hooks, in the order they are listed."""


def why_without(system: System, hooks: Iterable[str]) -> str:
    """Return why the adapter does not have these hooks, as far as it says; "" where it does not."""
    return "; ".join(dict.fromkeys(system.left_out[hook] for hook in hooks if hook in system.left_out))
