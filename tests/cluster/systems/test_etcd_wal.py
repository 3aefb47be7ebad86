"""The reader of etcd's write-ahead log: on segments written here byte by byte, and on those of real servers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from capsize.checker.dumped import judge_logs
from capsize.cluster.cluster import Cluster
from capsize.cluster.local_backend import LocalBackend
from capsize.cluster.systems import etcd_wal
from capsize.cluster.systems.etcd import Etcd
from capsize.cluster.systems.etcd_wal import CRC, ENTRY, SNAPSHOT, STATE, Damaged, crc32c, read_log
from capsize.errors import AdapterError
from capsize.op import Invocation

SEGMENT = "0000000000000000-0000000000000000.wal"


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(*fields: int | bytes) -> bytes:
    """Return a protobuf message of the fields 1, 2, 3 …"""
    out = b""
    for place, value in enumerate(fields, 1):
        if isinstance(value, int):
            out += varint(place << 3) + varint(value)
        else:
            out += varint(place << 3 | 2) + varint(len(value)) + value
    return out


def entry(index: int, term: int, data: bytes = b"") -> tuple[int, bytes]:
    return ENTRY, message(0, term, index, data)


def frames(records: Sequence[tuple[int, bytes]], before: int = 0) -> bytes:
    """Return records as a segment has them, behind the checksum it begins with."""
    out = b""
    checksum = before
    for kind, data in ((CRC, b""), *records):
        checksum = checksum if kind == CRC else crc32c(data, checksum)
        record = message(kind, checksum, data) if data else message(kind, checksum)
        padding = -len(record) % 8
        word = len(record) | ((0x80 | padding) << 56 if padding else 0)
        out += struct.pack("<Q", word) + record + bytes(padding)
    return out


def held(folder: Path) -> list[tuple[int, int]]:
    return [(item.index, item.term) for item in read_log(folder).entries]


def write(folder: Path, *records: tuple[int, bytes], rest: bytes = bytes(4096)) -> None:
    (folder / SEGMENT).write_bytes(frames(records) + rest)


def test_entries_and_the_hard_state_are_read_up_to_the_zeros(tmp_path: Path) -> None:
    write(tmp_path, entry(1, 1), (STATE, message(1, 0xBEEF, 1)), entry(2, 1, b"x"), (STATE, message(2, 7, 2)))
    log = read_log(tmp_path)
    assert [(item.index, item.term, item.kind) for item in log.entries] == [(1, 1, "normal"), (2, 1, "normal")]
    assert (log.term, log.vote, log.commit, log.torn) == (2, 7, 2, False)
    assert log.entries[0].digest != log.entries[1].digest


def test_a_later_entry_replaces_all_from_its_index_on(tmp_path: Path) -> None:
    write(tmp_path, entry(1, 1), entry(2, 1), entry(3, 1), entry(2, 2))
    assert held(tmp_path) == [(1, 1), (2, 2)]


def test_a_snapshot_of_an_entry_that_is_not_held_begins_the_log_anew(tmp_path: Path) -> None:
    write(tmp_path, entry(1, 1), entry(2, 1), (SNAPSHOT, message(9, 3)), entry(10, 3))
    assert held(tmp_path) == [(10, 3)]
    write(tmp_path, entry(1, 1), entry(2, 1), (SNAPSHOT, message(2, 1)), entry(3, 1))
    assert held(tmp_path) == [(1, 1), (2, 1), (3, 1)]
    write(tmp_path, entry(101, 4), entry(102, 4), (SNAPSHOT, message(90, 3)), entry(103, 4))
    assert held(tmp_path) == [(101, 4), (102, 4), (103, 4)]


def test_segments_follow_each_other_and_their_checksums_too(tmp_path: Path) -> None:
    first = [entry(1, 1, b"a"), entry(2, 1, b"b")]
    checksum = crc32c(first[1][1], crc32c(first[0][1]))
    (tmp_path / SEGMENT).write_bytes(frames(first))
    (tmp_path / "0000000000000001-0000000000000003.wal").write_bytes(frames([entry(3, 2, b"c")], checksum) + bytes(64))
    assert held(tmp_path) == [(1, 1), (2, 1), (3, 2)]
    (tmp_path / "0000000000000001-0000000000000003.wal").write_bytes(frames([entry(3, 2, b"c")], checksum ^ 1))
    with pytest.raises(Damaged, match="0000000000000001"):
        read_log(tmp_path)


def test_a_torn_end_is_left_out_and_told_but_damage_before_the_end_is_refused(tmp_path: Path) -> None:
    whole = frames([entry(1, 1, b"kept"), entry(2, 1, b"torn away" * 20)])
    (tmp_path / SEGMENT).write_bytes(whole[:-100] + bytes(4096))
    log = read_log(tmp_path)
    assert [item.index for item in log.entries] == [1]
    assert log.torn
    zeroed = bytearray(frames([entry(1, 1), entry(2, 1), entry(3, 1)]))
    start = len(frames([entry(1, 1)]))
    zeroed[start : start + 8] = bytes(8)
    (tmp_path / SEGMENT).write_bytes(bytes(zeroed))
    with pytest.raises(Damaged, match="more behind them"):
        read_log(tmp_path)
    flipped = bytearray(frames([entry(1, 1, b"flipped"), entry(2, 1, b"kept")]))
    flipped[flipped.index(b"flipped")] ^= 1
    (tmp_path / SEGMENT).write_bytes(bytes(flipped))
    with pytest.raises(Damaged, match="damaged"):
        read_log(tmp_path)


def test_every_cut_of_a_log_is_read_as_a_beginning_of_it(tmp_path: Path) -> None:
    whole = frames([entry(index, 1, bytes([index]) * index) for index in range(1, 8)])
    for length in range(len(whole)):
        (tmp_path / SEGMENT).write_bytes(whole[:length] + bytes(4096))
        indexes = [item.index for item in read_log(tmp_path).entries]
        assert indexes == list(range(1, len(indexes) + 1))


def test_as_a_program_it_prints_the_log_or_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, entry(1, 4), (STATE, message(4, 255, 1)))
    assert etcd_wal.main(["etcd_wal.py", str(tmp_path)]) == 0
    assert '"vote": "ff"' in capsys.readouterr().out
    (tmp_path / SEGMENT).write_bytes(frames([entry(1, 4, b"flipped"), entry(2, 4)]).replace(b"flipped", b"flopped"))
    assert etcd_wal.main(["etcd_wal.py", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.download
@pytest.mark.parametrize("version", ["3.5.1", "3.4"])
def test_the_logs_of_real_members_are_read_and_match(version: str) -> None:
    system = Etcd(version=version, snapshot_count="20")
    try:
        system.prepare()
    except AdapterError as error:
        pytest.skip(str(error))
    backend = LocalBackend(f"test-etcd-wal-{version}")
    try:
        cluster = Cluster(system, backend, backend.create(3))
        cluster.start()
        cluster.wait_ready(60)
        client = system.client(cluster.nodes[0], 1)
        client.timeout_s = 5.0
        client.open()
        for number in range(60):
            client.invoke(Invocation("write", "x", number))
        for node in cluster.nodes:
            node.kill()
        logs = {node.name: system.dump_log(node) for node in cluster.nodes}
        cluster.stop()
    finally:
        backend.destroy()
    verdict = judge_logs(logs)
    assert verdict.valid is True, verdict
    for entries in logs.values():
        indexes = [item["index"] for item in entries]
        assert indexes == list(range(indexes[0], indexes[0] + len(indexes)))
        assert len(indexes) >= 60
        assert {item["kind"] for item in entries} >= {"normal"}
    altered = [dict(item) for item in logs["n2"]]
    altered[len(altered) // 2]["digest"] = "0"
    assert [anomaly.name for anomaly in judge_logs({**logs, "n2": altered}).anomalies] == ["logs-do-not-match"] * 2
