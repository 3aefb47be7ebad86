"""The fault words of the command line: what each draws, and how they are spread over a run.

`phase` places a kind inside the period, so that kinds mostly take turns and sometimes overlap. It belongs to the word
alone: choosing one more kind moves no other.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from capsize.errors import UsageError, no_such
from capsize.nemesis.disk import DeadDisk, FullDisk, PauseDisk, PowerLoss, SlowDisk
from capsize.nemesis.fault import Fault
from capsize.nemesis.kind import Kind as Kind
from capsize.nemesis.kind import always
from capsize.nemesis.partition import Partition
from capsize.nemesis.place_kinds import PLACES
from capsize.nemesis.process import Kill, PauseProcess
from capsize.nemesis.system_kinds import SYSTEMS


def _partition(rng: random.Random, nth: int) -> Fault:
    """Isolate the leader and split in halves, in turn; the target of a halving is everybody."""
    return Partition("leader", "isolate") if nth % 2 == 0 else Partition("all", "halves")


def _pause_disk(rng: random.Random, nth: int) -> Fault:
    return PauseDisk(rng.choice(("leader", "leader", "follower", "one")))


_LIST = (
    Kind("kill-leader", "SIGKILL the leader, start it again", 0.0, always(Kill("leader"))),
    Kind("kill", "SIGKILL one to all nodes, start them again", 0.1,
         lambda rng, nth: Kill(rng.choice(("one", "one", "follower", "minority", "majority", "all")))),
    Kind("pause-process", "SIGSTOP the leader or another, SIGCONT it", 0.2,
         lambda rng, nth: PauseProcess(rng.choice(("leader", "leader", "one", "minority")))),
    Kind("partition", "isolate the leader and split in halves, in turn", 0.34, _partition),
    Kind("isolate-leader", "cut the leader off, both ways", 0.44, always(Partition("leader", "isolate"))),
    Kind("halves", "split the cluster in two", 0.54, always(Partition("all", "halves"))),
    Kind("one-way", "cut one direction only: the leader mute, or a node deaf", 0.5,
         lambda rng, nth: rng.choice((Partition("leader", "mute"), Partition("one", "deaf")))),
    Kind("ring", "every node hears another majority", 0.6, always(Partition("all", "ring"))),
    Kind("bridge", "two halves that only one node hears", 0.58, always(Partition("all", "bridge"))),
    Kind("pause-disk", "block writes and fsyncs of a data disk, mostly the leader's", 0.67, _pause_disk),
    Kind("slow-disk", "let writes of a data disk through only now and then", 0.72,
         lambda rng, nth: SlowDisk(rng.choice(("leader", "one", "minority")))),
    Kind("full-disk", "take all free space of a data disk", 0.77,
         lambda rng, nth: FullDisk(rng.choice(("leader", "one")))),
    Kind("dead-disk", "make every write to a data disk fail, mount it anew", 0.82,
         lambda rng, nth: DeadDisk(rng.choice(("leader", "one")))),
    Kind("power-loss", "lose what was not synced, on one node to all; start them again", 0.15,
         lambda rng, nth: PowerLoss(rng.choice(("leader", "one", "minority", "majority", "all", "all")))),
    *PLACES,
    *SYSTEMS,
)  # fmt: skip

KINDS: dict[str, Kind] = {kind.word: kind for kind in _LIST}


SHORT = {"pause": "pause-process"}


def choose(words: Iterable[str], *, flag: str = "--faults") -> tuple[Kind, ...]:
    """Return the kinds called `words`, each once, in the given order; "none" alone means no faults.

    "pause" is short for "pause-process".

    Raises UsageError with the nearest known word.
    """
    names = list(dict.fromkeys(SHORT.get(word.strip(), word.strip()) for word in words if word.strip()))
    if names == ["none"]:
        return ()
    if "none" in names:
        raise UsageError(f"{flag}: 'none' stands alone; got {','.join(names)}")
    if not names:
        raise UsageError(f"{flag}: no fault is named; expected words of capsize list faults, or none")
    for name in names:
        if name not in KINDS:
            raise no_such("fault", name, KINDS, flag=flag, listing="faults")
    return tuple(KINDS[name] for name in names)
