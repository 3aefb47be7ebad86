"""A virtual disk: it flushes in batches, one at a time, and only what was flushed survives a power loss.

SIGKILL is kinder: what a process handed to its kernel is written all the same. So a kill keeps the batch that is
being flushed, a power loss any beginning of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from capsize.raft.events import AppendLog, PersistMeta, Recovered, SaveSnapshot, Snapshot, TruncateLog, Write
from capsize.raft.log import Entry
from capsize.raft.storage import DiskStorage


class Disk:
    """The stable storage of one node: what is on it, what is being flushed, what waits for the next flush."""

    def __init__(self) -> None:
        self.term = 0
        self.vote: str | None = None
        self.entries: list[Entry] = []
        self.snapshot: Snapshot | None = None
        self.boots = 0
        self.flushing: list[Write] = []
        self.waiting: list[Write] = []
        self.frozen = False
        """A frozen disk finishes nothing until it is thawed."""

    # -- as the node sees it ---------------------------------------------------------------------------------------
    def submit(self, writes: Sequence[Write]) -> None:
        """Take writes behind all earlier ones."""
        self.waiting.extend(writes)

    def begin_flush(self) -> bool:
        """Start to flush everything that waits; return whether a flush was started."""
        if self.flushing or not self.waiting or self.frozen:
            return False
        self.flushing, self.waiting = self.waiting, []
        return True

    def end_flush(self) -> int:
        """Finish the flush; return the number of the last write that is now durable."""
        for write in self.flushing:
            self._carry_out(write)
        last = self.flushing[-1].write
        self.flushing = []
        return last

    def recover(self) -> Recovered:
        """Return what a node that boots now finds; the boot is counted durably."""
        self.boots += 1
        entries, snapshot = self.entries, self.snapshot
        if snapshot is not None and entries:
            base = snapshot.base
            at_base = base.index - entries[0].index
            if at_base >= len(entries) or (at_base >= 0 and entries[at_base].term != base.term):
                entries = []
            elif at_base >= 0:
                entries = entries[at_base + 1 :]
        self.entries = list(entries)
        return Recovered(self.boots, self.term, self.vote, tuple(self.entries), snapshot)

    # -- what happens to it ------------------------------------------------------------------------------------------
    def kill(self, rng: random.Random) -> None:
        """The process died: the batch under way is written, and as much of the rest as it had handed over."""
        handed_over = self.flushing + self.waiting[: rng.randint(0, len(self.waiting))]
        for write in handed_over:
            self._carry_out(write)
        self._forget()

    def lose_power(self, rng: random.Random) -> None:
        """The power went: of the batch under way any beginning is left, of the rest nothing."""
        for write in self.flushing[: rng.randint(0, len(self.flushing))]:
            self._carry_out(write)
        self._forget()

    def wipe(self) -> None:
        """Lose everything."""
        self.__init__()  # type: ignore[misc]

    def _forget(self) -> None:
        self.flushing = []
        self.waiting = []

    def _carry_out(self, write: Write) -> None:
        if isinstance(write, AppendLog):
            self.entries.extend(write.entries)
        elif isinstance(write, PersistMeta):
            self.term, self.vote = write.term, write.vote
        elif isinstance(write, TruncateLog):
            while self.entries and self.entries[-1].index > write.last_index:
                self.entries.pop()
        elif isinstance(write, SaveSnapshot):
            self.snapshot = write.snapshot
        else:
            kept = [entry for entry in self.entries if entry.index > write.base.index]
            self.entries = [] if write.discard else kept


class FileDisk(Disk):
    """A disk that is a directory, kept by the reference Raft's own storage: for damage done to its files."""

    def __init__(self, directory: Path, storage: Callable[[Path], DiskStorage] = DiskStorage) -> None:
        super().__init__()
        self.directory = directory
        self.make = storage
        self.storage: DiskStorage | None = None

    def recover(self) -> Recovered:
        self.storage = self.make(self.directory)
        return self.storage.recover()

    def end_flush(self) -> int:
        assert self.storage is not None
        self.storage.carry_out(self.flushing)
        last = self.flushing[-1].write
        self.flushing = []
        return last

    def kill(self, rng: random.Random) -> None:
        if self.flushing:
            self.end_flush()
        self._forget()

    def lose_power(self, rng: random.Random) -> None:
        self._forget()
