"""Planted bugs in durability and recovery."""

from __future__ import annotations

from .core import Core
from .mutants import mutant


@mutant(
    "disk.ack_before_fsync",
    "log entries count as durable as soon as they were handed to the disk",
    "I14",
    "durability",
)
class AckBeforeFsync(Core):
    @property
    def safe_index(self) -> int:
        return self.log.last_index
