"""A run that is killed in the middle of its faults: `python leave.py local|docker LABEL [agents]`.

Brings up two nodes, freezes every disk with a write hanging in it, cuts, stops, then ends itself with SIGKILL;
with "agents" the agents are ended the same way first, so that nobody is left who could heal.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.cluster.appender import Appender

from capsize.cluster.cluster import Cluster
from capsize.cluster.docker_backend import DockerBackend
from capsize.cluster.local_backend import LocalBackend


def main(kind: str, label: str, agents: bool) -> None:
    backend = (LocalBackend if kind == "local" else DockerBackend)(label)
    cluster = Cluster(Appender(), backend, backend.create(2))
    cluster.start()
    cluster.wait_ready(20.0)
    one, two = cluster.nodes
    cluster.at_once(lambda node: node.freeze_disk())
    two.drop_from([one])
    two.signal(signal.SIGSTOP)
    assert all(stalled is True for stalled in cluster.at_once(lambda node: node.disk_stalls()).values())
    if agents and kind == "local":
        for node in backend.nodes:
            os.kill(node.agent.order("hello")["pid"], signal.SIGKILL)
    elif agents:
        for name in ("n1", "n2"):
            argv = ["docker", "exec", f"capsize-{label}-{name}", "pkill", "-KILL", "-f", "/capsize/agent.py"]
            subprocess.run(argv, check=False)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "agents" in sys.argv)
