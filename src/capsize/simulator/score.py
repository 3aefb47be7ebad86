"""How many planted bugs are caught: each played through every directed scenario and a number of random runs.

The judges are those of any other run, and do not know what they judge. What is known here, and only printed beside
the result, is the bug's name and what it deviates in.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from capsize.raft import mutants
from capsize.simulator.run import Plan, simulate
from capsize.simulator.scenarios import SCENARIOS, play
from capsize.simulator.subject import subject

CLEAN_NAME = "(clean)"


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of one bug. `random` counts the checks that found it, by runs; `directed` by scenario."""

    name: str
    deviation: str
    control: bool
    runs: int
    caught: int
    random: dict[str, int] = field(default_factory=dict[str, int])
    first_seed: int | None = None
    first_s: float | None = None
    """Seconds of computing until the first random run found it, all runs before it included."""
    directed: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    seconds: float = 0.0

    @property
    def by_judges(self) -> bool:
        """Whether a judge found it: an invariant, linearizability, recovery, a node that stopped itself."""
        return self.caught > 0 or any(set(alarms) - {"expectation"} for alarms in self.directed.values())

    @property
    def found(self) -> bool:
        """Whether anything did, the scenarios' own expectations included."""
        return self.by_judges or bool(self.directed)

    @property
    def accused(self) -> bool:
        """Whether anything but time told against it: controls are harmless to safety, not always to liveness."""
        told = set(self.random).union(*self.directed.values())
        return bool(told - {"did-not-recover"})

    @property
    def as_it_should(self) -> bool:
        """Whether the bug was found, the control not accused, and nothing at all found of the clean core."""
        if self.control:
            return not self.accused
        return self.found != (self.name == CLEAN_NAME)

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON."""
        return {
            "name": self.name,
            "deviation": self.deviation,
            "control": self.control,
            "found": self.found,
            "by_judges": self.by_judges,
            "runs": self.runs,
            "caught": self.caught,
            "checks": self.random,
            "first_seed": self.first_seed,
            "first_s": self.first_s,
            "directed": {name: list(alarms) for name, alarms in self.directed.items()},
            "seconds": round(self.seconds, 2),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Row:
        """Return the row that `to_json` wrote."""
        directed = {name: tuple(alarms) for name, alarms in data["directed"].items()}
        return cls(
            data["name"], data["deviation"], data["control"], data["runs"], data["caught"], dict(data["checks"]),
            data["first_seed"], data["first_s"], directed, data["seconds"],
        )  # fmt: skip


def examine(name: str, seeds: Iterable[int], scenarios: Sequence[str]) -> Row:
    """Play one bug (or the clean core) through scenarios and random runs."""
    began = time.perf_counter()
    names = [] if name == CLEAN_NAME else [name]
    planted = mutants.find(names)
    under_test = subject(names)
    directed: dict[str, tuple[str, ...]] = {}
    for scenario in scenarios:
        played = play(SCENARIOS[scenario], under_test)
        if played.alarms:
            directed[scenario] = played.alarms
    checks: Counter[str] = Counter()
    runs = caught = 0
    first_seed, first_s, computing = None, None, 0.0
    for seed in seeds:
        outcome = simulate(Plan.varied(seed, subject=under_test))
        runs += 1
        computing += outcome.seconds
        if outcome.verdict.valid is False:
            caught += 1
            checks.update(outcome.alarms)
            if first_seed is None:
                first_seed, first_s = seed, round(computing, 2)
    return Row(
        name,
        planted[0].deviation if planted else "nothing",
        bool(planted and planted[0].control),
        runs,
        caught,
        dict(checks.most_common()),
        first_seed,
        first_s,
        directed,
        time.perf_counter() - began,
    )


def score(
    names: Sequence[str],
    *,
    runs: int,
    first_seed: int = 0,
    scenarios: Sequence[str] | None = None,
    workers: int = 1,
    tell: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Return one row per bug, the clean core first; `tell` hears of each as it is done."""
    chosen = list(SCENARIOS) if scenarios is None else list(scenarios)
    mutants.find(names)
    rows: list[Row] = []
    for row in _examined([CLEAN_NAME, *names], range(first_seed, first_seed + runs), chosen, workers):
        tell(row)
        rows.append(row)
    return rows


def _examined(names: Sequence[str], seeds: range, scenarios: Sequence[str], workers: int) -> Iterator[Row]:
    if workers <= 1:
        for name in names:
            yield examine(name, seeds, scenarios)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(examine, names, [seeds] * len(names), [list(scenarios)] * len(names))


def all_names() -> list[str]:
    """Return every planted bug's name."""
    mutants.find(["vote.twice"])
    return list(mutants.MUTANTS)
