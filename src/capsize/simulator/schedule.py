"""What goes wrong in a simulated run, and when: timed faults drawn from a seed, in the format of real schedules.

The faults are the nemesis' own words with their own fields, so a schedule goes both ways: one drawn here can be
followed by real nodes (`capsize run --schedule`), one of a real run is played here. Only the weather (single messages
lost, doubled, overtaken) is the simulator's alone; of the real words it knows those in `WORDS`, and says so of others.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capsize.errors import UsageError
from capsize.nemesis.connectivity import Cuts
from capsize.nemesis.partition import SHAPES as ALL_SHAPES
from capsize.nemesis.partition import bridge, halves, minority, ring, scattered
from capsize.nemesis.schedule import Step as RealStep
from capsize.nemesis.schedule import parse
from capsize.nemesis.target import Target, resolve
from capsize.seed import stream
from capsize.simulator.network import CALM, Weather
from capsize.simulator.world import MS, World

WEATHER = "weather"
WORDS = (
    "kill", "kill", "power-loss", "power-loss", "partition", "partition", "partition", "weather", "weather",
    "pause-process", "pause-disk", "slow-disk", "dead-disk", "snapshot", "transfer-leader", "remove-member",
)  # fmt: skip
"""What is drawn; a word that stands twice is drawn twice as often."""
TARGETS = ("leader", "leader", "one", "one", "follower", "minority", "majority", "all")
SHAPES = ("isolate", "isolate", "halves", "halves", "ring", "bridge", "mute", "deaf")
ASK_AGAIN_MS = 150


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: when, for how long, on whom, with what else it needs."""

    at_ms: int
    duration_ms: int
    word: str
    target: Target = "one"
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """Return the step as a schedule file holds it."""
        target = list(self.target) if isinstance(self.target, tuple) else self.target
        fault = {"fault": self.word, "target": target, **self.details}
        return {"at_s": self.at_ms / 1000, "duration_s": self.duration_ms / 1000, "kind": self.word, "fault": fault}


def to_text(steps: Sequence[Step], seed: int) -> str:
    """Return a schedule as a file holds it, one step a line."""
    lines = ",\n  ".join(json.dumps(step.to_json()) for step in steps)
    body = f"\n  {lines}\n" if lines else ""
    return f'{{"version": 1, "seed": {seed}, "steps": [{body}]}}\n'


def load(path: Path, nodes: Sequence[str]) -> list[Step]:
    """Return the steps of a schedule file, a simulated run's or a real one's. Raises UsageError for what is none.

    Also for a fault that has no counterpart here, and for a step that waits for a trigger.
    """
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        steps: list[Any] = data["steps"]
        weather = [step for step in steps if step["fault"]["fault"] == WEATHER]
        rest = {**data, "steps": [step for step in steps if step["fault"]["fault"] != WEATHER]}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: no schedule: {error!r}; expected an object with a list of 'steps'") from error
    real = parse(json.dumps(rest), where=str(path), nodes=nodes)
    found = [_of_real(step, str(path)) for step in real.steps] + [_of_weather(step, str(path)) for step in weather]
    return sorted(found, key=lambda step: step.at_ms)


def _of_real(step: RealStep, where: str) -> Step:
    word, fields = step.fault.word, step.fault.to_json()
    if word not in WORDS:
        known = ", ".join(sorted({*WORDS}))
        raise UsageError(f"{where}: the simulator knows no {word}; it knows {known}")
    if step.when is not None:
        raise UsageError(f"{where}: {word} at {step.at_s:g} s waits for a trigger; the simulator strikes by time only")
    if step.quorum:
        raise UsageError(
            f"{where}: {word} at {step.at_s:g} s has quorum {step.quorum}; the simulator hits whom the target says"
        )
    details = {"shape": fields["shape"]} if word == "partition" else {}
    usual = type(step.fault)().to_json()
    for name in fields.keys() - {"fault", "target", *details}:
        if fields[name] != usual[name]:
            raise UsageError(
                f"{where}: {word} at {step.at_s:g} s has {name} {fields[name]!r}; the simulator knows no other than "
                f"{usual[name]!r}"
            )
    return Step(round(step.at_s * 1000), round(step.duration_s * 1000), word, step.fault.target, details)


