"""The log of one server, in memory: entries after the snapshot's base (paper §5.3, §7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from zlib import crc32

COMMAND = "cmd"
NOOP = "noop"
CONFIGURATION = "cfg"


class Entry(NamedTuple):
    """One entry. `data` is JSON text that Raft does not look into; `client` and `seq` name the request (§8)."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    term: int
    kind: str
    data: str = ""
    client: str = ""
    seq: int = 0

    @property
    def size(self) -> int:
        """Bytes this entry takes in a message or on disk, roughly."""
        return 48 + len(self.data) + len(self.client)


class Position(NamedTuple):
    """Where a log ends: index and term, compared by term first (§5.4.1)."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    term: int

    def at_least_as_up_to_date_as(self, other: Position) -> bool:
        """Say whether a log that ends here may lead one that ends at `other`.

        >>> Position(3, 5).at_least_as_up_to_date_as(Position(9, 4))
        True
        """
        return (self.term, self.index) >= (other.term, other.index)


START = Position(0, 0)
"""Before the first entry."""


def payload_hash(entry: Entry) -> str:
    """Return the hash under which traces compare payloads: what is replicated, without index and term.

    A CRC: two that differ are alike once in four billion, and it is taken of every entry on every node.
    """
    _, _, kind, data, client, seq = entry
    return hex(crc32(f"{kind}\0{client}\0{data}".encode(), seq & 0xFFFFFFFF))


class Log:
    """Entries base+1 … last; the base is (0, 0) or the last entry a snapshot replaced."""

    __slots__ = ("_entries", "base", "version")

    def __init__(self, entries: Iterable[Entry] = (), base: Position = START) -> None:
        self.base = base
        self.version = 0
        """Rises with every change."""
        self._entries: list[Entry] = list(entries)
        for offset, entry in enumerate(self._entries):
            assert entry.index == base.index + 1 + offset, f"hole in the log before {entry.index}"

    @property
    def last_index(self) -> int:
        return self.base.index + len(self._entries)

    @property
    def last(self) -> Position:
        if self._entries:
            entry = self._entries[-1]
            return Position(entry.index, entry.term)
        return self.base

    def end(self) -> tuple[int, int]:
        """Return `last` as a plain pair, at a third of the cost."""
        if self._entries:
            index, term, *_ = self._entries[-1]
            return index, term
        return self.base

    def __len__(self) -> int:
        return len(self._entries)

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at `index`; None where the log has none (beyond the end, or compacted)."""
        offset = index - self.base.index
        if offset == 0:
            return self.base.term
        if 0 < offset <= len(self._entries):
            return self._entries[offset - 1].term
        return None

    def entry(self, index: int) -> Entry:
        """Return the entry at `index`, which must be there."""
        assert self.base.index < index <= self.last_index, f"no entry {index} in {self.base.index}..{self.last_index}"
        return self._entries[index - self.base.index - 1]

    def between(self, first: int, last: int, *, bytes_max: int = 1 << 20) -> Sequence[Entry]:
        """Return entries first … last, cut so that their sizes stay under `bytes_max`, but never to nothing."""
        assert first > self.base.index, f"entry {first} was compacted (base {self.base.index})"
        start = first - self.base.index - 1
        chosen = self._entries[start : max(start, last - self.base.index)]
        size = 0
        for count, entry in enumerate(chosen):
            size += entry.size
            if size > bytes_max and count:
                return chosen[:count]
        return chosen

    def append(self, entries: Iterable[Entry]) -> None:
        """Add entries at the end; they must continue it."""
        self.version += 1
        for entry in entries:
            assert entry.index == self.last_index + 1, f"entry {entry.index} does not follow {self.last_index}"
            self._entries.append(entry)

    def truncate(self, last_index: int) -> list[Entry]:
        """Drop everything after `last_index`; return what was dropped."""
        assert last_index >= self.base.index, f"truncating to {last_index}, below the snapshot"
        self.version += 1
        keep = last_index - self.base.index
        dropped = self._entries[keep:]
        del self._entries[keep:]
        return dropped

    def compact(self, base: Position) -> bool:
        """Make `base` the base: keep what follows it and return True if the log holds exactly that entry (§7).

        Else nothing is kept.
        """
        assert base.index > self.base.index, f"base {self.base.index} to {base.index}"
        self.version += 1
        follows = self.term_at(base.index) == base.term
        if follows:
            del self._entries[: base.index - self.base.index]
        else:
            self._entries.clear()
        self.base = base
        return follows

    def first_index_of_term(self, term: int, upto: int) -> int:
        """Return the first index of the run of `term` that ends at `upto` (§5.3, the conflict reply)."""
        index = upto
        while index > self.base.index + 1 and self.term_at(index - 1) == term:
            index -= 1
        return index

    def last_index_of_term(self, term: int, upto: int) -> int | None:
        """Return the last index ≤ `upto` whose entry has `term`; None if there is none."""
        for index in range(min(upto, self.last_index), self.base.index - 1, -1):
            found = self.term_at(index)
            if found == term:
                return index
            if found is None or found < term:
                return None
        return None
