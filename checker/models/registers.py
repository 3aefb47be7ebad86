"""Registers: one value that is written, read, and compared and set; and several of them moved at once."""

from __future__ import annotations

from capsize.checker.models.model import Inconsistent, Model, Whole, answered, plain, same
from capsize.op import Operation, Value


class Register(Model[Value]):
    """One value. `write v`; `read`, whose result is the value, or None before the first write."""

    name: str = "register"
    words: frozenset[str] = frozenset({"read", "write"})
    anonymous: bool = True

    def __init__(self, initial: Value = None) -> None:
        self.initial = initial

    def init(self) -> Value:
        """Return the initial value."""
        return self.initial

    def step(self, state: Value, op: Operation) -> Value | Inconsistent:
        """Write, or compare what was read with the state."""
        if op.f == "write":
            return op.value
        if op.f == "read":
            return read_step(state, op)
        return Inconsistent(f"a {self.name} has no operation {op.f!r}")

    def observes(self, op: Operation) -> bool:
        """Reads do; so does a cas that was answered false, or that sets what it expects."""
        return op.f == "read"

    def describe_state(self, state: Value) -> str:
        """Return the value."""
        return plain(state)


class CasRegister(Register):
    """A register with `cas (old, new)`, whose result is True, or False when the value was not `old`."""

    name: str = "cas-register"
    words: frozenset[str] = frozenset({"read", "write", "cas"})

    def step(self, state: Value, op: Operation) -> Value | Inconsistent:
        """Write, read, or compare and set."""
        return cas_step(state, op) if op.f == "cas" else super().step(state, op)

    def observes(self, op: Operation) -> bool:
        """Reads do; so does a cas that was answered false, or that sets what it expects."""
        return op.f == "read" or cas_observes(op)


class MultiRegister(Whole[tuple[tuple[Value, Value], ...]]):
    """Several registers, moved together: `txn` with value (("write", key, v), ("read", key, None), ...).

    The result repeats the value with what each read saw. `read` and `write` of one register by the
    operation's key are understood too. The state is the sorted pairs of key and value.
    """

    name: str = "multi-register"
    words: frozenset[str] = frozenset({"txn", "read", "write"})

    def init(self) -> tuple[tuple[Value, Value], ...]:
        """Return no registers: every one reads None before its first write."""
        return ()

    def step(
        self, state: tuple[tuple[Value, Value], ...], op: Operation
    ) -> tuple[tuple[Value, Value], ...] | Inconsistent:
        """Carry out the parts in their order; reads see the writes before them."""
        if op.f == "txn":
            asked, got = op.value, op.result if answered(op) else None
        else:
            asked = ((op.f, op.key, op.value),)
            got = ((op.f, op.key, op.result),) if answered(op) else None
        if not isinstance(asked, tuple) or (answered(op) and (not isinstance(got, tuple) or len(got) != len(asked))):
            return Inconsistent(f"{op.f} is no sequence of (word, key, value) answered by another one of its length")
        registers = dict(state)
        for number, part in enumerate(asked):
            if not isinstance(part, tuple) or len(part) != 3:
                return Inconsistent(f"{plain(part)} is no (word, key, value)")
            word, key, value = part
            if word in ("write", "w"):
                registers[key] = value
            elif word not in ("read", "r"):
                return Inconsistent(f"a multi-register has no operation {plain(word)!r}")
            elif isinstance(got, tuple):
                seen = got[number]
                value = seen[2] if isinstance(seen, tuple) and len(seen) == 3 else None
                if not same(value, registers.get(key)):
                    return Inconsistent(f"read {plain(value)} of {plain(key)} but it was {plain(registers.get(key))}")
        return tuple(sorted(registers.items(), key=repr))

    def observes(self, op: Operation) -> bool:
        """A transaction of reads alone does."""
        if op.f != "txn":
            return op.f == "read"
        return isinstance(op.value, tuple) and all(
            isinstance(part, tuple) and part[0] in ("read", "r") for part in op.value
        )


def read_step(state: Value, op: Operation) -> Value | Inconsistent:
    """Return `state` if that is what `op` read."""
    if answered(op) and not same(op.result, state):
        return Inconsistent(f"read {plain(op.result)} but the value was {plain(state)}")
    return state


def cas_step(state: Value, op: Operation) -> Value | Inconsistent:
    """Return the state after a compare-and-set; answered false it reads "not old"."""
    if not isinstance(op.value, tuple) or len(op.value) != 2:
        return Inconsistent(f"cas takes (old, new), not {plain(op.value)}")
    old, new = op.value
    holds = same(state, old)
    if answered(op) and op.result is False:
        return Inconsistent(f"cas found that the value was not {plain(old)}, but it was") if holds else state
    if not holds:
        return Inconsistent(f"cas found {plain(old)} but the value was {plain(state)}")
    return new


def cas_observes(op: Operation) -> bool:
    """Return True for a cas that cannot change anything."""
    if op.f != "cas":
        return False
    if op.outcome == "ok" and op.result is False:
        return True
    return isinstance(op.value, tuple) and len(op.value) == 2 and same(op.value[0], op.value[1])
