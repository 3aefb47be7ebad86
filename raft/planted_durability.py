"""Planted bugs in durability and recovery."""

from __future__ import annotations

from .core import Core
from .events import WriteFailed
from .mutants import mutant
from .segments import Segment, SegmentedLog
from .server import PendingWrite
from .storage import DiskStorage


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


@mutant("disk.leader_no_fsync", "the leader counts entries that its own disk does not hold yet", "I16", "durability")
class LeaderNoFsync(Core):
    def own_match(self) -> int:
        return self.log.last_index

    def sendable_index(self) -> int:
        return self.log.last_index

    def commit_limit(self) -> int:
        return self.log.last_index


@mutant("disk.stale_last_written", "cutting the log does not lower what counts as durable", "I14", "I16")
class StaleLastWritten(Core):
    @property
    def safe_index(self) -> int:
        return min(self._highest, self.log.last_index)

    _highest = 0

    def durable_after(self, pending: PendingWrite) -> int:
        self._highest = max(self._highest, pending.log_index)
        return super().durable_after(pending)


@mutant(
    "vote.write_error_ignored",
    "a write that failed is taken for done, a vote's above all",
    "I14",
    "I2",
    bites_with="--faults dead-disk",
)
class WriteErrorIgnored(Core):
    def on_write_failed(self, event: WriteFailed) -> None:
        self.writes_durable(event.write)


class _AppendsBehindTornTail(SegmentedLog):
    def cut_torn_tail(self, segment: Segment) -> None:
        segment.end = segment.path.stat().st_size


@mutant(
    "recover.append_after_torn_tail",
    "new records are written behind the garbage of a torn one",
    "I13",
    bites_with="--faults torn-tail",
)
class AppendAfterTornTail(DiskStorage):
    log_class = _AppendsBehindTornTail


class _TakesDamageForTornTail(SegmentedLog):
    def is_torn_tail(self, content: bytes, offset: int, *, newest: bool) -> bool:
        return True


@mutant(
    "recover.crc_truncate_middle",
    "damage in the middle of the log is cut off like a torn tail",
    "I13",
    "I6",
    bites_with="--faults bit-flip",
)
class CrcTruncateMiddle(DiskStorage):
    log_class = _TakesDamageForTornTail
