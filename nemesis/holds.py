"""Which fault holds which node in which state, so that overlapping faults compose and one heal undoes only its own.

Two partitions may cut the same link, two kills may want the same node down: a link opens again, and a process
starts again, only when nobody holds it any more. The intent is noted before the order is given, so that whatever
half-failed is undone too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from capsize.cluster.node import Node
from capsize.nemesis.connectivity import Connectivity, Cuts, connectivity

SIGSTOP = 19
SIGCONT = 18

HEALING = -2
"""The number under which a node is held while its last fault is being undone."""

DISK_STATES = ("frozen", "slow", "full", "dead", "off")
"""What a disk can be held as; one at a time on one node."""

Errors = dict[str, str]
"""Node -> what went wrong there; empty when all went well."""


class Holds:
    """What the nemesis is doing to the nodes of one cluster. `restart` starts the system's process of a node again."""

    def __init__(self, nodes: Sequence[Node], restart: Callable[[Node], object]) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._restart = restart
        self._lock = threading.RLock()
        self._routing = {name: threading.Lock() for name in self._nodes}
        self._cuts: dict[int, dict[str, frozenset[str]]] = {}
        self._held: dict[str, dict[str, set[int]]] = {
            state: {name: set() for name in self._nodes} for state in ("down", "paused", *DISK_STATES)
        }
        self.steps: dict[str, tuple[str, ...]] = {}
        """Node -> the confirmed steps of its last loss of power."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every node, in order."""
        return tuple(self._nodes)

    def node(self, name: str) -> Node:
        """Return the node called `name`."""
        return self._nodes[name]

    def held(self, state: str, name: str) -> bool:
        """Return whether a fault holds `name` "down", "paused" or "frozen"."""
        with self._lock:
            return bool(self._held[state][name])

    def busy_disk(self, name: str) -> str:
        """Return as what some fault holds the disk of `name`; empty when none does."""
        return next((state for state in DISK_STATES if self.held(state, name)), "")

    def excused(self, name: str) -> bool:
        """Return whether a process of `name` that is gone may be gone because of a fault."""
        return any(self.held(state, name) for state in ("down", "full", "dead", "off"))

    def remains(self, extra: Cuts | None = None) -> Connectivity:
        """Return what the cuts and kills of now, and `extra`, leave connected."""
        with self._lock:
            cuts = {name: self._drops(name) | frozenset((extra or {}).get(name, ())) for name in self._nodes}
            down = [name for name in self._nodes if any(by[name] for by in self._held.values())]
        return connectivity(self.names, cuts, down)

    # -- network -----------------------------------------------------------------------------------------------
    def cut(self, fault: int, cuts: Cuts) -> Errors:
        """Cut these links for `fault`, in parallel on all receivers."""
        with self._lock:
            self._cuts[fault] = {receiver: frozenset(senders) for receiver, senders in cuts.items()}
        return self._reroute(cuts)

    def reopen(self, fault: int) -> Errors:
        """Open the links that only `fault` held."""
        with self._lock:
            cuts = self._cuts.pop(fault, {})
        return self._reroute(cuts)

    def cut_now(self, receiver: str, sender: str) -> bool:
        """Return whether some fault wants packets from `sender` to `receiver` dropped."""
        with self._lock:
            return sender in self._drops(receiver)

    def _drops(self, receiver: str) -> frozenset[str]:
        return frozenset[str]().union(*(cuts.get(receiver, frozenset()) for cuts in self._cuts.values()))

    def _reroute(self, receivers: Iterable[str]) -> Errors:
        def reroute(name: str) -> None:
            with self._routing[name]:  # read and applied as one step, or an older set could be applied last
                with self._lock:
                    senders = sorted(self._drops(name))
                self._nodes[name].drop_from([self._nodes[sender] for sender in senders])

        return self.on_each(receivers, reroute)

    # -- processes and disks -----------------------------------------------------------------------------------
    def kill(self, fault: int, names: Iterable[str]) -> Errors:
        """SIGKILL the system on these nodes and keep it down."""
        return self._hold("down", fault, names, lambda node: node.kill(wait_s=2.0))

    def revive(self, fault: int, names: Iterable[str]) -> Errors:
        """Start the system again where only `fault` kept it down."""
        return self._release("down", fault, names, self._revive)

    def pause(self, fault: int, names: Iterable[str]) -> Errors:
        """SIGSTOP the system on these nodes."""
        return self._hold("paused", fault, names, lambda node: node.signal(SIGSTOP))

    def resume(self, fault: int, names: Iterable[str]) -> Errors:
        """SIGCONT it where only `fault` held it."""
        return self._release("paused", fault, names, self._continue)

    def freeze(self, fault: int, names: Iterable[str]) -> Errors:
        """Make writes to the data disk block on these nodes."""
        return self._hold("frozen", fault, names, lambda node: node.freeze_disk())

    def thaw(self, fault: int, names: Iterable[str]) -> Errors:
        """Let them go on where only `fault` held them."""
        return self._release("frozen", fault, names, lambda node: node.thaw_disk())

    def slow(self, fault: int, names: Iterable[str], *, stall_ms: float, run_ms: float) -> Errors:
        """Let writes through only now and then."""
        return self._hold("slow", fault, names, lambda node: node.slow_disk(stall_ms=stall_ms, run_ms=run_ms))

    def quicken(self, fault: int, names: Iterable[str]) -> Errors:
        """End that."""
        return self._release("slow", fault, names, lambda node: node.thaw_disk())

    def fill(self, fault: int, names: Iterable[str]) -> Errors:
        """Take all free space of the data disk on these nodes."""
        return self._hold("full", fault, names, lambda node: node.fill_disk())

    def drain(self, fault: int, names: Iterable[str]) -> Errors:
        """Give it back, and start what ended for want of it."""
        return self._release("full", fault, names, self._drain)

    def break_disk(self, fault: int, names: Iterable[str]) -> Errors:
        """Make every further write fail on these nodes."""
        return self._hold("dead", fault, names, lambda node: node.break_disk())

    def replace_disk(self, fault: int, names: Iterable[str]) -> Errors:
        """Mount the disk anew, with what had been synced, and start the system on it."""
        return self._release("dead", fault, names, self._remount)

    def power_off(self, fault: int, names: Iterable[str]) -> Errors:
        """Pull the plug on these nodes: what was not synced is lost."""
        return self._hold("off", fault, names, self._pull)

    def power_on(self, fault: int, names: Iterable[str]) -> Errors:
        """Mount their disks again and start the system."""
        return self._release("off", fault, names, self._boot)

    def heal_all(self) -> Errors:
        """Undo everything any fault still holds: links, disks, pauses, then kills."""
        with self._lock:
            cut = {receiver for cuts in self._cuts.values() for receiver in cuts}
            self._cuts.clear()
            held = {state: [name for name, faults in by.items() if faults] for state, by in self._held.items()}
            for by in self._held.values():
                for faults in by.values():
                    faults.clear()
        errors = self._reroute(cut)
        errors |= self.on_each(held["frozen"] + held["slow"], lambda name: self._nodes[name].thaw_disk())
        errors |= self.on_each(held["full"], lambda name: self._drain(self._nodes[name]))
        errors |= self.on_each(held["dead"], lambda name: self._remount(self._nodes[name]))
        errors |= self.on_each(held["off"], lambda name: self._boot(self._nodes[name]))
        errors |= self.on_each(held["paused"], lambda name: self._continue(self._nodes[name]))
        errors |= self.on_each(held["down"], lambda name: self._restart(self._nodes[name]))
        return errors

    def on_each(self, names: Iterable[str], action: Callable[[str], object]) -> Errors:
        """Do `action` on these nodes at once; return what went wrong, by node. Waits for all of them."""
        targets = list(names)
        if not targets:
            return {}
        with ThreadPoolExecutor(max_workers=len(targets), thread_name_prefix="nemesis") as pool:
            started = {name: pool.submit(action, name) for name in targets}
        raised = {name: future.exception() for name, future in started.items()}
        return {name: f"{type(error).__name__}: {error}" for name, error in raised.items() if error is not None}

    def _pull(self, node: Node) -> None:
        self.steps[node.name] = tuple(node.power_off())

    def _boot(self, node: Node) -> None:
        node.power_on()
        self._start(node)

    def _remount(self, node: Node) -> None:
        node.power_off()
        node.power_on()
        self._start(node)

    def _drain(self, node: Node) -> None:
        node.drain_disk()
        self._start(node)

    def _start(self, node: Node) -> None:
        """Start the system unless another fault keeps it down; one that runs is left alone."""
        if not self.held("down", node.name):
            self._restart(node)

    def _revive(self, node: Node) -> None:
        if not self.held("off", node.name):  # without its disk it would start on an empty folder
            self._restart(node)

    def _continue(self, node: Node) -> None:
        if node.process().alive:
            node.signal(SIGCONT)

    def _hold(self, state: str, fault: int, names: Iterable[str], order: Callable[[Node], object]) -> Errors:
        targets = list(names)
        with self._lock:
            for name in targets:
                self._held[state][name].add(fault)
        return self.on_each(targets, lambda name: order(self._nodes[name]))

    def _release(self, state: str, fault: int, names: Iterable[str], order: Callable[[Node], object]) -> Errors:
        free: list[str] = []
        with self._lock:
            for name in names:
                faults = self._held[state][name]
                faults.discard(fault)
                if not faults:  # held by the healing itself until it is done, so that nobody takes it for a crash
                    faults.add(HEALING)
                    free.append(name)
        try:
            return self.on_each(free, lambda name: order(self._nodes[name]))
        finally:
            with self._lock:
                for name in free:
                    self._held[state][name].discard(HEALING)


def drops(cuts: Cuts) -> Mapping[str, list[str]]:
    """Return cuts as JSON: receiver -> sorted senders."""
    return {receiver: sorted(senders) for receiver, senders in cuts.items() if senders}
