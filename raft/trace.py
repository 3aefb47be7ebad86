"""The node's own account of what it does: what each event tells, whoever writes it down.

The core tells its `Tracer` what happens, as it happens. A real node's spells it as lines of a file (`trace_lines`), the
simulator's keeps it as objects, a test's as dictionaries, and holds the lines against them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .log import COMMAND, Entry, Position, payload_hash
from .messages import Message

if TYPE_CHECKING:
    from .server import Server

SHOWN_MAX = 40
"""Longer texts are no part of the trace."""


class State(NamedTuple):
    """A server's state as its trace shows it; `last` and `base` are (index, term), like `dur`."""

    term: int
    vote: str | None
    role: str
    commit: int
    applied: int
    last: Position
    base: Position
    dur: tuple[int, int | None]
    voters: tuple[str, ...]
    learners: tuple[str, ...]


def seen_of(server: Server) -> tuple[Any, ...]:
    """Return what tells whether the state may have changed: equal tuples, the same `State`."""
    return (
        server.term, server.vote, server.role, server.commit_index, server.applied_index, server.durable_index,
        server.log.version, server.configurations.current,
    )  # fmt: skip


def state_of(server: Server) -> State:
    """Return what the trace shows of a server now."""
    log, members = server.log, server.configuration
    durable = server.durable_index
    return State(
        server.term, server.vote, server.role, server.commit_index, server.applied_index, log.last, log.base,
        (durable, log.term_at(durable)), members.voters, members.learners,
    )  # fmt: skip


def state_changes(before: State | None, state: State) -> dict[str, Any]:
    """Return what a line says of the state: all of it the first time, then what changed."""
    changed: dict[str, Any] = {
        name: value
        for place, (name, value) in enumerate(zip(("term", "vote", "role", "commit", "applied"), state, strict=False))
        if before is None or before[place] != value
    }
    if before is None or state.last != before.last:
        changed["last"] = list(state.last)
    if before is None or state.base != before.base:
        changed["base"] = list(state.base)
    if before is None or state.dur != before.dur:
        changed["dur"] = list(state.dur)
    if before is None or state[8:] != before[8:]:
        changed["cfg"], changed["learners"] = list(state.voters), list(state.learners)
    return changed


def shown_entry(entry: Entry) -> dict[str, Any]:
    """Return an entry as traces show it: place, payload hash, kind unless it is a command, request."""
    shown: dict[str, Any] = {"i": entry.index, "t": entry.term, "h": payload_hash(entry)}
    if entry.kind != COMMAND:
        shown["k"] = entry.kind
    if entry.client:
        shown["cid"], shown["seq"] = entry.client, entry.seq
    return shown


def is_short(value: object) -> bool:
    """Say whether a command's value is traced as it is: a number, a short text, a pair of these.

    >>> is_short(42), is_short([1, "a"]), is_short("x" * 100), is_short(None)
    (True, True, False, False)
    """
    if value is None:
        return False
    if isinstance(value, str):
        return len(value) <= SHOWN_MAX
    if isinstance(value, _ARRAYS):
        return len(value) <= 2 and all(map(is_short, value))
    return isinstance(value, _NUMBERS)


_ARRAYS, _NUMBERS = (list, tuple), (int, float)


class Tracer(ABC):
    """Takes down what one server does, in order; each event with the state that it leaves.

    What was applied is held back until the next event, so that entries applied in one go are one event.
    """

    server: Server

    def __init__(self) -> None:
        self._applied: list[Entry] = []
        self._hashes: list[str] = []

    def attach(self, server: Server) -> None:
        """Take down what this server does from now on."""
        self.server = server

    @abstractmethod
    def note(
        self,
        event: str,
        message: Message | None = None,
        entries: Sequence[Entry] | None = None,
        digest: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Take down an event: its name, and what it has of a message, entries, a state hash and more.

        What was applied before is taken down first (`all_applied`).
        """

    # -- the events of every request, by name: a tracer may have its own way with each ---------------------------------
    def sent(self, message: Message) -> None:
        """A message leaves."""
        self.note("send", message)

    def received(self, message: Message) -> None:
        """A message arrived."""
        self.note("recv", message)

    def appended(self, entries: Sequence[Entry], previous: Position) -> None:
        """Entries were added to the log, behind `previous`."""
        self.note("append", None, entries, None, {"prev": list(previous)})

    def applied(self, entry: Entry, digest: str) -> None:
        """An entry was applied; `digest` is the state hash after it."""
        self._applied.append(entry)
        self._hashes.append(digest)

    def all_applied(self) -> None:
        """Take down what was applied since the last event, in one event: entries, and the state hash after each."""
        if self._applied:
            applied, hashes = self.take_applied()
            self.note("apply", None, applied, hashes[-1], {"hashes": hashes} if len(hashes) > 1 else None)

    def take_applied(self) -> tuple[list[Entry], list[str]]:
        """Return what was applied since the last event, and the hashes, and forget them."""
        taken = self._applied, self._hashes
        self._applied, self._hashes = [], []
        return taken

    def submitted(self, rid: str, client: str, seq: int, f: str, key: Any, value: Any) -> None:
        """A client asks; a value that is not short is left out."""
        asked = {"rid": rid, "cid": client, "seq": seq, "f": f, "key": key}
        self.note("client_submit", None, None, None, {**asked, "value": value} if is_short(value) else asked)

    def replied(self, rid: str, outcome: str, index: int) -> None:
        """A client is answered; `index` is its command's or its read's, 0 when there is none."""
        self.note("client_reply", None, None, None, {"rid": rid, "outcome": outcome, "index": index})

    def read_indexed(self, rid: str, origin: str | None, index: int, number: int) -> None:
        """The leader takes `index` for a read, to be confirmed by round `number`; 0: its lease confirms it."""
        sure = {"round": number} if number else {"lease": True}
        self.note("read_index", None, None, None, {"rid": rid, "origin": origin, "index": index, **sure})

    def read_served(self, rid: str, index: int, key: Any, applied: int) -> None:
        """A read of `key` is answered from the state after `applied`; it may be, since `index`."""
        self.note("read_served", None, None, None, {"rid": rid, "index": index, "key": key, "applied": applied})
