"""A ladder of short real runs, and how far up it each planted bug gets before somebody notices.

A rung is a run like anybody's: `capsize run --system raft --opt mutant=…` with the rung's workload, faults, size and
settings. Everybody climbs the same rungs in the same order, the clean core and the negative controls included; no rung
is made for a bug, and what judges a rung never learns which one it judges. A bug climbs until it is caught or its
minutes are used up. Bugs take turns, one rung each, so that what was found so far can be told at any moment; every try
is one line of a record, from which an interrupted score goes on.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from capsize.config import RunConfig
from capsize.errors import CapsizeError, StoreError
from capsize.interrupts import EndedEarly
from capsize.runner import Finished, OpenPlace, open_real, run
from capsize.store import explained
from capsize.verdict import Axis, Verdict

CLEAN = "(clean)"
BY_TIME = frozenset({"did-not-recover"})
CALMER = {"election_timeout_ms": "300-600", "heartbeat_ms": "50"}
HASTY = {"election_timeout_ms": "150-300", "heartbeat_ms": "30"}
TRUSTING = {"pre_vote": "off", "protect_leader": "off", "check_quorum": "off"}
"""Raft as the paper's figures have it, without what the thesis added: candidates disturb, old leaders linger."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One run's recipe."""

    name: str
    nodes: int
    faults: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    workload: str = "kv"
    time_limit_s: float = 10.0
    rate: float = 250.0
    concurrency: int = 2
    timeout_s: float = 1.5
    """A client's patience; the less, the more it reads where writes wait."""
    may_end: bool = False
    """Whether its faults may rightly end a process: a disk that fails, or is damaged."""

    def config(self, bug: str, seed: int, backend: str) -> RunConfig:
        """Return the run that lets this bug (or the clean core) climb the rung."""
        planted = {} if bug == CLEAN else {"mutant": bug}
        return RunConfig(
            seed=seed, system="raft", workload=self.workload, faults=self.faults, time_limit_s=self.time_limit_s,
            nodes=self.nodes, concurrency=self.concurrency, rate=self.rate, backend=backend,
            name=f"mutants-{self.name}", options={**HASTY, **self.options, **planted}, timeout_s=self.timeout_s,
            recovery_timeout_s=15.0,
        )  # fmt: skip


