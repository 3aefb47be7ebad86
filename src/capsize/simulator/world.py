"""The world: nodes that run the pure core, on virtual time, with everything that can happen to them.

One queue of timed happenings decides everything. What happens at the same nanosecond happens in the order in which
it was asked for.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from capsize.checker.invariants import Judge
from capsize.checker.trace import NOTHING, NodeState, TraceEvent, one_by_one
from capsize.raft.configuration import Configuration
from capsize.raft.core import Core
from capsize.raft.events import (
    AdminRequest,
    ClientReply,
    ClientRequest,
    Effects,
    Event,
    MessageReceived,
    Persisted,
    Tick,
    WriteFailed,
)
from capsize.raft.log import Entry
from capsize.raft.messages import Message, describe
from capsize.raft.segments import Corrupt
from capsize.raft.settings import Settings
from capsize.raft.trace import Tracer, seen_of, shown_entry, state_of
from capsize.seed import stream
from capsize.simulator.disk import Disk
from capsize.simulator.network import Network
from capsize.simulator.subject import CLEAN, Subject, machine_for
from capsize.verdict import Anomaly

MS = 1_000_000
SECOND = 1000 * MS
SHOWN_MOST = 4096


class Node:
    """One server: its disk outlives its process. `core` is None while it is down."""

    __slots__ = (
        "ahead_ns", "core", "disk", "disk_dead", "disk_ms", "inc", "name", "paused", "postponed", "settings", "speed",
        "tick_at", "tracer", "waiting",
    )  # fmt: skip

    def __init__(self, name: str, disk: Disk) -> None:
        self.name = name
        self.disk = disk
        self.disk_ms: tuple[float, float] = (0.3, 2.0)
        self.disk_dead = False
        """Whether every flush fails."""
        self.core: Core | None = None
        self.tracer: EventTracer | None = None
        self.inc = 0
        self.tick_at = -1
        self.settings: Settings | None = None
        """Its own settings, where they are not the world's."""
        self.speed = 1.0
        self.ahead_ns = 0
        """Its clock runs `speed` times as fast as time does, and is ahead by so much."""
        self.paused = False
        self.postponed: list[Event] = []
        """What reached the node while it was paused."""
        self.waiting: dict[str, Callable[[ClientReply | None], None]] = {}
        """Requests not answered yet; None is told when the connection breaks."""


