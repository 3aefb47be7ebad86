"""What a command leaves for continuous integration: JUnit XML, and a summary on the page of the job.

A file that cannot be written is a warning on stderr: it is no part of the verdict.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from capsize.campaign import Outcome
    from capsize.cli.judged import Judged
    from capsize.report.result import Result
    from capsize.runner import Finished

Junit = Annotated[Path | None, typer.Option("--junit", help="Also write JUnit XML to this file.")]
Summary = Annotated[
    Path | None, typer.Option("--summary", help="Also write a Markdown summary; $GITHUB_STEP_SUMMARY gets one unasked.")
]
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


def deliver(
    results: Sequence[Result], *, title: str, repeat: str, junit: Path | None = None, summary: Path | None = None
) -> None:
    """Write the files that were asked for, and the summary of a GitHub job where one is expected."""
    step = os.environ.get(STEP_SUMMARY, "")
    if junit is not None:
        from capsize.report.junit import junit_xml

        _write(junit, junit_xml(results, name=title), "--junit")
    if summary is not None or step:
        from capsize.report.summary import markdown

        text = markdown(results, title=title, repeat=repeat)
        if summary is not None:
            _write(summary, text, "--summary")
        if step and (summary is None or Path(step) != summary):
            _write(Path(step), text, STEP_SUMMARY, append=True)


def of_run(finished: Finished, seconds: float) -> Result:
    """Return what came of a run."""
    from capsize.report.result import Result
    from capsize.report.text import faults_landed

    config, verdict = finished.config, finished.verdict
    health = verdict.figures.get("health", {})
    faults = ", ".join(config.faults) or "no faults"
    return Result(
        suite=f"{config.system}.{config.workload}", name=f"{config.workload} under {faults}, seed {config.seed}",
        exit_code=verdict.exit_code, verdict=verdict, seconds=seconds, repeat=config.command(),
        folder=str(finished.folder), report="" if finished.report is None else str(finished.report),
        facts=(
            ("system", config.system), ("operations", f"{health.get('operations', 0):,}"),
            ("faults landed", faults_landed(health.get("faults", {})).removeprefix("faults landed ")),
        ),
    )  # fmt: skip


def of_outcome(outcome: Outcome, seconds: float) -> Result:
    """Return what came of a campaign's run, carried out or not."""
    from capsize.report.result import Result

    if outcome.finished is not None:
        return of_run(outcome.finished, seconds)
    config = outcome.config
    return Result(
        suite=f"{config.system}.{config.workload}", exit_code=outcome.exit_code,
        error=f"could not run: {outcome.error}",
        name=f"{config.workload} under {', '.join(config.faults) or 'no faults'}, seed {config.seed}",
        seconds=seconds, repeat=config.command(), facts=(("system", config.system),),
    )  # fmt: skip


def of_judged(judged: Judged) -> Result:
    """Return what came of a history."""
    from capsize.report.result import Result

    facts = (("model", judged.model), ("operations", f"{judged.operations:,}")) if judged.verdict is not None else ()
    return Result(
        suite=f"check.{judged.model or 'history'}", name=str(judged.path), exit_code=judged.exit_code,
        verdict=judged.verdict, error=judged.error, seconds=sum(judged.seconds),
        repeat=f"capsize check {judged.path}", facts=facts,
    )  # fmt: skip


def _write(path: Path, text: str, flag: str, *, append: bool = False) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if append else "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        why = error.strerror or type(error).__name__
        print(f"warning   {flag}: {path} was not written: {why}", file=sys.stderr, flush=True)
