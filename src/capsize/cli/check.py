"""`capsize check`: judge histories that are files already, ours or others', and runs of the store."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capsize.cli import options

if TYPE_CHECKING:
    from capsize.checker.budget import Budget
    from capsize.cli.judged import Judged

BIG_BYTES = 64 << 20
"""A file that takes long enough to read that a person should be told."""

BudgetText = Annotated[
    str,
    typer.Option("--budget", help="What one key may cost: steps, bytes or both (50M, 2GB, 50M,2GB), or none."),
]
ModelName = Annotated[str, typer.Option("--model", "-m", help="Model to judge by (capsize list models).")]
FormatName = Annotated[str, typer.Option("--format", help="capsize, edn, etcd-log or bench; recognised when left out.")]


def check(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Histories, folders of them, or runs.")],
    model: ModelName = "",
    format: FormatName = "",
    budget: BudgetText = "",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Judge histories: is there an order of the operations that explains every answer?

    The model is guessed from the operations when it is not named. A file that is no history costs one line, and the
    others are judged all the same; the exit code is the gravest, invalid before everything else.
    """
    from capsize.cli.judged import gravest_code, histories_in, judge_one

    chosen = parse_budget(budget)
    if model:
        from capsize.checker.models import model_named

        model_named(model)
    found = [path for given in paths for path in histories_in(given)]
    judged: list[Judged] = []
    for number, path in enumerate(found, 1):
        if not quiet:
            _say_progress(path, number, len(found))
        one = judge_one(path, model=model, format=format, budget=chosen, progress=None if quiet else _keys_judged(path))
        judged.append(one)
        if not as_json:
            _print(one)
    code = gravest_code([one.exit_code for one in judged])
    if as_json:
        print(json.dumps({"version": 1, "files": [one.to_json() for one in judged], "exit_code": code}))
    else:
        if len(judged) > 1:
            print(_tally(judged))
        print(f"  repeat  {_command(paths, model, format, budget)}")
    return code


def parse_budget(text: str) -> Budget | None:
    """Return the budget that `text` names; None when it is empty. Raises UsageError.

    >>> parse_budget("50M,2GB")
    Budget(steps=50000000, bytes=2000000000)
    """
    from capsize.checker.budget import Budget
    from capsize.errors import UsageError

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
    for line in one.lines():
        print(line, flush=True)
    if one.error:
        print(f"capsize: {one.error}", file=sys.stderr, flush=True)


def _tally(judged: Sequence[Judged]) -> str:
    counts = {word: sum(1 for one in judged if one.word == word) for word in ("VALID", "INVALID", "UNKNOWN", "ERROR")}
    return f"{len(judged)} histories: " + ", ".join(
        f"{count} {word.lower()}" for word, count in counts.items() if count
    )


def _say_progress(path: Path, number: int, total: int) -> None:
    size = path.stat().st_size if path.is_file() else 0
    if size >= BIG_BYTES:
        print(f"          reading {path} ({size >> 20} MB) · {number} of {total}", file=sys.stderr, flush=True)


def _keys_judged(path: Path) -> Any:
    """Return what says on stderr, every few seconds, how many keys are judged."""
    import time

    said = time.monotonic()

    def say(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said > 5:
            said = time.monotonic()
            print(f"          {path}: {done:,} of {total:,} keys judged", file=sys.stderr, flush=True)

    return say


def _command(paths: Sequence[Path], model: str, format: str, budget: str) -> str:
    words = ["capsize", "check", *map(str, paths)]
    for flag, value in (("--model", model), ("--format", format), ("--budget", budget)):
        if value:
            words += [flag, value]
    return shlex.join(words)
