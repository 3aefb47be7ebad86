"""`capsize mutants`: plant bugs in the reference Raft and see which of them the judges catch."""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from capsize.cli import options


def mutants(
    only: Annotated[list[str], typer.Option("--only", help="This planted bug; may be given again.")] = [],  # noqa: B006
    runs: Annotated[int, typer.Option("--runs", min=0, help="Random simulated runs per bug.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="The first run's seed; the others follow it.")] = 0,
    scenario: Annotated[list[str], typer.Option("--scenario", help="Only this directed scenario.")] = [],  # noqa: B006
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes to compute with.")] = 1,
    write: Annotated[Path | None, typer.Option("--write", help="Also write the track record to this file.")] = None,
    as_json: options.Json = False,
) -> int:
    """Score the planted bugs on the simulator: caught or not, by which check, after how long, in how many of n runs.

    Exit code 1 when a bug was missed, or the clean core or a negative control was accused.
    """
    from capsize.errors import no_such
    from capsize.simulator.scenarios import SCENARIOS
    from capsize.simulator.score import CLEAN_NAME, Row, all_names, score
    from capsize.simulator.track_record import directed_words, page

    known = all_names()
    for name in only:
        if name not in known:
            raise no_such("planted bug", name, known, flag="--only")
    for name in scenario:
        if name not in SCENARIOS:
            raise no_such("scenario", name, SCENARIOS, flag="--scenario")

    def tell(row: Row) -> None:
        if as_json:
            print(f"{row.name}: {row.caught}/{row.runs}", file=sys.stderr, flush=True)
            return
        word = "ok    " if row.as_it_should else ("ALARM " if row.control or row.name == CLEAN_NAME else "MISSED")
        checks = ", ".join(f"{check} {count}" for check, count in list(row.random.items())[:4])
        first = f"after {row.first_s} s (seed {row.first_seed})" if row.first_s is not None else ""
        print(f"{word} {row.name:30} random {row.caught:>3}/{row.runs:<3} {checks} {first}".rstrip())
        if row.directed:
            print(f"       {'':30} directed {directed_words(row.directed)}")
        sys.stdout.flush()

    rows = score(only or known, runs=runs, first_seed=seed, scenarios=scenario or None, workers=workers, tell=tell)
    bugs = [row for row in rows if row.name != CLEAN_NAME and not row.control]
    caught = sum(row.found for row in bugs)
    if as_json:
        print(json.dumps({"version": 1, "commit": commit(), "rows": [row.to_json() for row in rows]}))
    else:
        print(f"{caught} of {len(bugs)} planted bugs caught, {sum(row.caught > 0 for row in bugs)} by random runs")
    if write is not None:
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        write.write_text(page(rows, commit=commit(), date=today), encoding="utf-8")
    return 0 if all(row.as_it_should for row in rows) else 1


def commit() -> str:
    """Return the short commit of the working tree the tool runs from; "unknown" outside of one."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    here = Path(__file__).resolve().parent
    asked = subprocess.run([git, "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"
