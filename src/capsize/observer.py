"""Watches what every node says of itself, and whether processes end by themselves; records every change.

A `leader` line tells who leads now, a `status` line what one node said: the first two answers that are alike, because
a node may put its role and its term together from two moments, and nothing from between two equal answers is torn.
`checker/polled.py` judges them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict

from capsize.cluster.cluster import leading
from capsize.cluster.system import NodeStatus
from capsize.crashes import Crashes
from capsize.recorder import Recorder

log = logging.getLogger(__name__)

Leader = tuple[str | None, int | None]
Statuses = Mapping[str, NodeStatus | None]

POLL_S = 0.25
CRASH_EVERY = 4
"""Looks at leaders for one look at processes."""
SEEN_MOST = 2
"""How often the same answer of a node is recorded."""


class Observer:
    """A thread that asks the cluster a few times a second; `ask` is None for a system that says nothing of itself.

    `current` is who leads, as it last heard.
    """

    def __init__(self, ask: Callable[[], Statuses] | None, crashes: Crashes, recorder: Recorder) -> None:
        self.current: Leader = (None, None)
        self._ask = ask
        self._crashes = crashes
        self._recorder = recorder
        self._said: dict[str, NodeStatus] = {}
        self._times: dict[str, int] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="observer", daemon=True)

    def start(self) -> None:
        """Begin watching."""
        self._thread.start()

    def stop(self) -> None:
        """End watching; waits shortly for a question that is out."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(5.0)

    def _watch(self) -> None:
        looks = 0
        while not self._ending.wait(POLL_S):
            looks += 1
            try:
                if self._ask is not None:
                    self.hear(self._ask())
                if looks % CRASH_EVERY == 0:
                    self._crashes.look()
            except Exception as error:  # a cluster that does not answer is what faults are for; watching goes on
                log.debug("nobody said who leads: %s", error)

    def hear(self, statuses: Statuses) -> None:
        """Record what is new in one round of answers."""
        for status in statuses.values():
            if status is not None:
                self._note(status)
        name, term = leading(statuses)
        if (name, term) != self.current:
            self.current = name, term
            self._recorder.nemesis("leader", {"leader": name, "term": term})

    def _note(self, status: NodeStatus) -> None:
        """Record what a node said, unless it said the same twice before and its indexes only grew."""
        before = self._said.get(status.node)
        self._said[status.node] = status
        shrank = {} if before is None else _shrank(before, status)
        again = before is not None and _alike(before, status) and not shrank
        self._times[status.node] = self._times.get(status.node, 0) + 1 if again else 1
        if self._times[status.node] <= SEEN_MOST:
            told = {word: value for word, value in asdict(status).items() if value is not None and value is not False}
            more = {"before": shrank} if shrank else {}
            self._recorder.nemesis("status", {**told, "seen": self._times[status.node], **more})


def _alike(one: NodeStatus, other: NodeStatus) -> bool:
    return (one.role, one.term, one.vote, one.leader) == (other.role, other.term, other.vote, other.leader)


def _shrank(before: NodeStatus, after: NodeStatus) -> dict[str, int]:
    """Return what those indexes were that only grow and are smaller now. The last index may shrink: a log is cut."""
    pairs = {
        "commit_index": (before.commit_index, after.commit_index),
        "applied_index": (before.applied_index, after.applied_index),
    }
    return {word: old for word, (old, new) in pairs.items() if old is not None and new is not None and new < old}
