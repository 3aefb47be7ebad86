"""Who is drawn where: one lane per client thread, grouped by node.

After an unknown outcome a process ends and its thread goes on under a new number. The lanes follow the thread: a
process takes the first lane of its node whose own ended so, and so do final reads. So a run of ten threads keeps ten
lanes, however often clients were renamed, and a client of another tool's history never stands in somebody else's lane.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from capsize.report.ledger import OUTCOMES, Ledger

MOST_LANES = 40
"""From here on a process takes any lane that is free: a history with a process for each operation stays a picture."""
UNKNOWN = OUTCOMES.index("info")


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
    gone: dict[int, bool] = {}
    final: dict[int, bool] = {}
    for row, process in enumerate(ledger.process):
        call, end = ledger.call_us[row], max(ledger.end_us[row], ledger.call_us[row])
        gone[process] = ledger.outcome[row] == UNKNOWN
        final.setdefault(process, ledger.final[row] == 1)
        life = lives.get(process)
        if life is None:
            lives[process] = [call, end, ledger.node[row]]
        else:
            life[1] = max(life[1], end)
    order = {node: position for position, node in enumerate(nodes)}
    held: dict[str, list[tuple[int, bool]]] = {}  # of each lane: until when, and whether its process is gone then
    place: dict[int, tuple[str, int]] = {}
    for process, (first, last, node_code) in sorted(lives.items(), key=lambda item: (item[1][0], item[0])):
        node = ledger.word(node_code)
        lanes = held.setdefault(node, [])
        any_free = final[process] or len(lanes) >= MOST_LANES
        free = (slot for slot, (until, left) in enumerate(lanes) if until <= first and (left or any_free))
        slot = next(free, len(lanes))
        lanes[slot : slot + 1] = [(last, gone[process])]
        place[process] = (node, slot)
    names = sorted(held, key=lambda node: (order.get(node, len(order)), natural(node)))
    start: dict[str, int] = {}
    node_of_lane: list[str] = []
    for node in names:
        start[node] = len(node_of_lane)
        node_of_lane += [node] * len(held[node])
    return Lanes(node_of_lane, {process: start[node] + slot for process, (node, slot) in place.items()})
