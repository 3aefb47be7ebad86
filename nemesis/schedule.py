"""Which fault strikes when: drawn from a seed, stored as JSON that a person can read and write.

Every kind has its own random stream and its own timeline, so one more kind moves no other and shifts no request.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from capsize.config import Tempo
from capsize.errors import CapsizeError, UsageError, no_such
from capsize.nemesis.fault import Fault, fault_from_json
from capsize.nemesis.kinds import Kind
from capsize.nemesis.target import check_target
from capsize.nemesis.trigger import ANY, After, Failpoint, Trigger, trigger_from_json
from capsize.seed import stream

USUAL = Tempo()
INTERVAL_S = {"overlap": 8.0, "turns": 5.0, "storm": 8.0, "bursts": 12.0}
"""Between two faults of one kind, on average; of any kind, for turns; between two bursts."""
BURST_S = 1.0
QUIET_END_S = 1.0
FULL_LENGTH_S = 15.0
"""A run shorter than this gets the same timeline, compressed."""


@dataclass(frozen=True, slots=True)
class Step:
    """One fault at one time. `nth`: which of its kind; it names the random stream that resolves "one" or "halves".

    With `when` it waits for a trigger from `at_s` on. `name`: what triggers of other steps call it, if any do.
    `quorum`: "keep", "lose", or "" for whatever the target says.
    """

    at_s: float
    duration_s: float
    kind: str
    nth: int
    fault: Fault
    when: Trigger | None = None
    name: str = ""
    quorum: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,) if self.name else ("",)

    def to_json(self) -> dict[str, Any]:
        """Return the step as one JSON object."""
        more = {"name": self.name, "when": self.when and self.when.to_json(), "quorum": self.quorum}
        return {
            "at_s": self.at_s,
            "duration_s": self.duration_s,
            "kind": self.kind,
            "nth": self.nth,
            "fault": self.fault.to_json(),
            **{key: value for key, value in more.items() if value},
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


def draw(seed: int, kinds: Sequence[Kind], time_limit_s: float, *, tempo: Tempo = USUAL) -> Schedule:
    """Return the schedule of these kinds for a load of `time_limit_s`; every fault ends before the load does.

    Each kind strikes at least once, whatever the length; usually about three times in 30 s.
    """
    interval_s = tempo.fault_interval or INTERVAL_S[tempo.mix]
    rounds = _Rounds(interval_s, tempo.quiet_period, time_limit_s)
    timelines = {"overlap": _overlap, "turns": _turns, "storm": _storm, "bursts": _bursts}[tempo.mix]
    steps = timelines(seed, kinds, rounds.active_s, interval_s, tempo)
    if tempo.quiet_period:
        steps = [rounds.placed(step) for step in steps]
    if tempo.quorum != "any":
        steps = [replace(step, quorum=tempo.quorum) for step in steps]
    return Schedule(tuple(sorted(steps, key=lambda step: (step.at_s, step.kind))), seed)


@dataclass(frozen=True, slots=True)
class _Rounds:
    """Time of the load in which faults strike, with quiet periods taken out."""

    interval_s: float
    quiet_s: float
    time_limit_s: float

    @property
    def active_s(self) -> float:
        whole, rest = divmod(self.time_limit_s, self.interval_s + self.quiet_s)
        return whole * self.interval_s + min(rest, self.interval_s) if self.quiet_s else self.time_limit_s

    def placed(self, step: Step) -> Step:
        """Return a step of active time where it is in the load; it ends with its round."""
        rounds, at_s = divmod(step.at_s, self.interval_s)
        length_s = min(step.duration_s, max(0.5, self.interval_s - at_s))
        at_s += rounds * (self.interval_s + self.quiet_s)
        return replace(step, at_s=round(at_s, 3), duration_s=round(length_s, 3))


def _bounds(time_limit_s: float, tempo: Tempo) -> tuple[float, float, float]:
    """Return by how much times are compressed in a short run, when faults may begin, and when all are over."""
    scale = min(1.0, time_limit_s / FULL_LENGTH_S)
    start_s = tempo.quiet_start * (scale if tempo.quiet_start == USUAL.quiet_start else 1.0)
    return scale, min(start_s, time_limit_s / 2), time_limit_s - QUIET_END_S * scale


def _length_s(rng: random.Random, scale: float, tempo: Tempo) -> float:
    least, most = tempo.durations()
    return (scale if tempo.fault_duration == USUAL.fault_duration else 1.0) * rng.uniform(least, most)


def _step_of(kind: Kind, rng: random.Random, nth: int, at_s: float, duration_s: float, fault: Fault) -> Step:
    when = kind.when(rng, nth) if kind.when is not None else None
    if isinstance(when, Failpoint):
        fault = replace(fault, target=when.node)
    return Step(round(at_s, 3), round(duration_s, 3), kind.word, nth, fault, when)


def _overlap(seed: int, kinds: Sequence[Kind], time_limit_s: float, interval_s: float, tempo: Tempo) -> list[Step]:
    """Every kind on a timeline of its own, at its place in the interval: they take turns, and sometimes overlap."""
    steps: list[Step] = []
    for kind in kinds:
        rng = stream(seed, "nemesis", kind.word)
        scale, start_s, end_s = _bounds(time_limit_s, tempo)
        period_s = min(interval_s, end_s / 1.5)
        at_s = start_s + min(period_s, interval_s * scale) * (kind.phase + 0.25 * rng.random())
        nth = 0
        while True:
            duration_s = _length_s(rng, scale, tempo)
            fault = kind.draw(rng, nth)
            if nth and at_s + duration_s > end_s:
                break
            at_s = min(at_s, max(0.0, end_s - duration_s))
            steps.append(_step_of(kind, rng, nth, at_s, min(duration_s, max(0.1, end_s - at_s)), fault))
            nth += 1
            at_s += period_s * rng.uniform(0.85, 1.15)
    return steps


def _storm(seed: int, kinds: Sequence[Kind], time_limit_s: float, interval_s: float, tempo: Tempo) -> list[Step]:
    """Every kind at random moments, independent of everything, itself included: faults overlap as chance has it."""
    steps: list[Step] = []
    scale, start_s, end_s = _bounds(time_limit_s, tempo)
    for kind in kinds:
        rng = stream(seed, "nemesis", kind.word, "storm")
        at_s, nth = start_s + rng.random() * min(interval_s, (end_s - start_s) / 2), 0
        while not nth or at_s < end_s - 0.5:
            fault, duration_s = kind.draw(rng, nth), _length_s(rng, scale, tempo)
            steps.append(_step_of(kind, rng, nth, at_s, min(duration_s, max(0.1, end_s - at_s)), fault))
            nth += 1
            at_s += max(0.2, rng.expovariate(1 / interval_s))
    return steps


def _turns(seed: int, kinds: Sequence[Kind], time_limit_s: float, interval_s: float, tempo: Tempo) -> list[Step]:
    """One fault at a time: every kind once, in a shuffled order, then all again; the next begins when one is over."""
    steps: list[Step] = []
    order, streams = stream(seed, "nemesis", "turns"), {k.word: stream(seed, "nemesis", k.word) for k in kinds}
    scale, at_s, end_s = _bounds(time_limit_s, tempo)
    interval_s = max(min(interval_s, (end_s - at_s) / max(1, len(kinds))), 0.2)
    nth = 0
    while kinds:
        for kind in order.sample(list(kinds), len(kinds)):
            rng = streams[kind.word]
            fault, duration_s = kind.draw(rng, nth), _length_s(rng, scale, tempo)
            if nth and at_s + duration_s > end_s:
                return steps
            duration_s = min(duration_s, interval_s * 0.9)
            steps.append(_step_of(kind, rng, nth, at_s, duration_s, fault))
            at_s += interval_s
        nth += 1
    return steps


def _bursts(seed: int, kinds: Sequence[Kind], time_limit_s: float, interval_s: float, tempo: Tempo) -> list[Step]:
    """All kinds within one second, then nothing until the next interval."""
    steps: list[Step] = []
    scale, start_s, end_s = _bounds(time_limit_s, tempo)
    for kind in kinds:
        rng = stream(seed, "nemesis", kind.word, "bursts")
        nth = 0
        while not nth or start_s + nth * interval_s < end_s - 0.5:
            fault, duration_s = kind.draw(rng, nth), _length_s(rng, scale, tempo)
            at_s = min(start_s + nth * interval_s + rng.random() * BURST_S * scale, max(0.0, end_s - 0.1))
            steps.append(_step_of(kind, rng, nth, at_s, min(duration_s, end_s - at_s), fault))
            nth += 1
    return steps


def parse(text: str, *, where: str, nodes: Sequence[str] = ()) -> Schedule:
    """Return the schedule in `text`, as `Schedule.to_text` or a person wrote it; `where` names it in errors.

    `nth` and `kind` may be left out; at_s too beside `when`. With `nodes`, targets are checked against them.
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
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise UsageError(f"{where}: seed is {seed!r}; expected a whole number")
    return Schedule(tuple(sorted(_linked(steps, where), key=lambda step: (step.at_s, step.kind))), seed)


