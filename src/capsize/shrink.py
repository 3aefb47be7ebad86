"""Makes the schedule of a failing run smaller: fewest faults first, then the shortest load.

First everything goes that came after the anomaly: it cannot have caused it. Then delta debugging (Zeller &
Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002) over the faults of the schedule. A real cluster
is not deterministic, so a candidate counts as failing when the anomaly came back in `k` of `n` tries, and how often it
did is part of the answer. Each try is remembered as soon as it is known: the search itself is deterministic, so one
that was interrupted goes on where it stopped by asking its memory first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from capsize import store
from capsize.errors import UsageError
from capsize.nemesis.schedule import Schedule, Step
from capsize.nemesis.trigger import ANY, After, Failpoint

LEAD_S = 1.0
"""Load before the first fault of a shortened run."""
TAIL_S = 3.0
"""Load after its last fault ended."""
SHORTEST_S = 4.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A schedule, and for how long clients write."""

    schedule: Schedule
    time_limit_s: float

    @property
    def digest(self) -> str:
        """The candidate's name in the memory: equal candidates share their tries."""
        text = f"{self.time_limit_s:.3f} {self.schedule.to_text()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        faults = len(self.schedule.steps)
        return f"{faults} fault{'' if faults == 1 else 's'}, {self.time_limit_s:g} s"


@dataclass(frozen=True, slots=True)
class Tally:
    """How often the anomaly came back."""

    came_back: int
    tries: int

    def __str__(self) -> str:
        return f"came back in {self.came_back} of {self.tries}"


