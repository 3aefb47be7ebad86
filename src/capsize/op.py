"""One operation of one client: what was asked, when, and what was answered.

Outcomes are Jepsen's: `ok` did happen; `fail` certainly did not and never will; `info` is unknown, and
concurrent with everything until the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Union

Scalar = None | bool | int | float | str
Value = Union[Scalar, tuple["Value", ...]]  # noqa: UP007 (a name in quotes cannot be joined with |)
"""What operations carry: JSON values, with arrays as tuples so that every value is hashable."""

Outcome = Literal["ok", "fail", "info"]
EventType = Literal["invoke", "ok", "fail", "info"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "fail", "info")
NEMESIS = "nemesis"
"""The process name under which faults are recorded."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a client is asked to do: `f` on `key` with argument `value`.

    Registers and maps: read/get value None; write/put value v; cas value (old, new); append v; incr n; delete None.
    """

    f: str
    key: Value = None
    value: Value = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What the system answered: `result`, and `meta`, its evidence (term, log_index, node), for the report.

    result: the value read (None when absent); True or False for cas; the new value for incr; else None.
    """

    result: Value = None
    meta: Mapping[str, Value] = field(default_factory=dict[str, "Value"])


@dataclass(frozen=True, slots=True)
class Operation:
    """An invocation paired with its completion: the closed interval [call_ns, return_ns].

    `return_ns` is None for `info`, and for an invocation that the recording never saw completed.
    `call` and `ret` are the positions of both events in the history (ret None likewise): they order
    events that share a nanosecond. Equal times are concurrent.
    """

    process: int
    f: str
    key: Value
    value: Value
    call_ns: int
    return_ns: int | None
    outcome: Outcome
    result: Value = None
    call: int = 0
    ret: int | None = None
    node: str | None = None
    error: str | None = None
    meta: Mapping[str, Value] = field(default_factory=dict[str, "Value"])

    @property
    def identity(self) -> tuple[int, int]:
        """What tells it from every other operation of its history, also after some of its fields were replaced."""
        return (self.process, self.call)


def freeze(value: object) -> Value:
    """Return a JSON value with its arrays as tuples, hashable throughout.

    Raises TypeError for an object: `Value` has no mappings.

    >>> freeze([1, [2, None]])
    (1, (2, None))
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    raise TypeError(f"{type(value).__name__} is no operation value: expected null, boolean, number, string or array")
