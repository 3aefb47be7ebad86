"""A ring of reasons as a drawing: operations around an ellipse, each with an arrow to the one that it must precede."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from capsize.report.cycle import START, TIME, Arrow
from capsize.report.plain import visible
from capsize.report.witness import Step


def ring_svg(ring: Sequence[Arrow], steps: Sequence[Step]) -> str:
    """Return the ring as a drawing: operations around an ellipse, numbered arrows between them."""
    count = len(ring)
    width, height = 480, 170 if count == 2 else 230 + 16 * max(0, count - 4)
    radius_x, radius_y = width / 2 - 95, height / 2 - 40
    places: list[tuple[float, float]] = []
    for number in range(count):
        turn = math.pi + 2 * math.pi * number / count
        places.append((width / 2 + radius_x * math.cos(turn), height / 2 + radius_y * math.sin(turn)))
    parts = [
        f'<svg class="ring" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
        f"<title>{count} operations, each of which must come before the next</title>",
        '<defs><marker id="ring-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" '
        'orient="auto"><path d="M0 0 8 4 0 8z" class="tip"/></marker></defs>',
    ]
    for number, arrow in enumerate(ring):
        (x0, y0), (x1, y1) = places[number], places[(number + 1) % count]
        bend = 0.5 if count == 2 else 0.16
        mid_x, mid_y = (x0 + x1) / 2 + (y1 - y0) * bend, (y0 + y1) / 2 - (x1 - x0) * bend
        if count == 2:
            mid_y = height / 2 - 78 if number == 0 else height / 2 + 78
        sx, sy = _edge(x0, y0, mid_x, mid_y)
        ex, ey = _edge(x1, y1, mid_x, mid_y)
        label_x, label_y = (sx + 2 * mid_x + ex) / 4, (sy + 2 * mid_y + ey) / 4
        dash = "" if arrow.kind == TIME else ' stroke-dasharray="7 4"'
        parts.append(
            f'<path d="M{sx:.0f} {sy:.0f} Q{mid_x:.0f} {mid_y:.0f} {ex:.0f} {ey:.0f}" class="arrow"{dash} '
            f'marker-end="url(#ring-tip)"/><circle cx="{label_x:.0f}" cy="{label_y:.0f}" r="10" class="label"/>'
            f'<text x="{label_x:.0f}" y="{label_y + 4:.0f}" text-anchor="middle" class="number">'
            f"{chr(97 + number % 26)}</text>"
        )
    for number, arrow in enumerate(ring):
        x, y = places[number]
        first, second = ("initial value", "") if arrow.before == START else _words(steps[arrow.before])
        parts.append(
            f'<rect x="{x - 80:.0f}" y="{y - 20:.0f}" width="160" height="40" rx="7" class="box"/>'
            f'<text x="{x:.0f}" y="{y - 3:.0f}" text-anchor="middle" class="what">{escape(first)}</text>'
            f'<text x="{x:.0f}" y="{y + 13:.0f}" text-anchor="middle" class="quiet">{escape(second)}</text>'
        )
    return "".join([*parts, "</svg>"])


def _words(step: Step) -> tuple[str, str]:
    index = f"#{step.index} · " if step.index >= 0 else ""
    return visible(step.text, 21), f"{index}p{step.process}{f' on {step.node}' if step.node else ''}"


def _edge(x: float, y: float, to_x: float, to_y: float) -> tuple[float, float]:
    """Return where a line from the middle of a box at (x, y) leaves it."""
    dx, dy = to_x - x, to_y - y
    scale = min(84 / abs(dx) if dx else 1e9, 24 / abs(dy) if dy else 1e9, 1.0)
    return x + dx * scale, y + dy * scale
