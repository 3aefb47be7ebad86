"""Locks: a plain mutex, and one whose every grant carries a larger fencing token."""

from __future__ import annotations

from capsize.checker.models.model import Inconsistent, Model, answered, plain
from capsize.op import Operation


class Mutex(Model[bool]):
    """`acquire` and `release`; who releases is not asked. The state is whether it is held."""

    name: str = "mutex"
    words: frozenset[str] = frozenset({"acquire", "release"})
    anonymous: bool = True

    def init(self) -> bool:
        """Return False: nobody holds it."""
        return False

    def step(self, state: bool, op: Operation) -> bool | Inconsistent:
        """Take it or give it back."""
        if op.f == "acquire":
            return Inconsistent("acquired while it was held") if state else True
        if op.f == "release":
            return False if state else Inconsistent("released while nobody held it")
        return Inconsistent(f"a mutex has no operation {op.f!r}")

    def describe_state(self, state: bool) -> str:
        """Return "held" or "free"."""
        return "held" if state else "free"


class FencedLock(Model[tuple[int | None, int]]):
    """`acquire`, whose result is a token larger than every one before; `release` by the process that holds it.

    The state is (holder or None, largest token). An acquire that never answered, if it took effect, took a token
    that nobody knows; it counts as the next one. A grant without a token (None) is not compared.
    """

    name: str = "fenced-lock"
    words: frozenset[str] = frozenset({"acquire", "release"})

    def init(self) -> tuple[int | None, int]:
        """Return a free lock that has given no token."""
        return (None, 0)

    def step(self, state: tuple[int | None, int], op: Operation) -> tuple[int | None, int] | Inconsistent:
        """Take it with a larger token, or give it back as its holder."""
        holder, token = state
        if op.f == "release":
            if holder == op.process:
                return (None, token)
            return Inconsistent(f"process {op.process} released it but {self.describe_state(state)}")
        if op.f != "acquire":
            return Inconsistent(f"a fenced lock has no operation {op.f!r}")
        if holder is not None:
            return Inconsistent(f"process {op.process} acquired it but {self.describe_state(state)}")
        if not answered(op) or op.result is None:
            return (op.process, token + 1)
        if not isinstance(op.result, int) or op.result <= token:
            return Inconsistent(f"acquired with token {plain(op.result)}, which is not larger than {token}")
        return (op.process, op.result)

    def describe_state(self, state: tuple[int | None, int]) -> str:
        """Return who holds it, and the largest token."""
        holder, token = state
        return f"{'it was free' if holder is None else f'process {holder} held it'} (token {token})"
