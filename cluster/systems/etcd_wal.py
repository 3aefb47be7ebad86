"""Reads the write-ahead log of a stopped etcd (3.4, 3.5) and prints the Raft log it holds, as JSON. Runs on the node.

    python3 etcd_wal.py DATA_DIR/member/wal
    {"entries": [{"index": 4, "term": 2, "kind": "normal", "digest": "…"}, …],
     "term": 2, "vote": "8e9e05c52164694d", "commit": 9, "torn": false}

The standard library only: the file is copied to the node and run there. The format (etcd's server/storage/wal):

    segment   <sequence>-<first index>.wal, in that order; preallocated, so that zeros follow the last frame
    frame     8 bytes little-endian: length in the low 56 bits; with the highest bit set, bits 56-58 count the bytes
              that pad the record to a multiple of eight; then the record, then the padding
    record    protobuf: 1 type, 2 CRC-32C of all data so far (it runs on from record to record), 3 data
    types     1 metadata · 2 entry · 3 hard state · 4 the CRC that a segment begins with · 5 snapshot

An entry replaces every one of the same or a later index. A snapshot of an entry that the log does not hold (it came
from the leader) replaces the whole log. What a crash tore at the end of the last segment is left out.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

METADATA, ENTRY, STATE, CRC, SNAPSHOT = 1, 2, 3, 4, 5
KINDS = {0: "normal", 1: "configuration", 2: "configuration"}
LENGTH = struct.Struct("<Q")
Fields = dict[int, "int | bytes"]


class Damaged(Exception):
    """A record that is not what was written, and not at the torn end either."""


class Record(NamedTuple):
    """One record, checked."""

    kind: int
    data: bytes


class Held(NamedTuple):
    """One entry of the log."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    term: int
    kind: str
    digest: str


class RaftLog:
    """The log, the hard state and how it ended, as the records tell it one after the other."""

    def __init__(self) -> None:
        self.entries: list[Held] = []
        self.term = self.vote = self.commit = 0
        self.torn = False

    def take(self, record: Record) -> None:
        """Take in the next record."""
        if record.kind not in (ENTRY, STATE, SNAPSHOT):
            return
        fields = parse(record.data)
        if record.kind == ENTRY:
            index = _number(fields, 3)
            self.cut(index - 1)
            kind, data = _number(fields, 1), _bytes(fields, 4)
            digest = hashlib.blake2b(bytes([kind]) + data, digest_size=8).hexdigest()
            self.entries.append(Held(index, _number(fields, 2), KINDS.get(kind, str(kind)), digest))
        elif record.kind == STATE:
            self.term, self.vote, self.commit = (_number(fields, place) for place in (1, 2, 3))
        else:
            self.snapshot(_number(fields, 1), _number(fields, 2))

    def cut(self, last: int) -> None:
        """Drop every entry after `last`."""
        while self.entries and self.entries[-1].index > last:
            self.entries.pop()

    def snapshot(self, index: int, term: int) -> None:
        """Begin anew behind a snapshot, unless the log holds its entry, or only later ones."""
        if self.entries and index < self.entries[0].index:
            return
        if not any(entry.index == index and entry.term == term for entry in reversed(self.entries)):
            self.entries.clear()


def read_log(folder: Path) -> RaftLog:
    """Return the log in a folder of segments. Raises Damaged; OSError when a file cannot be read."""
    log = RaftLog()
    segments = sorted(folder.glob("*.wal"))
    checksum = 0
    for segment in segments:
        frames = Frames(segment.read_bytes(), checksum, last=segment == segments[-1], name=segment.name)
        for record in frames:
            log.take(record)
        checksum, log.torn = frames.checksum, frames.torn
    return log


class Frames:
    """The records of one segment, in order; `checksum` and `torn` tell how it ended."""

    def __init__(self, data: bytes, checksum: int, *, last: bool, name: str) -> None:
        self.data = data
        self.checksum = checksum
        self.last = last
        self.name = name
        self.torn = False

    def __iter__(self) -> Iterator[Record]:
        data, place = self.data, 0
        while place + LENGTH.size <= len(data):
            (word,) = LENGTH.unpack_from(data, place)
            if word == 0:
                if any(data[place:]):
                    raise Damaged(f"{self.name}: zeros at byte {place}, and more behind them")
                return
            length, padding = word & ((1 << 56) - 1), (word >> 56) & 0x7 if word >> 63 else 0
            start, end = place + LENGTH.size, place + LENGTH.size + length
            record = self._checked(data[start:end]) if end <= len(data) else None
            if record is None:
                if not self.last or any(data[end + padding :]):
                    raise Damaged(f"{self.name}: the record at byte {place} is damaged")
                self.torn = True
                return
            yield record
            place = end + padding

    def _checked(self, raw: bytes) -> Record | None:
        """Return a record whose checksum is right; None for any other."""
        try:
            fields = parse(raw)
            kind, checksum, data = _number(fields, 1), _number(fields, 2), _bytes(fields, 3)
        except (Damaged, TypeError):
            return None
        if kind == CRC:
            if self.checksum not in (0, checksum):
                return None
            self.checksum = checksum
            return Record(kind, data)
        expected = crc32c(data, self.checksum)
        if checksum != expected:
            return None
        self.checksum = expected
        return Record(kind, data)


# -- protobuf, as far as it is needed ---------------------------------------------------------------------------------
def parse(data: bytes) -> Fields:
    """Return the fields of a message by number: varints as numbers, the rest as bytes. Raises Damaged."""
    fields: Fields = {}
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        wire = key & 7
        if wire == 0:
            fields[key >> 3], place = _varint(data, place)
        elif wire == 2:
            length, place = _varint(data, place)
            if place + length > len(data):
                raise Damaged("a field is longer than its message")
            fields[key >> 3] = data[place : place + length]
            place += length
        else:
            raise Damaged(f"a field of wire type {wire}")
    return fields


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise Damaged("a number does not end")


def _number(fields: Fields, place: int) -> int:
    value = fields.get(place, 0)
    if not isinstance(value, int):
        raise TypeError(f"field {place} is no number")
    return value


def _bytes(fields: Fields, place: int) -> bytes:
    value = fields.get(place, b"")
    if not isinstance(value, bytes):
        raise TypeError(f"field {place} is no text")
    return value


# -- CRC-32C (Castagnoli), reflected polynomial 0x82F63B78 ------------------------------------------------------------
def _table() -> list[int]:
    table: list[int] = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def crc32c(data: bytes, before: int = 0) -> int:
    """Return the checksum of `data` behind what `before` is the checksum of.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    table, value = _TABLE, before ^ 0xFFFFFFFF
    for byte in data:
        value = (value >> 8) ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def main(argv: list[str]) -> int:
    """Print the log."""
    try:
        log = read_log(Path(argv[1]))
    except (Damaged, OSError) as problem:
        print(problem, file=sys.stderr)  # noqa: T201 (a program of its own)
        return 1
    told = {"term": log.term, "vote": f"{log.vote:x}", "commit": log.commit, "torn": log.torn}
    print(json.dumps({"entries": [entry._asdict() for entry in log.entries], **told}))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