KEYS = ("at_s", "duration_s", "kind", "nth", "fault", "when", "name", "quorum")
QUORUM_WORDS = ("keep", "lose", "any")


def _step(item: object, counts: dict[str, int], where: str, nodes: Sequence[str]) -> Step:
    if not isinstance(item, Mapping):
        raise UsageError(f"{where}: {item!r} is no object with at_s, duration_s and fault")
    try:
        for key in item:
            if key not in KEYS:
                raise no_such("key of a step", str(key), KEYS)
        when = trigger_from_json(item["when"]) if "when" in item else None
        at_s = _seconds(item, "at_s", 0.0 if when is not None else None)
        duration_s = _seconds(item, "duration_s", None)
        data = item.get("fault")
        if isinstance(data, Mapping) and isinstance(when, Failpoint) and "target" not in data:
            data = {**data, "target": when.node}
        if isinstance(data, Mapping) and data.get("fault") == "weather":
            raise UsageError(
                "weather is the simulator's; real nodes have the fault 'shape' (docs/faults.md), and for a whole run "
                "--opt weather=rough"
            )
        fault = fault_from_json(data)
        if nodes:
            check_target(fault.target, nodes)
            if when is not None:
                when.check(nodes)
        kind, nth = item.get("kind", fault.word), item.get("nth")
        if not isinstance(kind, str):
            raise UsageError(f"kind is {kind!r}; expected a text")
        if nth is not None and (isinstance(nth, bool) or not isinstance(nth, int)):
            raise UsageError(f"nth is {nth!r}; expected a whole number")
        name, quorum = item.get("name", ""), item.get("quorum", "")
        if not isinstance(name, str):
            raise UsageError(f"name is {name!r}; expected a text")
        if quorum and quorum not in QUORUM_WORDS:
            raise no_such("quorum", str(quorum), QUORUM_WORDS)
    except CapsizeError as error:
        raise UsageError(f"{where}: {error}") from error
    counted = counts.get(kind, 0)
    counts[kind] = counted + 1
    return Step(
        at_s, duration_s, kind, counted if nth is None else nth, fault, when, name, "" if quorum == "any" else quorum
    )


