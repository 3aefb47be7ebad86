"""The directed scenarios; importing this registers them all."""

from __future__ import annotations

from capsize.simulator.scenarios import (
    clocks,
    compaction,
    durability,
    elections,
    labs,
    links,
    membership,
    reads,
    replication,
    storms,
)
from capsize.simulator.scenarios.scenario import SCENARIOS, Played, Scenario, play

__all__ = [
    "SCENARIOS",
    "Played",
    "Scenario",
    "clocks",
    "compaction",
    "durability",
    "elections",
    "labs",
    "links",
    "membership",
    "play",
    "reads",
    "replication",
    "storms",
]
