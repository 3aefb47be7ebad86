"""Which fault holds which node in which state, so that overlapping faults compose and one heal undoes only its own.

Two partitions may cut the same link, two kills may want the same node down: a link opens again, and a process
starts again, only when nobody holds it any more. The intent is noted before the order is given, so that whatever
half-failed is undone too.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from capsize.cluster.node import Damage, Node
from capsize.errors import BackendError
from capsize.nemesis.conditions import Conditions
from capsize.nemesis.connectivity import Connectivity, Cuts, connectivity
from capsize.nemesis.operator import Operator

SIGTERM = 15
SIGSTOP = 19
SIGCONT = 18

SETTLED_WITHIN_S = 10.0

HEALING = -2
"""The number under which a node is held while its last fault is being undone."""

DISK_STATES = ("frozen", "slow", "full", "dead", "off", "wiped", "damaged")
"""What a disk can be held as; one at a time on one node."""

GONE = ("down", "out", "full", "dead", "off", "damaged")
"""States in which a process may be gone."""

IMPAIRED = ("down", "paused", "out", *DISK_STATES)
"""States in which a node does not count towards a quorum; "out": removed from the members."""

Errors = dict[str, str]
"""Node -> what went wrong there; empty when all went well."""


class Holds:
    """What the nemesis is doing to the nodes of one cluster. `restart` starts the system's process of a node again."""

    def __init__(
        self, nodes: Sequence[Node], restart: Callable[[Node], object], operator: Operator | None = None
    ) -> None:
        self._operator = operator
        self._reserved: dict[int, tuple[frozenset[str], Cuts, str]] = {}
        self._nodes = {node.name: node for node in nodes}
        self._restart = restart
        self._lock = threading.RLock()
        self._routing = {name: threading.Lock() for name in self._nodes}
        self._cuts: dict[int, dict[str, frozenset[str]]] = {}
        self._severing: set[int] = set()
        self._held: dict[str, dict[str, set[int]]] = {
            state: {name: set() for name in self._nodes} for state in IMPAIRED
        }
        self.conditions = Conditions(self._nodes, self.on_each)
        self._armed: dict[str, set[int]] = {name: set() for name in self._nodes}
        self._expelled: set[str] = set()
        self._joining: set[str] = set()
        """Nodes with an empty disk that were taken in as new members, and do not vote yet."""
        self.spoilt: set[str] = set()
        """The minority that may lose what was synced: whoever was hit first."""
        self.damages: dict[str, Damage] = {}
        """Node -> what was last done to a file of its own."""
        self.ended_by: dict[str, str] = {}
        """Node -> what ended its process when it was last asked to stop."""
        self.pid_before: dict[str, int | None] = {}
        """Node -> the process that was asked to stop last."""
        self.bases: dict[str, int | None] = {}
        """Node -> where its log began before it was last asked for a snapshot."""
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
        return any(self.held(state, name) for state in GONE)

    def may_have_ended(self, name: str) -> bool:
        """Return whether it may, though nobody wants it down: short of memory as it is, or at an armed failpoint."""
        with self._lock:
            armed = bool(self._armed[name])
        return armed or self.excused(name) or self.conditions.in_charge("memory", name) is not None

    def may_die(self, name: str) -> bool:
        """Return whether SIGKILL ends the process of `name` at once: one that hangs in a frozen disk waits for it."""
        return not (self.held("frozen", name) or self.held("slow", name))

    def expect(self, fault: int, name: str) -> None:
        """Note that `fault` has armed a failpoint on `name`, at which it will die."""
        with self._lock:
            self._armed[name].add(fault)

    def unexpect(self, fault: int, name: str) -> None:
        """End that."""
        with self._lock:
            self._armed[name].discard(fault)

    def held_by_others(self, name: str, fault: int, *, but: Sequence[str] = ()) -> bool:
        """Return whether a fault other than `fault` may keep the process of `name` from running; `but` leaves out."""
        with self._lock:
            return any(self._held[state][name] - {fault} for state in GONE if state not in but)

    @property
    def asks(self) -> bool:
        """Whether there is an operator."""
        return self._operator is not None

    @property
    def operator(self) -> Operator:
        """Whoever may be asked about the system itself."""
        assert self._operator is not None, "a fault that asks the system needs an operator"
        return self._operator

    def remains(
        self, extra: Cuts | None = None, gone: Collection[str] = (), *, voters: Collection[str] | None = None
    ) -> Connectivity:
        """Return what the cuts and losses of now, those that faults are about to cause, and these leave connected."""
        with self._lock:
            more = [extra or {}, *(cuts for _, cuts, _ in self._reserved.values())]
            cuts = {
                name: self._drops(name).union(*(frozenset(cut.get(name, ())) for cut in more)) for name in self._nodes
            }
            down = {name for name in self._nodes if any(self._held[state][name] for state in IMPAIRED)}
            down.update(gone, *(names for names, _, _ in self._reserved.values()))
        return connectivity(self.names, cuts, down, voters=voters)

    def reserve(self, fault: int, names: Iterable[str], cuts: Cuts, claim: str) -> None:
        """Count these nodes and links as lost from now on: `fault` is about to strike, or strikes again and again.

        `claim`: what no other fault may touch meanwhile.
        """
        with self._lock:
            self._reserved[fault] = (frozenset(names), cuts, claim)

    def claim(self, fault: int, claim: str) -> bool:
        """Claim something for `fault` until it is unreserved; return False when another fault has it."""
        with self._lock:
            if any(by == claim for other, (_, _, by) in self._reserved.items() if other != fault):
                return False
            self._reserved[fault] = (frozenset(), {}, claim)
            return True

    def unreserve(self, fault: int) -> None:
        """End that."""
        with self._lock:
            self._reserved.pop(fault, None)

    # -- network -----------------------------------------------------------------------------------------------
    def cut(self, fault: int, cuts: Cuts, *, sever: bool = False) -> Errors:
        """Cut these links for `fault`, in parallel on all receivers; `sever`: no connection over them survives it."""
        with self._lock:
            if sever:
                self._severing.add(fault)
            before = self._cuts.get(fault, {})
            self._cuts[fault] = {receiver: frozenset(senders) for receiver, senders in cuts.items()}
        return self._reroute([*before, *(receiver for receiver in cuts if receiver not in before)])

    def reopen(self, fault: int) -> Errors:
        """Open the links that only `fault` held."""
        with self._lock:
            cuts = self._cuts.pop(fault, {})
            self._severing.discard(fault)
        return self._reroute(cuts)

    def cuts_of(self, fault: int) -> Cuts:
        """Return the links that `fault` holds cut."""
        with self._lock:
            return dict(self._cuts.get(fault, {}))

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
                    severed = sorted({s for fault in self._severing for s in self._cuts.get(fault, {}).get(name, ())})
                self._nodes[name].drop_from(
                    [self._nodes[sender] for sender in senders], severed=[self._nodes[sender] for sender in severed]
                )

        return self.on_each(receivers, reroute)

    # -- members -----------------------------------------------------------------------------------------------
    def keep_disk(self, fault: int, names: Iterable[str]) -> None:
        """Keep the disks of these nodes from other faults: `fault` is about to wipe them."""
        self._hold("wiped", fault, names, lambda node: None)

    def expel(self, fault: int, names: Iterable[str]) -> Errors:
        """Have these nodes removed from the cluster's members, one after the other."""
        errors: Errors = {}
        for name in names:
            self._expelled.add(name)
            errors |= self._hold("out", fault, [name], lambda node: self.operator.remove(node.name))
        return errors

    def readmit(self, fault: int, names: Iterable[str]) -> Errors:
        """Have those that only `fault` holds out taken in again, one after the other, and started if they are down."""
        errors: Errors = {}
        for name in names:
            errors |= self._release("out", fault, [name], lambda node: self._readmit(node, fault))
        return errors or self._release("wiped", fault, names, lambda node: None)

    def wipe(self, fault: int, names: Iterable[str]) -> Errors:
        """Empty the data directories of these nodes, which must be down."""
        assert all(fault in self._held["out"][name] and fault in self._held["down"][name] for name in names)
        return self.on_each(names, lambda name: self._nodes[name].wipe())

    def files(self, name: str) -> list[str]:
        """Return what lies in the data directory of `name`, seen from the node itself."""
        found = self._nodes[name].run(["ls", "-A", self._nodes[name].data_dir])
        return found.out.split()

    def _readmit(self, node: Node, fault: int) -> None:
        """Have `node` taken in: one that ended when it was removed, or was wiped, comes back as a new, empty member."""
        with self._lock:
            others = [s for s in ("down", "full", "dead", "off") if self._held[s][node.name] - {fault, HEALING}]
        if others:
            raise BackendError(f"another fault keeps {node.name} {others[0]}")
        name = node.name
        if not node.process().alive:
            if name not in self._joining and (self.held("wiped", name) or self._is_out(name)):
                node.wipe()
                self.operator.add(name, voting=False)
                self._joining.add(name)
            self._restart(node)
        self.operator.add(name)
        self._joining.discard(name)

    def _is_out(self, name: str) -> bool:
        """Return whether the members do not name `name`; raises when nobody knows."""
        voters = self.operator.voters()
        if voters is None:
            raise BackendError(f"nobody leads who could say whether {name} is a member")
        return name not in voters

    # -- processes and disks -----------------------------------------------------------------------------------
    def kill(self, fault: int, names: Iterable[str]) -> Errors:
        """SIGKILL the system on these nodes and keep it down."""
        return self._hold("down", fault, names, lambda node: node.kill(wait_s=2.0))

    def keep_down(self, fault: int, names: Iterable[str]) -> Errors:
        """Excuse the system on these nodes from running, and do nothing to it."""
        return self._hold("down", fault, names, lambda node: None)

    def stop(self, fault: int, names: Iterable[str], *, grace_s: float) -> Errors:
        """SIGTERM the system on these nodes, SIGKILL those that run on after `grace_s`; `ended_by` tells of each."""

        def end(node: Node) -> None:
            began = time.monotonic()
            self.pid_before[node.name] = node.process().pid
            node.signal(SIGTERM)
            while node.process().alive:
                if time.monotonic() - began >= grace_s:
                    node.kill(wait_s=2.0)
                    self.ended_by[node.name] = f"SIGKILL, {grace_s:g} s after SIGTERM"
                    return
                time.sleep(0.01)
            self.ended_by[node.name] = f"SIGTERM, after {time.monotonic() - began:.2f} s"

        return self._hold("down", fault, names, end)

    def bounce(self, fault: int, names: Iterable[str]) -> Errors:
        """Start the system for a moment where only `fault`, which goes on holding it, keeps it down."""

        def start(name: str) -> None:
            if not self.held_by_others(name, fault):
                self._restart(self._nodes[name])

        return self.on_each(names, start)

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

    def start_again(self, names: Iterable[str]) -> Errors:
        """Start the system on these nodes where it has ended and no fault wants it down."""
        return self.on_each(
            [name for name in names if not self.excused(name)], lambda name: self._start(self._nodes[name])
        )

    # -- files -------------------------------------------------------------------------------------------------
    def of_the_minority(self, names: Sequence[str], rng: random.Random, most: int) -> list[str]:
        """Return at most so many of these nodes that may lose what was synced: a minority, the same in all a run."""
        with self._lock:
            known = [name for name in names if name in self.spoilt]
            chosen = rng.sample(known, min(len(known), most))
            more = [name for name in names if name not in self.spoilt]
            room = min((len(self._nodes) - 1) // 2 - len(self.spoilt), most - len(chosen))
            chosen += rng.sample(more, min(len(more), max(0, room)))
            self.spoilt.update(chosen)
        return [name for name in self._nodes if name in chosen]

    def damage(self, fault: int, names: Iterable[str], how: str, pattern: str) -> Errors:
        """Kill the system on these nodes, damage a file of each, and start it again."""

        def strike(node: Node) -> None:
            self.damages.pop(node.name, None)
            if not node.kill():
                raise BackendError(f"{node.name}: the process did not end")
            traces = self.operator.system.traces(node) if self.asks else ()
            self.damages[node.name] = node.damage(how, pattern=pattern, seed=fault, traces=traces)
            self._start(node)

        return self._hold("damaged", fault, names, strike)

    def settled(self, name: str, *, within_s: float = SETTLED_WITHIN_S) -> None:
        """Wait until a node that was started has ended, or answers: on a busy host a refusal takes seconds to come."""
        deadline = time.monotonic() + within_s
        while self._nodes[name].process().alive and time.monotonic() < deadline:
            if self._operator is None or name in self._operator.statuses(0.3):
                return
            time.sleep(0.05)

    def mend(self, fault: int, names: Iterable[str]) -> Errors:
        """Take the damage back where the node refused it, or ran on less than it had; start what does not run."""
        return self._release("damaged", fault, names, self._mend)

    def _mend(self, node: Node) -> None:
        done = self.damages.get(node.name)
        if done is not None:
            if done.how == "cut":
                node.kill()
            self.settled(node.name)
            if not node.process().alive:
                node.repair(done)
            self.damages.pop(node.name, None)
        self._start(node)

    def heal_all(self) -> Errors:
        """Undo everything any fault still holds: links, disks, pauses, then kills."""
        with self._lock:
            cut = {receiver for cuts in self._cuts.values() for receiver in cuts}
            self._cuts.clear()
            self._severing.clear()
            held = {state: [name for name, faults in by.items() if faults] for state, by in self._held.items()}
            for by in self._held.values():
                for faults in by.values():
                    faults.clear()
        errors = self.conditions.heal_all()
        errors |= self.on_each(held["damaged"], lambda name: self._mend(self._nodes[name]))
        errors |= self._reroute(cut)
        errors |= self.on_each(held["frozen"] + held["slow"], lambda name: self._nodes[name].thaw_disk())
        errors |= self.on_each(held["full"], lambda name: self._drain(self._nodes[name]))
        errors |= self.on_each(held["dead"], lambda name: self._remount(self._nodes[name]))
        errors |= self.on_each(held["off"], lambda name: self._boot(self._nodes[name]))
        errors |= self.on_each(held["paused"], lambda name: self._continue(self._nodes[name]))
        errors |= self.on_each(held["down"], lambda name: self._restart(self._nodes[name]))
        for name in sorted(self._expelled):  # a removal that was not answered may have happened all the same
            errors |= self.on_each([name], lambda name: self._readmit(self._nodes[name], HEALING))
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
