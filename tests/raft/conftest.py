"""A bench for cores: messages, disks and time move only when the test says so."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

from capsize.raft.configuration import Configuration
from capsize.raft.core import Core
from capsize.raft.events import (
    AdminRequest,
    AppendLog,
    ClientReply,
    ClientRequest,
    CompactLog,
    Effects,
    Event,
    MessageReceived,
    Persisted,
    PersistMeta,
    Recovered,
    SaveSnapshot,
    Tick,
    TruncateLog,
    Write,
)
from capsize.raft.log import COMMAND, Entry
from capsize.raft.messages import NAMES, Message, describe
from capsize.raft.settings import Settings
from capsize.raft.trace import State, Tracer, shown_entry, state_changes, state_of

MS = 1_000_000
PLAIN = Settings(pre_vote=False, protect_leader=False, check_quorum=False, snapshot_every=0)
"""The paper's Raft, without what the thesis adds."""


def entry(index: int, term: int, value: Any = None, *, client: str = "", seq: int = 0) -> Entry:
    """Return a command that puts `value` (default: its index) at key "x"."""
    value = index if value is None else value
    return Entry(index, term, COMMAND, f'["put","x",{value}]', client, seq)


def log_of(*terms: int) -> tuple[Entry, ...]:
    """Return entries 1, 2, … of these terms."""
    return tuple(entry(index, term) for index, term in enumerate(terms, 1))


