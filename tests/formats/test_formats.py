"""Each foreign format by a small example, recognised, and refused where it is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from capsize.errors import HistoryError, UsageError
from capsize.formats import read_history, recognise
from capsize.formats.blocks import LINE_BYTES_MAX, blocks_of_lines
from capsize.op import Operation

Write = Callable[[str], Path]

ETCD = """\
INFO  jepsen.util - 0\t:invoke\t:write\t4
INFO  jepsen.util - 1\t:invoke\t:cas\t[4 2]
INFO  jepsen.util - 0\t:ok\t:write\t4
INFO  jepsen.util - :nemesis\t:info\t:start\tnil
INFO  jepsen.util - 1\t:fail\t:cas\t[4 2]
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 2\t:invoke\t:write\t7
INFO  jepsen.util - 0\t:fail\t:read\t:timed-out
INFO  jepsen.util - 2\t:info\t:write\t:timed-out
"""
EDN = """\
{:process 0, :type :invoke, :f :write, :value 4, :time 10}
{:process 1, :type :invoke, :f :cas, :value [4 2], :time 20}
{:process :nemesis, :type :info, :f :kill, :value "n1", :time 21}
{:process 0, :type :ok, :f :write, :value 4, :time 30}
{:process 1, :type :fail, :f :cas, :value [4 2], :time 40}
{:process 0, :type :invoke, :f :read, :value nil, :time 50}
{:process 0, :type :ok, :f :read, :value 4, :time 60}
{:process 3, :type :invoke, :f :read, :value nil, :time 70}
{:process 3, :type :info, :f :read, :value nil, :time 80, :error [:timeout "a [b] \\"c\\""]}
"""
INDEPENDENT = """\
{:process 0, :type :invoke, :f :write, :value [9 1]}
{:process 0, :type :ok, :f :write, :value [9 1]}
{:process 0, :type :invoke, :f :read, :value [9 nil]}
{:process 0, :type :ok, :f :read, :value [9 1]}
{:process 0, :type :invoke, :f :cas, :value [8 [1 2]]}
{:process 0, :type :ok, :f :cas, :value [8 [1 2]]}
"""
KV = """\
{:process 0, :type :invoke, :f :append, :key "a", :value "x 0 y"}
{:process 1, :type :invoke, :f :get, :key "b", :value nil}
{:process 1, :type :ok, :f :get, :key "b", :value ""}
{:process 0, :type :ok, :f :append, :key "a", :value "x 0 y"}
"""
BENCH = """\
# kind=reg n=4 clients=2 keys=1 values=5 pu=0.05 bad=0 how=none seed=1
0 w 0 3 - 0 2 o -
1 c 0 nil 4 1 4 f -
0 r 0 - - 3 5 o 3
2 c 0 3 4 6 -1 u -
"""
BENCH_KV = "# kind=kv n=2\n0 p 1 a - 0 1 o -\n0 g 2 - - 2 3 o =\n0 g 1 - - 4 5 o =a\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_text(text: str) -> Path:
        path = tmp_path / "history"
        path.write_text(text)
        return path

    return write_text


def told(path: Path) -> list[tuple[object, ...]]:
    return [(op.process, op.f, op.key, op.value, op.outcome, op.result) for op in read_history(path)]


def test_an_etcd_log_answers_false_for_a_cas_that_found_another_value(write: Write) -> None:
    path = write(ETCD)
    assert recognise(path) == "etcd-log"
    assert told(path) == [
        (0, "write", None, 4, "ok", None),
        (1, "cas", None, (4, 2), "ok", False),
        (0, "read", None, None, "fail", None),
        (2, "write", None, 7, "info", None),
    ]
    assert {fault["f"] for fault in read_history(path).faults} == {"start"}


def test_a_jepsen_history_fails_what_failed_and_keeps_its_times(write: Write) -> None:
    path = write(EDN)
    assert recognise(path) == "edn"
    assert told(path) == [
        (0, "write", None, 4, "ok", None),
        (1, "cas", None, (4, 2), "fail", None),
        (0, "read", None, None, "ok", 4),
        (3, "read", None, None, "info", None),
    ]
    history = read_history(path)
    assert (history[0].call_ns, history[0].return_ns) == (10, 30)
    assert history[3].error is not None
    assert "timeout" in history[3].error
    assert {fault["f"] for fault in history.faults} == {"kill"}


@pytest.mark.parametrize("brackets", ["[]", "()"])
@pytest.mark.parametrize("between", ["\n", " "])
def test_the_same_maps_in_a_vector_or_a_list_are_the_same_history(write: Write, brackets: str, between: str) -> None:
    plain = told(write(EDN))
    assert told(write(brackets[0] + EDN.strip().replace("\n", between) + brackets[1])) == plain


def test_comments_tags_and_maps_over_several_lines_are_read(write: Write) -> None:
    plain = told(write(EDN))
    spread = EDN.replace(", :f", ",\n :f").replace("{:process 0", "#jepsen.history.Op{:process 0")
    assert told(write(f"; a comment\n{spread}")) == plain


def test_independent_tuples_are_keys(write: Write) -> None:
    assert told(write(INDEPENDENT)) == [
        (0, "write", 9, 1, "ok", None),
        (0, "read", 9, None, "ok", 1),
        (0, "cas", 8, (1, 2), "ok", True),
    ]


def test_a_register_of_cas_alone_is_not_taken_for_keys(write: Write) -> None:
    text = "{:process 0, :type :invoke, :f :cas, :value [1 2]}\n{:process 0, :type :ok, :f :cas, :value [1 2]}\n"
    assert told(write(text)) == [(0, "cas", None, (1, 2), "ok", True)]


def test_a_porcupine_text_reads_the_empty_string_as_absence(write: Write) -> None:
    assert told(write(KV)) == [(0, "append", "a", "x 0 y", "ok", None), (1, "get", "b", None, "ok", None)]


def test_the_quick_way_and_the_thorough_way_read_the_same(write: Write) -> None:
    for text in (EDN, INDEPENDENT, KV):
        assert told(write(text + "; thorough\n")) == told(write(text))


def test_the_bench_text_has_positions_instead_of_times(write: Write) -> None:
    path = write(BENCH)
    assert recognise(path) == "bench"
    assert told(path) == [
        (0, "write", 0, 3, "ok", None),
        (1, "cas", 0, (None, 4), "ok", False),
        (0, "read", 0, None, "ok", 3),
        (2, "cas", 0, (3, 4), "info", None),
    ]
    assert [(op.call, op.ret) for op in read_history(path)] == [(0, 2), (1, 4), (3, 5), (6, None)]
    assert told(write(BENCH_KV))[1:] == [(0, "get", 2, None, "ok", None), (0, "get", 1, None, "ok", "a")]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (EDN.replace(":type :ok", ":type :great", 1), 4, ":great|'great'.*expected :invoke"),
        (EDN.replace("{:process 0, :type :invoke, :f :write, :value 4, :time 10}\n", ""), 3, "none open"),
        (EDN + "{:process 3, :type :invoke, :f :read, :value nil, :time 90}\n", 10, "expected a new process id"),
        (EDN + "{:process 5, :type :inv", 10, "cut"),
        (EDN + "hello\n", 10, "expected a map"),
        (EDN.replace(":process 1, ", ""), 2, "without :process"),
        (INDEPENDENT * 80 + "{:process 0, :type :invoke, :f :write, :value 3}\n", 481, r"expected \[key value\]"),
        (ETCD + "what is this\n", 10, "expected `INFO jepsen.util"),
        (ETCD.replace(":write\t4", ":write\tfour"), 1, "expected nil, a number"),
        (ETCD + "INFO  jepsen.util - 9\t:ok\t:read\t3\n", 10, "none open"),
        (BENCH + "1 w 0\n", 6, "3 fields; expected"),
        (BENCH.replace("0 w 0 3", "0 x 0 3"), 2, "f 'x'"),
        (BENCH.replace("0 w 0 3 - 0 2", "0 w 0 3 - zero 2"), 2, "'zero' is no number"),
        (BENCH.replace("0 r 0 - - 3 5", "1 r 0 - - 3 5"), 4, "has an operation open still"),
        (BENCH.replace("0 r 0 - - 3 5", "0 r 0 - - 3 2"), 4, "expected a later position"),
        ("", 1, "the file is empty"),
        ("once upon a time\n", 1, "expected a history"),
    ],
)
def test_what_is_no_history_is_refused_with_its_line(write: Write, text: str, line: int, says: str) -> None:
    path = write(text)
    with pytest.raises(HistoryError, match=says) as caught:
        read_history(path)
    assert caught.value.where == f"{path}:{line}"


def test_binary_rubbish_is_refused_after_one_block_however_long_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rubbish.jsonl"
    with path.open("wb") as file:
        file.write(b'{"capsize":"history","version":1}\n\x00\x01\x02')
        file.truncate(10 << 30)
    with pytest.raises(HistoryError, match=r"rubbish.jsonl:2: binary data \(byte 0x00\); expected"):
        read_history(path)


def test_an_endless_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"a" * (LINE_BYTES_MAX + (2 << 20)))
    with pytest.raises(HistoryError, match="longer than"):
        list(blocks_of_lines(path))


def test_blocks_put_together_are_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    text = b"".join(b"%d\n" % number * (number % 4) for number in range(500)) + b"last"
    path.write_bytes(text)
    found = list(blocks_of_lines(path, block_bytes=64))
    assert b"".join(block for _, block, _ in found) == text
    assert all(block.endswith(b"\n") for _, block, last in found if not last)
    assert [first for first, _, _ in found] == [1 + text[: text.index(block)].count(b"\n") for _, block, _ in found]


def test_a_missing_file_and_an_unknown_format_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="cannot be read: No such file"):
        read_history(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="did you mean 'edn'"):
        read_history(tmp_path / "nowhere", "ednn")


def test_operations_are_made_when_asked_for(write: Write) -> None:
    assert isinstance(read_history(write(EDN))[0], Operation)
