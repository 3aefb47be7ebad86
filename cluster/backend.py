"""A place to run a cluster: docker, ssh or local."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from capsize.cluster.node import Node


class Backend(ABC):
    """Makes the hosts of one run, and takes them away. Everything it makes carries the run's label."""

    name: str = ""
    label: str = ""
    """The run's label, which everything carries; letters, digits, dots and dashes."""

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
    def heal(self) -> Sequence[str]:
        """Undo every fault on every node, idempotently: thaw disks, reopen links, resume processes.

        Returns one sentence for each thing that could not be undone; never raises for a node that is gone.
        """

    @abstractmethod
    def destroy(self) -> None:
        """Take everything of this run away; idempotent."""

    def describe(self) -> dict[str, object]:
        """Return what a reader of run.json wants to know of this place: versions, addresses, sizes."""
        return {"name": self.name}
