"""What is drawn of an anomaly beside its sentences: how far the operations can be ordered, the ring of reasons, the
messages around it, and the faults of that moment. A drawing that fails is a note; the report and the verdict stand.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from capsize.op import Operation
from capsize.report.cycle import shortest_cycle
from capsize.report.faults import FaultRow
from capsize.report.message_picture import as_svg
from capsize.report.messages import Picture, Said, around_operations, before_a_breach
from capsize.report.orders import Order, Orders, model_of, orders_of
from capsize.report.plain import middle_out, moment, visible
from capsize.report.ring import ring_svg
from capsize.report.witness import MOST_DRAWN, Contradiction, Step
from capsize.verdict import Verdict

log = logging.getLogger(__name__)
MOST_PICTURES = 8
"""Anomalies whose messages are drawn; the leading ones first."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Point:
    """Where an operation stands in an order: the step's place, x in percent, and the state after it or why not."""

    place: int
    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One order, ready to be drawn: its points one after the other, and those that are refused at its end."""

    points: list[Point]
    refused: list[Point]


@dataclass(slots=True)
class Drawings:
    """What is drawn of one anomaly; empty where there is nothing to draw."""

    start: str = ""
    lines: list[Line] = field(default_factory=list[Line])
    of: list[int] = field(default_factory=list[int])
    longest: int = 0
    as_writes: list[int] = field(default_factory=list[int])
    complete: bool = True
    ring: str = ""
    reasons: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    messages: str = ""
    messages_left_out: int = 0
    messages_from: str = ""
    """When it begins, as words."""


def draw(
    verdict: Mapping[str, Any], anomalies: Sequence[Contradiction], run: Mapping[str, Any],
    traces: Mapping[str, Sequence[Path]], origin: int | None, notes: list[str],
    shifts: Mapping[str, int] | None = None,
) -> list[Drawings]:  # fmt: skip
    """Return the drawings of each anomaly of `anomalies`, which are those of `verdict` in the same order.

    `origin` and the times of the verdict's events are on one clock; `shifts` bring the traces' own there.
    """
    drawn = [Drawings() for _ in anomalies]
    if not anomalies:
        return drawn
    parsed = tried(lambda: Verdict.from_json(verdict).anomalies, notes, "The anomalies could not be drawn")
    if parsed is None or len(parsed) != len(anomalies):
        return drawn
    pictures = 0
    for shown, anomaly, made in sorted(
        zip(anomalies, parsed, drawn, strict=True), key=lambda item: not item[0].leads
    ):  # fmt: skip
        operations = sorted(anomaly.operations, key=lambda op: op.call_ns)[:MOST_DRAWN]
        if anomaly.details.get("proven_by") and operations:  # only what is in itself impossible proves anything
            tried(lambda: _draw_orders(made, operations, shown.steps, run), notes, f"{shown.name}: no order drawn")  # noqa: B023
            tried(lambda: _draw_ring(made, operations, shown.steps), notes, f"{shown.name}: no ring drawn")  # noqa: B023
        if origin is not None and traces and pictures < MOST_PICTURES:
            tried(
                lambda: _draw_messages(
                    made, _picture(traces, origin, operations, shown.steps, anomaly.events, shifts), shown  # noqa: B023
                ),
                notes, f"{shown.name}: no messages drawn",
            )  # fmt: skip
            pictures += bool(made.messages)
    return drawn


def tried(make: Callable[[], T], notes: list[str], otherwise: str) -> T | None:
    try:
        return make()
    except Exception as error:  # around a plot: whatever it trips over, the report still comes
        log.debug("%s", otherwise, exc_info=True)
        notes.append(f"{otherwise}: {type(error).__name__}: {visible(str(error), 120)}.")
        return None


def faults_at(faults: Sequence[FaultRow], start_us: float, end_us: float) -> list[FaultRow]:
    """Return the faults that held at some time of the interval."""
    return [
        fault for fault in faults
        if fault.landed and fault.start_us <= end_us and (fault.healed_us is None or fault.healed_us >= start_us)
    ]  # fmt: skip


# -- orders ------------------------------------------------------------------------------------------------------------


def _draw_orders(
    made: Drawings, operations: Sequence[Operation], steps: Sequence[Step], run: Mapping[str, Any]
) -> None:
    model = model_of(run.get("model"), operations)
    found: Orders | None = None if model is None else orders_of(operations, model)
    if found is None:
        return
    made.start, made.of, made.longest = visible(found.start, 60), list(found.of), found.longest
    made.as_writes, made.complete = list(found.as_writes), found.complete
    made.lines = [_line(order, steps) for order in found.found]


def _line(order: Order, steps: Sequence[Step]) -> Line:
    """Place the points of an order inside the bars of their operations, from left to right."""
    ends = [steps[place].x + steps[place].width for place in order.places]
    latest = ends[:]
    for number in range(len(latest) - 2, -1, -1):
        latest[number] = min(latest[number], latest[number + 1])
    points: list[Point] = []
    x = 0.0
    for place, limit, state in zip(order.places, latest, order.states, strict=True):
        soonest = max(x + 0.6 if points else 0.0, steps[place].x)
        x = min(max(soonest, min((steps[place].x + limit) / 2, soonest + 6)), max(limit, x))
        points.append(Point(place, round(x, 2), visible(state, 60)))
    refused: list[Point] = []
    for place, why in order.refused:
        step = steps[place]
        at = min(max(x, step.x) + step.width * 0.2, step.x + step.width)
        refused.append(Point(place, round(at, 2), visible(why, 160)))
    return Line(points, refused)


# -- the ring ----------------------------------------------------------------------------------------------------------


def _draw_ring(made: Drawings, operations: Sequence[Operation], steps: Sequence[Step]) -> None:
    names = [f"#{step.index}" if step.index >= 0 else f"({step.number})" for step in steps]
    ring = shortest_cycle(operations, names)
    if len(ring) < 2:
        return
    made.ring = ring_svg(ring, steps)
    made.reasons = [(arrow.kind, arrow.why) for arrow in ring]


# -- messages ----------------------------------------------------------------------------------------------------------


def _draw_messages(made: Drawings, picture: Picture | None, shown: Contradiction) -> None:
    if picture is not None:
        made.messages = as_svg(picture, f"Messages between the nodes around {shown.name}")
        made.messages_left_out, made.messages_from = picture.left_out, moment(picture.start_ns)


def _picture(
    traces: Mapping[str, Sequence[Path]], origin: int, operations: Sequence[Operation], steps: Sequence[Step],
    events: Sequence[Mapping[str, Any]], shifts: Mapping[str, int] | None,
) -> Picture | None:  # fmt: skip
    nodes = list(traces)
    if events:
        return before_a_breach(traces, origin, nodes, events, shifts)
    said: list[Said] = []
    entries: set[tuple[int, int]] = set()
    for op, step in zip(operations, steps, strict=True):
        node = str(op.meta.get("served_by") or op.node or "")
        said.append(Said(op.call_ns, node, f"p{step.process} asks: {middle_out(step.text.split(' → ')[0], 28)}"))
        if op.return_ns is not None:
            told = step.short if " → " in step.text and op.f != "cas" else "done" if op.outcome == "ok" else op.outcome
            said.append(Said(op.return_ns, node, f"p{step.process} is told: {visible(told, 40)}"))
        index, term = op.meta.get("log_index"), op.meta.get("term")
        if op.value is not None and isinstance(index, int) and isinstance(term, int):
            entries.add((index, term))
    return around_operations(traces, origin, nodes, said, entries, [op.key for op in operations], shifts)