class Noting(Tracer):
    """Keeps events as a line of the trace tells them, without its head, as plainly as can be."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        super().__init__()
        self.events = events
        self._state: State | None = None

    def note(
        self,
        event: str,
        message: Message | None = None,
        entries: Sequence[Entry] | None = None,
        digest: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.all_applied()
        line: dict[str, Any] = {"ev": event}
        before, self._state = self._state, state_of(self.server)
        if changed := state_changes(before, self._state):
            line["st"] = changed
        if message is not None:
            line["msg"] = describe(message)
        if entries is not None:
            line["e"] = [shown_entry(entry) for entry in entries]
        if digest is not None:
            line["h"] = digest
        if more is not None:
            line["x"] = dict(more)
        self.events.append(line)


class Bench:
    """Some cores, the messages between them, and their disks."""

    plain = PLAIN
    noting = Noting
    entry = staticmethod(entry)
    log_of = staticmethod(log_of)

    def __init__(
        self,
        *names: str,
        settings: Settings = PLAIN,
        recovered: dict[str, Recovered] | None = None,
        core: Callable[..., Core] = Core,
        voters: Iterable[str] | None = None,
        auto_persist: bool = True,
        tracer: Callable[[str, int, Noting], Tracer] = lambda name, inc, plain: plain,
    ) -> None:
        self.names = names or ("n1", "n2", "n3", "n4", "n5")
        self.settings = settings
        self.core_class = core
        self.initial = Configuration(tuple(voters or self.names))
        self.auto_persist = auto_persist
        self.tracer = tracer
        self.now_ns = 0
        self.cores: dict[str, Core] = {}
        self.wire: list[Message] = []
        self.replies: dict[str, ClientReply] = {}
        self.writes: dict[str, list[Write]] = {name: [] for name in self.names}
        self.events: dict[str, list[dict[str, Any]]] = {name: [] for name in self.names}
        self.stopped: dict[str, str] = {}
        self.disks: dict[str, Recovered] = dict(recovered or {})
        self._asked = 0
        for name in self.names:
            self.boot(name)

    # -- servers -----------------------------------------------------------------------------------------------
    def boot(self, name: str) -> Core:
        """(Re)start a server from what its disk holds: writes not persisted are gone."""
        before = self.disks.get(name, Recovered(0))
        self.disks[name] = before._replace(incarnation=before.incarnation + 1)
        self.writes[name] = []
        tracer = self.tracer(name, self.disks[name].incarnation, Noting(self.events[name]))
        self.cores[name] = self.core_class(name, self.initial, self.settings, self.disks[name], rng=random.Random(name))
        self._take(name, self.cores[name].start(self.now_ns, tracer))
        return self.cores[name]

    def step(self, name: str, event: Event) -> Effects:
        return self._take(name, self.cores[name].step(event, self.now_ns))

    def _take(self, name: str, effects: Effects) -> Effects:
        self.wire += effects.sends
        self.replies.update({reply.rid: reply for reply in effects.replies})
        self.writes[name] += effects.writes
        if effects.stop is not None:
            self.stopped[name] = effects.stop
        if self.auto_persist:
            self.persist(name)
        return effects

    def persist(self, name: str) -> None:
        """Let a server's disk finish everything it was asked for."""
        while self.writes[name]:
            writes, self.writes[name] = self.writes[name], []
            for write in writes:
                self.disks[name] = after(self.disks[name], write)
            self.step(name, Persisted(writes[-1].write))

    # -- time ----------------------------------------------------------------------------------------------------
    def time_out(self, name: str) -> None:
        """Let the next deadline of one server pass, as if the others' clocks stood still."""
        self.now_ns = max(self.now_ns, self.cores[name].deadline_ns)
        self.step(name, Tick())

    def pass_time(self, ms: int, *, only: Iterable[str] | None = None) -> None:
        """Let time pass in small steps, with ticks for these servers, and messages delivered."""
        for _ in range(ms // 10):
            self.now_ns += 10 * MS
            for name in only or self.names:
                self.step(name, Tick())
            self.settle(*(only or self.names))

    # -- messages --------------------------------------------------------------------------------------------------
    def take(self, kind: str, *, to: str | None = None, frm: str | None = None) -> list[Message]:
        """Take messages of a kind off the wire without delivering them."""
        taken = [
            message
            for message in self.wire
            if NAMES[type(message)] == kind and to in (None, message.to) and frm in (None, message.frm)
        ]
        self.wire = [message for message in self.wire if message not in taken]
        return taken

    def deliver(self, *messages: Message) -> None:
        for message in messages:
            self.step(message.to, MessageReceived(message))

    def settle(self, *among: str) -> None:
        """Deliver messages among these servers (default: all) until there are none; others' are lost."""
        among = among or self.names
        for _ in range(100_000):
            if not self.wire:
                return
            message = self.wire.pop(0)
            if message.frm in among and message.to in among:
                self.deliver(message)
        raise AssertionError("the servers do not come to rest")

    # -- the cluster -----------------------------------------------------------------------------------------------
    def elect(self, name: str, *voters: str) -> Core:
        """Make `name` leader with the votes of `voters` (default: all); the others hear nothing."""
        among = (name, *voters) if voters else self.names
        for _ in range(3):
            self.time_out(name)
            self.settle(*among)
            if self.cores[name].is_leader():
                return self.cores[name]
        raise AssertionError(f"{name} was not elected")

    def ask(self, name: str, f: str, key: Any = "x", value: Any = None, *, client: str = "c", seq: int = 0) -> str:
        """Send a client's request to a server; return its rid, under which `replies` holds the answer."""
        self._asked += 1
        rid = f"r{self._asked}"
        self.step(name, ClientRequest(rid, client, seq or self._asked, f, key, value))
        return rid

    def order(self, name: str, action: str, argument: Any = None) -> str:
        """Send an operator's request to a server."""
        self._asked += 1
        rid = f"r{self._asked}"
        self.step(name, AdminRequest(rid, action, argument))
        return rid

    def outcome(self, rid: str) -> str | None:
        reply = self.replies.get(rid)
        return reply.outcome if reply else None

    def traced(self, name: str, *events: str) -> list[str]:
        """Return the names of a server's traced events, only these if any are given."""
        return [event["ev"] for event in self.events[name] if not events or event["ev"] in events]


def after(disk: Recovered, write: Write) -> Recovered:
    """Return what a disk holds after a write."""
    if isinstance(write, PersistMeta):
        return disk._replace(term=write.term, vote=write.vote)
    if isinstance(write, AppendLog):
        return disk._replace(entries=disk.entries + write.entries)
    if isinstance(write, TruncateLog):
        return disk._replace(entries=tuple(e for e in disk.entries if e.index <= write.last_index))
    if isinstance(write, SaveSnapshot):
        return disk._replace(snapshot=write.snapshot)
    assert isinstance(write, CompactLog)
    kept = () if write.discard else tuple(e for e in disk.entries if e.index > write.base.index)
    return disk._replace(entries=kept)


@pytest.fixture
def bench() -> type[Bench]:
    return Bench