def _of_weather(step: Mapping[str, Any], where: str) -> Step:
    details = {key: value for key, value in step["fault"].items() if key not in ("fault", "target")}
    if not set(details) <= {"loss", "doubled", "late"} or not all(isinstance(v, int | float) for v in details.values()):
        raise UsageError(f"{where}: weather has the shares loss, doubled and late; found {details!r}")
    return Step(round(step["at_s"] * 1000), round(step["duration_s"] * 1000), WEATHER, "all", details)


# -- drawing -------------------------------------------------------------------------------------------------------
def draw(seed: int, *, faults: int = 10, length_ms: int = 18_000, words: Sequence[str] = WORDS) -> list[Step]:
    """Return so many steps, spread over the run; the same for the same seed.

    Every other partition is followed at once by a second fault, while it lasts: most elections that go wrong need two.
    """
    rng = stream(seed, "schedule")
    steps: list[Step] = []
    gap = length_ms / max(1, faults)
    while len(steps) < faults:
        at = int(300 + gap * (len(steps) + rng.random()))
        steps.append(_draw_step(rng, at, rng.choice(list(words))))
        if len(steps) < faults and rng.random() < 0.35:
            steps.append(_draw_step(rng, at + rng.randint(5, 600), rng.choice(list(words))))
    return sorted(steps, key=lambda step: step.at_ms)


def _draw_step(rng: random.Random, at_ms: int, word: str) -> Step:
    duration = rng.randint(200, 2600)
    target = rng.choice(TARGETS)
    details: dict[str, Any] = {}
    if word == "partition":
        details["shape"] = rng.choice(SHAPES)
    elif word == WEATHER:
        target = "all"
        details = {"loss": rng.choice((0.0, 0.05, 0.2)), "doubled": rng.choice((0.0, 0.1, 0.3)),
                   "late": rng.choice((0.05, 0.2, 0.5))}  # fmt: skip
    elif word == "pause-process":
        target = rng.choice(("leader", "leader", "one", "minority"))
    elif word in ("pause-disk", "slow-disk", "snapshot", "dead-disk"):
        target = rng.choice(("leader", "leader", "one"))
    elif word == "transfer-leader":
        target = "follower"
    elif word == "remove-member":
        target = rng.choice(("leader", "one", "one", "follower"))
    return Step(at_ms, duration, word, target, details)


