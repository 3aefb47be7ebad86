"""Named random streams: a new fault does not shift the workload's draws, nor the other way round."""

from __future__ import annotations

import hashlib
import random


def stream(seed: int, *names: str | int) -> random.Random:
    """Return the random stream called `names` of `seed`; the same on every machine and Python version.

    >>> stream(7, "schedule").random() == stream(7, "schedule").random()
    True
    >>> stream(7, "schedule").random() == stream(7, "workload", 3).random()
    False
    """
    label = "/".join([str(seed), *map(str, names)])
    return random.Random(int.from_bytes(hashlib.sha256(label.encode()).digest()[:16], "big"))
