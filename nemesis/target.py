"""Whom a fault hits: by role, by number or by name; resolved at the moment of the fault, never earlier."""

from __future__ import annotations

import random
from collections.abc import Sequence

from capsize.errors import UsageError, no_such

Target = str | tuple[str, ...]
"""One of `SYMBOLS`, or node names."""

SYMBOLS: dict[str, str] = {
    "leader": "the node that leads in the highest term now",
    "follower": "one node that does not lead now",
    "one": "one node",
    "some": "a random number of nodes, at least one",
    "minority": "the most nodes that leave a majority untouched",
    "majority": "the fewest nodes that are a majority",
    "all": "every node",
}


def check_target(target: Target, nodes: Sequence[str]) -> None:
    """Raise UsageError unless `target` is a symbol or names nodes of this cluster."""
    if isinstance(target, str):
        if target not in SYMBOLS and target not in nodes:
            raise no_such("target", target, [*SYMBOLS, *nodes], listing="faults")
        return
    if not target:
        raise UsageError("a fault's target names no node; expected node names or one of " + ", ".join(SYMBOLS))
    for name in target:
        if name not in nodes:
            raise no_such("node", name, nodes)


def asks_for_a_leader(target: Target) -> bool:
    """Return whether `target` can only be resolved while the leader is known."""
    return target in ("leader", "follower")


def resolve(target: Target, nodes: Sequence[str], leader: str | None, rng: random.Random) -> tuple[str, ...]:
    """Return the nodes that `target` means now, in the order of `nodes`; empty when it means nobody.

    >>> resolve("leader", ["n1", "n2", "n3"], "n2", random.Random(1))
    ('n2',)
    >>> resolve("leader", ["n1", "n2", "n3"], None, random.Random(1))
    ()
    >>> len(resolve("majority", ["n1", "n2", "n3", "n4", "n5"], None, random.Random(1)))
    3
    """
    if not isinstance(target, str):
        return tuple(name for name in nodes if name in target)
    if target in nodes:
        return (target,)
    count = len(nodes)
    if target == "leader":
        return (leader,) if leader is not None else ()
    if target == "follower":
        others = [name for name in nodes if name != leader]
        return (rng.choice(others),) if leader is not None and others else ()
    size = {
        "one": 1,
        "some": rng.randint(1, count),
        "minority": (count - 1) // 2,
        "majority": count // 2 + 1,
        "all": count,
    }[target]
    chosen = set(rng.sample(list(nodes), size))
    return tuple(name for name in nodes if name in chosen)
