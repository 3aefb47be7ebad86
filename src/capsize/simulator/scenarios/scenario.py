"""A directed scenario: a schedule of messages, crashes and requests that decides something random runs hardly reach.

Every scenario passes on a correct Raft. It is played against whatever subject it is given, without knowing it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from capsize.simulator.stage import Stage, Unmet
from capsize.simulator.subject import Subject
from capsize.verdict import Anomaly


class Play(Protocol):
    """Sets a stage for the subject under test."""

    def __call__(self, size: int = 3, *, spare: int = 0, files: bool = False, **settings: Any) -> Stage: ...


@dataclass(frozen=True, slots=True)
class Scenario:
    """`id` numbers the situation it belongs to; several scenarios may share one."""

    id: str
    name: str
    story: str
    act: Callable[[Play], None]


SCENARIOS: dict[str, Scenario] = {}


def scenario(number: str) -> Callable[[Callable[[Play], None]], Callable[[Play], None]]:
    """Register a function as a scenario; its docstring is the story, its name the name."""

    def register(act: Callable[[Play], None]) -> Callable[[Play], None]:
        name: str = act.__name__
        assert name not in SCENARIOS, name
        SCENARIOS[name] = Scenario(number, name, re.sub(r"\s+", " ", act.__doc__ or "").strip(), act)
        return act

    return register


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a scenario: what the judges found, and the point (if any) at which it could not go on."""

    scenario: Scenario
    anomalies: tuple[Anomaly, ...]
    unmet: str | None
    stages: tuple[Stage, ...]
    seconds: float

    @property
    def alarms(self) -> tuple[str, ...]:
        """Return the checks that found something: invariant ids, anomaly names, and "expectation"."""
        found = [str(anomaly.details.get("invariant", anomaly.name)) for anomaly in self.anomalies]
        return tuple(dict.fromkeys([*found, *(["expectation"] if self.unmet else [])]))


def play(chosen: Scenario, subject: Subject, *, record: bool = False) -> Played:
    """Play a scenario against a subject and judge it."""
    began = time.perf_counter()
    stages: list[Stage] = []

    def stage(size: int = 3, *, spare: int = 0, files: bool = False, **settings: Any) -> Stage:
        stages.append(Stage(size, spare=spare, files=files, subject=subject, record=record, **settings))
        return stages[-1]

    unmet: str | None = None
    try:
        chosen.act(stage)
    except Unmet as reason:
        unmet = str(reason)
    finally:
        for item in stages:
            item.close()
    anomalies = tuple(anomaly for item in stages for anomaly in item.anomalies())
    return Played(chosen, anomalies, unmet, tuple(stages), time.perf_counter() - began)
