"""After a run the systems are stopped: what each node's log then holds is kept beside its own log files (level L2)."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from capsize.cluster.cluster import Cluster
from capsize.cluster.node import Node
from capsize.errors import CapsizeError

log = logging.getLogger(__name__)

DUMP = "raft-log.jsonl"
"""One entry a line, the oldest first; judged by `checker/dumped.py`."""


def dump_logs(cluster: Cluster, folder: Path) -> list[str]:
    """Write `folder`/<node>/raft-log.jsonl for every node whose log can be read; return what could not be had."""
    if "dump_log" not in cluster.system.capabilities():
        return []

    def dump(node: Node) -> None:
        entries = cluster.system.dump_log(node)
        target = folder / node.name
        target.mkdir(parents=True, exist_ok=True)
        (target / DUMP).write_text("".join(json.dumps(dict(entry)) + "\n" for entry in entries), encoding="utf-8")

    problems: list[str] = []
    for name, error in cluster.at_once(dump).items():
        if isinstance(error, CapsizeError | OSError | ValueError | LookupError):
            problems.append(f"{name}: its log could not be dumped: {error}")
        elif isinstance(error, Exception):  # an adapter's hook: what it dumps is evidence, never a condition
            log.warning("the log of %s could not be dumped", name, exc_info=error)
            problems.append(f"{name}: its log could not be dumped: {type(error).__name__}: {error}")
    return problems
