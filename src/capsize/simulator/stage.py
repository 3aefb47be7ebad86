"""A stage for directed scenarios: nothing happens by itself, every message waits until it is delivered by hand.

    stage = Stage(3)
    stage.elect("n1")                     n1's timer fires; the votes of the others are delivered
    write = stage.write("n1", "x", 1)     a client asks n1
    stage.deliver("AE", to="n2")          one kind of message reaches one node
    stage.settle("n1", "n2")              everything between these two, until nothing is left

Disks flush at once unless frozen. Timers never fire, except by `timeout` and `heartbeat`. What a scenario finds out
of place by itself (`expect`) is told apart from what the judges find.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from capsize.checker.invariants import Judge
from capsize.checker.linearizability import check_linearizable
from capsize.checker.models import MODELS
from capsize.history import History
from capsize.op import Operation, Outcome, Value, freeze
from capsize.raft.core import Core
from capsize.raft.events import ClientReply, ClientRequest, Tick
from capsize.raft.messages import NAMES, Message
from capsize.raft.settings import Settings
from capsize.simulator.clients import READS, listed
from capsize.simulator.disk import Disk, FileDisk
from capsize.simulator.subject import CLEAN, Subject
from capsize.simulator.world import MS, Node, World, refused_to_boot
from capsize.verdict import Anomaly, Verdict, merge

NEVER_MS = 10_000_000
STILL = Settings(
    election_timeout_ms=(NEVER_MS, NEVER_MS),
    heartbeat_ms=NEVER_MS,
    request_timeout_ms=NEVER_MS,
    disk_stall_ms=0,
    pre_vote=False,
    protect_leader=False,
    check_quorum=False,
    snapshot_every=0,
    append_entries_max=128,
)
"""Settings under which no timer fires within a scenario."""


class Unmet(AssertionError):
    """A scenario came to a point where something was not as it must be."""


@dataclass(slots=True)
class Asked:
    """A client's request; `reply` once it is answered, `broken` when the connection broke instead."""

    process: int
    node: str
    f: str
    key: Value
    value: Value
    call_ns: int
    session: tuple[str, int]
    reply: ClientReply | None = None
    return_ns: int | None = None
    broken: bool = False

    @property
    def outcome(self) -> str | None:
        """Return ok, fail, info; None while it waits."""
        return self.reply.outcome if self.reply is not None else "info" if self.broken else None

    @property
    def result(self) -> Any:
        """Return what was answered."""
        return self.reply.result if self.reply is not None else None


