"""The end of the faults: waiting, bounded, until every process runs again and somebody leads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from capsize.cluster.cluster import Cluster
from capsize.crashes import Crashes
from capsize.errors import CapsizeError
from capsize.recorder import Recorder

LOOK_S = 0.1


def recover(
    cluster: Cluster, recorder: Recorder, crashes: Crashes, *, within_s: float, interrupted: threading.Event,
    say: Callable[[str], object], look: Callable[[], object] = lambda: None,
) -> None:  # fmt: skip
    """Return once the cluster leads again or `within_s` is over, which is recorded.

    A process that ended by itself is told and started; `look` is called a few times a second meanwhile.
    """
    crashes.look()
    for name, state in cluster.at_once(lambda node: node.process()).items():
        if isinstance(state, Exception) or state.alive:
            continue
        say(f"warning   the process of {name} has ended by itself (code {state.code}); it is started again")
        try:
            cluster.restart(cluster.node(name))
        except CapsizeError as error:
            say(f"warning   {name} could not be started again: {error}")
    if "status" not in cluster.system.capabilities():
        return
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and not interrupted.wait(LOOK_S):
        look()
        if cluster.leader()[0] is not None:
            return
    if not interrupted.is_set():
        recorder.phase("not-recovered", within_s=within_s)
