"""The history: pairing, closed intervals, columns, the split by key, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from capsize.errors import HistoryError
from capsize.history import History, load_history
from capsize.interning import ValueTable
from capsize.op import Operation

HEADER = b'{"capsize":"history","version":1}\n'


def event(process: int | str, kind: str, f: str, time_ns: int, **more: Any) -> dict[str, Any]:
    return {"process": process, "type": kind, "f": f, "time_ns": time_ns, **more}


SMALL = [
    event(0, "invoke", "write", 0, key="x", value=1, node="n1"),
    event(1, "invoke", "cas", 3, key="x", value=[1, 2]),
    event("nemesis", "info", "kill", 4, value={"phase": "inject"}),
    event(0, "ok", "write", 5, key="x", meta={"term": 3}),
    event(1, "info", "cas", 9, key="x", error="timeout"),
    event(0, "invoke", "read", 10, key="y", final=True),
    event(0, "ok", "read", 12, key="y", result=None, meta={"term": 4}),
]


def written(folder: Path, events: list[dict[str, Any]], *, tail: bytes = b"") -> Path:
    path = folder / "history.jsonl"
    path.write_bytes(HEADER + b"".join(orjson.dumps(one) + b"\n" for one in events) + tail)
    return path


def test_an_invocation_and_its_completion_are_one_operation() -> None:
    first, second, third = History.from_events(SMALL)
    assert first == Operation(0, "write", "x", 1, 0, 5, "ok", None, 0, 2, "n1", None, {"term": 3})
    assert second == Operation(1, "cas", "x", (1, 2), 3, None, "info", None, 1, None, None, "timeout", {})
    assert third.meta == {"term": 4, "final": True}


def test_the_file_gives_the_same_history_as_its_events(tmp_path: Path) -> None:
    loaded = load_history(written(tmp_path, SMALL))
    assert list(loaded) == list(History.from_events(SMALL))
    assert [fault["f"] for fault in loaded.faults] == ["kill"]
    assert not loaded.truncated


def test_a_history_survives_the_way_through_its_operations() -> None:
    history = History.from_events(SMALL)
    assert list(History.of(list(history))) == list(history)


def test_events_of_one_nanosecond_are_concurrent_whatever_their_order() -> None:
    events = [
        event(0, "invoke", "write", 0, value=1),
        event(0, "ok", "write", 7),
        event(1, "invoke", "read", 7),
        event(1, "ok", "read", 8, result=None),
    ]
    first, second = History.from_events(events)
    assert first.ret is not None
    assert second.call < first.ret


def test_a_clock_that_runs_backwards_makes_concurrent_never_earlier() -> None:
    events = [
        event(0, "invoke", "write", 5, value=1),
        event(0, "ok", "write", 9),
        event(1, "invoke", "read", 8),
        event(1, "ok", "read", 10, result=1),
    ]
    first, second = History.from_events(events)
    assert first.ret is not None
    assert first.call < second.call < first.ret


def test_an_invocation_never_completed_is_info() -> None:
    history = History.from_events([event(0, "invoke", "write", 0, value=1)])
    assert history[0].outcome == "info"
    assert history.columns.ret.tolist() == [-1]


def test_operations_without_times_are_ordered_by_their_positions() -> None:
    read = Operation(1, "read", None, None, 0, 0, "ok", 5, call=3, ret=7)
    write = Operation(0, "write", None, 5, 0, 0, "ok", None, call=1, ret=2)
    assert [(op.f, op.call, op.ret) for op in History.of([read, write])] == [("write", 1, 2), ("read", 3, 7)]


def test_keys_stand_in_the_order_of_their_first_appearance_and_split_every_row_once() -> None:
    operations = [Operation(n, "write", f"k{(7 * n + 2) % 5}", n, 2 * n, 2 * n + 1, "ok") for n in range(50)]
    history = History.of(operations)
    assert history.keys() == ("k2", "k4", "k1", "k3", "k0")
    assert sorted(np.concatenate([rows for _, rows in history.split()]).tolist()) == list(range(50))
    assert [op.value for op in history.only("k4")] == [n for n in range(50) if (7 * n + 2) % 5 == 4]
    assert len(history.only("nowhere")) == 0


def test_parts_keep_the_numbers_of_the_whole() -> None:
    history = History.from_events(SMALL)
    assert history.only("y").columns.row.tolist() == [2]
    assert list(history[2:]) == [history[2]]
    assert history[2:][0].meta["final"] is True


def test_columns_cannot_be_written() -> None:
    columns = History.from_events(SMALL).columns
    with pytest.raises(ValueError, match="read-only"):
        columns.call[0] = 9


def test_true_and_one_are_different_values_and_one_point_zero_is_one() -> None:
    table = ValueTable()
    codes = [table.code(value) for value in (1, True, 1.0, (1, True), (1, 1), 0, False, None)]
    assert len(set(codes)) == 7
    assert codes[0] == codes[2]
    assert table[codes[1]] is True
    assert table.find((1, True)) == codes[3]
    assert table.pairs()[codes[3]].tolist() == [codes[0], codes[1]]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (event(7, "ok", "read", 20), "has none open; expected its invocation first"),
        (event(1, "invoke", "read", 20), "after its 'info'; expected a new process id"),
        (event(0, "great", "read", 20), "type is 'great'; expected invoke, ok, fail or info"),
        (event("p", "invoke", "read", 20), "process is 'p'; expected an integer or 'nemesis'"),
        ({"process": 0, "type": "invoke", "time_ns": 3}, "no 'f'"),
        (event(0, "invoke", "read", 20, value={"a": 1}), "dict is no operation value"),
        (event(0, "invoke", "read", "noon"), "expected integers"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_history_is_refused_with_its_line(tmp_path: Path, line: dict[str, Any], says: str) -> None:
    path = written(tmp_path, [*SMALL, line])
    with pytest.raises(HistoryError) as caught:
        load_history(path)
    assert caught.value.where == f"{path}:9"
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_open_operations_of_one_process_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [*SMALL, event(4, "invoke", "read", 20), event(4, "invoke", "write", 21, value=1)])
    with pytest.raises(HistoryError, match=r":10: process 4 invokes 'write' while its 'read' is open"):
        load_history(path)


def test_a_completion_of_another_operation_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [*SMALL, event(4, "invoke", "read", 20), event(4, "ok", "write", 21)])
    with pytest.raises(HistoryError, match=r":10: process 4 completes 'write'; expected 'read'"):
        load_history(path)


def test_a_cut_last_line_is_an_error_only_when_strict(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL, tail=b'{"process":4,"type":"inv')
    with pytest.raises(HistoryError, match=r":9: .*the last line is cut"):
        load_history(path)
    loaded = load_history(path, strict=False)
    assert loaded.truncated
    assert len(loaded) == 3


def test_a_cut_line_in_the_middle_is_always_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL, tail=b'{"process":4,"type":"inv\n' + orjson.dumps(SMALL[0]) + b"\n")
    with pytest.raises(HistoryError, match=":9: no JSON"):
        load_history(path, strict=False)


@pytest.mark.parametrize("head", [b"", b"{}\n", b"hello\n", b'{"capsize":"history","version":2}\n'])
def test_a_file_without_the_header_is_refused(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(head)
    with pytest.raises(HistoryError, match=r":1: .*expected"):
        load_history(path)


def test_many_blocks_give_what_one_gives(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    for number in range(12_000):
        text = "x" * (number % 90)
        events.append(event(number % 7, "invoke", "write", 2 * number, key=number % 5, value=text, node="n1"))
        events.append(event(number % 7, "ok", "write", 2 * number + 1, key=number % 5, meta={"term": number}))
    path = written(tmp_path, events)
    assert path.stat().st_size > 2 << 20
    loaded = load_history(path)
    assert len(loaded) == 12_000
    assert loaded[11_999] == History.from_events(events)[11_999]
