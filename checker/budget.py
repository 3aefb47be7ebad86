"""How much a checker may spend before it says "unknown": steps and bytes, never seconds.

A checker has no clock, so that the same history and the same budget give the same verdict everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

STEPS_DEFAULT = 40_000_000
STEPS_DEFAULT_IN_PYTHON = 1_000_000
BYTES_DEFAULT = 1 << 29


@dataclass(frozen=True, slots=True)
class Budget:
    """Steps (configurations looked at) and bytes (of configurations kept) that one key may cost; None is unlimited.

    The default ends the search of a key within about ten seconds (twenty in plain Python, whose steps are fewer and
    slower) and half a gigabyte.
    """

    steps: int | None = STEPS_DEFAULT
    bytes: int | None = BYTES_DEFAULT

    def __post_init__(self) -> None:
        for name, value in (("steps", self.steps), ("bytes", self.bytes)):
            if value is not None and value < 1:
                raise ValueError(f"a budget of {value} {name}; expected a positive number, or None for no limit")

    @property
    def steps_or_all(self) -> int:
        """`steps`, or a number that no search reaches."""
        return 1 << 62 if self.steps is None else self.steps

    @property
    def steps_in_python(self) -> int:
        """`steps` for an engine in plain Python: fewer where the default stands, as asked where a number was asked."""
        return STEPS_DEFAULT_IN_PYTHON if self.steps == STEPS_DEFAULT else self.steps_or_all

    @property
    def bytes_or_all(self) -> int:
        """`bytes`, or a number that no machine has."""
        return 1 << 62 if self.bytes is None else self.bytes