class Stage:
    """A small cluster, played by hand. Node names are n1, n2, …; `spare` nodes are not in the first configuration."""

    def __init__(
        self,
        size: int = 3,
        *,
        spare: int = 0,
        files: bool = False,
        subject: Subject = CLEAN,
        record: bool = False,
        **settings: Any,
    ) -> None:
        self.judge = Judge()
        self._subject = subject
        self._directories: list[Path] = []
        self.world = World(
            [f"n{number}" for number in range(1, size + spare + 1)],
            voters=[f"n{number}" for number in range(1, size + 1)],
            settings=replace(STILL, **settings),
            subject=subject,
            judge=self.judge,
            record=record,
            disk=self._file_disk if files else Disk,
        )
        self.hold()
        for node in self.world.nodes.values():
            node.disk_ms = (0.0, 0.0)
        self.asked: list[Asked] = []
        self.damaged: set[str] = set()
        """Nodes whose files the scenario damaged as no crash does: they may refuse to boot."""
        self.world.start()

    def hold(self) -> None:
        """Keep every message back until the scenario delivers it."""
        self.world.network.holds = lambda message: True

    def flow(self) -> None:
        """Let messages arrive by themselves, those that wait first: for scenarios that set the weather only."""
        self.world.network.holds = None
        for message in self.take():
            self.world.deliver(message)

    def _file_disk(self) -> Disk:
        self._directories.append(Path(tempfile.mkdtemp(prefix="capsize-stage-")))
        return FileDisk(self._directories[-1], self._subject.storage)

    def directory(self, name: str) -> Path:
        """Return where a node keeps its files, on a stage that has them."""
        return self._directories[self.names.index(name)]

    def close(self) -> None:
        """Remove the files of a stage that has them."""
        for directory in self._directories:
            shutil.rmtree(directory, ignore_errors=True)

    @property
    def names(self) -> tuple[str, ...]:
        return self.world.names

    def core(self, name: str) -> Core:
        """Return the core of a node, to look at."""
        if self.world.nodes[name].core is None:
            raise Unmet(f"{name} is down" + "".join(f": {why}" for who, why in self.world.crashes if who == name))
        return self.world.core(name)

    def expect(self, condition: object, otherwise: str) -> None:
        """Raise Unmet unless `condition` holds."""
        if not condition:
            raise Unmet(otherwise)

    # -- time -----------------------------------------------------------------------------------------------
    def pass_ms(self, ms: float = 0.001) -> None:
        """Let disks finish, and time pass."""
        self.world.run_for(ms)

    def timeout(self, name: str) -> None:
        """Let a node's election timer fire."""
        self.core(name).election_deadline_ns = self.world.local_ns(self.world.nodes[name])
        self._tick(name)

    def heartbeat(self, name: str, *, again: bool = True) -> None:
        """Let a leader's heartbeat timer fire; with `again`, so late that it sends again what was not answered."""
        if again:
            self.pass_ms(self.world.settings.resend_ms + 1)
        self.core(name).heartbeat_deadline_ns = self.world.local_ns(self.world.nodes[name])
        self._tick(name)

    def _tick(self, name: str) -> None:
        self.world.step(self.world.nodes[name], Tick())
        self.pass_ms()

    # -- messages -----------------------------------------------------------------------------------------------
    def waiting(self, kind: str | None = None, frm: str | None = None, to: str | None = None) -> list[Message]:
        """Return the messages that wait, oldest first: of one kind, from one node, to one node."""
        return [message for message in self.world.network.held if _matches(message, kind, frm, to)]

    def deliver(
        self, kind: str | None = None, frm: str | None = None, to: str | None = None, *, newest: bool = False
    ) -> Message:
        """Deliver one waiting message, the oldest or the newest. Raises Unmet when there is none."""
        found = self.waiting(kind, frm, to)
        if not found:
            raise Unmet(f"no {kind or 'message'} waits from {frm or 'anyone'} to {to or 'anyone'}")
        message = found[-1] if newest else found[0]
        self.world.network.release(lambda other: other is message)
        self.arrive(message)
        return message

    def arrive(self, message: Message) -> None:
        """Let a message arrive, also one that was delivered before or taken away: the network may double and delay."""
        self.world.deliver(message)
        self.pass_ms()

    def take(self, kind: str | None = None, frm: str | None = None, to: str | None = None) -> list[Message]:
        """Take waiting messages away, to deliver them later with `arrive`, or never."""
        return self.world.network.release(lambda message: _matches(message, kind, frm, to))

    def settle(self, *names: str, but: Callable[[Message], bool] | None = None) -> None:
        """Deliver everything among these nodes (all by default) until nothing waits; `but` keeps messages back."""
        among = set(names or self.names)
        for _ in range(2_000):
            ready = [
                message
                for message in self.world.network.held
                if message.frm in among and message.to in among and not (but is not None and but(message))
            ]
            if not ready:
                return
            self.deliver_one(ready[0])
        raise Unmet("the nodes did not come to rest")

    def deliver_one(self, message: Message) -> None:
        """Deliver this waiting message."""
        self.world.network.release(lambda other: other is message)
        self.arrive(message)

    # -- nodes -----------------------------------------------------------------------------------------------
    def elect(self, name: str, *voters: str) -> None:
        """Let a node win an election with these voters (all others by default); nothing else is delivered."""
        asked = voters or tuple(other for other in self.names if other != name and other in self.world.up)
        for _ in range(10):  # until its term is as new as theirs, so that the next one is newer
            if self.core(name).term >= max((self.core(voter).term for voter in asked), default=0):
                break
            self.timeout(name)
            self.take("RV", name)
        self.timeout(name)
        for voter in asked:
            if self.waiting("PV", name, voter):
                self.deliver("PV", name, voter)
                self.deliver("PVR", voter, name)
        for voter in asked:
            for request in self.take("RV", name, voter):
                self.arrive(request)
            for reply in self.take("RVR", voter, name):
                self.arrive(reply)
        self.expect(self.core(name).is_leader(), f"{name} did not win the election of term {self.core(name).term}")

    def kill(self, *names: str) -> None:
        """SIGKILL."""
        for name in names:
            self.world.kill(name)

    def lose_power(self, *names: str) -> None:
        """Power loss."""
        for name in names:
            self.world.kill(name, power=True)

    def lose_power_after(self, name: str, writes: int) -> None:
        """Power loss when so many of the writes that wait for the disk were made."""
        disk = self.world.nodes[name].disk
        disk.flushing = [*disk.flushing, *disk.waiting][:writes]
        disk.waiting = []
        if disk.flushing:
            disk.end_flush()
        self.world.kill(name, power=True)

    def start(self, *names: str) -> None:
        """Boot again."""
        self.world.start(names)
        self.pass_ms()

    def freeze_disk(self, name: str) -> None:
        """No write of this node becomes durable until `thaw_disk`."""
        self.world.freeze_disk(name)

    def thaw_disk(self, name: str) -> None:
        """Let the disk go on."""
        self.world.thaw_disk(name)
        self.pass_ms()

    def log(self, name: str) -> list[tuple[int, int]]:
        """Return (index, term) of a node's log, from its snapshot on."""
        log = self.core(name).log
        return [
            (log.entry(index).index, log.entry(index).term) for index in range(log.base.index + 1, log.last_index + 1)
        ]

    def commit(self, name: str) -> int:
        """Return a node's commit index."""
        return self.core(name).commit_index

    # -- clients -----------------------------------------------------------------------------------------------
    def ask(
        self, node: str, f: str, key: Value, value: Value = None, *, session: tuple[str, int] | None = None
    ) -> Asked:
        """Let a client ask a node; a session given again is a retry of that request."""
        process = len(self.asked)
        asked = Asked(process, node, f, key, value, self.world.now_ns, session or (f"c{process}", 1))
        self.asked.append(asked)

        def answer(reply: ClientReply | None) -> None:
            asked.reply, asked.broken, asked.return_ns = reply, reply is None, self.world.now_ns

        target: Node = self.world.nodes[node]
        rid = f"q{process}"
        target.waiting[rid] = answer
        self.pass_ms()
        self.world.step(target, ClientRequest(rid, *asked.session, f, key, listed(value)))
        self.pass_ms()
        return asked

    def write(self, node: str, key: Value, value: Value) -> Asked:
        """Put a value."""
        return self.ask(node, "put", key, value)

    def read(self, node: str, key: Value) -> Asked:
        """Get a value."""
        return self.ask(node, "get", key)

    def admin(self, node: str, action: str, argument: str | None = None) -> None:
        """Ask a node for a snapshot, a transfer, or a membership change."""
        self.world.admin(node, action, argument)
        self.pass_ms()

    # -- judgement -----------------------------------------------------------------------------------------------
    def history(self) -> History:
        """Return what clients asked and were told; a retry belongs to the operation it repeats."""
        merged: dict[tuple[str, int], Operation] = {}
        for asked in self.asked:
            operation = _operation(asked)
            first = merged.get(asked.session)
            if first is not None:
                decided = operation if operation.outcome == "ok" or first.outcome == "fail" else first
                ends = [op.return_ns for op in (first, operation) if op.outcome == "ok" and op.return_ns is not None]
                outcome: Outcome = "ok" if ends else "info"
                operation = replace(
                    decided, process=first.process, call_ns=first.call_ns, outcome=outcome,
                    return_ns=min(ends) if ends else None,
                )  # fmt: skip
            merged[asked.session] = operation
        return History.of(merged.values())

    def verdict(self) -> Verdict:
        """Return the judgement of the rules, and of linearizability over what clients were told."""
        return merge("scenario", [self.judge.verdict(), check_linearizable(self.history(), MODELS["kv"]())])

    def anomalies(self) -> tuple[Anomaly, ...]:
        """Return what the judges found, and the nodes that stopped themselves."""
        stopped = tuple(
            Anomaly("node-stopped-itself", (f"{name} stopped itself: {why}.",)) for name, why in self.world.crashes
        )
        return self.verdict().anomalies + stopped + refused_to_boot(self.world, self.damaged)


def _matches(message: Message, kind: str | None, frm: str | None, to: str | None) -> bool:
    return (
        (kind is None or NAMES[type(message)] == kind)
        and (frm is None or message.frm == frm)
        and (to is None or message.to == to)
    )


def _operation(asked: Asked) -> Operation:
    outcome: Outcome = "info"
    if asked.reply is not None and asked.reply.outcome == "ok":
        outcome = "ok"
    elif (asked.reply is not None and asked.reply.outcome == "fail") or (
        asked.f in READS and asked.outcome is not None
    ):
        outcome = "fail"
    return Operation(
        process=asked.process,
        f=asked.f,
        key=asked.key,
        value=asked.value,
        call_ns=asked.call_ns,
        return_ns=None if outcome == "info" else asked.return_ns,
        outcome=outcome,
        result=freeze(asked.result),
        node=asked.node,
    )


def names_but(stage: Stage, *left_out: str) -> Sequence[str]:
    """Return all nodes but these."""
    return [name for name in stage.names if name not in left_out]


__all__ = ["MS", "STILL", "Asked", "Stage", "Unmet", "names_but"]