def _seconds(item: Mapping[Any, Any], key: str, otherwise: float | None) -> float:
    value = item.get(key, otherwise)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise UsageError(f"{key} is {value!r}; expected seconds, 0 or more")
    return float(value)


def _linked(steps: Sequence[Step], where: str) -> list[Step]:
    """Return the steps with every number that a trigger names turned into the name of that step."""
    known = {step.name for step in steps if step.name}
    if len(known) < sum(bool(step.name) for step in steps):
        raise UsageError(f"{where}: two steps have the same name")
    linked = list(steps)
    for number, step in enumerate(steps, start=1):
        if not isinstance(step.when, After) or step.when.step in known | {ANY}:
            continue
        wanted = step.when.step
        if not wanted.isdigit() or not 1 <= int(wanted) <= len(steps) or int(wanted) == number:
            raise UsageError(
                f"{where}: step {number} waits for the step {wanted!r}, and none is called that; "
                f"known: {', '.join(sorted(known)) or f'1 to {len(steps)}'}"
            )
        other = linked[int(wanted) - 1]
        if other.name:
            linked[number - 1] = replace(linked[number - 1], when=replace(step.when, step=other.name))
        else:
            linked[int(wanted) - 1] = replace(other, name=wanted)
            known.add(wanted)
    return linked