LADDER = (
    Rung("kills", 5, ("kill", "partition"), {"retries": "1", "snapshot_every": "0"}),
    Rung("snapshots", 3, ("isolate-leader", "kill", "one-way"),
         {"snapshot_every": "15", "append_max": "3", "retries": "2"}, rate=400.0, concurrency=4),
    Rung("reads", 5, ("isolate-leader", "pause-process", "bridge"),
         {**TRUSTING, "apply_delay_ms": "15"}, workload="register", timeout_s=0.3),
    Rung("even", 4, ("halves", "ring", "power-loss"), {**TRUSTING, **CALMER, "snapshot_every": "40"}),
    Rung("disks", 3, ("dead-disk", "power-loss"), {"disk_stall_ms": "0", "append_max": "3"}, may_end=True),
    Rung("torn", 3, ("torn-tail", "kill-all"), {"snapshot_every": "0"}),
    Rung("handovers", 5, ("transfer-leader", "pause-process", "rolling-restart"), {"snapshot_every": "20"}),
    Rung("members", 5, ("remove-member", "wipe-rejoin", "isolate-leader", "transfer-leader"),
         {"check_quorum": "off", "snapshot_every": "60"}),
    Rung("flips", 5, ("bit-flip", "kill-leader"), {"snapshot_every": "0"}, may_end=True),
    Rung("tails", 5, ("isolate-leader", "halves", "one-way"),
         {**TRUSTING, "append_max": "1", "snapshot_every": "25"}, rate=200.0),
    Rung("weather", 5, ("isolate-leader", "halves", "kill-leader"),
         {**TRUSTING, **CALMER, "weather": "rough", "append_max": "1", "snapshot_every": "0"}),
    Rung("power", 3, ("power-loss", "slow-disk", "isolate-leader"),
         {"check_quorum": "off", "parallel_append": "on", "snapshot_every": "0"}),
    Rung("crashes", 5, ("crash-in-write", "crash-before-reply", "crash-after-append"),
         {"retries": "2", "snapshot_every": "30"}),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Try:
    """One bug on one rung, once. `checks`: what found it, invariants by id; empty when nothing did."""

    name: str
    rung: str
    seed: int
    backend: str
    checks: tuple[str, ...]
    valid: Any
    seconds: float
    commit: str = ""
    date: str = ""
    folder: str = ""
    error: str = ""
    """Why the run could not be carried out; such a try says nothing."""

    def to_json(self) -> dict[str, Any]:
        """Return the try as one line of a record."""
        return asdict(self) | {"checks": list(self.checks)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Try:
        """Return the try of such a line."""
        given: dict[str, Any] = {**data, "checks": tuple(data["checks"])}
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Climb:
    """All tries of one bug, in their order."""

    name: str
    tries: tuple[Try, ...] = ()

    @property
    def caught(self) -> Try | None:
        """The try that caught it, if one did."""
        return next((attempt for attempt in self.tries if attempt.checks), None)

    @property
    def seconds(self) -> float:
        """Wall time of its tries, each from nothing to a verdict and a clean place."""
        return sum(attempt.seconds for attempt in self.tries)


def found_by(verdict: Verdict, rung: Rung) -> tuple[str, ...]:
    """Return what a run found: invariants, anomalies, no recovery, a process that ended without a reason to.

    A verdict that is merely unknown has found nothing.
    """
    checks = [str(anomaly.details.get("invariant", anomaly.name)) for anomaly in verdict.anomalies]
    liveness = verdict.axes.get(Axis.LIVENESS)
    if liveness is not None and liveness.valid is False:
        checks.append("did-not-recover")
    crashes = verdict.figures.get("health", {}).get("crashes", ())
    if crashes and not rung.may_end:
        checks.append("process-ended")
    return tuple(dict.fromkeys(checks))


def climb(
    names: Sequence[str],
    *,
    backend: str,
    store: Path,
    record: Path | None,
    minutes: float = 10.0,
    rounds: int = 1,
    seed: int = 1,
    rungs: Sequence[Rung] = LADDER,
    stamp: Mapping[str, str] | None = None,
    open_place: OpenPlace = open_real,
    tell: Callable[[Try], None] = lambda attempt: None,
) -> list[Climb]:
    """Let every name climb until it is caught, its `minutes` are used up, or it was on every rung `rounds` times.

    Tries that `record` holds already are not made again; new ones are added to it as they end. Of runs that found
    nothing the store keeps nothing. Raises EndedEarly when it is interrupted.
    """
    known = {name: [attempt for attempt in read_record(record) if attempt.name == name] for name in names}
    climbs = {name: Climb(name, tuple(tries)) for name, tries in known.items()}
    for round_, rung, name in ((round_, rung, name) for round_ in range(rounds) for rung in rungs for name in names):
        so_far = climbs[name]
        made = [attempt for attempt in so_far.tries if attempt.rung == rung.name and not attempt.error]
        if so_far.caught or so_far.seconds >= minutes * 60 or len(made) > round_:
            continue
        attempt = _tried(rung, name, seed + round_, backend, store, open_place, stamp or {})
        climbs[name] = Climb(name, (*so_far.tries, attempt))
        if record is not None:
            with explained(record, "add to the record"), record.open("a", encoding="utf-8") as file:
                file.write(json.dumps(attempt.to_json()) + "\n")
        tell(attempt)
    return list(climbs.values())


def _tried(
    rung: Rung, name: str, seed: int, backend: str, store: Path, open_place: OpenPlace, stamp: Mapping[str, str]
) -> Try:
    """Try; what only time told against it (it did not recover) counts if it happens again.

    A machine that is too busy looks like that, too.
    """
    first = _try(rung, name, seed, backend, store, open_place, stamp)
    if not first.checks or not set(first.checks) <= BY_TIME:
        return first
    again = _try(rung, name, seed, backend, store, open_place, stamp)
    return replace(again, seconds=round(first.seconds + again.seconds, 1))


def _try(
    rung: Rung, name: str, seed: int, backend: str, store: Path, open_place: OpenPlace, stamp: Mapping[str, str]
) -> Try:
    config = rung.config(name, seed, backend)
    began = time.monotonic()
    finished: Finished | None = None
    checks: tuple[str, ...] = ()
    error = ""
    try:
        finished = run(config, store, argv=(config.command(),), open_place=open_place)
        checks = found_by(finished.verdict, rung)
    except EndedEarly:
        raise
    except CapsizeError as problem:
        error = str(problem)
    if finished is not None and finished.interrupted:
        raise EndedEarly(f"interrupted by {finished.interrupted}; the record holds what was done before")
    folder = "" if finished is None else str(finished.folder)
    if finished is not None and not checks:
        shutil.rmtree(finished.folder, ignore_errors=True)
        folder = ""
    return Try(
        name, rung.name, seed, backend, checks, "error" if finished is None else finished.verdict.valid,
        round(time.monotonic() - began, 1), stamp.get("commit", ""), stamp.get("date", ""), folder, error,
    )  # fmt: skip


def read_record(path: Path | None) -> list[Try]:
    """Return the tries of a record, none if there is no such file; raises StoreError for a line that is no try."""
    if path is None or not path.exists():
        return []
    with explained(path, "read the record"):
        lines = path.read_text(encoding="utf-8").splitlines()
    tries: list[Try] = []
    for number, line in enumerate(lines, 1):
        try:
            tries.append(Try.from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path}:{number}: no try of a ladder: {error}") from error
    return tries


def climbs_of(tries: Sequence[Try]) -> Iterator[Climb]:
    """Yield the climbs that a record tells of, in the order in which they began."""
    for name in dict.fromkeys(attempt.name for attempt in tries):
        yield Climb(name, tuple(attempt for attempt in tries if attempt.name == name))


def by_rung(climbs: Sequence[Climb]) -> Counter[str]:
    """Return how many were caught on each rung."""
    return Counter(climb.caught.rung for climb in climbs if climb.caught is not None)
