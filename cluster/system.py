"""The adapter of one product: what capsize needs to know to run a Raft that is not ours.

Four things to write; the rest is optional and discovered by `capabilities`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
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


class System(ABC):
    """One product under test. Subclass it, and name the class in the entry point group `capsize.systems`."""

    name: str = ""
    options: dict[str, str] = {}  # noqa: RUF012 (name -> one-line description; shown by `capsize list systems`)
    restart_timeout_s: float = 30.0

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

    def transfer_leadership(self, leader: Node, to: Node) -> None:
        """Ask `leader` to hand over to `to`; returns when it was asked."""
        raise NotImplementedError

    def capabilities(self) -> frozenset[str]:
        """Return the optional hooks this adapter overrides, by name."""
        optional = ("status", "traces", "transfer_leadership")
        return frozenset(name for name in optional if getattr(type(self), name) is not getattr(System, name))
