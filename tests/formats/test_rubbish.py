"""What is no history costs one error with file and line, whatever is in it and however much of it there is."""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from pathlib import Path

import pytest

from capsize.cli import invoke
from capsize.errors import HistoryError
from capsize.formats import read_history

from .test_formats import BENCH, BENCH_KV, EDN, ETCD, INDEPENDENT, KV

HEADER = '{"capsize":"history","version":1}\n'
JSONL = HEADER + "".join(
    json.dumps(event) + "\n"
    for event in (
        {"process": 0, "type": "invoke", "f": "write", "key": 1, "value": 4, "time_ns": 1},
        {"process": 0, "type": "ok", "f": "write", "key": 1, "time_ns": 2, "meta": {"term": 4}},
        {"process": 1, "type": "invoke", "f": "read", "key": 1, "time_ns": 3, "node": "n1"},
        {"process": "nemesis", "type": "info", "f": "phase", "value": {"phase": "load"}, "time_ns": 3},
        {"process": 1, "type": "ok", "f": "read", "key": 1, "result": 5, "time_ns": 4},
        {"process": 2, "type": "invoke", "f": "cas", "key": 1, "value": [1, 2], "time_ns": 5},
        {"process": 2, "type": "info", "f": "cas", "error": "timeout", "time_ns": 6},
    )
)
FORMATS = {
    "capsize": JSONL, "edn": EDN, "independent": INDEPENDENT, "kv": KV, "etcd": ETCD, "bench": BENCH, "maps": BENCH_KV
}  # fmt: skip
PIECES = [
    b'"', b"{", b"}", b"[", b"]", b"(", b":", b"\\", b"nil", b"99999999999999999999", b"-", b"1e999", b"null", b"true",
    b"\n", b" ", b"#{", b"#_", b"NaN", b"1.5", b"\xff\xfe", b";", b"0x1", b"\x00",
]  # fmt: skip


def damaged(text: str, dice: random.Random) -> bytes:
    """Return `text` with up to three things wrong in it."""
    data = bytearray(text.encode())
    for _ in range(dice.randrange(1, 4)):
        lines = bytes(data).split(b"\n")
        at = dice.randrange(len(data)) if data else 0
        match dice.randrange(7):
            case 0 if data:
                data[at] = dice.randrange(256)
            case 1:
                del data[at : at + dice.randrange(1, 20)]
            case 2:
                data[at:at] = dice.choice(PIECES)
            case 3:
                lines.pop(dice.randrange(len(lines)))
                data = bytearray(b"\n".join(lines))
            case 4:
                lines.insert(dice.randrange(len(lines)), dice.choice(lines))
                data = bytearray(b"\n".join(lines))
            case 5:
                del data[at:]
            case _:
                dice.shuffle(lines)
                data = bytearray(b"\n".join(lines))
    return bytes(data)


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_history_is_read_or_refused_with_its_line(name: str, tmp_path: Path) -> None:
    path, refused = tmp_path / "history", 0
    for number in range(250):
        path.write_bytes(damaged(FORMATS[name], random.Random(f"damaged/{name}/{number}")))
        error = refusal(path)
        if error is not None:
            refused += 1
            assert error.where.startswith(f"{path}:"), error
            assert error.where.rsplit(":", 1)[1].isdigit(), error
            assert "\n" not in str(error)
    assert refused > 30


def refusal(path: Path) -> HistoryError | None:
    """Return why the file is no history; None if it is one."""
    try:
        read_history(path)
    except HistoryError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{:process 0, :type :invoke, :f :write, :value " + b"[" * 100_000, "ends inside a map"),
        (b"{:process 0, :type :invoke, :f :write, :value " + b"[" * 5_000 + b"]" * 5_000 + b"}\n", "nested too deep"),
        (HEADER.encode() + b'{"process":0,"type":"invoke","f":"write","time_ns":1,"value":' + b"[" * 900 + b"]" * 900
         + b"}\n", "nested deeper than 64"),
        (b"{:process 0, :type :invoke, :f :write, :value [\n" + b"1 2 3 4 5\n" * 400_000, "still open"),
        (b"[" + EDN.encode() * 2 + b"hello]", "while its|after its|expected a map"),
        (b"{:process 0, :type :invoke, :f :write, :value " + b'"' * 200_001, "expected|closing"),
        (b"{:process 9999999999999999999, :type :invoke, :f :write, :value 1}\n; thorough\n", "below 2"),
        (b"INFO  jepsen.util - 99999999999999999999\t:invoke\t:write\t4\n", "a smaller number"),
        (b"# kind=reg n=1\n99999999999999999999999 w 0 3 - 0 2 o -\n", "cannot be read|expected"),
        (HEADER.encode() + b'{"process":1,"type":"invoke","f":"write","time_ns":1,"value":{"a":1}}\n', "dict is no"),
        (HEADER.encode() + b"[1,2]\n", "instead of an object"),
    ],
)  # fmt: skip
def test_monsters_are_refused_in_a_moment(data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "monster"
    path.write_bytes(data)
    began = time.process_time()
    with pytest.raises(HistoryError, match=says):
        read_history(path)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("head", "rest"), [*((head, "zeros") for head in (JSONL, EDN, ETCD, BENCH)), (EDN, "one line")]
)
def test_ten_gigabytes_of_rubbish_cost_one_block(head: str, rest: str, tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.write(head.encode())
        if rest == "one line":
            file.write(b"x" * (80 << 20))
        file.truncate(10 << 30)
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(HistoryError, match="expected") as caught:
        read_history(path)
    spent, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(path) in caught.value.where
    assert spent < 10
    assert peak < 300 << 20


def test_a_batch_goes_on_after_each_kind_of_rubbish(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = {
        "completion.jsonl": HEADER + '{"process":0,"type":"ok","f":"write","time_ns":1}\n',
        "open.jsonl": HEADER + '{"process":0,"type":"invoke","f":"write","value":1,"time_ns":1}\n' * 2,
        "outcome.jsonl": HEADER + '{"process":0,"type":"great","f":"write","time_ns":1}\n',
        "cut.jsonl": JSONL[:-20],
        "empty.log": "",
        "good.edn": EDN,
    }
    for name, text in pairs.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "binary.txt").write_bytes(b"\x7fELF\x02\x01\x00")
    assert invoke(["check", str(tmp_path)]) == 255
    told = capsys.readouterr()
    errors = {line.split(":")[1].rsplit("/", 1)[-1]: line for line in told.err.splitlines()}
    assert set(errors) == {*pairs, "binary.txt"} - {"good.edn"}
    assert (
        ":2: process 0 completes write but has none open; expected its invocation first" in errors["completion.jsonl"]
    )
    assert ":3: process 0 invokes 'write' while its 'write' is open; expected the completion" in errors["open.jsonl"]
    assert ":2: type is 'great'; expected invoke, ok, fail or info" in errors["outcome.jsonl"]
    assert "(the last line is cut); expected one event object a line" in errors["cut.jsonl"]
    assert "7 histories: 1 valid, 6 error" in told.out
