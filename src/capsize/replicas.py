"""The end of a run: every node is asked what its replica amounts to; recorded, and judged by `checker/replicas.py`."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from capsize.cluster.cluster import Cluster
from capsize.recorder import Recorder

log = logging.getLogger(__name__)

WITHIN_S = 10.0
AGAIN_S = 0.3


def compare(cluster: Cluster, recorder: Recorder, *, interrupted: threading.Event, within_s: float = WITHIN_S) -> None:
    """Record a `replicas` line once all nodes are equally far and alike, or after `within_s` as they are then.

    Nothing is recorded for a system that does not tell. Replicas catch up, and compact, each at its own time; a
    difference that is still there in the end is one.
    """
    if "replica" not in cluster.system.capabilities():
        return
    deadline = time.monotonic() + within_s
    farthest: int | None = None
    while True:
        at = farthest
        answers = cluster.at_once(lambda node, at=at: cluster.system.replica(node, at))  # type: ignore[misc]
        told = {name: answer for name, answer in answers.items() if not isinstance(answer, Exception)}
        failed = {name: str(answer) for name, answer in answers.items() if isinstance(answer, Exception)}
        alike = not failed and len(set(told.values())) == 1
        if (alike and at is not None) or time.monotonic() >= deadline or interrupted.wait(AGAIN_S):
            break
        farthest = max((there for there, _ in told.values()), default=farthest)
    value: dict[str, Any] = {"states": {name: list(answer) for name, answer in sorted(told.items())}}
    recorder.nemesis("replicas", {**value, "failed": failed} if failed else value)
