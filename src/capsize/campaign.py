"""Many runs in a row, over systems, workloads, sets of faults and seeds, and the gravest of their verdicts."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from capsize import store
from capsize.cluster.adapter import load
from capsize.cluster.ledger import Owner
from capsize.config import RunConfig
from capsize.errors import CapsizeError, UsageError
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
            options = options_of(system, systems, base.options)
            configs.append(
                replace(base, system=system, workload=workload, faults=chosen, seed=seed, options=options)
            )  # fmt: skip
    for config in configs[: len(systems) * len(workloads) * len(faults)]:
        plan(config)
    return configs


def options_of(system: str, systems: Sequence[str], options: Mapping[str, str]) -> dict[str, str]:
    """Return the options that go to one of these systems: its own, as `system.key`, over those for all of them.

    Raises UsageError for one meant for all that this system does not know.

    >>> options_of("raft", ["raft", "etcd"], {"raft.mutant": "x", "etcd.version": "3.5"})
    {'mutant': 'x'}
    """
    common, own = dict[str, str](), dict[str, str]()
    for key, value in options.items():
        of = max((word for word in systems if key.startswith(f"{word}.")), key=len, default="")
        if not of:
            common[key] = value
        elif of == system:
            own[key.removeprefix(f"{of}.")] = value
    for key in common:
        knowing = [word for word in systems if key in load(word).options]
        if knowing and system not in knowing:
            raise UsageError(
                f"--opt: {system} has no option {key!r}; for one system of several: --opt {knowing[0]}.{key}=…"
            )
    return common | own


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
    record = Roll(root, configs[0].seed, argv, len(configs)) if configs else None
    for number, config in enumerate(configs, start=1):
        assert record is not None
        watcher.say(f"run {number}/{len(configs)}   {config.command()}")
        try:
            finished = run(config, root, argv=argv, watcher=watcher, open_place=open_place, campaign=record.name)
        except CapsizeError as error:
            watcher.say(f"capsize: {error}")
            outcome = Outcome(config, None, error)
        else:
            outcome = Outcome(config, finished)
        record.add(outcome)
        yield outcome
        if isinstance(outcome.error, EndedEarly) or (outcome.finished is not None and outcome.finished.interrupted):
            return


class Roll:
    """What a campaign leaves in the store: `campaigns/<name>.json`, written anew after every run.

    It also lists the runs that could not be carried out, of which there is no folder. A roll that cannot be written is
    a warning: the runs are kept in their own folders.
    """

    def __init__(self, root: Path, seed: int, argv: Sequence[str], planned: int) -> None:
        started = datetime.now(UTC)
        self.root = root
        self.name = f"{started:%Y%m%dT%H%M%SZ}-s{seed}"
        self._data: dict[str, Any] = {
            "version": 1,
            "name": self.name,
            "started_at": started.isoformat(timespec="seconds"),
            "argv": list(argv),
            "planned": planned,
            "owner": str(Owner.this()),
            "runs": [],
        }

    def add(self, outcome: Outcome) -> None:
        """Write down what became of one run."""
        row: dict[str, Any] = {"repeat": outcome.config.command(), "exit_code": outcome.exit_code}
        if outcome.finished is not None:
            row["folder"] = outcome.finished.folder.relative_to(self.root).as_posix()
        else:
            row["error"] = str(outcome.error)
        self._data["runs"].append(row)
        path = self.root / store.CAMPAIGNS / f"{self.name}.json"
        try:
            with store.explained(path.parent, "make the folder"):
                path.parent.mkdir(parents=True, exist_ok=True)
            store.write_json(path, self._data)
        except CapsizeError as error:
            log.warning("%s", error)


def exit_code(codes: Sequence[int]) -> int:
    """Return the exit code of several runs: 1 before everything, then what could not run, then 2, then 0.

    >>> exit_code([0, 2, 1]), exit_code([0, 255, 2]), exit_code([0, 0]), exit_code([])
    (1, 255, 0, 2)
    """
    for grave in (1, 255, 254, 2):
        if grave in codes:
            return grave
    return 0 if codes else 2
