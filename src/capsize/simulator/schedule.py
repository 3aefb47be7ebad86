"""What goes wrong in a simulated run, and when: timed steps drawn from a seed, as JSON like a real run's schedule.

Words that real clusters have too mean the same here: kill, power-loss, pause-process, pause-disk, partition. Others
only a simulator can: weather (loss, doubling, reordering of single messages), slow-disk, and what an operator does:
snapshot, transfer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from capsize.nemesis.connectivity import Cuts
from capsize.nemesis.partition import bridge, halves, ring
from capsize.nemesis.target import resolve
from capsize.seed import stream
from capsize.simulator.network import CALM, Weather
from capsize.simulator.world import World


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: when, for how long, on whom, with what else it needs."""

    at_ms: int
    duration_ms: int
    word: str
    target: str = "one"
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """Return the step as a schedule file holds it."""
        fault = {"fault": self.word, "target": self.target, **self.details}
        return {"at_s": self.at_ms / 1000, "duration_s": self.duration_ms / 1000, "kind": self.word, "fault": fault}


TARGETS = ("leader", "leader", "one", "one", "follower", "minority", "majority", "all")
SHAPES = ("isolate", "isolate", "halves", "halves", "ring", "bridge", "mute", "deaf")
WORDS = (
    "kill", "kill", "power-loss", "power-loss", "partition", "partition", "partition", "weather", "weather",
    "pause-process", "pause-disk", "slow-disk", "snapshot", "transfer",
)  # fmt: skip


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
    elif word == "weather":
        details = {"loss": rng.choice((0.0, 0.05, 0.2)), "doubled": rng.choice((0.0, 0.1, 0.3)),
                   "late": rng.choice((0.05, 0.2, 0.5))}  # fmt: skip
    elif word == "pause-process":
        target = rng.choice(("leader", "leader", "one", "minority"))
    elif word in ("pause-disk", "slow-disk", "transfer", "snapshot"):
        target = rng.choice(("leader", "leader", "one"))
    return Step(at_ms, duration, word, target, details)


class Nemesis:
    """Carries out steps in a world; `landed` counts those that found somebody to hit."""

    def __init__(self, world: World, steps: Sequence[Step]) -> None:
        self.world = world
        self.steps = steps
        self.landed = 0
        self.skipped = 0
        self._number = 0

    def begin(self) -> None:
        """Put every step on the world's queue."""
        for number, step in enumerate(self.steps):
            self.world.after(step.at_ms * 1_000_000, self._strike, number, step)

    def heal_everything(self) -> None:
        """Undo all that lasts, and start whoever is down."""
        world = self.world
        world.network.heal()
        world.network.weather = CALM
        for name, node in world.nodes.items():
            world.thaw_disk(name)
            node.disk_ms = (0.3, 2.0)
            world.resume(name)
        world.start()

    def _strike(self, number: int, step: Step) -> None:
        world = self.world
        rng = stream(world.seed, "strike", number)
        if step.word == "partition":
            targets: tuple[str, ...] = world.names
            cuts = self._cuts(step, rng)
            if not any(cuts.values()):
                self.skipped += 1
                return
            world.network.cut(number, cuts)
            self._later(step, world.network.heal, number)
        elif step.word == "weather":
            targets = world.names
            world.network.weather = Weather(**step.details)
            self._later(step, self._calm)
        else:
            targets = resolve(step.target, list(world.names), world.leader, rng)
            if not targets:
                self.skipped += 1
                return
            for name in targets:
                self._hit(step, name, rng)
        self.landed += 1

    def _cuts(self, step: Step, rng: random.Random) -> Cuts:
        names, shape = self.world.names, step.details["shape"]
        if shape in ("halves", "ring", "bridge"):
            return {"halves": halves, "ring": ring, "bridge": bridge}[shape](names, rng)
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
            world.after(int(step.duration_ms * rng.uniform(0.2, 1.0)) * 1_000_000, world.start, [name])
        elif word == "pause-process":
            world.pause(name)
            self._later(step, world.resume, name)
        elif word == "pause-disk":
            world.freeze_disk(name)
            self._later(step, world.thaw_disk, name)
        elif word == "slow-disk":
            world.nodes[name].disk_ms = (20.0, 150.0)
            self._later(step, self._fast, name)
        elif word == "snapshot":
            world.admin(name, "snapshot")
        elif word == "transfer":
            world.admin(name, "transfer", rng.choice(world.names))
        else:
            raise AssertionError(f"no fault is called {word!r}")

    def _later(self, step: Step, action: Callable[..., None], *args: Any) -> None:
        self.world.after(step.duration_ms * 1_000_000, action, *args)

    def _calm(self) -> None:
        self.world.network.weather = CALM

    def _fast(self, name: str) -> None:
        self.world.nodes[name].disk_ms = (0.3, 2.0)
