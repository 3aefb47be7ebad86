"""The directed scenarios; importing this registers them all."""

from __future__ import annotations

from capsize.simulator.scenarios import durability, elections, membership, reads, replication
from capsize.simulator.scenarios.scenario import SCENARIOS, Played, Scenario, play

__all__ = ["SCENARIOS", "Played", "Scenario", "durability", "elections", "membership", "play", "reads", "replication"]
