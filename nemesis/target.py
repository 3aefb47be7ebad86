"""Whom a fault hits: by role, by number or by name; resolved at the moment of the fault, never earlier."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence

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
    "old-leader": "the node that led before the present leader, and does not lead now",
    "most-up-to-date": "the node whose log is longest; of several, one that does not lead",
    "least-up-to-date": "the node whose log is shortest, of those that answer",
    "keep-quorum": "the most nodes whose loss leaves a quorum, what other faults hold counted",
    "lose-quorum": "the fewest nodes whose loss leaves no quorum, what other faults hold counted",
}
LEADERS = ("leader", "follower", "old-leader")
LOGS = ("most-up-to-date", "least-up-to-date")
QUORUMS = ("keep-quorum", "lose-quorum")


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
    return target in LEADERS


def asks_for_status(target: Target) -> bool:
    """Return whether `target` can only be resolved for a system that tells its status."""
    return target in LEADERS or target in LOGS


def resolve(
    target: Target,
    nodes: Sequence[str],
    leader: str | None,
    rng: random.Random,
    *,
    old_leader: str | None = None,
    last_index: Mapping[str, int] | None = None,
    quorum_without: Callable[[Collection[str]], bool] | None = None,
) -> tuple[str, ...]:
    """Return the nodes that `target` means now, in the order of `nodes`; empty when it means nobody.

    `last_index` and `quorum_without` are asked for by the targets that need them only.

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
    if target == "old-leader":
        return (old_leader,) if old_leader is not None else ()
    if target in LOGS:
        return _by_log(target == "most-up-to-date", nodes, leader, last_index or {}, rng)
    if target in QUORUMS:
        return _by_quorum(target == "keep-quorum", nodes, quorum_without or _majority_of(nodes), rng)
    size = {
        "one": 1,
        "some": rng.randint(1, count),
        "minority": (count - 1) // 2,
        "majority": count // 2 + 1,
        "all": count,
    }[target]
    chosen = set(rng.sample(list(nodes), size))
    return tuple(name for name in nodes if name in chosen)


def _by_log(
    longest: bool, nodes: Sequence[str], leader: str | None, last_index: Mapping[str, int], rng: random.Random
) -> tuple[str, ...]:
    if not last_index:
        return ()
    wanted = (max if longest else min)(last_index.values())
    found = [name for name in nodes if last_index.get(name) == wanted]
    others = [name for name in found if name != leader]
    return (rng.choice(others or found),)


def _by_quorum(
    keep: bool, nodes: Sequence[str], quorum_without: Callable[[Collection[str]], bool], rng: random.Random
) -> tuple[str, ...]:
    chosen: list[str] = []
    if not quorum_without(chosen):
        return ()
    for name in rng.sample(list(nodes), len(nodes)):
        if quorum_without([*chosen, name]):
            chosen.append(name)
        elif not keep:
            chosen.append(name)
            break
    return tuple(name for name in nodes if name in chosen)


def _majority_of(nodes: Sequence[str]) -> Callable[[Collection[str]], bool]:
    return lambda gone: len(nodes) - len(set(gone)) > len(nodes) // 2
