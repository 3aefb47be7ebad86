"""What is on the disk after crashes: torn tails are cut, damage in the middle is refused, renames are atomic."""

from __future__ import annotations

import os

import pytest

from capsize.raft.events import (
    AppendLog,
    CompactLog,
    PersistMeta,
    SaveSnapshot,
    Snapshot,
    TruncateLog,
)
from capsize.raft.failpoints import Failpoints
from capsize.raft.log import COMMAND, Entry, Position
from capsize.raft.segments import Corrupt, pack
from capsize.raft.storage import DiskStorage


def entries(first, last, term=1):
    return tuple(Entry(index, term, COMMAND, f'["put","x",{index}]', "c", index) for index in range(first, last + 1))


def opened(path, **more):
    storage = DiskStorage(path, **more)
    return storage, storage.recover()


@pytest.fixture
def written(tmp_path):
    """A data directory with term 3, a vote and ten entries; returns it and its newest segment."""
    storage, _ = opened(tmp_path)
    storage.carry_out([PersistMeta(1, 3, "n2"), AppendLog(2, entries(1, 10))])
    storage.close()
    (segment,) = (tmp_path / "log").glob("*.seg")
    return tmp_path, segment


def test_what_was_carried_out_is_recovered(written):
    path, _ = written
    _, recovered = opened(path)
    assert (recovered.term, recovered.vote, recovered.incarnation) == (3, "n2", 2)
    assert recovered.entries == entries(1, 10)


def test_every_boot_has_its_own_number(tmp_path):
    assert [opened(tmp_path)[1].incarnation for _ in range(3)] == [1, 2, 3]


def test_a_tail_torn_at_any_byte_is_cut_and_writing_goes_on_behind_it(written):
    """verdi-raft #50, neo4j #8726: the cut must be durable before anything follows it."""
    path, segment = written
    whole = segment.read_bytes()
    last = len(pack(entries(10, 10)[0]))
    for cut in range(1, last + 1):
        segment.write_bytes(whole[: len(whole) - cut])
        storage, recovered = opened(path)
        assert recovered.entries == entries(1, 9)
        assert segment.stat().st_size == len(whole) - last
        storage.carry_out([AppendLog(1, entries(10, 11))])
        storage.close()
        assert opened(path)[1].entries == entries(1, 11)


@pytest.mark.parametrize("garbage", [b"\0" * 40, b"\xff" * 13, os.urandom(64)])
def test_garbage_behind_the_last_record_is_cut(written, garbage):
    path, segment = written
    segment.write_bytes(segment.read_bytes() + garbage)
    assert opened(path)[1].entries == entries(1, 10)


def test_a_flipped_bit_in_the_middle_is_refused(written):
    """Alagappan et al., FAST 2018: cut there, and acknowledged entries are forgotten."""
    path, segment = written
    whole = segment.read_bytes()
    middle = len(whole) // 2
    for offset in range(middle, middle + 8):
        damaged = bytearray(whole)
        damaged[offset] ^= 0x10
        segment.write_bytes(damaged)
        with pytest.raises(Corrupt, match="no torn tail"):
            opened(path)


def test_damage_in_an_older_segment_is_refused(tmp_path):
    storage, _ = opened(tmp_path, segment_bytes=200)
    storage.carry_out([AppendLog(1, entries(1, 30))])
    storage.close()
    segments = sorted((tmp_path / "log").glob("*.seg"))
    assert len(segments) > 3
    segments[1].write_bytes(segments[1].read_bytes()[:-1])
    with pytest.raises(Corrupt):
        opened(tmp_path)


def test_a_missing_segment_is_refused(tmp_path):
    storage, _ = opened(tmp_path, segment_bytes=200)
    storage.carry_out([AppendLog(1, entries(1, 30))])
    storage.close()
    sorted((tmp_path / "log").glob("*.seg"))[2].unlink()
    with pytest.raises(Corrupt, match="hole"):
        opened(tmp_path)


