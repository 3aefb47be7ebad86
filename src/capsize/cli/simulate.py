"""`capsize simulate`: many runs of the reference Raft on virtual time, judged like real ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capsize.cli import options

if TYPE_CHECKING:
    from capsize.simulator.run import Outcome

TELL_EVERY = 50


def simulate(
    runs: Annotated[int, typer.Option("--runs", min=1, help="How many, with one seed each.")] = 1,
    seed: options.Seed = None,
    nodes: Annotated[int | None, typer.Option("--nodes", "-n", min=1, max=15, help="Drawn when left out.")] = None,
    operations: Annotated[int, typer.Option("--operations", min=1, help="Clients' requests in each run.")] = 300,
    mutant: Annotated[list[str], typer.Option("--mutant", help="Plant this bug; may be given again.")] = [],  # noqa: B006
    schedule: Annotated[Path | None, typer.Option("--schedule", help="Follow this schedule, or a real run's.")] = None,
    save_schedule: Annotated[Path | None, typer.Option("--save-schedule", help="Write the last run's faults.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes to compute with.")] = 1,
    as_json: options.Json = False,
) -> int:
    """Simulate runs of the reference Raft.

    Sizes, settings and faults are drawn from each seed; a seed replays exactly. All are judged like real runs.

    Exit code 1 when a run was found invalid, 2 when one was not decided.
    """
    from capsize.errors import UsageError
    from capsize.raft.mutants import UnknownMutant
    from capsize.simulator.many import outcomes
    from capsize.simulator.run import Plan
    from capsize.simulator.schedule import load, to_text
    from capsize.simulator.subject import subject
    from capsize.store import explained

    try:
        subject(mutant)
    except UnknownMutant as error:
        raise UsageError(f"--mutant: {error}") from None
    first = options.drawn_seed(seed)
    figures = {"runs": 0, "operations": 0, "events": 0, "faults": 0}
    found: list[dict[str, Any]] = []
    plans: list[Plan] = []
    for number in range(first, first + runs):
        plan = Plan.varied(number, nodes=nodes, operations=operations)
        if schedule is not None:
            names = [f"n{place}" for place in range(1, plan.nodes + 1)]
            plan = plan.following(load(schedule, names))
        plans.append(plan)
    for outcome in outcomes(plans, mutant, jobs=jobs):
        figures["runs"] += 1
        figures["operations"] += len(outcome.history)
        figures["events"] += outcome.events
        figures["faults"] += outcome.verdict.figures["health"]["landed"]
        if outcome.verdict.valid is not True:
            found.append(as_data(outcome))
            print(as_line(outcome), file=sys.stderr if as_json else sys.stdout, flush=True)
        elif figures["runs"] % TELL_EVERY == 0:
            print(f"{figures['runs']} runs, {figures['operations']:,} operations", file=sys.stderr, flush=True)
        if save_schedule is not None:
            with explained(save_schedule, "write the schedule"):
                save_schedule.write_text(to_text(outcome.schedule, outcome.plan.seed), encoding="utf-8")
    if as_json:
        print(json.dumps({"version": 1, "first_seed": first, **figures, "found": found}))
    else:
        told = f"{len(found)} not valid" if found else "no alarm"
        sums = ", ".join(f"{figures[name]:,} {name}" for name in ("operations", "faults", "events"))
        print(f"{told} in {runs:,} simulated runs (seeds {first} to {first + runs - 1}): {sums}")
    if any(item["valid"] is False for item in found):
        return 1
    return 2 if found else 0


def as_data(outcome: Outcome) -> dict[str, Any]:
    """Return what is told of a run that is not valid."""
    because = [reason for finding in outcome.verdict.axes.values() for reason in finding.because]
    return {
        "seed": outcome.plan.seed,
        "valid": outcome.verdict.valid,
        "alarms": list(outcome.alarms),
        "because": because[:5],
    }


def as_line(outcome: Outcome) -> str:
    """Return the same in one line."""
    data = as_data(outcome)
    word = {False: "INVALID", True: "VALID"}.get(data["valid"], "UNKNOWN")
    return f"{word:8} seed {data['seed']}: {', '.join(data['alarms']) or '–'}: {'; '.join(data['because'][:1])}"
