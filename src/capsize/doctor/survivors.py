"""Processes of a node that are still there after its server was killed: what they hold in memory no kill ever loses."""

from __future__ import annotations

import time

from capsize.cluster.node import Node

SCAN = """
import os, sys
mine, pid = set(), os.getpid()
while pid > 1:
    mine.add(pid)
    try:
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        break
for name in sorted(filter(str.isdigit, os.listdir("/proc")) if os.path.isdir("/proc") else ()):
    try:
        with open(f"/proc/{name}/cmdline", "rb") as file:
            words = file.read().decode(errors="replace").split("\\0")
    except OSError:
        continue
    if int(name) not in mine and any(place in word for word in words for place in sys.argv[1:]):
        print(name, " ".join(words)[:80].replace("\\n", " "))
"""
ENDS_S = 5.0
"""Children of a server that was killed may need a moment to notice."""


def survivors(node: Node) -> list[str]:
    """Return the processes that name the node's places and do not end within 5 s, as "pid command".

    A process that names neither its files nor its data is not found, nor any on a host without /proc.
    """
    deadline = time.monotonic() + ENDS_S
    while True:
        done = node.run([node.python, "-c", SCAN, node.install_dir, node.data_dir])
        there = done.out.splitlines() if not done.code else []
        if not there or time.monotonic() > deadline:
            return there
        time.sleep(0.1)
