"""The replicated state machine: a map, with client sessions inside (paper §8, thesis §6.3).

Deterministic: what `apply` does depends on the state and the entry alone. No clock, no randomness, no iteration
order leaks into it. `state_hash` shows that: it is a sum over the contents (keys, values, sessions), so two servers
that hold the same contents have the same hash, whichever way they came by them.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

from .json_text import json_text
from .log import COMMAND, Entry

READS = frozenset({"get", "read"})
WRITES = frozenset({"put", "write", "delete", "cas", "append", "incr"})
_MODULUS = 1 << 64


class Result(NamedTuple):
    """What applying an entry gave: ok with a value, or fail with the reason (nothing changed)."""

    outcome: str
    value: Any = None
    error: str = ""


class Session(NamedTuple):
    """The newest request of one client that was applied, and its result."""

    seq: int
    result: Result


def _digest(kind: str, name: str, content: Any) -> int:
    text = f"{kind}{name}\0{json_text(content)}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


class StateMachine:
    """Keys and values are JSON; a key that is not there reads None."""

    def __init__(self, sessions_max: int = 100_000) -> None:
        self.sessions_max = sessions_max
        self.values: dict[str, Any] = {}
        self.sessions: dict[str, Session] = {}
        """By client, the one used longest ago first."""
        self._sum = 0
        self._value_digests: dict[str, int] = {}
        self._session_digests: dict[str, int] = {}

    # -- what is asked of it ---------------------------------------------------------------------------------
    def apply(self, entry: Entry) -> Result:
        """Apply a committed entry: once for each client request, however often it is in the log (§8)."""
        if entry.kind != COMMAND:
            return Result("ok")
        known = self.sessions.get(entry.client) if entry.client else None
        if known is not None and entry.seq <= known.seq:
            return self.repeated(entry, known)
        f, key, value = json.loads(entry.data)
        result = self.execute(f, key, value)
        if entry.client:
            self.remember(entry.client, Session(entry.seq, result))
        return result

    def read(self, key: Any) -> Any:
        """Return the value at `key`, None when absent."""
        return self.values.get(_name(key))

    @property
    def state_hash(self) -> str:
        return hex(self._sum)

    # -- commands --------------------------------------------------------------------------------------------
    def execute(self, f: str, key: Any, value: Any) -> Result:
        """Carry out one command. A command that cannot be carried out fails and changes nothing."""
        name = _name(key)
        old = self.values.get(name)
        if f in ("put", "write"):
            self.set(name, value)
            return Result("ok")
        if f == "delete":
            self.set(name, None)
            return Result("ok")
        if f == "cas":
            if not isinstance(value, list) or len(value) != 2:  # pyright: ignore[reportUnknownArgumentType]
                return Result("fail", None, "cas needs [old, new]")
            expected, new = value
            if not _same(old, expected):
                return Result("ok", False)
            self.set(name, new)
            return Result("ok", True)
        if f == "append":
            return self._append(name, old, value)
        if f == "incr":
            amount = 1 if value is None else value
            if not _is_int(amount) or not (old is None or _is_int(old)):
                return Result("fail", None, "incr needs numbers")
            self.set(name, (old or 0) + amount)
            return Result("ok", (old or 0) + amount)
        return Result("fail", None, f"no command is called {f!r}")

    def _append(self, name: str, old: Any, item: Any) -> Result:
        """Strings join strings, arrays join arrays, anything else joins an array; nothing joined is the item itself."""
        if old is None or item is None:
            self.set(name, item if old is None else old)
        elif isinstance(old, str) and isinstance(item, str):
            self.set(name, old + item)
        elif isinstance(old, list):
            self.set(name, old + item if isinstance(item, list) else [*old, item])
        else:
            return Result("fail", None, f"cannot append {type(item).__name__} to {type(old).__name__}")
        return Result("ok")

    def set(self, name: str, value: Any) -> None:
        """Store `value` (None: remove), and keep the hash in step."""
        self._sum -= self._value_digests.pop(name, 0)
        if value is None:
            self.values.pop(name, None)
        else:
            self.values[name] = value
            digest = self._value_digests[name] = _digest("v", name, value)
            self._sum += digest
        self._sum %= _MODULUS

    # -- sessions --------------------------------------------------------------------------------------------
    def repeated(self, entry: Entry, session: Session) -> Result:
        """Answer a request that was applied before: its own result if it is the client's newest, else unknown."""
        if entry.seq == session.seq:
            return session.result
        return Result("info", None, f"request {entry.seq} is older than the client's newest, {session.seq}")

    def remember(self, client: str, session: Session) -> None:
        """Record a client's newest request; forget the session used longest ago when there are too many.

        A known hole: a client whose session was forgotten and which then retries is executed again. It takes
        `sessions_max` other clients between a request and its retry.
        """
        if self.sessions.pop(client, None) is not None:
            self._sum -= self._session_digests.pop(client)
        self.sessions[client] = session
        digest = self._session_digests[client] = _digest("s", client, session)
        self._sum = (self._sum + digest) % _MODULUS
        while len(self.sessions) > self.sessions_max:
            oldest = next(iter(self.sessions))
            del self.sessions[oldest]
            self._sum = (self._sum - self._session_digests.pop(oldest)) % _MODULUS

    # -- snapshots (§7) --------------------------------------------------------------------------------------
    def dump(self) -> dict[str, Any]:
        """Return the whole state as a JSON-able object."""
        return {"values": dict(self.values), "sessions": [[name, *entry] for name, entry in self.sessions.items()]}

    def load(self, state: dict[str, Any]) -> None:
        """Replace the whole state by what `dump` returned; the hash is computed anew from the contents."""
        self.values, self.sessions = {}, {}
        self._value_digests, self._session_digests, self._sum = {}, {}, 0
        for name, value in state["values"].items():
            self.set(name, value)
        for client, seq, result in state["sessions"]:
            self.remember(client, Session(seq, Result(*result)))


def _name(key: Any) -> str:
    return json_text(key)


def _same(one: Any, other: Any) -> bool:
    """Return whether two values are the same one in JSON: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))  # pyright: ignore[reportUnknownArgumentType]
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