# -- striking ------------------------------------------------------------------------------------------------------
class Nemesis:
    """Carries out steps in a world; `landed` counts those that found somebody to hit."""

    def __init__(self, world: World, steps: Sequence[Step]) -> None:
        self.world = world
        self.steps = steps
        self.landed = 0
        self.skipped = 0
        self._removed: set[str] = set()
        self._began: set[str] = set()

    def begin(self) -> None:
        """Put every step on the world's queue."""
        for number, step in enumerate(self.steps):
            self.world.after(step.at_ms * MS, self._strike, number, step)

    def heal_everything(self) -> None:
        """Undo all that lasts, and start whoever is down. Who was removed asks to be taken in again until it is."""
        world = self.world
        world.network.heal()
        world.network.weather = CALM
        for name, node in world.nodes.items():
            world.thaw_disk(name)
            node.disk_ms = (0.3, 2.0)
            self._remount(name)
            world.resume(name)
        world.start()
        self._keep_members()

    def _strike(self, number: int, step: Step) -> None:
        world = self.world
        rng = stream(world.seed, "strike", number)
        if step.word == "partition":
            cuts = self._cuts(step, rng)
            if not any(cuts.values()):
                self.skipped += 1
                return
            world.network.cut(number, cuts)
            self._later(step, world.network.heal, number)
        elif step.word == WEATHER:
            world.network.weather = Weather(**step.details)
            self._later(step, self._calm)
        else:
            targets = resolve(step.target, list(world.names), world.leader, rng)
            if not targets:
                self.skipped += 1
                return
            for name in targets[:1] if step.word == "remove-member" else targets:
                self._hit(step, name, rng)
        self.landed += 1

    def _cuts(self, step: Step, rng: random.Random) -> Cuts:
        names, shape = self.world.names, step.details["shape"]
        assert shape in ALL_SHAPES, shape
        drawn = {"halves": halves, "ring": ring, "bridge": bridge, "minority": minority, "random": scattered}
        if shape in drawn:
            return drawn[shape](names, rng)
        targets = resolve(step.target, list(names), self.world.leader, rng)
        rest = frozenset(name for name in names if name not in targets)
        cuts: dict[str, frozenset[str]] = {}
        if shape in ("isolate", "deaf"):
            cuts |= dict.fromkeys(targets, rest)
        if shape in ("isolate", "mute"):
            cuts |= {name: frozenset(targets) for name in rest}
        return cuts

    def _hit(self, step: Step, name: str, rng: random.Random) -> None:
        world, word = self.world, step.word
        if word in ("kill", "power-loss"):
            world.kill(name, power=word == "power-loss")
            world.after(int(step.duration_ms * rng.uniform(0.2, 1.0)) * MS, world.start, [name])
        elif word == "pause-process":
            world.pause(name)
            self._later(step, world.resume, name)
        elif word == "pause-disk":
            world.freeze_disk(name)
            self._later(step, world.thaw_disk, name)
        elif word == "slow-disk":
            world.nodes[name].disk_ms = (20.0, 150.0)
            self._later(step, self._fast, name)
        elif word == "dead-disk":
            world.nodes[name].disk_dead = True
            self._later(step, self._remount, name)
        elif word == "snapshot":
            world.admin(name, "snapshot")
        elif word == "transfer-leader":
            if world.leader is not None:
                world.admin(world.leader, "transfer", name)
        elif word == "remove-member":
            if world.leader is not None and name not in self._removed:
                self._removed.add(name)
                world.admin(world.leader, "remove", name)
                self._later(step, self._take_in, name)
        else:
            raise AssertionError(f"no fault is called {word!r}")

    def _later(self, step: Step, action: Callable[..., None], *args: Any) -> None:
        self.world.after(step.duration_ms * MS, action, *args)

    def _calm(self) -> None:
        self.world.network.weather = CALM

    def _fast(self, name: str) -> None:
        self.world.nodes[name].disk_ms = (0.3, 2.0)

    def _remount(self, name: str) -> None:
        """Mount a dead disk anew, with what it had synced, and start the process, which has not outlived it."""
        node = self.world.nodes[name]
        if node.disk_dead:
            node.disk_dead = False
            self.world.kill(name, power=True)
            self.world.start([name])

    def _keep_members(self) -> None:
        """From now on, take in whoever does not vote: a removal may come late, from a leader that was paused."""
        for name in self.world.names:
            if name not in self._began and not self._votes(name):
                self._take_in(name)
        self.world.after(ASK_AGAIN_MS * MS, self._keep_members)

    def _votes(self, name: str) -> bool:
        leader = self.world.leader
        return leader is not None and name in self.world.core(leader).configuration.voters

    def _take_in(self, name: str) -> None:
        """Ask whoever leads to take a removed server in again, first as a learner, until it votes; once at a time."""
        if name not in self._began:
            self._began.add(name)
            self._ask_to_take_in(name)

    def _ask_to_take_in(self, name: str) -> None:
        world = self.world
        leader = world.leader
        if leader is not None and name != leader:
            core = world.core(leader)
            voters, learners = core.configuration
            if name in voters and not core.change_under_way():
                self._removed.discard(name)
                self._began.discard(name)
                return
            if name not in voters:
                world.admin(leader, "add_voter" if name in learners else "add_learner", name)
        elif leader == name and name in world.core(name).configuration.voters:
            self._removed.discard(name)
            self._began.discard(name)
            return
        world.after(ASK_AGAIN_MS * MS, self._ask_to_take_in, name)
