"""What the nemesis may ask of the running system itself: who leads, who votes, and the adapter's optional hooks.

An operator of a real cluster would do the same: find a node that answers, ask it, look at what came of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from capsize.cluster.cluster import Cluster
from capsize.cluster.node import Node
from capsize.cluster.system import NodeStatus
from capsize.errors import CapsizeError

log = logging.getLogger(__name__)
T = TypeVar("T")

AGAIN_S = 0.2
"""Between two tries of a request that was refused: another change may be under way."""


class Operator:
    """Asks one cluster. Safe from any thread; every question is bounded."""

    def __init__(self, cluster: Cluster) -> None:
        self.system = cluster.system
        self._cluster = cluster
        self._hooks = cluster.system.capabilities()
        self._lock = threading.Lock()
        self._led: list[str] = []
        """Who led, each change once, the newest last."""

    def has(self, hook: str) -> bool:
        """Return whether the adapter has an optional hook."""
        return hook in self._hooks

    def node(self, name: str) -> Node:
        """Return the node called `name`."""
        return self._cluster.node(name)

    # -- what it says of itself --------------------------------------------------------------------------------
    def leader(self, timeout_s: float = 1.0) -> tuple[str | None, int | None]:
        """Return who leads, in which term; nobody where the system does not tell. Hanging nodes get `timeout_s`."""
        if "status" not in self._hooks:
            return None, None
        node, term = self._cluster.leader(timeout_s)
        name = node.name if node else None
        with self._lock:
            if name is not None and self._led[-1:] != [name]:
                self._led = [*self._led[-3:], name]
        return name, term

    def old_leader(self, leader: str | None) -> str | None:
        """Return who led last, other than `leader`, who leads now."""
        with self._lock:
            return next((name for name in reversed(self._led) if name != leader), None)

    def statuses(self, timeout_s: float = 1.0) -> Mapping[str, NodeStatus]:
        """Return what the nodes that answer in time say of themselves."""
        return {name: status for name, status in self._cluster.statuses(timeout_s).items() if status is not None}

    def last_index(self) -> Mapping[str, int]:
        """Return where the logs end, of the nodes that say so."""
        return {name: said.last_index for name, said in self.statuses().items() if said.last_index is not None}

    def voters(self) -> tuple[str, ...] | None:
        """Return the voting members as the leader knows them; None while nobody leads, or where nobody tells.

        Others may lag behind: of a system that names its leader, only the leader is asked.
        """
        if "members" not in self._hooks:
            return None
        for through in self._answering():
            if "status" in self._hooks and through.name != self.leader()[0]:
                return None
            try:
                return tuple(self.system.members(through))
            except Exception as error:  # a client call: the next node may know
                log.debug("%s does not tell its members: %s", through.name, error)
        return None

    def accounts(self) -> Mapping[str, tuple[str, ...]]:
        """Return the voters by the account of every node that answers; some may lag behind."""
        told: dict[str, tuple[str, ...]] = {}
        for through in self._answering() if "members" in self._hooks else ():
            try:
                told[through.name] = tuple(self.system.members(through))
            except Exception as error:  # a client call: that node tells nothing
                log.debug("%s does not tell its members: %s", through.name, error)
        return told

    def _answering(self) -> Iterator[Node]:
        """Yield the nodes that may answer, the leader first."""
        leader, _ = self.leader()
        names = sorted(self.statuses(), key=lambda name: name != leader) if "status" in self._hooks else []
        for name in names or [node.name for node in self._cluster.nodes]:
            yield self._cluster.node(name)

    def log_path(self, name: str) -> str:
        """Return where the node's log is, on the node."""
        node = self.node(name)
        return f"{node.log_dir}/{self.system.command(node).log}"

    # -- what it is asked to do --------------------------------------------------------------------------------
    def remove(self, name: str, *, within_s: float = 5.0) -> None:
        """Have `name` removed from the voters; returns only once a request for it was answered: it is committed.

        That the members do not name it any more is not enough: a change counts from when it is in the log, and may
        still be undone. Raises what the last try raised.
        """
        self._through_others(
            name, lambda through: self.system.remove_member(through, self.node(name)), lambda: False, within_s
        )

    def add(self, name: str, *, within_s: float = 10.0, voting: bool = True) -> None:
        """Have `name` taken in; returns once the members name it, or, without `voting`, once a request was taken."""

        def votes() -> bool:
            voters = self.voters() if voting else None
            return voters is not None and name in voters

        def ask(through: Node) -> None:
            self.system.add_member(through, self.node(name))
            if voting and not votes():
                raise CapsizeError(f"{name} is no voter yet")

        self._through_others(name, ask, votes, within_s)

    def _through_others(
        self, name: str, ask: Callable[[Node], object], done: Callable[[], bool], within_s: float
    ) -> None:
        """Ask through one node after the other, `name` last, until one has done it or it is `done` already."""
        deadline = time.monotonic() + within_s
        while not done():
            last: Exception | None = None
            for through in sorted(self._answering(), key=lambda node: node.name == name):
                try:
                    ask(through)
                    return
                except Exception as error:  # a client call: refused now, perhaps not by another, or not later
                    last = error
                    if time.monotonic() >= deadline:
                        raise
            if time.monotonic() >= deadline:
                raise last or CapsizeError("no node answers")
            time.sleep(AGAIN_S)

    def snapshot(self, name: str) -> None:
        """Have `name` take a snapshot."""
        self.system.snapshot(self.node(name))

    def transfer(self, leader: str, to: str) -> None:
        """Have `leader` hand over."""
        self.system.transfer_leadership(self.node(leader), self.node(to))

    def arm(self, name: str, failpoint: str, action: str) -> None:
        """Have `name` do `action` at a failpoint."""
        self.system.arm(self.node(name), failpoint, action)
