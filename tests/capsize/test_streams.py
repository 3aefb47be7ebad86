"""Whoever stops listening ends no run, and nothing but a verdict exits 1."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from capsize.cli import invoke, main
from capsize.cli.progress import Progress
from capsize.cli.streams import AnswerLost, guarded

HISTORY = """\
{"capsize":"history","version":1}
{"process": 0, "type": "invoke", "f": "write", "key": "x", "value": 1, "time_ns": 1}
{"process": 0, "type": "ok", "f": "write", "key": "x", "value": 1, "time_ns": 2}
"""
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")


def capsize(
    *words: str, env: dict[str, str] | None = None, cwd: Path | None = None, shell: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command in a shell, which opens and closes its streams."""
    command = f'"$0" -m capsize "$@" {shell}'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, *words], capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, **(env or {})}, cwd=cwd,
    )  # fmt: skip


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@needs_full
@pytest.mark.parametrize("words", ["list models --json", "check {history}", "--help"])
def test_an_answer_that_cannot_be_written_is_one_line_and_255(words: str, tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text(HISTORY)
    done = capsize(*words.format(history=tmp_path / "history.jsonl").split(), shell=">/dev/full")
    assert done.returncode == 255
    assert done.stderr == "capsize: stdout: the answer could not be written: No space left on device\n"


def test_a_stdout_that_is_closed_is_one_line_and_255() -> None:
    done = capsize("list", "models", shell=">&-")
    assert (done.returncode, done.stderr) == (255, "capsize: stdout: the answer could not be written: it is closed\n")


def test_a_reader_that_left_is_255_without_a_word() -> None:
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "capsize", "list", "models"]
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, text=True, check=False, timeout=120)
    os.close(write)
    assert (done.returncode, done.stderr) == (255, "")


def test_a_broken_pipe_inside_a_command_is_never_an_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("capsize.cli.listing._shelf", broken)
    assert invoke(["list", "faults"]) == 255
    assert "BrokenPipeError" in capsys.readouterr().err


def test_ctrl_c_before_anything_began_is_one_line_and_255(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("capsize.cli.listing._shelf", pressed)
    assert invoke(["list", "faults"]) == 255
    assert capsys.readouterr().err == "capsize: interrupted\n"
    monkeypatch.setattr("capsize.cli.invoke", pressed)
    with pytest.raises(SystemExit) as left:
        main(["list"])
    assert left.value.code == 255
    assert capsys.readouterr().err == "capsize: interrupted\n"


def test_an_adapter_that_leaves_by_itself_is_never_an_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "leaves.py").write_text("raise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert invoke(["run", "--system", "leaves:Raft", "--store", str(tmp_path / "store")]) == 255
    assert "sys.exit(1)" in capsys.readouterr().err


@needs_full
def test_progress_goes_on_when_stderr_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    with FULL.open("w") as full:
        monkeypatch.setattr("sys.stderr", full)
        with guarded(), Progress() as progress:
            progress.say("warning   twice")
            progress.say("warning   twice")


@needs_full
def test_the_answer_is_lost_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with FULL.open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with guarded():
            with pytest.raises(AnswerLost):
                _say("the answer")
            _say("a last word")


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    (tmp_path / "complaining.py").write_text("import os\nfile = open('kept', 'w')\nos.write(2, b'a complaint')\n")
    done = capsize("run", "--system", "complaining:Raft", cwd=tmp_path, shell="2>&-")
    assert done.returncode == 254
    assert (tmp_path / "kept").read_text() == ""


def test_signs_that_a_terminal_cannot_show_are_spelled_out(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text(HISTORY)
    plain = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = capsize("check", str(tmp_path / "history.jsonl"), env=plain)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("VALID")
    assert " - 1 operations on 1 key - " in done.stdout
