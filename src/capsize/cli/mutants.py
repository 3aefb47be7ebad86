"""`capsize mutants`: plant bugs in the reference Raft and see which of them the judges catch."""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from capsize.cli import options

PLACES = ("docker", "local")


def mutants(
    only: Annotated[list[str], typer.Option("--only", help="This planted bug; may be given again.")] = [],  # noqa: B006
    runs: Annotated[int, typer.Option("--runs", min=0, help="Random simulated runs per bug.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="The first run's seed; the others follow it.")] = 0,
    scenario: Annotated[list[str], typer.Option("--scenario", help="Only this directed scenario.")] = [],  # noqa: B006
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes to compute with.")] = 1,
    backend: Annotated[str, typer.Option("--backend", help="docker or local: climb the ladder of real runs.")] = "",
    rung: Annotated[list[str], typer.Option("--rung", help="Only this rung of the ladder.")] = [],  # noqa: B006
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often the ladder is climbed.")] = 1,
    minutes: Annotated[float, typer.Option("--minutes", min=0, help="Real runs per bug, at most.")] = 10.0,
    record: Annotated[Path | None, typer.Option("--record", help="Real tries, one a line; goes on from there.")] = None,
    store: options.Store = options.STORE,
    write: Annotated[Path | None, typer.Option("--write", help="Also write the track record to this file.")] = None,
    as_json: options.Json = False,
) -> int:
    """Score the planted bugs: caught or not.

    By which check, and after how long; on the simulator, or on real nodes.

    On real nodes (--backend) every bug climbs the same ladder of short runs until it is caught. With --write the tries
    are kept beside the page, and an interrupted score goes on where it was.

    Exit code 1 when a bug was missed (on real nodes: more than a quarter of them), or the clean core or a negative
    control was accused.
    """
    from capsize.errors import no_such
    from capsize.simulator.score import all_names

    known = all_names()
    for name in only:
        if name not in known:
            raise no_such("planted bug", name, known, flag="--only")
    _refuse_ignored(backend, real={"--rung": rung, "--record": record}, simulated={"--scenario": scenario})
    if backend:
        return _real(
            only or known, backend, rung, rounds, minutes, seed, record, store, write, as_json, bool(only)
        )  # fmt: skip
    return _simulated(only or known, runs, seed, scenario, workers, write, as_json)


def _refuse_ignored(backend: str, *, real: Mapping[str, object], simulated: Mapping[str, object]) -> None:
    """Raise UsageError for an option that would change nothing, or a place where nobody climbs."""
    from capsize.errors import UsageError

    if backend and backend not in PLACES:
        raise UsageError(f"--backend: no ladder stands on {backend!r}; expected {' or '.join(PLACES)}")
    for flag, given in (simulated if backend else real).items():
        if given:
            other = "the simulator's; leave --backend out" if backend else "of real runs; add --backend docker or local"
            raise UsageError(f"{flag}: this is {other}")


def _simulated(
    names: Sequence[str], runs: int, seed: int, scenarios: Sequence[str], workers: int, write: Path | None,
    as_json: bool,
) -> int:  # fmt: skip
    from capsize.errors import no_such
    from capsize.simulator.scenarios import SCENARIOS
    from capsize.simulator.score import CLEAN_NAME, Row, score
    from capsize.track_record import Simulated, directed_words, write_page

    for name in scenarios:
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

    rows = score(names, runs=runs, first_seed=seed, scenarios=scenarios or None, workers=workers, tell=tell)
    bugs = [row for row in rows if row.name != CLEAN_NAME and not row.control]
    caught = sum(row.found for row in bugs)
    made = Simulated(tuple(rows), commit(), today())
    if as_json:
        print(json.dumps(made.to_json()))
    else:
        print(f"{caught} of {len(bugs)} planted bugs caught, {sum(row.caught > 0 for row in bugs)} by random runs")
    if write is not None:
        write_page(write, made)
    return 0 if all(row.as_it_should for row in rows) else 1


def _real(
    names: Sequence[str], backend: str, rung: Sequence[str], rounds: int, minutes: float, seed: int,
    record: Path | None, store: Path, write: Path | None, as_json: bool, chosen: bool,
) -> int:  # fmt: skip
    from capsize.errors import no_such
    from capsize.ladder import CLEAN, LADDER, Climb, Try, by_rung, climb
    from capsize.raft.mutants import find
    from capsize.track_record import data_folder, write_page

    by_name = {item.name: item for item in LADDER}
    for name in rung:
        if name not in by_name:
            raise no_such("rung", name, by_name, flag="--rung")
    if write is not None and record is None:
        record = data_folder(write) / f"{backend}.jsonl"
        record.parent.mkdir(parents=True, exist_ok=True)
    controls = {item.name for item in find([name for name in names if name != CLEAN]) if item.control}

    def tell(attempt: Try) -> None:
        found = ", ".join(attempt.checks) or attempt.error or f"nothing ({attempt.valid})"
        line = f"{attempt.name:30} {attempt.rung:10} {attempt.seconds:>6.1f} s  {found}"
        print(line, file=sys.stderr if as_json else sys.stdout, flush=True)
        if write is not None:
            write_page(write)

    climbs = climb(
        list(names) if chosen else [CLEAN, *names], backend=backend, store=store, record=record, minutes=minutes,
        rounds=rounds, seed=seed, rungs=[by_name[name] for name in rung] or LADDER,
        stamp={"commit": commit(), "date": today()}, tell=tell,
    )  # fmt: skip

    def innocent(one: Climb) -> bool:
        return one.name == CLEAN or one.name in controls

    bugs = [one for one in climbs if not innocent(one)]
    caught = [one for one in bugs if one.caught is not None]
    accused = [one.name for one in climbs if innocent(one) and one.caught is not None]
    if as_json:
        tries = [attempt.to_json() for one in climbs for attempt in one.tries]
        print(json.dumps({"version": 1, "commit": commit(), "caught": len(caught), "bugs": len(bugs), "tries": tries}))
    else:
        rungs = ", ".join(f"{name} {count}" for name, count in by_rung(caught).items())
        print(f"{len(caught)} of {len(bugs)} planted bugs caught on {backend} ({rungs})")
        if accused:
            print(f"ALARM  {', '.join(accused)} accused")
    return 0 if 4 * len(caught) >= 3 * len(bugs) and not accused else 1


def today() -> str:
    """Return the date, in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def commit() -> str:
    """Return the short commit of the working tree the tool runs from; "unknown" outside of one."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    here = Path(__file__).resolve().parent
    asked = subprocess.run([git, "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"
