"""The log on disk: segment files of records, each with its length and CRC.

    <first index, 20 digits>.seg     records one after the other
    record = length (4 bytes) · CRC-32 of length and payload (4 bytes) · payload: the entry as a JSON array

Reading back, a record that is broken and followed by no whole record is a torn tail: the write was under way when
the power failed, so nobody was told that it is durable; it is cut off, and the cut is synced before anything is
appended behind it. A broken record with a whole one behind it is corruption of something that was durable, and the
node refuses to start: to cut there would forget entries it acknowledged (Alagappan et al., FAST 2018).
A known hole: damage to the very last record looks like a torn tail.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .json_text import json_text
from .log import Entry

HEADER = struct.Struct(">II")
RECORD_MAX = 1 << 28
SEGMENT_BYTES = 4 << 20


class Corrupt(Exception):
    """What is on the disk cannot be what was written there; says where and what to do."""


@dataclass(slots=True)
class Segment:
    """One file: the index of its first entry, and where in the file each record begins."""

    path: Path
    first_index: int
    offsets: list[int] = field(default_factory=list[int])
    end: int = 0

    @property
    def last_index(self) -> int:
        return self.first_index + len(self.offsets) - 1


def pack(entry: Entry) -> bytes:
    """Return the record of an entry."""
    payload = json_text(entry).encode()
    length = len(payload)
    return HEADER.pack(length, zlib.crc32(payload, length)) + payload


def record_at(content: bytes, offset: int) -> tuple[Entry, int] | None:
    """Return the whole record that begins at `offset`, and where the next one begins; None if there is none."""
    if offset + HEADER.size > len(content):
        return None
    length, checksum = HEADER.unpack_from(content, offset)
    end = offset + HEADER.size + length
    if not 0 < length <= RECORD_MAX or end > len(content):
        return None
    payload = content[offset + HEADER.size : end]
    if zlib.crc32(payload, length) != checksum:
        return None
    try:
        return Entry(*json.loads(payload)), end
    except (ValueError, TypeError):
        return None


def sync_directory(path: Path) -> None:
    """Make creations, renames and removals in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SegmentedLog:
    """The segments of one log directory, oldest first; appends go to the newest."""

    def __init__(self, directory: Path, *, fsync: bool = True, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.directory = directory
        self.fsync = fsync
        self.segment_bytes = segment_bytes
        self.segments: list[Segment] = []
        self._file: int | None = None
        self._dirty = False
        self._directory_dirty = False

    # -- reading -------------------------------------------------------------------------------------------
    def load(self) -> tuple[list[Entry], int]:
        """Read everything; return the entries and how many bytes of torn tail were cut off."""
        self.directory.mkdir(parents=True, exist_ok=True)
        entries: list[Entry] = []
        cut = 0
        paths = sorted(self.directory.glob("*.seg"))
        for path in paths:
            segment, found, torn = self._read(path, newest=path is paths[-1])
            if entries and segment.first_index != entries[-1].index + 1:
                raise Corrupt(f"{path}: the log has a hole before entry {segment.first_index}")
            self.segments.append(segment)
            entries += found
            cut += torn
        if cut:
            self.cut_torn_tail(self.segments[-1])
        return entries, cut

    def _read(self, path: Path, *, newest: bool) -> tuple[Segment, list[Entry], int]:
        """Read a segment; return it, its entries, and how many bytes of torn tail follow them.

        Raises Corrupt when a broken record cannot be a torn tail, or when indices do not follow each other.
        """
        content = path.read_bytes()
        segment = Segment(path, int(path.stem))
        entries: list[Entry] = []
        offset = 0
        while (found := record_at(content, offset)) is not None:
            entry, end = found
            if entry.index != segment.first_index + len(entries):
                raise Corrupt(f"{path} at byte {offset}: entry {entry.index}, expected {segment.last_index + 1}")
            segment.offsets.append(offset)
            entries.append(entry)
            offset = end
        segment.end = offset
        torn = len(content) - offset
        if torn and not self.is_torn_tail(content, offset, newest=newest):
            raise Corrupt(
                f"{path} at byte {offset}: a broken record with whole ones behind it is no torn tail; acknowledged "
                "entries would be lost. Restore the data directory, or wipe it and add the server anew"
            )
        return segment, entries, torn

    def is_torn_tail(self, content: bytes, offset: int, *, newest: bool) -> bool:
        """Say whether what begins at `offset` is an unfinished write, not damage to a finished one."""
        if not newest:
            return False
        return all(record_at(content, behind) is None for behind in range(offset + 1, len(content) - HEADER.size))

    def cut_torn_tail(self, segment: Segment) -> None:
        """Remove an unfinished record, durably, before anything is written behind it."""
        descriptor = os.open(segment.path, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, segment.end)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    # -- writing: nothing is durable before `sync` -----------------------------------------------------------
    def append(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            newest = self.segments[-1] if self.segments else None
            if newest is None or newest.end >= self.segment_bytes:
                newest = self._open_new(entry.index)
            assert entry.index == newest.last_index + 1, f"entry {entry.index} behind {newest.last_index}"
            record = pack(entry)
            written = os.pwrite(self._descriptor(), record, newest.end)
            if written != len(record):
                raise OSError(f"{newest.path}: {written} of {len(record)} bytes were written")
            newest.offsets.append(newest.end)
            newest.end += len(record)
            self._dirty = True

    def truncate(self, last_index: int) -> None:
        """Drop everything behind `last_index`, newest file first, so that a crash leaves no hole."""
        while self.segments and self.segments[-1].first_index > last_index:
            self._remove(self.segments.pop())
        if self.segments and self.segments[-1].last_index > last_index:
            newest = self.segments[-1]
            keep = last_index - newest.first_index + 1
            newest.end = newest.offsets[keep]
            del newest.offsets[keep:]
            os.ftruncate(self._descriptor(), newest.end)
            self._dirty = True

    def compact(self, index: int) -> None:
        """Drop every segment that holds nothing behind `index`, oldest first."""
        while self.segments and self.segments[0].last_index <= index:
            if len(self.segments) == 1 and not self.segments[0].offsets:
                break
            self._remove(self.segments.pop(0))

    def clear(self) -> None:
        """Drop everything."""
        while self.segments:
            self._remove(self.segments.pop())

    def sync(self) -> None:
        """Make all that was written durable: one fsync for many entries (group commit)."""
        if self._dirty and self.fsync and self._file is not None:
            os.fsync(self._file)
        self._dirty = False
        if self._directory_dirty and self.fsync:
            sync_directory(self.directory)
        self._directory_dirty = False

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    # -- files -----------------------------------------------------------------------------------------------
    def _open_new(self, first_index: int) -> Segment:
        self.sync()
        self.close()
        segment = Segment(self.directory / f"{first_index:020d}.seg", first_index)
        self._file = os.open(segment.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        self.segments.append(segment)
        self._directory_dirty = True
        return segment

    def _descriptor(self) -> int:
        if self._file is None:
            self._file = os.open(self.segments[-1].path, os.O_RDWR)
        return self._file

    def _remove(self, segment: Segment) -> None:
        if not self.segments or segment.first_index > self.segments[-1].first_index:
            self.close()
            self._dirty = False
        segment.path.unlink()
        self._directory_dirty = True
