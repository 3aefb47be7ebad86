"""`capsize check`: judge histories that are files already, ours or others', and runs of the store."""

from __future__ import annotations

import json
import shlex
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capsize.cli import options, outputs
from capsize.errors import CapsizeError, UsageError
from capsize.store import HISTORY, RUN, read_json

if TYPE_CHECKING:
    from capsize.checker.budget import Budget
    from capsize.cli.judged import Judged

BIG_BYTES = 64 << 20
"""A file that takes long enough to read that a person should be told."""
SAY_EVERY_S = 5.0
LONGEST_LINE = 4_000

BudgetText = Annotated[
    str,
    typer.Option("--budget", help="What one key may cost: steps, bytes or both (50M, 2GB, 50M,2GB), or none."),
]
ModelName = Annotated[
    str, typer.Option("--model", "-m", help="Model to judge by (capsize list models), or module:Class.")
]
ReportPath = Annotated[
    Path | None,
    typer.Option("--report", metavar="PATH", help="Draw a page of each: an .html file, or a folder for several."),
]
Write = Annotated[bool, typer.Option("--write", help="Runs of the store: replace their verdict.json and report.html.")]
FormatName = Annotated[str, typer.Option("--format", help="capsize, edn, etcd-log or bench; recognised when left out.")]


def check(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Histories, folders of them, or runs.")],
    model: ModelName = "",
    format: FormatName = "",
    budget: BudgetText = "",
    report: ReportPath = None,
    write: Write = False,
    junit: outputs.Junit = None,
    summary: outputs.Summary = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Judge histories and kept runs.

    Is there an order of the operations that explains every answer?

    The model is guessed from the operations when it is not named. A file that is no history costs one line, and the
    others are judged all the same; the exit code is the gravest, invalid before everything else.
    """
    from capsize.cli.judged import gravest_code, histories_in, judge_one

    chosen = parse_budget(budget)
    if model:
        from capsize.cli.judged import chosen_model

        chosen_model(model)
    found = [path for given in paths for path in histories_in(given)]
    _refuse_words_for_runs(found, model, format)
    _refuse_reports(found, report, write=write)
    judged: list[Judged] = []
    for number, path in enumerate(found, 1):
        say = Progress(path, number, len(found), quiet=quiet or as_json)
        with say:
            one = judge_one(path, model=model, format=format, budget=chosen, progress=say.keys)
        one = _with_report(one, report, write=write, alone=len(found) == 1)
        judged.append(one)
        if not as_json:
            _print(one)
    code = gravest_code([one.exit_code for one in judged])
    repeat = _command(paths, model, format, budget, report, write=write)
    results = [outputs.of_judged(one) for one in judged]
    outputs.deliver(results, title="capsize check", repeat=repeat, junit=junit, summary=summary)
    if as_json:
        answer = {"files": [one.to_json() for one in judged], "exit_code": code}
        print(json.dumps({"version": 1, "command": "check", **answer}))
    else:
        if len(judged) > 1:
            print(_tally(judged))
        print(f"  repeat  {repeat}")
    return code


def parse_budget(text: str) -> Budget | None:
    """Return the budget that `text` names; None when it is empty. Raises UsageError.

    >>> parse_budget("50M,2GB")
    Budget(steps=50000000, bytes=2000000000)
    """
    from capsize.checker.budget import Budget

    if not text:
        return None
    if text == "none":
        return Budget(None, None)
    amounts: dict[str, int] = {}
    for part in text.split(","):
        word = part.strip()
        unit = "bytes" if word[-1:] in ("B", "b") else "steps"
        number = word.rstrip("Bb")
        scale = {"k": 10**3, "m": 10**6, "g": 10**9}.get(number[-1:].lower(), 1)
        digits = number[:-1] if scale > 1 else number
        if not digits.isdigit() or int(digits) < 1 or unit in amounts:
            raise UsageError(f"--budget: {text!r} is no budget; expected steps, bytes or both, as in 50M,2GB, or none")
        amounts[unit] = int(digits) * scale
    return Budget(**amounts)


def _print(one: Judged) -> None:
    from capsize.report.plain import visible

    for line in one.lines():  # values are written by the system under test: nothing invisible reaches the terminal
        print(visible(line, LONGEST_LINE), flush=True)
    if one.error:
        print(visible(f"capsize: {one.error}", LONGEST_LINE), file=sys.stderr, flush=True)


def _tally(judged: Sequence[Judged]) -> str:
    counts = {word: sum(1 for one in judged if one.word == word) for word in ("VALID", "INVALID", "UNKNOWN", "ERROR")}
    return f"{len(judged)} histories: " + ", ".join(
        f"{count} {word.lower()}" for word, count in counts.items() if count
    )


class Progress:
    """Says on stderr what takes long: the reading of a big file, and every few seconds how far it is."""

    def __init__(self, path: Path, number: int, total: int, *, quiet: bool) -> None:
        self.path, self.quiet = path, quiet
        self.place = f" · {number} of {total}" if total > 1 else ""
        self.state = "reading"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._began = time.monotonic()

    def __enter__(self) -> None:
        if self.quiet:
            return
        size = self.path.stat().st_size if self.path.is_file() else 0
        if size >= BIG_BYTES:
            self._say(f"reading {self.path} ({size >> 20} MB){self.place}")
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def keys(self, done: int, total: int) -> None:
        """Take how many keys are judged."""
        self.state = f"{done:,} of {total:,} {'key' if total == 1 else 'keys'} judged"

    def _run(self) -> None:
        while not self._over.wait(SAY_EVERY_S):
            self._say(f"{self.path}: {self.state}, {time.monotonic() - self._began:.0f} s{self.place}")

    def _say(self, text: str) -> None:
        print(f"          {text}", file=sys.stderr, flush=True)


def _refuse_words_for_runs(found: Sequence[Path], model: str, format: str) -> None:
    """Raise UsageError for a model or a format that would be ignored: a run is judged by what it was."""
    for path in found:
        if not path.is_dir() or not (model or format):
            continue
        own = str(read_json(path / RUN).get("model") or "")
        if format not in ("", "capsize") or (model and model != own):
            flag, word = ("--model", model) if model and model != own else ("--format", format)
            raise UsageError(
                f"{flag}: {path} is a run of the store, judged by its own workload (model {own or 'unknown'}), not by "
                f"{word}; {path / HISTORY} alone is judged by any"
            )


def _refuse_reports(found: Sequence[Path], report: Path | None, *, write: bool) -> None:
    """Raise UsageError for a page that several histories would share, and for a file that is no run."""
    if report is not None and len(found) > 1 and report.suffix.lower() in (".html", ".htm"):
        raise UsageError(f"--report: {len(found)} histories and one page {report}; expected a folder")
    files = [path for path in found if not path.is_dir()]
    if write and files:
        raise UsageError(f"--write: {files[0]} is no run of the store; draw its page with --report PATH")


def _with_report(one: Judged, target: Path | None, *, write: bool, alone: bool) -> Judged:
    """Return `one` with its page drawn, if that was asked for and it was judged; a page that fails is a warning."""
    drawn: Path | None = None
    if one.verdict is not None and (target is not None or write):
        from capsize.cli.pages import page_path, write_page, write_run

        try:
            if write:
                drawn = write_run(one)
            if target is not None:
                drawn = page_path(target, one, alone=alone)
                write_page(one, drawn)
        except CapsizeError as error:
            print(f"capsize: {error}", file=sys.stderr)
            drawn = None
        except Exception as error:  # around a plot: whatever it trips over, the verdict is said
            traceback.print_exc()
            print(f"capsize: {one.path}: no report: {type(error).__name__}: {error}", file=sys.stderr)
            drawn = None
    return replace(one, history=None, report=drawn)


def _command(paths: Sequence[Path], model: str, format: str, budget: str, report: Path | None, *, write: bool) -> str:
    words = ["capsize", "check", *map(str, paths)]
    asked = (("--model", model), ("--format", format), ("--budget", budget), ("--report", str(report or "")))
    for flag, value in asked:
        if value:
            words += [flag, value]
    if write:
        words.append("--write")
    return shlex.join(words)
