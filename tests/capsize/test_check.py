"""`capsize check`: files, folders and runs; one line for what is no history; the gravest exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from capsize.checker.budget import Budget
from capsize.cli import invoke
from capsize.cli.check import parse_budget
from capsize.errors import UsageError

GOOD = """\
{:process 0, :type :invoke, :f :write, :value 4}
{:process 0, :type :ok, :f :write, :value 4}
{:process 1, :type :invoke, :f :read, :value nil}
{:process 1, :type :ok, :f :read, :value 4}
"""
BAD = GOOD.replace(":f :read, :value 4", ":f :read, :value 5")
NOTHING = "{:process 0, :type :invoke, :f :write, :value 4}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.edn").write_text(GOOD)
    (tmp_path / "bad.edn").write_text(BAD)
    (tmp_path / "nothing.edn").write_text(NOTHING)
    (tmp_path / "rubbish.edn").write_bytes(b"\x00\x01\x02")
    (tmp_path / "notes.md").write_text("not looked at")
    return tmp_path


def check(*words: object) -> int:
    return invoke(["check", *map(str, words)])


def test_a_valid_history_says_so_first_and_the_command_last(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(folder / "good.edn") == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"VALID    {folder / 'good.edn'} · register · 2 operations on 1 key")
    assert last == f"  repeat  capsize check {folder / 'good.edn'}"


def test_an_invalid_history_says_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(folder / "bad.edn") == 1
    out = capsys.readouterr().out
    assert out.startswith("INVALID")
    assert "read 5" in out


def test_nothing_invisible_reaches_the_terminal_and_nothing_endless(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\u202e" + "x" * 100_000
    events = [
        {"process": 0, "type": "invoke", "f": "write", "value": "fine", "time_ns": 1},
        {"process": 0, "type": "ok", "f": "write", "time_ns": 2},
        {"process": 1, "type": "invoke", "f": "read", "time_ns": 3},
        {"process": 1, "type": "ok", "f": "read", "result": evil, "time_ns": 4},
    ]
    lines = [orjson.dumps(event) for event in ({"capsize": "history", "version": 1}, *events)]
    (tmp_path / "evil.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert check(tmp_path / "evil.jsonl") == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\\u001b[2J" in out
    assert max(map(len, out.splitlines())) < 5_000


def test_a_history_in_which_nothing_succeeded_is_unknown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(folder / "nothing.edn") == 2
    assert "no operation succeeded: the history proves nothing" in capsys.readouterr().out


def test_a_spent_budget_is_unknown_and_names_what_would_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{{:process {n}, :type :invoke, :f :enqueue, :value {n}}}\n" for n in range(9)]
    lines += [f"{{:process {n}, :type :ok, :f :enqueue, :value {n}}}\n" for n in range(9)]
    for n in (4, 8):
        lines += [f"{{:process 0, :type {kind}, :f :dequeue, :value {n}}}\n" for kind in (":invoke", ":ok")]
    path = tmp_path / "queue.edn"
    path.write_text("".join(lines))
    assert check(path, "--budget", "20") == 2
    assert "the budget of steps ran out between positions" in capsys.readouterr().out


def test_a_folder_is_judged_whole_though_one_file_is_rubbish(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(folder) == 1
    told = capsys.readouterr()
    assert [line.split()[0] for line in told.out.splitlines() if str(folder) in line][:4] == [
        "INVALID", "VALID", "UNKNOWN", "ERROR",
    ]  # fmt: skip
    assert "4 histories: 1 valid, 1 invalid, 1 unknown, 1 error" in told.out
    errors = [line for line in told.err.splitlines() if line.startswith("capsize:")]
    assert errors == [
        f"capsize: {folder / 'rubbish.edn'}:1: starts with b'\\x00\\x01\\x02'; expected a history: capsize JSONL, "
        "Jepsen EDN, a Porcupine log or text, or the bench's text"
    ]


def test_an_error_is_graver_than_unknown(folder: Path) -> None:
    assert check(folder / "nothing.edn", folder / "rubbish.edn", folder / "nowhere.edn") == 255


def test_a_path_that_does_not_exist_is_told_as_254(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(folder / "nowhere.edn") == 254
    assert capsys.readouterr().err.endswith("nowhere.edn: there is no such file or folder\n")


def test_a_model_that_a_run_would_not_be_judged_by_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text('{"model": "cas-register", "config": {"workload": "register"}}')
    assert check(tmp_path, "-m", "kv") == 254
    told = capsys.readouterr().err
    assert told.startswith(f"capsize: --model: {tmp_path} is a run of the store, judged by its own workload")
    assert check(tmp_path, "--format", "edn") == 254
    assert capsys.readouterr().err.startswith("capsize: --format: ")


def test_json_has_every_file_and_nothing_else_on_stdout(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(folder, "--json") == 1
    data = json.loads(capsys.readouterr().out)
    assert [Path(one["file"]).name for one in data["files"]] == ["bad.edn", "good.edn", "nothing.edn", "rubbish.edn"]
    assert [one["exit_code"] for one in data["files"]] == [1, 0, 2, 255]
    assert data["files"][0]["verdict"]["valid"] is False
    assert data["exit_code"] == 1


def test_a_model_nobody_knows_and_words_no_model_knows_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(folder / "good.edn", "--model", "registre") == 254
    assert "no model is called 'registre'; did you mean 'register'?" in capsys.readouterr().err
    (folder / "odd.edn").write_text(GOOD.replace(":read", ":jump"))
    assert check(folder / "odd.edn") == 254
    assert "no model has the operations jump, write; name one with --model" in capsys.readouterr().err
    assert check(folder / "good.edn", "--format", "end") == 254


def test_a_folder_without_histories_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path) == 254
    assert "no history in this folder" in capsys.readouterr().err


def test_a_run_of_the_store_is_judged_with_its_workload_even_when_it_was_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "store" / "register" / "20260101T000000Z-s7"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"config": {"seed": 7, "workload": "register", "faults": []}}))
    events: list[dict[str, Any]] = [
        {"process": 0, "type": "invoke", "f": "write", "key": 1, "value": 4, "time_ns": 1},
        {"process": 0, "type": "ok", "f": "write", "key": 1, "time_ns": 2},
        {"process": 1, "type": "invoke", "f": "read", "key": 1, "time_ns": 3},
        {"process": 1, "type": "ok", "f": "read", "key": 1, "result": 5, "time_ns": 4},
    ]
    lines = [orjson.dumps(event) for event in ({"capsize": "history", "version": 1}, *events)]
    (run / "history.jsonl").write_bytes(b"\n".join(lines) + b'\n{"process":1,"ty')
    assert check(tmp_path / "store") == 1
    assert f"INVALID  {run} · register" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("", None),
        ("none", Budget(None, None)),
        ("50M", Budget(steps=50_000_000)),
        ("2GB", Budget(bytes=2_000_000_000)),
        ("1k,64mb", Budget(steps=1_000, bytes=64_000_000)),
    ],
)
def test_a_budget_is_steps_bytes_or_both(text: str, budget: Budget | None) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["lots", "0", "1,2", "-3", "5MB,", "10s"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no budget; expected"):
        parse_budget(text)


def test_a_thousand_operations_are_judged_in_a_fresh_process_without_waiting_for_a_compiler(tmp_path: Path) -> None:
    lines: list[str] = []
    for number in range(500):
        for f, asked, told in (("write", number, number), ("read", "nil", number)):
            lines.append(f"{{:process 0, :type :invoke, :f :{f}, :value {asked}}}\n")
            lines.append(f"{{:process 0, :type :ok, :f :{f}, :value {told}}}\n")
    path = tmp_path / "thousand.edn"
    path.write_text("".join(lines))
    script = (
        "import sys\nfrom capsize.cli import main\ntry:\n    main()\n"
        "finally:\n    print('COMPILER', [name for name in ('numba', 'llvmlite') if name in sys.modules])"
    )
    command = [sys.executable, "-c", script, "check", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "COMPILER []" in done.stdout
