"""Planted bugs in elections, terms and quorums."""

from __future__ import annotations

from .core import Core
from .mutants import mutant


@mutant("quorum.minority", "half of the voters, rounded down, count as a majority: two of five", "I16", "I1")
class QuorumMinority(Core):
    def quorum_size(self, voters: int) -> int:
        return max(1, voters // 2)
