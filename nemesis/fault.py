"""A fault as data: what is done to whom, what it needs from the place, and how it is proven to have happened.

A fault is a frozen dataclass. `plan` turns its target into nodes at the moment it strikes; `inject`, `probe`, `heal`
and `heal_probe` carry the plan out through `Holds`. A probe looks from the outside (the process table, the links, an
fsync), never at what the order answered.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from capsize.errors import UsageError, no_such
from capsize.nemesis.connectivity import Cuts
from capsize.nemesis.holds import Errors, Holds
from capsize.nemesis.target import SYMBOLS, Target


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known when a fault strikes."""

    nodes: tuple[str, ...]
    leader: str | None
    term: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A fault's target, resolved: the nodes it hits, and for partitions the links it cuts."""

    targets: tuple[str, ...]
    cuts: Cuts = field(default_factory=dict[str, frozenset[str]])


@dataclass(frozen=True, slots=True)
class Skip:
    """Why a fault has nothing to do now."""

    reason: str


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
    known: ClassVar[dict[str, type[Fault]]] = {}

    def __init_subclass__(cls) -> None:
        if cls.word:
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
    given: dict[str, Any] = {}
    for key, value in data.items():
        if key == "fault":
            continue
        if key not in accepted:
            raise no_such(f"field of the fault {word}", str(key), accepted)
        given[key] = tuple(value) if isinstance(value, list) else value
    target = given.get("target", "one")
    if not isinstance(target, str) and not (isinstance(target, tuple) and all(isinstance(n, str) for n in target)):
        raise UsageError(f"the target of {word} is {target!r}; expected node names or one of {', '.join(SYMBOLS)}")
    return cls(**given)
