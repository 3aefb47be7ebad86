"""Damaged files: what is done to which one, what can be taken back, and what the reference Raft makes of each."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from capsize.cluster.damage import Unfit, chosen, damage, held, repair, told
from capsize.raft.events import AppendLog, PersistMeta
from capsize.raft.log import Entry
from capsize.raft.segments import Corrupt
from capsize.raft.storage import DiskStorage

SEEDS = range(60)


def a_log(folder: Path, entries: int = 40, *, segment_bytes: int = 1 << 20) -> DiskStorage:
    """Write a log as a node would, synced, and leave it."""
    storage = DiskStorage(folder / "raft", segment_bytes=segment_bytes)
    storage.recover()
    draw = random.Random(entries)
    for index in range(1, entries + 1):
        payload = json.dumps({"f": "write", "key": f"k{index}", "value": "v" * draw.randrange(60)})
        storage.carry_out([PersistMeta(1, 3, "n1")] if index == 1 else [])
        storage.carry_out([AppendLog(index + 1, (Entry(index, 3, "cmd", payload),))])
    storage.close()
    return storage


def recovered(folder: Path) -> list[int]:
    storage = DiskStorage(folder / "raft")
    try:
        return [entry.index for entry in storage.recover().entries]
    finally:
        storage.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_torn_tail_loses_nothing_and_the_node_starts(tmp_path: Path, seed: int) -> None:
    a_log(tmp_path / "data")
    done = damage(str(tmp_path / "data"), str(tmp_path / "kept"), "torn", "*.seg", seed, [])
    assert done["after"] == done["size"] + done["bytes"]
    assert recovered(tmp_path / "data") == list(range(1, 41))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_flipped_bit_is_refused_and_with_the_bit_back_everything_is_there(tmp_path: Path, seed: int) -> None:
    a_log(tmp_path / "data")
    before = contents(tmp_path / "data")
    done = damage(str(tmp_path / "data"), str(tmp_path / "kept"), "flip", "*.seg", seed, [])
    changed = [name for name, data in contents(tmp_path / "data").items() if data != before[name]]
    assert changed == [done["file"]]
    with pytest.raises(Corrupt):
        recovered(tmp_path / "data")
    assert repair(str(tmp_path / "data"), str(tmp_path / "kept"), done)
    assert contents(tmp_path / "data") == before
    assert recovered(tmp_path / "data") == list(range(1, 41))


@pytest.mark.parametrize("name", ["meta", "snapshot-00000000000000000030-3.snap"])
def test_a_flipped_bit_of_metadata_or_snapshot_is_refused(tmp_path: Path, name: str) -> None:
    a_log(tmp_path / "data")
    path = tmp_path / "data" / "raft" / name
    if name != "meta":
        DiskStorage(tmp_path / "data" / "raft")._replace(name, "x" * 2000)
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(Corrupt):
            recovered(tmp_path / "data")
        if place > 40:
            break


def test_a_lost_end_is_not_noticed_and_is_put_back_whole(tmp_path: Path) -> None:
    a_log(tmp_path / "data")
    before = contents(tmp_path / "data")
    trace = tmp_path / "trace.jsonl"
    trace.write_bytes(b'{"inc":1}\n{"half' + bytes(5000))
    done = damage(str(tmp_path / "data"), str(tmp_path / "kept"), "cut", "*.seg", 4, [str(trace)])
    assert done["traces"] == {str(trace): 10}
    short = recovered(tmp_path / "data")
    assert short == list(range(1, len(short) + 1))
    assert 0 < len(short) < 40
    trace.write_bytes(b'{"inc":1}\n{"inc":2,"short":1}\n' + bytes(5000))
    assert repair(str(tmp_path / "data"), str(tmp_path / "kept"), done)
    assert contents(tmp_path / "data") == before
    assert trace.read_bytes() == b'{"inc":1}\n'
    assert Path(f"{trace}.truncated").read_bytes() == b'{"inc":2,"short":1}\n'
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("how", ["torn", "flip"])
def test_a_file_that_was_written_since_is_left_as_it_is(tmp_path: Path, how: str) -> None:
    a_log(tmp_path / "data")
    done = damage(str(tmp_path / "data"), str(tmp_path / "kept"), how, "*.seg", 4, [])
    path = tmp_path / "data" / done["file"]
    path.write_bytes(path.read_bytes() + b"more")
    after = contents(tmp_path / "data")
    assert not repair(str(tmp_path / "data"), str(tmp_path / "kept"), done)
    assert contents(tmp_path / "data") == after
    path.unlink()
    assert not repair(str(tmp_path / "data"), str(tmp_path / "kept"), done)


def test_a_file_written_ahead_with_zeros_ends_where_its_contents_do(tmp_path: Path) -> None:
    path = tmp_path / "data" / "wal"
    path.parent.mkdir()
    path.write_bytes(b"r" * 3000 + bytes(200_000))
    assert held(str(path)) == 3000
    done = damage(str(path.parent), str(tmp_path / "kept"), "torn", "", 5, [])
    assert done["offset"] == 3000
    assert path.stat().st_size == done["size"]
    assert repair(str(path.parent), str(tmp_path / "kept"), done)
    assert path.read_bytes() == b"r" * 3000 + bytes(200_000)
    done = damage(str(path.parent), str(tmp_path / "kept"), "flip", "", 5, [])
    assert done["offset"] < 1500
    assert told(str(path)) == 0


def test_the_file_written_last_is_chosen_or_the_one_that_is_asked_for(tmp_path: Path) -> None:
    for age, name in enumerate(["newest.db", "wal/one.log", "wal/two.log"]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 2000)
        os.utime(path, (1000 - age, 1000 - age))
    (tmp_path / "small").write_bytes(b"x")
    assert chosen(str(tmp_path), "", 1024) == "newest.db"
    assert chosen(str(tmp_path), "*.log", 1024) == "wal/one.log"
    assert chosen(str(tmp_path), "wal/two*", 1024) == "wal/two.log"
    with pytest.raises(Unfit, match=r"no file that matches nothing with 1024 bytes"):
        chosen(str(tmp_path), "nothing", 1024)
    with pytest.raises(Unfit):
        chosen(str(tmp_path), "small", 1024)
