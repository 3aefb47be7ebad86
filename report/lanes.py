"""Who is drawn where: one lane per client thread, grouped by node.

After an unknown outcome a process ends and its thread goes on under a new number. The lanes follow the thread: a
process takes the first lane of its node that is free. So a run of ten threads keeps ten lanes, however often
clients were renamed, and histories of other tools need no hint.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from capsize.report.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Lanes:
    """`node_of_lane` gives each lane's node ("" if unknown), `lane_of_process` the lane of each process."""

    node_of_lane: list[str]
    lane_of_process: dict[int, int]


def natural(name: str) -> list[tuple[int, int | str]]:
    """Return a sort key under which n10 comes after n9."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.findall(r"[0-9]+|[^0-9]+", name)]


def lay_out(ledger: Ledger, nodes: Iterable[str]) -> Lanes:
    """Return the lanes of the ledger's processes; `nodes` come first, in their order."""
    lives: dict[int, list[int]] = {}
    for row, process in enumerate(ledger.process):
        call, end = ledger.call_us[row], max(ledger.end_us[row], ledger.call_us[row])
        life = lives.get(process)
        if life is None:
            lives[process] = [call, end, ledger.node[row]]
        else:
            life[1] = max(life[1], end)
    order = {node: position for position, node in enumerate(nodes)}
    free_at: dict[str, list[int]] = {}
    place: dict[int, tuple[str, int]] = {}
    for process, (first, last, node_code) in sorted(lives.items(), key=lambda item: (item[1][0], item[0])):
        node = ledger.word(node_code)
        lanes = free_at.setdefault(node, [])
        slot = next((slot for slot, busy_until in enumerate(lanes) if busy_until <= first), len(lanes))
        if slot == len(lanes):
            lanes.append(last)
        else:
            lanes[slot] = last
        place[process] = (node, slot)
    names = sorted(free_at, key=lambda node: (order.get(node, len(order)), natural(node)))
    start: dict[str, int] = {}
    node_of_lane: list[str] = []
    for node in names:
        start[node] = len(node_of_lane)
        node_of_lane += [node] * len(free_at[node])
    return Lanes(node_of_lane, {process: start[node] + slot for process, (node, slot) in place.items()})
