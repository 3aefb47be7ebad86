"""Many runs in a row, over systems, workloads, sets of faults and seeds, and the gravest of their verdicts."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from capsize.config import RunConfig
from capsize.errors import CapsizeError
from capsize.interrupts import EndedEarly
from capsize.plan import plan, refuse_impossible
from capsize.runner import Finished, OpenPlace, open_real, run
from capsize.watcher import Watcher

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run: it was judged, or `error` says why it could not be."""

    config: RunConfig
    finished: Finished | None
    error: CapsizeError | None = None

    @property
    def exit_code(self) -> int:
        """The exit code this run alone would have had."""
        if self.finished is not None:
            return self.finished.verdict.exit_code
        return self.error.exit_code if self.error is not None else CapsizeError.exit_code


def matrix(
    base: RunConfig, *, systems: Sequence[str], workloads: Sequence[str], faults: Sequence[tuple[str, ...]], runs: int
) -> list[RunConfig]:
    """Return every combination, `runs` seeds each, counted up from the base's; all words are checked.

    Raises UsageError for the first word that stands for nothing, before anything is started.
    """
    configs: list[RunConfig] = []
    for number in range(runs):
        for system, workload, chosen in itertools.product(systems, workloads, faults):
            seed = base.seed + number
            configs.append(replace(base, system=system, workload=workload, faults=chosen, seed=seed))
    for config in configs[: len(systems) * len(workloads) * len(faults)]:
        plan(config)
    return configs


def where(configs: Sequence[RunConfig]) -> str:
    """Return which place the runs will take, and why; raises Refused if one of them asks for what it cannot do."""
    from capsize.cluster.choose import place_of

    backend, why = place_of(configs[0], "campaign")
    for config in {(config.system, config.faults): config for config in configs}.values():
        refuse_impossible(plan(config), backend)
    return why


def carry_out(
    configs: Sequence[RunConfig],
    root: Path,
    *,
    argv: Sequence[str],
    watcher: Watcher,
    open_place: OpenPlace = open_real,
) -> Iterator[Outcome]:  # fmt: skip
    """Run one after the other and yield what became of each; ends after one that was interrupted.

    A run that cannot be carried out is an outcome, not the end: the next may.
    """
    for number, config in enumerate(configs, start=1):
        watcher.say(f"run {number}/{len(configs)}   {config.command()}")
        try:
            finished = run(config, root, argv=argv, watcher=watcher, open_place=open_place)
        except CapsizeError as error:
            watcher.say(f"capsize: {error}")
            yield Outcome(config, None, error)
            if isinstance(error, EndedEarly):
                return
            continue
        yield Outcome(config, finished)
        if finished.interrupted:
            return


def exit_code(codes: Sequence[int]) -> int:
    """Return the exit code of several runs: 1 before everything, then what could not run, then 2, then 0.

    >>> exit_code([0, 2, 1]), exit_code([0, 255, 2]), exit_code([0, 0]), exit_code([])
    (1, 255, 0, 2)
    """
    for grave in (1, 255, 254, 2):
        if grave in codes:
            return grave
    return 0 if codes else 2
