"""What is under test: the clean core, or one with planted bugs. Judges never learn which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from capsize.raft import mutants
from capsize.raft.core import Core
from capsize.raft.settings import Settings
from capsize.raft.state_machine import StateMachine
from capsize.raft.storage import DiskStorage


@dataclass(frozen=True, slots=True)
class Subject:
    """The classes a simulated node is made of."""

    core: Callable[..., Core] = Core
    storage: Callable[[Path], DiskStorage] = DiskStorage
    machine: Callable[[int], StateMachine] = StateMachine


CLEAN = Subject()


def subject(names: Sequence[str]) -> Subject:
    """Return the subject with these planted bugs. Raises `raft.mutants.UnknownMutant`."""
    return (
        Subject(mutants.core_class(names), mutants.storage_class(names), mutants.state_machine_class(names))
        if names
        else CLEAN
    )


def machine_for(chosen: Subject, settings: Settings) -> StateMachine:
    """Return a fresh state machine."""
    return chosen.machine(settings.sessions_max)
