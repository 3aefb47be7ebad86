"""Planted bugs by name: each one deviates in one place, by overriding one small method of the clean code.

`core_class(names)` is the core with those deviations, `storage_class` the storage, `state_machine_class` the state
machine. Several names may be given; they combine as long as they override different methods.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .core import Core
from .state_machine import StateMachine
from .storage import DiskStorage

PLANTED = (
    "planted_elections",
    "planted_replication",
    "planted_applying",
    "planted_reading",
    "planted_durability",
    "planted_snapshots",
    "planted_membership",
)
"""The modules that register planted bugs."""

T = TypeVar("T", Core, DiskStorage, StateMachine)


class UnknownMutant(Exception):
    """No planted bug has that name."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug: what it does wrong, which rules that breaks, and the class that does it."""

    name: str
    deviation: str
    breaks: tuple[str, ...]
    """Invariants of raft-level checks (I1 … I20), or durability, linearizability, liveness; empty: a control."""
    override: type[Any]
    control: bool = False
    """A negative control: safety-equivalent to the clean code."""
    bites_with: str = ""
    """Options of `capsize run` without which a usual run never comes to where it deviates; empty: any run may."""

    @property
    def place(self) -> str:
        """Where the deviation is: core, state machine, or storage (which the simulator replaces by its own)."""
        if issubclass(self.override, Core):
            return "core"
        return "state machine" if issubclass(self.override, StateMachine) else "storage"


MUTANTS: dict[str, Mutant] = {}
C = TypeVar("C")


def mutant(
    name: str, deviation: str, *breaks: str, control: bool = False, bites_with: str = ""
) -> Callable[[type[C]], type[C]]:
    """Register a class as the planted bug `name`."""

    def register(override: type[C]) -> type[C]:
        assert name not in MUTANTS, name
        MUTANTS[name] = Mutant(name, deviation, breaks, override, control, bites_with)
        return override

    return register


def catalogue() -> tuple[Mutant, ...]:
    """Return every planted bug, by name."""
    _load()
    return tuple(MUTANTS[name] for name in sorted(MUTANTS))


def find(names: Sequence[str]) -> list[Mutant]:
    """Return the planted bugs of these names. Raises UnknownMutant, with the nearest known name."""
    _load()
    found: list[Mutant] = []
    for name in names:
        if name not in MUTANTS:
            near = difflib.get_close_matches(name, MUTANTS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(MUTANTS))}"
            raise UnknownMutant(f"mutants: none is called {name!r}; {hint}")
        found.append(MUTANTS[name])
    return found


def _mutated(names: Sequence[str], clean: type[T]) -> type[T]:
    overrides = [item.override for item in find(names) if issubclass(item.override, clean)]
    if not overrides:
        return clean
    made: type[T] = type(f"Mutated{clean.__name__}", tuple(overrides), {})
    return made


def core_class(names: Sequence[str]) -> type[Core]:
    """Return the core with these planted bugs; `Core` itself when none of them is in the core."""
    return _mutated(names, Core)


def storage_class(names: Sequence[str]) -> type[DiskStorage]:
    """Return the storage with these planted bugs."""
    return _mutated(names, DiskStorage)


def state_machine_class(names: Sequence[str]) -> type[StateMachine]:
    """Return the state machine with these planted bugs."""
    return _mutated(names, StateMachine)


def _load() -> None:
    """Import the modules that register planted bugs; here, because they import this one."""
    for module in PLANTED:
        importlib.import_module(f"{__package__}.{module}")
