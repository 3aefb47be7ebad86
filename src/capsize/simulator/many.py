"""Many simulated runs, in several processes if asked to; their outcomes come in the order of the plans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial

from capsize.simulator.run import Outcome, Plan, simulate
from capsize.simulator.subject import CLEAN, subject


def outcomes(plans: Sequence[Plan], mutants: Sequence[str] = (), *, jobs: int = 1) -> Iterator[Outcome]:
    """Carry out plans with these bugs planted. A plan's outcome is the same for any number of processes."""
    carry_out = partial(_carry_out, tuple(mutants))
    if jobs == 1 or len(plans) == 1:
        yield from map(carry_out, plans)
        return
    with ProcessPoolExecutor(min(jobs, len(plans))) as pool:
        yield from pool.map(carry_out, plans)


def _carry_out(mutants: tuple[str, ...], plan: Plan) -> Outcome:
    outcome = simulate(replace(plan, subject=subject(list(mutants))))
    return replace(outcome, plan=replace(outcome.plan, subject=CLEAN))  # classes made for a bug cannot travel
