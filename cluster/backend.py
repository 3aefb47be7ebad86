"""A place to run a cluster: docker, ssh or local."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from capsize.cluster.node import Node


class Backend(ABC):
    """Makes the hosts of one run, and takes them away. Everything it makes carries the run's label."""

    name: str = ""

    @abstractmethod
    def capabilities(self) -> frozenset[str]:
        """Return what this place can do to its nodes: "processes", "network", "disks" … (faults say what they need)."""

    @abstractmethod
    def why_not(self, capability: str) -> str:
        """Return one sentence saying why a capability is missing here, and what would bring it."""

    @abstractmethod
    def create(self, count: int) -> Sequence[Node]:
        """Bring up `count` hosts with their agents; bounded; on failure everything is taken away again."""

    @abstractmethod
    def heal(self) -> None:
        """Undo every fault on every node, idempotently: thaw disks, reopen links, resume processes."""

    @abstractmethod
    def destroy(self) -> None:
        """Take everything of this run away; idempotent."""
