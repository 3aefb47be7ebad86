"""The virtual disk keeps what was flushed, and loses the rest when the power goes."""

from __future__ import annotations

import random

from capsize.raft.events import AppendLog, CompactLog, PersistMeta, SaveSnapshot, Snapshot, TruncateLog
from capsize.raft.log import Entry, Position
from capsize.simulator.disk import Disk


def entries(*places: tuple[int, int]) -> tuple[Entry, ...]:
    return tuple(Entry(index, term, "cmd") for index, term in places)


def flushed(disk: Disk) -> list[tuple[int, int]]:
    return [(entry.index, entry.term) for entry in disk.recover().entries]


def test_what_was_flushed_survives_a_power_loss_and_the_rest_does_not() -> None:
    disk = Disk()
    disk.submit([AppendLog(1, entries((1, 1)))])
    disk.begin_flush()
    assert disk.end_flush() == 1
    disk.submit([AppendLog(2, entries((2, 1)))])
    disk.lose_power(random.Random(1))
    assert flushed(disk) == [(1, 1)]


def test_of_the_batch_under_way_any_beginning_may_survive() -> None:
    left: set[int] = set()
    for seed in range(40):
        disk = Disk()
        disk.submit([AppendLog(number, entries((number, 1))) for number in (1, 2, 3)])
        disk.begin_flush()
        disk.lose_power(random.Random(seed))
        left.add(len(flushed(disk)))
    assert left == {0, 1, 2, 3}


def test_a_kill_keeps_the_batch_under_way() -> None:
    disk = Disk()
    disk.submit([PersistMeta(1, 4, "n2")])
    disk.begin_flush()
    disk.kill(random.Random(1))
    recovered = disk.recover()
    assert (recovered.term, recovered.vote) == (4, "n2")


def test_a_frozen_disk_begins_no_flush() -> None:
    disk = Disk()
    disk.frozen = True
    disk.submit([PersistMeta(1, 4, "n2")])
    assert not disk.begin_flush()


def test_boots_are_counted() -> None:
    disk = Disk()
    assert [disk.recover().incarnation, disk.recover().incarnation] == [1, 2]


def test_a_snapshot_without_the_compaction_behind_it_recovers() -> None:
    disk = Disk()
    disk.submit([AppendLog(1, entries((1, 1), (2, 1), (3, 2))), SaveSnapshot(2, Snapshot(Position(2, 1), "{}"))])
    disk.begin_flush()
    disk.end_flush()
    assert flushed(disk) == [(3, 2)]


def test_a_snapshot_that_contradicts_the_log_replaces_it() -> None:
    disk = Disk()
    disk.submit([AppendLog(1, entries((1, 1), (2, 1))), SaveSnapshot(2, Snapshot(Position(2, 5), "{}"))])
    disk.submit([CompactLog(3, Position(2, 5), discard=True)])
    disk.begin_flush()
    disk.end_flush()
    assert flushed(disk) == []


def test_a_truncation_cuts_the_end() -> None:
    disk = Disk()
    disk.submit([AppendLog(1, entries((1, 1), (2, 1))), TruncateLog(2, 1), AppendLog(3, entries((2, 2)))])
    disk.begin_flush()
    disk.end_flush()
    assert flushed(disk) == [(1, 1), (2, 2)]