@pytest.mark.parametrize("content", [b"", b"00000000 2\n{}", b"garbage"])
def test_damaged_metadata_is_refused(written, content):
    path, _ = written
    (path / "meta").write_bytes(content)
    with pytest.raises(Corrupt, match="meta"):
        opened(path)


def test_a_log_without_metadata_is_refused(written):
    path, _ = written
    (path / "meta").unlink()
    with pytest.raises(Corrupt, match="term and vote"):
        opened(path)


def test_cutting_and_appending_across_segments(tmp_path):
    storage, _ = opened(tmp_path, segment_bytes=200)
    storage.carry_out([AppendLog(1, entries(1, 30)), TruncateLog(2, 12), AppendLog(3, entries(13, 20, term=2))])
    storage.close()
    assert opened(tmp_path)[1].entries == entries(1, 12) + entries(13, 20, term=2)


def test_a_snapshot_replaces_the_log_it_covers(tmp_path):
    storage, _ = opened(tmp_path, segment_bytes=200)
    snapshot = Snapshot(Position(20, 1), '{"state":1}')
    storage.carry_out([AppendLog(1, entries(1, 30)), SaveSnapshot(2, snapshot), CompactLog(3, snapshot.base, False)])
    storage.close()
    _, recovered = opened(tmp_path)
    assert recovered.snapshot == snapshot
    assert recovered.entries == entries(21, 30)
    assert min(int(path.stem) for path in (tmp_path / "log").glob("*.seg")) > 1


def test_a_crash_between_snapshot_and_compaction_loses_nothing(tmp_path):
    storage, _ = opened(tmp_path)
    snapshot = Snapshot(Position(20, 1), "{}")
    storage.carry_out([AppendLog(1, entries(1, 30)), SaveSnapshot(2, snapshot)])
    storage.close()
    assert opened(tmp_path)[1].entries == entries(21, 30)


@pytest.mark.parametrize("length", [10, 20, 30])
def test_a_crash_while_installing_a_snapshot_leaves_no_contradiction(tmp_path, length):
    """The log of an older term ends before, at or behind the snapshot's base: it goes (openraft #559)."""
    storage, _ = opened(tmp_path)
    snapshot = Snapshot(Position(20, 5), "{}")
    storage.carry_out([PersistMeta(1, 5, None), AppendLog(2, entries(1, length)), SaveSnapshot(3, snapshot)])
    storage.close()
    storage, recovered = opened(tmp_path)
    assert recovered.entries == ()
    storage.carry_out([AppendLog(1, entries(21, 22, term=5))])
    storage.close()
    assert opened(tmp_path)[1].entries == entries(21, 22, term=5)


def test_a_damaged_snapshot_is_refused(tmp_path):
    storage, _ = opened(tmp_path)
    storage.carry_out([SaveSnapshot(1, Snapshot(Position(20, 1), '{"state":1}'))])
    (path,) = tmp_path.glob("snapshot-*")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(Corrupt, match="checksum"):
        opened(tmp_path)


def test_an_unfinished_snapshot_is_forgotten(tmp_path):
    points = Failpoints({"before_snapshot_rename": "error"})
    storage, _ = opened(tmp_path, failpoints=points)
    storage.carry_out([AppendLog(1, entries(1, 5))])
    with pytest.raises(OSError, match="failpoint"):
        storage.carry_out([SaveSnapshot(2, Snapshot(Position(3, 1), "{}"))])
    storage.close()
    _, recovered = opened(tmp_path)
    assert recovered.snapshot is None
    assert recovered.entries == entries(1, 5)


def test_one_fsync_covers_many_entries(tmp_path, monkeypatch):
    """Group commit."""
    storage, _ = opened(tmp_path)
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(descriptor))
    storage.carry_out([AppendLog(n, entries(n, n)) for n in range(1, 101)])
    assert len(synced) <= 2  # the segment, and the directory it was created in


def test_without_fsync_nothing_is_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(descriptor))
    storage, _ = opened(tmp_path, fsync=False)
    storage.carry_out([PersistMeta(1, 1, "n1"), AppendLog(2, entries(1, 3))])
    assert synced == []