class World:
    """A cluster under simulation. `run_for` and `run_until` make time pass; everything else happens now."""

    def __init__(
        self,
        names: Sequence[str] = ("n1", "n2", "n3", "n4", "n5"),
        *,
        seed: int = 0,
        settings: Settings | None = None,
        subject: Subject = CLEAN,
        judge: Judge | None = None,
        record: bool = False,
        voters: Sequence[str] | None = None,
        disk: Callable[[], Disk] = Disk,
    ) -> None:
        self.names = tuple(names)
        self.seed = seed
        self.settings = settings or Settings()
        self.subject = subject
        self.judge = judge
        self.recorded: list[TraceEvent] | None = [] if record else None
        self.now_ns = 0
        self.network = Network(stream(seed, "network"))
        self.disk_rng = stream(seed, "disk")
        self.nodes = {name: Node(name, disk()) for name in names}
        self.initial = Configuration(tuple(voters or self.names))
        self.crashes: list[tuple[str, str]] = []
        """Nodes that stopped themselves or failed an assertion, and why: none of them should."""
        self.refusals: list[tuple[str, str]] = []
        """Nodes that refused to boot from what their disks hold, and why."""
        self.requests = 0
        self.steps = 0
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._entries: dict[Entry, dict[str, Any]] = {}
        self._described: dict[str, tuple[Message, dict[str, Any]]] = {}

    # -- time --------------------------------------------------------------------------------------------------------
    def after(self, delay_ns: int, action: Callable[..., None], *args: Any) -> None:
        """Let `action` happen after `delay_ns`."""
        self._order += 1
        heapq.heappush(self._queue, (self.now_ns + delay_ns, self._order, action, args))

    def run_until(self, condition: Callable[[], object] | None = None, *, limit_ms: float = 10_000) -> bool:
        """Let time pass until `condition` holds, or `limit_ms` went by; return whether it holds."""
        end = self.now_ns + int(limit_ms * MS)
        queue = self._queue
        while not (condition is not None and condition()):
            if not queue or queue[0][0] > end:
                self.now_ns = end
                return condition is not None and bool(condition())
            self.now_ns, _, action, args = heapq.heappop(queue)
            action(*args)
        return True

    def run_for(self, ms: float) -> None:
        """Let time pass."""
        self.run_until(None, limit_ms=ms)

    def local_ns(self, node: Node) -> int:
        """Return what the clock of a node shows."""
        return int(self.now_ns * node.speed) + node.ahead_ns if node.speed != 1.0 or node.ahead_ns else self.now_ns

    def set_clock(self, name: str, *, speed: float = 1.0, leap_ms: float = 0.0) -> None:
        """Let a node's clock go on at another speed, after a leap forwards; it never goes back."""
        node = self.nodes[name]
        shows = self.local_ns(node) + int(leap_ms * MS)
        node.speed = speed
        node.ahead_ns = shows - int(self.now_ns * speed)
        self.step(node, Tick())

    # -- nodes -------------------------------------------------------------------------------------------------------
    def start(self, names: Iterable[str] | None = None) -> None:
        """Boot these nodes, all by default, from what their disks hold; those that run are left alone."""
        for name in names or self.names:
            node = self.nodes[name]
            if node.core is not None:
                continue
            try:
                recovered = node.disk.recover()
            except Corrupt as error:
                self.refusals.append((name, str(error)))
                continue
            node.inc = recovered.incarnation
            node.tracer = None if self.judge is None and self.recorded is None else EventTracer(self, node)
            node.paused, node.postponed, node.tick_at = False, [], -1
            rng = stream(self.seed, "core", name, recovered.incarnation)
            try:
                settings = node.settings or self.settings
                machine = machine_for(self.subject, settings)
                node.core = self.subject.core(name, self.initial, settings, recovered, rng=rng, state_machine=machine)
                effects = node.core.start(self.local_ns(node), node.tracer)
            except AssertionError as error:
                self._crash(node, f"{type(error).__name__}: {error}")
                continue
            self._carry_out(node, effects)

    def upgrade(self, name: str, settings: Settings) -> None:
        """Let a node boot with other settings from now on."""
        self.nodes[name].settings = settings

    def kill(self, name: str, *, power: bool = False) -> None:
        """End a node's process at once; with `power`, also lose what its disk had not synced."""
        node = self.nodes[name]
        if node.core is None:
            return
        node.core = None
        if node.disk_dead:  # what was on its way reaches nothing
            node.disk.flushing, node.disk.waiting = [], []
        if power:
            node.disk.lose_power(self.disk_rng)
        else:
            node.disk.kill(self.disk_rng)
        node.disk.frozen = False
        waiting, node.waiting = node.waiting, {}
        for answer in waiting.values():
            answer(None)

    def pause(self, name: str) -> None:
        """Stop a node in its tracks; what reaches it waits."""
        self.nodes[name].paused = True

    def resume(self, name: str) -> None:
        """Let a paused node go on, with everything that waited for it."""
        node = self.nodes[name]
        if node.paused:
            node.paused = False
            postponed, node.postponed = node.postponed, []
            for event in postponed:
                self.step(node, event)
            self.step(node, Tick())

    def freeze_disk(self, name: str) -> None:
        """Let no write of a node become durable until it is thawed."""
        self.nodes[name].disk.frozen = True

    def thaw_disk(self, name: str) -> None:
        """Let a frozen disk go on."""
        node = self.nodes[name]
        if node.disk.frozen:
            node.disk.frozen = False
            if node.disk.flushing:
                self.after(self._flush_ns(node), self._flushed, node, node.inc)
            else:
                self._flush(node)

    def fail_disk(self, name: str) -> None:
        """Let the flush under way fail: nothing of it is on the disk, and the node learns of an I/O error."""
        node = self.nodes[name]
        if node.core is not None and node.disk.flushing:
            last = node.disk.flushing[-1].write
            node.disk.flushing = []
            self.step(node, WriteFailed(last, "I/O error"))
            self._flush(node)

    @property
    def up(self) -> list[str]:
        """Names of the nodes that run."""
        return [name for name, node in self.nodes.items() if node.core is not None]

    def core(self, name: str) -> Core:
        """Return the core of a node that runs."""
        core = self.nodes[name].core
        assert core is not None, f"{name} is down"
        return core

    @property
    def leader(self) -> str | None:
        """The node that leads in the highest term, if any does."""
        leaders = [core for node in self.nodes.values() if (core := node.core) is not None and core.is_leader()]
        return max(leaders, key=lambda core: core.term).name if leaders else None

    # -- what reaches a node -----------------------------------------------------------------------------------------
    def step(self, node: Node, event: Event) -> None:
        """Let `event` happen to a node, and carry out what it asks for."""
        core = node.core
        if core is None:
            return
        if node.paused:
            if not isinstance(event, Tick):
                node.postponed.append(event)
            return
        self.steps += 1
        try:
            effects = core.step(event, self.local_ns(node))
        except AssertionError as error:
            self._crash(node, f"{type(error).__name__}: {error}")
            return
        self._carry_out(node, effects)

    def request(
        self,
        name: str,
        client: str,
        seq: int,
        f: str,
        key: Any,
        value: Any,
        answer: Callable[[ClientReply | None], None],
    ) -> bool:
        """Ask a node; `answer` gets its reply, or None when it dies. Returns False when nobody listens."""
        node = self.nodes[name]
        if node.core is None:
            return False
        self.requests += 1
        rid = f"r{self.requests}"
        node.waiting[rid] = answer
        self.step(node, ClientRequest(rid, client, seq, f, key, value))
        return True

    def admin(self, name: str, action: str, argument: str | None = None) -> None:
        """Ask a node for a snapshot, a leadership transfer or a membership change; the answer is not waited for."""
        node = self.nodes[name]
        if node.core is not None:
            self.requests += 1
            self.step(node, AdminRequest(f"r{self.requests}", action, argument))

    def deliver(self, message: Message) -> None:
        """Let a message arrive now, if its link is open and its receiver up."""
        node = self.nodes.get(message.to)
        if node is not None and node.core is not None and self.network.open(message.frm, message.to):
            self.network.delivered += 1
            self.step(node, MessageReceived(message))

    # -- what a node asks for ----------------------------------------------------------------------------------------
    def _carry_out(self, node: Node, effects: Effects) -> None:
        if node.tracer is not None:
            self._take_down(node.tracer)
        if effects.writes:
            node.disk.submit(effects.writes)
            self._flush(node)
        for message in effects.sends:
            for delay in self.network.delays_ns(message):
                self.after(delay, self.deliver, message)
        for reply in effects.replies:
            answer = node.waiting.pop(reply.rid, None)
            if answer is not None:
                answer(reply)
        if effects.stop is not None:
            if not effects.stop.startswith("the disk failed"):
                self.crashes.append((node.name, effects.stop))
            self.kill(node.name)
        elif node.core is not None:
            deadline = node.core.deadline_ns
            if node.tick_at < 0 or deadline < node.tick_at:
                node.tick_at = deadline
                self.after(self._until(node, deadline), self._tick, node, node.inc, deadline)

    def _tick(self, node: Node, inc: int, due: int) -> None:
        core = node.core
        if core is None or node.inc != inc or node.tick_at != due:
            return
        deadline = core.deadline_ns
        if deadline > self.local_ns(node) and not node.paused:  # it was put off meanwhile
            node.tick_at = deadline
            self.after(max(1, self._until(node, deadline)), self._tick, node, inc, deadline)
            return
        node.tick_at = -1
        self.step(node, Tick())

    def _until(self, node: Node, deadline_ns: int) -> int:
        """Return how long it is, in the world's time, until a node's clock shows `deadline_ns`."""
        left = deadline_ns - self.local_ns(node)
        return max(0, left if node.speed == 1.0 else -int(-left // node.speed))

    def _flush(self, node: Node) -> None:
        if node.disk.begin_flush():
            self.after(self._flush_ns(node), self._flushed, node, node.inc)

    def _flush_ns(self, node: Node) -> int:
        low, high = node.disk_ms
        return int((low + (high - low) * self.disk_rng.random()) * MS)

    def _flushed(self, node: Node, inc: int) -> None:
        if node.core is None or node.inc != inc or node.disk.frozen or not node.disk.flushing:
            return
        if node.disk_dead:
            self.fail_disk(node.name)
            return
        last = node.disk.end_flush()
        self.step(node, Persisted(last))
        self._flush(node)

    def _crash(self, node: Node, why: str) -> None:
        self.crashes.append((node.name, why))
        if node.core is None:
            return
        self.kill(node.name)

    def _take_down(self, tracer: EventTracer) -> None:
        """Judge and record what a node has noted in this step."""
        events, tracer.events = tracer.events, []
        for event in events:
            for single in one_by_one(event) if event.ev == "apply" else (event,):
                if self.judge is not None:
                    self.judge.feed(single)
                if self.recorded is not None:
                    self.recorded.append(single)

    def shown_message(self, message: Message) -> dict[str, Any]:
        """Return a message as traces show it; each is shown where it leaves and where it arrives."""
        known = self._described.get(message.id)
        if known is not None and known[0] is message:
            return known[1]
        if len(self._described) >= SHOWN_MOST:
            self._described.clear()
        shown = describe(message)
        self._described[message.id] = message, shown
        return shown

    def shown(self, entry: Entry) -> dict[str, Any]:
        """Return an entry as traces show it; the same entry is shown many times."""
        known = self._entries.get(entry)
        if known is None:
            known = self._entries[entry] = shown_entry(entry)
        return known


class EventTracer(Tracer):
    """Keeps what one incarnation of a node notes as events, until the world takes them."""

    def __init__(self, world: World, node: Node) -> None:
        super().__init__()
        self.events: list[TraceEvent] = []
        self._world = world
        self._name, self._inc = node.name, node.inc
        self._count = 0
        self._seen: tuple[Any, ...] = ()
        self._state = NodeState()

    def note(
        self,
        event: str,
        message: Message | None = None,
        entries: Sequence[Entry] | None = None,
        digest: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep an event; its state is the same object while nothing changed."""
        self.all_applied()
        server, world = self.server, self._world
        seen = seen_of(server)
        if seen != self._seen:
            self._seen, self._state = seen, NodeState(*state_of(server)[:9])  # type: ignore[arg-type]  # dur's term
        self._count += 1
        self.events.append(
            TraceEvent(
                self._name,
                self._inc,
                self._count,
                event,
                self._state,
                NOTHING if message is None else world.shown_message(message),
                () if entries is None else [world.shown(entry) for entry in entries],
                digest,
                NOTHING if more is None else more,
                world.now_ns,
                world.now_ns,
            )
        )


def refused_to_boot(world: World, damaged: Collection[str] = ()) -> tuple[Anomaly, ...]:
    """Return an anomaly for each node that would not boot although its disk holds nothing but what a crash leaves."""
    refused = dict.fromkeys((name, why) for name, why in world.refusals if name not in damaged)
    return tuple(
        Anomaly("node-refused-to-boot", (f"{name} refused to boot: {why}.",), details={"node": name, "why": why})
        for name, why in refused
    )
