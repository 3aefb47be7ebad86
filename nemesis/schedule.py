"""Which fault strikes when: drawn from a seed, stored as JSON that a person can read and write.

Every kind has its own random stream and its own timeline, so one more kind moves no other and shifts no request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capsize.errors import CapsizeError, UsageError
from capsize.nemesis.fault import Fault, fault_from_json
from capsize.nemesis.kinds import Kind
from capsize.nemesis.target import check_target
from capsize.seed import stream

PERIOD_S = 8.0
"""Between two faults of one kind, on average."""
QUIET_START_S = 1.5
QUIET_END_S = 1.0
FULL_LENGTH_S = 15.0
"""A run shorter than this gets the same timeline, compressed."""


@dataclass(frozen=True, slots=True)
class Step:
    """One fault at one time. `nth`: which of its kind; it names the random stream that resolves "one" or "halves"."""

    at_s: float
    duration_s: float
    kind: str
    nth: int
    fault: Fault

    def to_json(self) -> dict[str, Any]:
        """Return the step as one JSON object."""
        return {
            "at_s": self.at_s,
            "duration_s": self.duration_s,
            "kind": self.kind,
            "nth": self.nth,
            "fault": self.fault.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Schedule:
    """All steps of one run, by time."""

    steps: tuple[Step, ...]
    seed: int

    def to_text(self) -> str:
        """Return the schedule as JSON, one step a line."""
        lines = ",\n  ".join(json.dumps(step.to_json()) for step in self.steps)
        body = f"\n  {lines}\n" if lines else ""
        return f'{{"version": 1, "seed": {self.seed}, "steps": [{body}]}}\n'


def draw(seed: int, kinds: Sequence[Kind], time_limit_s: float, *, period_s: float = PERIOD_S) -> Schedule:
    """Return the schedule of these kinds for a load of `time_limit_s`; every fault ends before the load does.

    Each kind strikes at least once, whatever the length; at the default period about three times in 30 s.
    """
    steps = [step for kind in kinds for step in _timeline(seed, kind, time_limit_s, period_s)]
    return Schedule(tuple(sorted(steps, key=lambda step: (step.at_s, step.kind))), seed)


def _timeline(seed: int, kind: Kind, time_limit_s: float, period_s: float) -> list[Step]:
    rng = stream(seed, "nemesis", kind.word)
    scale = min(1.0, time_limit_s / FULL_LENGTH_S)
    end_s = time_limit_s - QUIET_END_S * scale
    period_s = min(period_s, end_s / 1.5)
    at_s = scale * QUIET_START_S + min(period_s, PERIOD_S * scale) * (kind.phase + 0.25 * rng.random())
    steps: list[Step] = []
    while True:
        duration_s = scale * rng.uniform(2.0, 4.0)
        fault = kind.draw(rng, len(steps))
        if steps and at_s + duration_s > end_s:
            return steps
        at_s = min(at_s, max(0.0, end_s - duration_s))
        steps.append(Step(round(at_s, 3), round(duration_s, 3), kind.word, len(steps), fault))
        at_s += period_s * rng.uniform(0.85, 1.15)


def parse(text: str, *, where: str, nodes: Sequence[str] = ()) -> Schedule:
    """Return the schedule in `text`, as `Schedule.to_text` or a person wrote it; `where` names it in errors.

    `nth` and `kind` may be left out. With `nodes`, targets are checked against them.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("steps"), list):
        raise UsageError(f"{where}: expected an object with the key 'steps', a list of timed faults")
    counts: dict[str, int] = {}
    steps = [
        _step(item, counts, f"{where}: step {number}", nodes) for number, item in enumerate(data["steps"], start=1)
    ]
    seed = data.get("seed", 0)
    if not isinstance(seed, int):
        raise UsageError(f"{where}: seed is {seed!r}; expected a whole number")
    return Schedule(tuple(sorted(steps, key=lambda step: (step.at_s, step.kind))), seed)


def _step(item: object, counts: dict[str, int], where: str, nodes: Sequence[str]) -> Step:
    if not isinstance(item, Mapping):
        raise UsageError(f"{where}: {item!r} is no object with at_s, duration_s and fault")
    times: list[float] = []
    for key in ("at_s", "duration_s"):
        value = item.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise UsageError(f"{where}: {key} is {value!r}; expected seconds, 0 or more")
        times.append(float(value))
    try:
        fault = fault_from_json(item.get("fault"))
        if nodes:
            check_target(fault.target, nodes)
    except CapsizeError as error:
        raise UsageError(f"{where}: {error}") from error
    kind = str(item.get("kind", fault.word))
    nth = item.get("nth", counts.get(kind, 0))
    counts[kind] = counts.get(kind, 0) + 1
    if not isinstance(nth, int):
        raise UsageError(f"{where}: nth is {nth!r}; expected a whole number")
    return Step(times[0], times[1], kind, nth, fault)
