"""What went between the nodes, drawn as wide as the page is: lanes move apart, words keep their size.

Places across are shares of the width between the margins, places down are pixels; a narrower page scrolls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from capsize.report.messages import Mark, Picture
from capsize.report.plain import visible

LANE, ROW, TOP, LEFT, RIGHT = 150, 23, 44, 106, 260
"""The smallest distance of two lanes; the height of a row; what is kept free above, left and right of the lanes."""


def as_svg(picture: Picture, title: str) -> str:
    """Return the diagram; colours and fonts are the page's."""
    lanes = Lanes(picture)
    rows = picture.marks
    place = {id(mark): TOP + 12 + number * ROW for number, mark in enumerate(rows)}
    height = TOP + 12 + ROW * len(rows)
    x = 4 - LEFT
    parts = [f'<text x="{x}" y="{y}" class="quiet">{word}</text>' for y, word in ((16, "time"), (TOP - 14, "in ms"))]
    for node in picture.nodes:
        lane = lanes.at(node)
        parts.append(f'<text x="{lane}" y="16" class="who">{escape(visible(node, 16))}</text>')
        parts.append(f'<line x1="{lane}" y1="{TOP - 18}" x2="{lane}" y2="{height}" class="lane"/>')
    for mark in rows:
        y = place[id(mark)]
        since = (mark.at_ns - picture.start_ns) / 1e6
        parts.append(f'<text x="{x}" y="{y + 4}" class="quiet">{since:.2f}</text>')
        parts += _arrow(mark, lanes, place) if mark.kind in ("send", "recv") else _dot(mark, lanes.at(mark.node), y)
    parts.sort(key=lambda part: part.startswith("<text"))  # words lie above the lines
    return "".join([
        f'<svg class="messages" width="100%" height="{height}" overflow="visible" role="img" '
        f'style="min-width:{LEFT + lanes.narrowest + RIGHT}px;padding:0 {RIGHT}px 0 {LEFT}px">',
        f"<title>{escape(title)}</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" class="tip"/></marker></defs>',
        *parts, "</svg>",
    ])  # fmt: skip


class Lanes:
    """Where each node's lane stands, as a share of the picture's width, and where the arrows begin and end."""

    def __init__(self, picture: Picture) -> None:
        self._gaps = max(len(picture.nodes) - 1, 1)
        self.narrowest = LANE * self._gaps
        self._number = {node: number for number, node in enumerate(picture.nodes)}
        self.sent = {mark.message for mark in picture.marks if mark.kind == "send" and mark.message}
        self.arrived = {mark.message: mark for mark in picture.marks if mark.kind == "recv" and mark.message}

    def __contains__(self, node: str) -> bool:
        return node in self._number

    def at(self, node: str, lanes_on: float = 0.0) -> str:
        """Return the place of a node's lane, or of a point so many lanes to the right of it."""
        return f"{100 * (self._number.get(node, 0) + lanes_on) / self._gaps:.2f}%"

    def to_the_right(self, node: str, of: str) -> bool:
        """Return whether the lane of `node` is further right."""
        return self._number.get(node, 0) > self._number.get(of, 0)


def _dot(mark: Mark, x: str, y: int) -> list[str]:
    accused = " accused" if mark.accused else ""
    shape = (
        f'<rect x="{x}" y="{y - 5}" width="10" height="10" transform="translate(-5)" class="dot {mark.kind}{accused}"/>'
        if mark.kind == "client"
        else f'<circle cx="{x}" cy="{y}" r="{7 if mark.accused else 5}" class="dot {mark.kind}{accused}"/>'
    )
    return [shape, f'<text x="{x}" dx="10" y="{y + 4}" class="told{accused}">{escape(mark.text)}</text>']


def _arrow(mark: Mark, lanes: Lanes, place: Mapping[int, int]) -> list[str]:
    text, x, y = escape(mark.text), lanes.at(mark.node), place[id(mark)]
    accused = " accused" if mark.accused else ""
    got = lanes.arrived.get(mark.message)
    if mark.kind == "recv":
        if got is mark and mark.message in lanes.sent and not mark.accused:  # the arrow ends here
            return []
        dot = f'<circle cx="{x}" cy="{y}" r="4" class="dot{accused}"/>'
        return [dot, f'<text x="{x}" dx="10" y="{y + 4}" class="told">gets {text}</text>']
    if got is not None and got.node in lanes and id(got) in place:
        right = lanes.to_the_right(got.node, of=mark.node)
        return [
            f'<line x1="{x}" y1="{y}" x2="{lanes.at(got.node)}" y2="{place[id(got)]}" class="arrow{accused}" '
            'marker-end="url(#tip)"/>',
            f'<text x="{x}" dx="{8 if right else -8}" y="{y - 3}" class="told small" '
            f'text-anchor="{"start" if right else "end"}">{text}</text>',
        ]
    left = lanes.to_the_right(mark.node, of=mark.to)
    end = lanes.at(mark.node, -0.45 if left else 0.45)
    to = escape(", ".join(visible(node, 16) for node in (mark.to, *mark.others)))
    return [
        f'<line x1="{x}" y1="{y}" x2="{end}" y2="{y + 9}" class="arrow lost"/>',
        f'<text x="{end}" y="{y + 13}" class="told" text-anchor="middle">✗</text>'
        f'<text x="{x}" dx="8" y="{y + (4 if left else -3)}" class="told small">'
        f"{text} (to {to}: not seen to arrive)</text>",
    ]
