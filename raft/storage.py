"""Stable storage of one server: metadata, log, snapshot; and what is found there at boot.

    meta               {"inc":3,"term":5,"vote":"n2"} and its CRC; replaced atomically (write, fsync, rename, fsync)
    log/*.seg          see `segments`
    snapshot-<index>-<term>.snap    CRC and JSON; replaced like meta

`Storage` is what a node needs; the simulator has one of its own. Writes are carried out in the order given. When
`carry_out` returns, all of them are durable; when it raises, nobody knows, and the node must stop.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from .events import AppendLog, CompactLog, PersistMeta, Recovered, SaveSnapshot, Snapshot, TruncateLog, Write
from .failpoints import Failpoints
from .json_text import json_text
from .log import Entry, Position
from .segments import SEGMENT_BYTES, Corrupt, SegmentedLog, sync_directory


class Storage(Protocol):
    """Where a server keeps what must survive it."""

    def recover(self) -> Recovered:
        """Return what is there, with the number of this boot made durable. Raises Corrupt if it cannot be right."""
        ...

    def carry_out(self, writes: Sequence[Write]) -> None:
        """Carry out these writes in order; they are durable on return. Raises OSError."""
        ...


class Meta(NamedTuple):
    """What the metadata file holds: boots so far, current term, vote."""

    inc: int
    term: int
    vote: str | None


class DiskStorage:
    """Stable storage in a directory."""

    log_class: type[SegmentedLog] = SegmentedLog

    def __init__(
        self,
        directory: Path,
        *,
        fsync: bool = True,
        segment_bytes: int = SEGMENT_BYTES,
        failpoints: Failpoints | None = None,
        boots_before: int = 0,
    ) -> None:
        self.directory = directory
        self.boots_before = boots_before
        self.fsync = fsync
        self.log = self.log_class(directory / "log", fsync=fsync, segment_bytes=segment_bytes)
        self.failpoints = failpoints or Failpoints()
        self.incarnation = 0
        self.notes: list[str] = []
        """What recovery did that a person may want to know."""

    # -- boot --------------------------------------------------------------------------------------------------
    def recover(self) -> Recovered:
        self.directory.mkdir(parents=True, exist_ok=True)
        for leftover in self.directory.glob("*.tmp"):
            leftover.unlink()
        meta = self._read_meta()
        snapshot = self._read_snapshot()
        entries, torn = self.log.load()
        if torn:
            self.notes.append(f"cut a torn tail of {torn} bytes off the log behind entry {self._last(entries)}")
        entries = self._behind_snapshot(entries, snapshot)
        if meta is None:
            if (entries or snapshot) and self.fsync:
                raise Corrupt(f"{self.directory / 'meta'} is missing, but there is a log: term and vote are lost")
            meta = Meta(self.boots_before, 0, None)
        self.incarnation = meta.inc + 1
        term = meta.term
        if not self.fsync and entries:
            term = max(term, entries[-1].term)
        self._write_meta(term, meta.vote)
        reborn = self.boots_before > 0 and self.incarnation == self.boots_before + 1
        return Recovered(self.incarnation, term, meta.vote, tuple(entries), snapshot, reborn)

    @staticmethod
    def _last(entries: Sequence[Entry]) -> int:
        return entries[-1].index if entries else 0

    def _behind_snapshot(self, entries: list[Entry], snapshot: Snapshot | None) -> list[Entry]:
        """Return the entries behind the snapshot; none if the log contradicts it there (a crash while installing)."""
        base = snapshot.base if snapshot else Position(0, 0)
        if self.log.segments and self.log.segments[-1].last_index < base.index:
            entries = []
            self.log.clear()
            self.log.sync()
        if not entries:
            return []
        if entries[0].index > base.index + 1:
            raise Corrupt(f"{self.directory}: the log begins at {entries[0].index}, the snapshot ends at {base.index}")
        at_base = base.index - entries[0].index
        follows = at_base == -1 or (0 <= at_base < len(entries) and entries[at_base].term == base.term)
        if not follows:
            self.log.clear()
            self.log.sync()
            return []
        return entries[at_base + 1 :]

    # -- writes --------------------------------------------------------------------------------------------------
    def carry_out(self, writes: Sequence[Write]) -> None:
        """Carry out a batch: the log is synced once, at the end or before the metadata change behind it."""
        reach = self.failpoints.reach
        for write in writes:
            if isinstance(write, AppendLog):
                reach("before_append")
                self.log.append(write.entries)
                reach("after_append")
            elif isinstance(write, PersistMeta):
                self.log.sync()
                self._persist_meta(write)
            elif isinstance(write, TruncateLog):
                reach("before_truncate")
                self.log.truncate(write.last_index)
                reach("after_truncate")
            elif isinstance(write, SaveSnapshot):
                self.log.sync()
                self.save_snapshot(write.snapshot)
                reach("after_snapshot")
            else:
                reach("before_compact")
                self._compact(write)
                reach("after_compact")
        self.log.sync()
        reach("after_fsync")

    def _persist_meta(self, write: PersistMeta) -> None:
        reach = self.failpoints.reach
        reach("before_meta_write")
        if write.vote is not None:
            reach("before_vote_persist")
        self._write_meta(write.term, write.vote)
        if write.vote is not None:
            reach("after_vote_persist")
        reach("after_meta_write")

    def _compact(self, write: CompactLog) -> None:
        self.log.sync()
        newest = self.log.segments[-1].last_index if self.log.segments else 0
        if write.discard or newest < write.base.index:
            self.log.clear()
        else:
            self.log.compact(write.base.index)

    # -- metadata (Figure 2: currentTerm, votedFor) ----------------------------------------------------------------
    def _write_meta(self, term: int, vote: str | None) -> None:
        content = json_text({"inc": self.incarnation, "term": term, "vote": vote})
        self._replace("meta", content)

    def _read_meta(self) -> Meta | None:
        try:
            content = self._checked(self.directory / "meta")
        except Corrupt:
            if self.fsync:
                raise
            content = None  # without fsync anything may be lost: take what is there
        if content is None:
            return None
        raw = json.loads(content)
        return Meta(raw["inc"], raw["term"], raw["vote"])

    # -- snapshots (§7) ----------------------------------------------------------------------------------------------
    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Replace the snapshot; the old one goes when the new one is durable."""
        name = f"snapshot-{snapshot.base.index:020d}-{snapshot.base.term}.snap"
        self._replace(name, snapshot.data)
        for old in self.directory.glob("snapshot-*.snap"):
            if old.name != name:
                old.unlink()

    def _read_snapshot(self) -> Snapshot | None:
        """Return the newest snapshot. A broken one is not skipped: the log behind the one before may be gone."""
        paths = sorted(self.directory.glob("snapshot-*.snap"))
        if not paths:
            return None
        _, index, term = paths[-1].stem.split("-")
        content = self._checked(paths[-1])
        assert content is not None
        return Snapshot(Position(int(index), int(term)), content)

    # -- files ---------------------------------------------------------------------------------------------------------
    def _replace(self, name: str, content: str) -> None:
        """Replace a file atomically and durably."""
        data = content.encode()
        path = self.directory / name
        temporary = self.directory / f"{name}.tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(f"{zlib.crc32(data):08x} {len(data)}\n".encode())
                file.write(data)
            if self.fsync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if name.startswith("snapshot"):
            self.failpoints.reach("before_snapshot_rename")
        temporary.rename(path)
        if self.fsync:
            sync_directory(self.directory)

    @staticmethod
    def _checked(path: Path) -> str | None:
        """Return a file's content; None if there is no such file. Raises Corrupt if it is not what was written."""
        try:
            head, _, data = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        if head != f"{zlib.crc32(data):08x} {len(data)}".encode():
            raise Corrupt(f"{path} is damaged: its checksum does not fit its content")
        return data.decode()

    def close(self) -> None:
        self.log.close()
