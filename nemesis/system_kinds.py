"""The fault words of processes, of members, and of exact places in the code."""

from __future__ import annotations

import random
from collections.abc import Callable

from capsize.nemesis.disk import PowerLoss
from capsize.nemesis.kind import Kind, always
from capsize.nemesis.membership import RemoveMember, TakeSnapshot, TransferLeadership, WipeAndRejoin
from capsize.nemesis.process import Kill
from capsize.nemesis.restarts import CrashLoop, KillInOrder, RollingRestart, Stop
from capsize.nemesis.trigger import Failpoint, Trigger


def _in_write(rng: random.Random, nth: int) -> Trigger:
    place = rng.choice(("before_append", "after_append", "after_fsync", "before_send", "before_reply"))
    return Failpoint(place=place, node=rng.choice(("leader", "leader", "follower")), nth=rng.choice((1, 1, 2, 5)))


def at(place: str, node: str = "leader") -> Callable[[random.Random, int], Trigger]:
    """Wait for the same place of the code every time."""
    return lambda rng, nth: Failpoint(place=place, node=node)


SYSTEMS: tuple[Kind, ...] = (
    Kind("stop", "SIGTERM a process, SIGKILL it when that does not end it, start it again", 0.25,
         lambda rng, nth: Stop(rng.choice(("leader", "leader", "one", "minority")))),
    Kind("kill-all", "SIGKILL all nodes at once, start them again", 0.12, always(Kill("all"))),
    Kind("kill-in-order", "SIGKILL all nodes at once, start them again one by one", 0.62,
         lambda rng, nth: KillInOrder("all", ("shuffled", "reverse", "forward")[nth % 3])),
    Kind("lose-quorum", "SIGKILL just so many nodes that no majority is left", 0.32, always(Kill("lose-quorum"))),
    Kind("crash-loop", "SIGKILL a node again and again, each time shortly after its start", 0.4,
         lambda rng, nth: CrashLoop(rng.choice(("leader", "follower", "minority")))),
    Kind("rolling-restart", "stop and start one node after the other", 0.7, always(RollingRestart("all"))),
    Kind("remove-member", "remove a member, take it back later", 0.38,
         lambda rng, nth: RemoveMember(rng.choice(("leader", "follower", "one")))),
    Kind("shrink", "remove members until a minority is gone, grow again later", 0.48, always(RemoveMember("minority"))),
    Kind("wipe-rejoin", "remove a member, destroy its data, take it back as a new one", 0.52,
         lambda rng, nth: WipeAndRejoin(rng.choice(("leader", "follower", "one")))),
    Kind("transfer-leader", "ask the leader to hand over to a follower", 0.28, always(TransferLeadership("follower"))),
    Kind("snapshot", "have nodes take a snapshot and compact their log", 0.3,
         lambda rng, nth: TakeSnapshot(rng.choice(("leader", "one", "all")))),
    Kind("crash-after-append", "the leader dies right after appending, before any follower can respond", 0.05,
         always(Kill("leader")), at("after_append")),
    Kind("crash-before-reply", "the leader dies when a write is committed and before its client is told", 0.36,
         always(Kill("leader")), at("before_reply")),
    Kind("crash-in-write", "a node dies somewhere between taking a write and answering it", 0.46,
         always(Kill("leader")), _in_write),
    Kind("power-loss-after-append", "the leader loses its power right after appending, nothing synced", 0.56,
         always(PowerLoss("leader")), at("after_append")),
)  # fmt: skip
