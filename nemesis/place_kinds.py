"""The fault words of places: links, files, clocks, limits."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from capsize.nemesis.clients import CutClients
from capsize.nemesis.clock import JumpClock, RateClock, RateTime, SkewClock, StrobeClock
from capsize.nemesis.damage import FlipBit, TornTail, Truncate
from capsize.nemesis.fault import Fault
from capsize.nemesis.kind import Kind, always
from capsize.nemesis.partition import Flapping, Partition, Swizzle
from capsize.nemesis.pressure import LimitCpu, LimitMemory
from capsize.nemesis.shaping import Shaping

Draw = Callable[[random.Random, int], Fault]


def _shaping(**ranges: tuple[float, float]) -> Draw:
    """Draw whom, which way and how much; ranges as in `Shaping`."""

    def draw(rng: random.Random, nth: int) -> Fault:
        target = rng.choice(("leader", "leader", "one", "minority"))
        direction = rng.choice(("in", "out", "both"))
        given: dict[str, Any] = {name: round(rng.uniform(*between), 3) for name, between in ranges.items()}
        return Shaping(target, direction, **given)

    return draw


PLACES: tuple[Kind, ...] = (
    Kind("minority", "cut a random minority off from the rest", 0.38, always(Partition("all", "minority"))),
    Kind("random-cuts", "cut every direction of every link with a chance of one half", 0.64,
         always(Partition("all", "random"))),
    Kind("flapping", "cut the leader or another off and let it in again, over and over", 0.48,
         lambda rng, nth: Flapping(rng.choice(("leader", "one", "minority")))),
    Kind("swizzle", "cut nodes off one by one, let them in again in another order", 0.7,
         lambda rng, nth: Swizzle(rng.choice(("minority", "majority", "all")))),
    Kind("cut-clients", "keep clients from a node that its peers still hear", 0.3,
         lambda rng, nth: CutClients(rng.choice(("leader", "leader", "one", "minority")))),
    Kind("delay", "let packets of the leader or others arrive 20 to 150 ms late, one way or both", 0.06,
         _shaping(delay_ms=(20, 150))),
    Kind("jitter", "let packets arrive unevenly late", 0.12, _shaping(delay_ms=(40, 80), jitter_ms=(20, 40))),
    Kind("loss", "lose 5 to 40 % of the packets", 0.22, _shaping(loss=(0.05, 0.4))),
    Kind("reorder", "let packets overtake each other", 0.26, _shaping(delay_ms=(20, 40), reorder=(0.1, 0.5))),
    Kind("duplicate", "let packets arrive twice", 0.42, _shaping(duplicate=(0.1, 0.5))),
    Kind("corrupt", "turn single bits of packets over", 0.46, _shaping(corrupt=(0.05, 0.3))),
    Kind("rate", "let only 100 to 1,000 kbit/s through", 0.52, _shaping(rate_kbit=(100, 1000))),
    Kind("clock-skew", "set wall clocks off by up to a second, each by another amount", 0.02,
         lambda rng, nth: SkewClock(rng.choice(("all", "minority", "one")), round(rng.uniform(0.3, 1.0), 3))),
    Kind("clock-jump", "let a wall clock leap by seconds to a day, forwards or backwards", 0.32,
         lambda rng, nth: JumpClock(rng.choice(("leader", "one")), float(rng.choice((5, 60, 3600, 86400))),
                                    rng.random() < 0.5)),
    Kind("clock-strobe", "let a wall clock leap to and fro", 0.62,
         lambda rng, nth: StrobeClock(rng.choice(("leader", "one")), float(rng.choice((1, 10, 100))),
                                      float(rng.choice((50, 100, 200))))),
    Kind("clock-rate", "let a wall clock go faster or slower", 0.86,
         lambda rng, nth: RateClock(rng.choice(("leader", "one")), rng.choice((0.5, 1.5, 3.0)))),
    Kind("time-rate", "let all of a process's time, its timers too, go faster or slower", 0.9,
         lambda rng, nth: RateTime(rng.choice(("leader", "one")), rng.choice((0.5, 1.5, 2.0)))),
    Kind("cpu-limit", "leave a node a fifth of a CPU", 0.36,
         lambda rng, nth: LimitCpu(rng.choice(("leader", "one", "minority")))),
    Kind("memory-limit", "leave a node little more memory than it uses", 0.84,
         lambda rng, nth: LimitMemory(rng.choice(("leader", "one")))),
    Kind("torn-tail", "kill nodes and leave an unfinished write in a file, start them", 0.18,
         lambda rng, nth: TornTail(rng.choice(("leader", "one", "minority", "all")))),
    Kind("bit-flip", "kill a node, turn one bit of a file over, start it; a fixed minority", 0.56,
         lambda rng, nth: FlipBit(rng.choice(("one", "minority")))),
    Kind("truncate", "kill a node, cut the end off a file, start it away from its peers; a fixed minority", 0.8,
         lambda rng, nth: Truncate(rng.choice(("one", "minority")))),
)  # fmt: skip
