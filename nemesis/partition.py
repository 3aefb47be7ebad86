"""Faults of the network: which node stops hearing which. Clients stay connected, so a deposed leader keeps being asked.

Shapes, on nodes a b c d e (x|y: neither hears the other):
    isolate   the target | everybody else
    halves    two groups, as equal as can be, drawn at random
    ring      every node hears a majority, no two the same one (Jepsen's majorities-ring); five nodes or more
    bridge    two halves that only one node hears
    minority  a minority drawn at random, whose nodes hear each other | the rest
    random    every direction of every link with a chance of one half, drawn at random; one at least
    mute      nobody hears the target, the target hears everybody     (one way)
    deaf      the target hears nobody, everybody hears the target     (one way)
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capsize.errors import no_such
from capsize.nemesis.connectivity import Cuts
from capsize.nemesis.fault import Fault, Plan, Probe, Situation, Skip, Wait
from capsize.nemesis.holds import Errors, Holds, drops

SHAPES = ("isolate", "halves", "ring", "bridge", "minority", "random", "mute", "deaf")
DRAWN = ("halves", "ring", "bridge", "minority", "random")
"""Shapes that hit everybody: the target has no say in them."""
PROBE_WAIT_S = 1.0
OPEN_WAIT_S = 3.0


@dataclass(frozen=True)
class Partition(Fault):
    """Cut links between nodes, per direction; `target` says whom `isolate`, `mute` and `deaf` hit."""

    shape: str = "isolate"

    word = "partition"
    says = "stop nodes from hearing each other: " + ", ".join(SHAPES)
    needs = frozenset({"network"})

    @property
    def least_nodes(self) -> int:
        return {"ring": 4, "bridge": 3, "minority": 3}.get(self.shape, 2)

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise no_such("shape of a partition", self.shape, SHAPES)

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        nodes = situation.nodes
        if self.shape in DRAWN:
            draw = {"halves": halves, "ring": ring, "bridge": bridge, "minority": minority, "random": scattered}
            cuts = draw[self.shape](nodes, rng)
            targets: tuple[str, ...] = nodes
        else:
            targets = situation.whom(self.target, rng)
            rest = [name for name in nodes if name not in targets]
            cuts = {}
            if self.shape in ("isolate", "deaf"):
                cuts |= {name: frozenset(rest) for name in targets}
            if self.shape in ("isolate", "mute"):
                cuts |= {name: frozenset(targets) for name in rest}
        if not targets:
            return Skip(f"no node is {self.target!r} now")
        if not any(cuts.values()):
            return Skip(f"{self.shape} cuts no link among {len(nodes)} nodes when it hits {', '.join(targets)}")
        return Plan(targets, cuts)

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.cut(number, plan.cuts)

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        probe = _links(plan, holds, expected=True)
        return Probe(probe.holds, {**probe.seen, "groups": [list(group) for group in holds.remains().groups]})

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        return holds.reopen(number)

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        return _links(plan, holds, expected=False)


def split(sides: Iterable[Sequence[str]]) -> dict[str, frozenset[str]]:
    """Return the cuts that keep these groups from hearing each other.

    >>> {name: sorted(cut) for name, cut in split([["n1"], ["n2", "n3"]]).items()}
    {'n1': ['n2', 'n3'], 'n2': ['n1'], 'n3': ['n1']}
    """
    groups = [frozenset(side) for side in sides]
    everybody = frozenset[str]().union(*groups)
    return {name: everybody - group for group in groups for name in sorted(group)}


def halves(nodes: Sequence[str], rng: random.Random) -> Cuts:
    """Return the cuts of two groups as equal as can be."""
    mixed = rng.sample(list(nodes), len(nodes))
    middle = len(mixed) // 2
    return split([mixed[:middle], mixed[middle:]])


def bridge(nodes: Sequence[str], rng: random.Random) -> Cuts:
    """Return the cuts of two halves that only one node, the bridge, hears and is heard by."""
    mixed = rng.sample(list(nodes), len(nodes))
    middle = len(mixed) // 2
    return split([mixed[:middle], mixed[middle + 1 :]])


def ring(nodes: Sequence[str], rng: random.Random) -> Cuts:
    """Return the cuts of a ring in which everybody hears only the nearest neighbours that make up a majority."""
    order = rng.sample(list(nodes), len(nodes))
    count = len(order)
    reach = (count // 2 + 1) // 2
    cuts: dict[str, frozenset[str]] = {}
    for place, name in enumerate(order):
        near = {order[(place + step) % count] for step in range(-reach, reach + 1)}
        cuts[name] = frozenset(order) - near
    return cuts


def minority(nodes: Sequence[str], rng: random.Random) -> Cuts:
    """Return the cuts between a minority drawn at random and the rest."""
    size = rng.randint(1, (len(nodes) - 1) // 2)
    few = rng.sample(list(nodes), size)
    return split([few, [name for name in nodes if name not in few]])


def scattered(nodes: Sequence[str], rng: random.Random) -> Cuts:
    """Return cuts drawn link by link, each direction with a chance of one half; one at least."""
    links = [(receiver, sender) for receiver in nodes for sender in nodes if receiver != sender]
    chosen = [link for link in links if rng.random() < 0.5] or [rng.choice(links)]
    return {name: frozenset(sender for receiver, sender in chosen if receiver == name) for name in nodes}


@dataclass(frozen=True)
class Flapping(Partition):
    """A partition that comes and goes: cut for `cut_s`, open for `open_s`, over and over until the heal."""

    cut_s: float = 0.5
    open_s: float = 0.5

    word = "flapping"
    says = "cut links and open them again, over and over"

    def during(self, number: int, plan: Plan, holds: Holds, wait: Wait) -> Mapping[str, Any]:
        opened, seen_open = 0, 0
        while not wait(max(0.05, self.cut_s)):
            holds.reopen(number)
            opened += 1
            receiver, sender = next((name, other) for name, cut in plan.cuts.items() for other in sorted(cut))
            if not holds.cut_now(receiver, sender):
                seen_open += not holds.node(receiver).blocked_from(holds.node(sender))
            ended = wait(max(0.05, self.open_s))
            holds.cut(number, plan.cuts)
            if ended:
                break
        return {"opened": opened, "seen_open": seen_open}


@dataclass(frozen=True)
class Swizzle(Fault):
    """Cut nodes off one by one, `step_ms` apart, and let them in again one by one, in another order."""

    step_ms: float = 150.0

    word = "swizzle"
    says = "cut nodes off one after the other, let them in again in another order"
    needs = frozenset({"network"})

    @property
    def least_nodes(self) -> int:
        return 2

    def plan(self, situation: Situation, rng: random.Random, holds: Holds) -> Plan | Skip:
        targets = situation.whom(self.target, rng)
        if not targets:
            return Skip(f"no node is {self.target!r} now")
        order = tuple(rng.sample(targets, len(targets)))
        return Plan(order, _around(order, situation.nodes))

    def inject(self, number: int, plan: Plan, holds: Holds) -> Errors:
        errors: Errors = {}
        for count in range(1, len(plan.targets) + 1):
            errors |= holds.cut(number, _around(plan.targets[:count], holds.names))
            time.sleep(self.step_ms / 1000)
        return errors

    def probe(self, plan: Plan, holds: Holds) -> Probe:
        probe = _links(plan, holds, expected=True)
        return Probe(
            probe.holds, {**probe.seen, "closed": list(plan.targets), "opens": list(_other_order(plan.targets))}
        )

    def heal(self, number: int, plan: Plan, holds: Holds) -> Errors:
        order = _other_order(plan.targets)
        if holds.cuts_of(number):  # a heal that is tried again opens what is left, all at once
            for count in range(1, len(order)):
                holds.cut(number, _around(order[count:], holds.names))
                time.sleep(self.step_ms / 1000)
        return holds.reopen(number)

    def heal_probe(self, plan: Plan, holds: Holds) -> Probe:
        return _links(plan, holds, expected=False)


def _around(names: Sequence[str], everybody: Sequence[str]) -> Cuts:
    """Return the cuts that leave each of these nodes alone."""
    return split([*([name] for name in names), [name for name in everybody if name not in names]])


def _other_order(names: Sequence[str]) -> tuple[str, ...]:
    """Return the order in which they are let in: drawn from the order in which they were cut off, and never the same.

    >>> _other_order(("n1", "n2", "n3"))
    ('n3', 'n1', 'n2')
    """
    drawn = random.Random(",".join(names)).sample(list(names), len(names))
    return tuple(drawn if drawn != list(names) else reversed(drawn))


def _links(plan: Plan, holds: Holds, *, expected: bool) -> Probe:
    """Probe every planned link, in its direction; links that another fault still holds are left out of a heal.

    So are, in the end, links on which another fault delays or loses packets: a probe may be lost on them, too.
    """
    deadline = time.monotonic() + (PROBE_WAIT_S if expected else OPEN_WAIT_S)
    shaped = holds.conditions.shape_now
    while True:
        seen: dict[str, list[str]] = {}

        def look(receiver: str, seen: dict[str, list[str]] = seen) -> None:
            node = holds.node(receiver)
            wrong: list[str] = []
            for sender in sorted(plan.cuts[receiver]):
                if not expected and holds.cut_now(receiver, sender):
                    continue
                if node.blocked_from(holds.node(sender)) is not expected:
                    wrong.append(sender)
            seen[receiver] = wrong

        errors = holds.on_each([name for name, cut in plan.cuts.items() if cut], look)
        wrong = {receiver: senders for receiver, senders in seen.items() if senders}
        if not errors and not wrong:
            word = "dropped" if expected else "open"
            return Probe(True, {word: drops(plan.cuts)})
        if time.monotonic() >= deadline:
            unknown = [] if expected else [f"{o}>{n}" for n, others in wrong.items() for o in others if shaped(n, o)]
            if not errors and len(unknown) == sum(map(len, wrong.values())):
                return Probe(True, {"open": drops(plan.cuts), "not_probed": unknown})
            told: dict[str, Any] = {"still_open" if expected else "still_dropped": wrong}
            return Probe(False, told | ({"errors": errors} if errors else {}))
        time.sleep(0.02)
