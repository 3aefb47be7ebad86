"""A fault as data: what is done to whom, what it needs from the place, and how it is proven to have happened.

A fault is a frozen dataclass. `plan` turns its target into nodes at the moment it strikes; `inject`, `probe`, `heal`
and `heal_probe` carry the plan out through `Holds`. A probe looks from the outside (the process table, the links, an
fsync), never at what the order answered.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from capsize.errors import UsageError, no_such
from capsize.nemesis.connectivity import Cuts
from capsize.nemesis.holds import Errors, Holds
from capsize.nemesis.target import SYMBOLS, Target, resolve

Wait = Callable[[float | None], bool]
"""Waits so many seconds, or for as long as the fault is to last (None); returns whether the fault has to end now."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known when a fault strikes. What is asked of the cluster only for some targets is empty otherwise."""

    nodes: tuple[str, ...]
    leader: str | None
    term: int | None
    old_leader: str | None = None
    """Who led before the present leader, and does not lead now."""
    last_index: Mapping[str, int] = field(default_factory=dict[str, int])
    """Where each node's log ends, of those that say so."""
    quorum_without: Callable[[Collection[str]], bool] | None = None
    """Whether a majority of the voters stays connected without these nodes, other faults counted."""
    quorum: str = ""
    """"keep": targets are given up until a quorum stays; "lose": taken until it is lost; "": as the target says."""

    def whom(self, target: Target, rng: random.Random) -> tuple[str, ...]:
        """Return the nodes that `target` means now, in the order of `nodes`; empty when it means nobody."""
        found = resolve(
            target, self.nodes, self.leader, rng,
            old_leader=self.old_leader, last_index=self.last_index, quorum_without=self.quorum_without,
        )  # fmt: skip
        if not self.quorum or self.quorum_without is None or not found:
            return found
        chosen: list[str] = []
        if self.quorum == "keep":
            for name in rng.sample(found, len(found)):
                if self.quorum_without([*chosen, name]):
                    chosen.append(name)
        else:
            rest = [name for name in self.nodes if name not in found]
            chosen = [*found]
            for name in rng.sample(rest, len(rest)):
                if not self.quorum_without(chosen):
                    break
                chosen.append(name)
        return tuple(name for name in self.nodes if name in chosen)


@dataclass(frozen=True, slots=True)
class Plan:
    """A fault's target, resolved: the nodes it hits, and for partitions the links it cuts."""

    targets: tuple[str, ...]
    cuts: Cuts = field(default_factory=dict[str, frozenset[str]])


@dataclass(frozen=True, slots=True)
class Skip:
    """Why a fault has nothing to do now. `passing`: it may well have in a moment, when another fault is over."""

    reason: str
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """What was seen from the outside. `holds` only when every target is in the expected state; `seen` is JSON."""

    holds: bool
    seen: Mapping[str, Any]


@dataclass(frozen=True)
class Fault(ABC):
    """Base of all faults; subclasses register under their `word`."""

    target: Target = "one"

    word: ClassVar[str] = ""
    says: ClassVar[str] = ""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Capabilities of the place."""
    hooks: ClassVar[frozenset[str]] = frozenset()
    """Optional hooks that the system's adapter must have."""
    impairs: ClassVar[bool] = True
    """Whether its targets are lost to a quorum while it lasts (where it cuts links, those count instead)."""
    claims: ClassVar[str] = ""
    """What only one fault may change at a time, in the plural."""
    heal_within_s: ClassVar[float] = 0.0
    """For how long a heal that fails is tried again: 0, three times at once; more where others must heal first."""
    known: ClassVar[dict[str, type[Fault]]] = {}

    def __init_subclass__(cls) -> None:
        if "word" in vars(cls):  # its own: what only varies another fault does not take its place
            Fault.known[cls.word] = cls

    @property
    def least_nodes(self) -> int:
        """How many nodes a cluster must have for this fault to mean anything."""
        return 1

    @abstractmethod
    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        """Resolve the target."""

    @abstractmethod
    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        """Strike."""

    @abstractmethod
    def probe(self, plan: Plan, holds: Holds) -> Probe:
        """Look whether it happened."""

    def during(self, number: int, plan: Plan, holds: Holds, wait: Wait) -> Mapping[str, Any]:
        """Let the fault last, or go on striking, until `wait` says so; return what is to be told of it."""
        wait(None)
        return {}

    @abstractmethod
    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        """Undo what this fault did; idempotent."""

    @abstractmethod
    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        """Look whether it is undone, except where another fault holds the same state."""

    def to_json(self) -> dict[str, Any]:
        """Return {"fault": word, …fields}."""
        data = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {"fault": self.word, **data}


def fault_from_json(data: object) -> Fault:
    """Return the fault that `to_json` wrote, or a person did; raises UsageError naming what is wrong.

    >>> import capsize.nemesis.process
    >>> fault_from_json({"fault": "kill", "target": "leader"})
    Kill(target='leader')
    """
    if not isinstance(data, dict) or not isinstance(data.get("fault"), str):
        raise UsageError(f"a fault is an object with the key 'fault'; got {data!r}")
    word = data["fault"]
    if word not in Fault.known:
        raise no_such("fault", word, Fault.known, listing="faults")
    cls = Fault.known[word]
    accepted = {item.name for item in fields(cls)}
    defaults = {item.name: item.default for item in fields(cls)}
    given: dict[str, Any] = {}
    for key, value in data.items():
        if key == "fault":
            continue
        if key not in accepted:
            raise no_such(f"field of the fault {word}", str(key), accepted)
        given[key] = tuple(value) if isinstance(value, list) else value
        if key != "target" and not _fits(given[key], defaults[key]):
            raise UsageError(f"{key} of the fault {word} is {value!r}; expected something like {defaults[key]!r}")
    target = given.get("target", "one")
    if not isinstance(target, str) and not (isinstance(target, tuple) and all(isinstance(n, str) for n in target)):
        raise UsageError(f"the target of {word} is {target!r}; expected node names or one of {', '.join(SYMBOLS)}")
    return cls(**given)


def _fits(value: object, default: object) -> bool:
    """Say whether a value is of the kind of a field's default; names may be one word or several."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, int | float):
        return isinstance(value, int | float) and value >= 0
    if isinstance(default, str | tuple):
        return isinstance(value, str) or (isinstance(value, tuple) and all(isinstance(item, str) for item in value))
    return True
