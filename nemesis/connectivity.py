"""What a cut leaves connected: the groups of nodes that hear each other, and whether a leader can reach a majority."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

Cuts = Mapping[str, Collection[str]]
"""Receiver -> the nodes whose packets it drops."""


@dataclass(frozen=True, slots=True)
class Connectivity:
    """`groups`: nodes joined by links open in both directions, largest first. `leaders`: who could lead a majority."""

    groups: tuple[tuple[str, ...], ...]
    leaders: tuple[str, ...]

    @property
    def quorum(self) -> bool:
        """Whether some node can still exchange messages with a majority, itself counted."""
        return bool(self.leaders)


def connectivity(
    nodes: Sequence[str], cuts: Cuts, down: Collection[str] = (), *, voters: Collection[str] | None = None
) -> Connectivity:
    """Return what is left of the full mesh of `nodes` under `cuts`, with the nodes in `down` gone.

    A leader needs a majority of the `voters`, of whom it is one; None: all nodes vote.

    >>> left = connectivity(["n1", "n2", "n3"], {"n1": ["n2", "n3"], "n2": ["n1"], "n3": ["n1"]})
    >>> left.groups, left.leaders
    ((('n2', 'n3'), ('n1',)), ('n2', 'n3'))
    """
    up = [name for name in nodes if name not in down]
    mesh: nx.Graph[str] = nx.Graph()
    mesh.add_nodes_from(up)
    for place, one in enumerate(up):
        for other in up[place + 1 :]:
            if other not in cuts.get(one, ()) and one not in cuts.get(other, ()):
                mesh.add_edge(one, other)
    counted = set(nodes if voters is None else voters)
    majority = len(counted) // 2 + 1
    groups = sorted((tuple(sorted(group)) for group in nx.connected_components(mesh)), key=lambda g: (-len(g), g))
    leaders = tuple(
        name for name in up if name in counted and 1 + len(counted.intersection(mesh.neighbors(name))) >= majority
    )
    return Connectivity(tuple(groups), leaders)