class Memory:
    """What every candidate's tries said, in a file that is whole after each of them.

    `about` is what the tries were of: code, system, options. Tries of something else are no memory of this.
    """

    def __init__(self, path: Path | None = None, *, about: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self.about = json.loads(json.dumps(about or {}))
        self.tries: dict[str, list[bool]] = {}
        self.forgot = False
        """Whether the file held tries of something else."""
        if path is not None and path.exists():
            content = store.read_json(path)
            kept = content.get("tries")
            if not isinstance(kept, dict):
                raise UsageError(f"{path}: no memory of a shrinking; remove it to begin again")
            if content.get("about", {}) == self.about:
                self.tries = {str(name): [bool(item) for item in tries] for name, tries in kept.items()}
            else:
                self.forgot = True

    @property
    def count(self) -> int:
        """How many tries are remembered."""
        return sum(len(tries) for tries in self.tries.values())

    def add(self, candidate: Candidate, came_back: bool) -> None:
        """Remember one try."""
        self.tries.setdefault(candidate.digest, []).append(came_back)
        if self.path is not None:
            store.write_json(self.path, {"version": 1, "about": self.about, "tries": self.tries})


class Shrinker:
    """Searches the smallest candidate that still fails. `attempt` runs one and says whether the anomaly came back."""

    def __init__(
        self,
        attempt: Callable[[Candidate], bool],
        *,
        k: int = 1,
        n: int = 3,
        memory: Memory | None = None,
        say: Callable[[str], object] = lambda line: None,
    ) -> None:
        if not 1 <= k <= n:
            raise UsageError(f"--accept: {k}/{n} cannot be met; expected k/n with 1 <= k <= n")
        self._attempt = attempt
        self._k, self._n = k, n
        self._memory = memory or Memory()
        self._say = say
        self.tried = 0
        """Tries carried out, those of the memory not counted."""

    def tally(self, candidate: Candidate, *, all_tries: bool = False) -> Tally:
        """Return how often the anomaly came back, tried until the answer to "k of n?" is sure, or all n times."""
        tries = self._memory.tries.setdefault(candidate.digest, [])
        while len(tries) < self._n if all_tries else not self._sure(tries):
            self.tried += 1
            came_back = self._attempt(candidate)
            self._memory.add(candidate, came_back)
            self._say(f"try {self.tried}   {candidate}: {'the anomaly came back' if came_back else 'no anomaly'}")
        return Tally(sum(tries), len(tries))

    def _sure(self, tries: Sequence[bool]) -> bool:
        return sum(tries) >= self._k or len(tries) - sum(tries) > self._n - self._k

    def fails(self, candidate: Candidate) -> bool:
        """Return whether the anomaly comes back in k of n tries."""
        return self.tally(candidate).came_back >= self._k

    def smallest(self, original: Candidate, *, seen_at_s: float | None = None) -> tuple[Candidate, Tally]:
        """Return the smallest failing candidate found, and how often it failed, of n tries at least.

        `seen_at_s`: when the anomaly was complete in the run that is to be shrunk; what came later is tried without.
        Raises UsageError when the original itself does not fail in k of n tries.
        """
        if seen_at_s is not None:
            early = until(original, seen_at_s)
            if early.time_limit_s < original.time_limit_s and self.fails(early):
                return self._smallest_of(early)
        tally = self.tally(original)
        if tally.came_back < self._k:
            raise UsageError(
                f"the anomaly {tally} replays of the whole schedule, fewer than the {self._k} of {self._n} that "
                "--accept asks for: nothing can be shrunk; ask for less, or for more tries (--accept 1/10)"
            )
        return self._smallest_of(original)

    def _smallest_of(self, failing: Candidate) -> tuple[Candidate, Tally]:
        small = self._shorten(self._drop_faults(failing))
        return small, self.tally(small, all_tries=True)

    def _drop_faults(self, candidate: Candidate) -> Candidate:
        size = max(1, len(candidate.schedule.steps) // 2)
        while candidate.schedule.steps:
            smaller = next(filter(self.fails, without_chunks(candidate, size)), None)
            if smaller is not None:
                self._say(f"down to   {smaller}")
                candidate = smaller
                size = max(1, min(size, len(candidate.schedule.steps) // 2))
            elif size == 1:
                break
            else:
                size //= 2
        return candidate

    def _shorten(self, candidate: Candidate) -> Candidate:
        for shorter in (_packed, _without_tail, _halved_tail):
            proposed = shorter(candidate)
            if proposed.time_limit_s < candidate.time_limit_s and self.fails(proposed):
                candidate = proposed
        return candidate


def until(candidate: Candidate, seen_at_s: float) -> Candidate:
    """Return the candidate as far as the anomaly was complete, and a little more: schedules run by other clocks."""
    kept = [step for step in candidate.schedule.steps if step.at_s <= seen_at_s]
    limit_s = max(SHORTEST_S, round(seen_at_s + TAIL_S, 1))
    return replace(_with(candidate, kept), time_limit_s=min(candidate.time_limit_s, limit_s))


def seen_at_s(folder: Path) -> float | None:
    """Return when the first anomaly of a judged run was complete, in seconds of the run; None when nothing tells."""
    verdict, run = store.read_json(folder / store.VERDICT), store.read_json(folder / store.RUN)
    origin = run.get("origin_ns")
    moments: list[int] = []
    for anomaly in verdict.get("anomalies", []):
        times = [op.get("return_ns") or op.get("call_ns") for op in anomaly.get("operations", [])]
        if isinstance(origin, int):
            times += [event["mono"] - origin for event in anomaly.get("events", []) if event.get("mono")]
        known = [time for time in times if isinstance(time, int)]
        if known:
            moments.append(max(known))
    return min(moments) / 1e9 if moments else None


def without_chunks(candidate: Candidate, size: int) -> Iterator[Candidate]:
    """Yield the candidate without each run of `size` neighbouring faults, in order."""
    steps = candidate.schedule.steps
    for begin in range(0, len(steps), size):
        yield _with(candidate, [*steps[:begin], *steps[begin + size :]])


def _with(candidate: Candidate, steps: Sequence[Step]) -> Candidate:
    """Return the candidate with these steps, but for those that would wait for a step that is not among them."""
    kept = list(steps)
    while True:
        names = {step.name for step in kept if step.name}
        left = [
            step for step in kept
            if not isinstance(step.when, After) or step.when.step == ANY or step.when.step in names
        ]  # fmt: skip
        if len(left) == len(kept):
            return replace(candidate, schedule=replace(candidate.schedule, steps=tuple(kept)))
        kept = left


def _end_s(candidate: Candidate) -> float:
    return max((step.at_s + step.duration_s for step in candidate.schedule.steps), default=0.0)


def _packed(candidate: Candidate) -> Candidate:
    """Begin earlier, and end soon after the last fault."""
    steps = candidate.schedule.steps
    ahead_s = max(0.0, min((step.at_s for step in steps), default=0.0) - LEAD_S)
    moved = _with(candidate, [replace(step, at_s=round(step.at_s - ahead_s, 3)) for step in steps])
    return _without_tail(moved)


def _without_tail(candidate: Candidate) -> Candidate:
    return replace(candidate, time_limit_s=max(SHORTEST_S, round(_end_s(candidate) + TAIL_S, 1)))


def _halved_tail(candidate: Candidate) -> Candidate:
    return replace(candidate, time_limit_s=max(SHORTEST_S, round(_end_s(candidate) + TAIL_S / 3, 1)))


def resolved(schedule: Schedule, history: Path) -> Schedule:
    """Return `schedule` with the nodes that each fault really hit instead of its symbol, as `history` recorded them.

    A fault that was skipped, or never began, is left out.
    """
    hit: dict[int, tuple[str, ...]] = {}
    with store.explained(history, "read the history"), history.open("rb") as lines:
        for line in lines:
            if b'"nemesis"' not in line or not (b'"intend"' in line or b'"probe"' in line or b'"skip"' in line):
                continue
            value = json.loads(line).get("value", {})
            if value.get("phase") in ("intend", "probe"):  # at a failpoint, only the probe knows who reached it
                hit[int(value["id"])] = tuple(value["targets"])
            elif value.get("phase") == "skip":
                hit.pop(int(value["id"]), None)
    steps = [_aimed(step, hit[number]) for number, step in enumerate(schedule.steps, start=1) if number in hit]
    return _with(Candidate(replace(schedule, steps=tuple(steps)), 0.0), steps).schedule


def _aimed(step: Step, nodes: tuple[str, ...]) -> Step:
    """Return the step aimed at these nodes; the place of a failpoint with it."""
    when = step.when
    if isinstance(when, Failpoint) and nodes:
        when = replace(when, node=nodes[0])
    return replace(step, when=when, fault=replace(step.fault, target=nodes))
