"""A story as a page: the article's steps with what happened here, a message diagram, and every step in words.

One lane a node, time going down, an arrow for every message that arrived; causes stand above their effects. The page is
one file without anything from elsewhere; it follows the reader's colour scheme and works from the keyboard.
"""

from __future__ import annotations

from html import escape

import jinja2

from capsize.report.html import TEMPLATES
from capsize.report.story import PHASES, Step, Story

LANE, ROW, TOP, LEFT, RIGHT = 142, 34, 64, 44, 190
SHORT = {"append": "append", "persist": "fsync", "commit": "commit", "apply": "apply", "truncate": "cut"}


def as_html(story: Story) -> str:
    """Return one self-contained page."""
    entry = story.entry
    first = story.steps[0].at_ns if story.steps else 0
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    steps = [
        {"number": number, "ms": f"{(step.at_ns - first) / 1e6:.3f}", "step": step, "leads": step.node == story.leader}
        for number, step in enumerate(story.steps, 1)
    ]
    return environment.get_template("trace.html.j2").render(
        title=f"Entry {entry.index} of term {entry.term} through {len(story.nodes)} servers",
        story=story, summary=summary(story), phases=phase_rows(story), steps=steps, svg=as_svg(story), words=PHASES,
    )  # fmt: skip


def summary(story: Story) -> str:
    """Return the entry's fate in one sentence.

    >>> from capsize.checker.trace import Entry
    >>> summary(Story(Entry(2, 1, "ab"), "n1", ("n1", "n2", "n3"), (), False))
    'Appended by n1; not committed within these traces, so nobody was told that it was done.'
    """
    if not story.committed:
        told = [step for step in story.steps if step.phase == "reply" and step.kind == "client"]
        answered = f"; the client was answered {told[0].text.rpartition(' ')[2]}" if told else ""
        end = answered or ", so nobody was told that it was done"
        return f"Appended by {story.leader}; not committed within these traces{end}."
    first = story.steps[0].at_ns
    done = next(step for step in story.steps if step.kind == "commit")
    applied = sum(step.kind == "apply" for step in story.steps)
    overwritten = list(dict.fromkeys(step.node for step in story.steps if step.kind == "truncate"))
    more = f"; the log of {', '.join(overwritten)} was overwritten on the way" if overwritten else ""
    return (
        f"Appended by {story.leader}, committed {(done.at_ns - first) / 1e6:.3f} ms after the first step, applied on "
        f"{applied} of {len(story.nodes)} servers{more}."
    )


def phase_rows(story: Story) -> list[dict[str, object]]:
    """Return the article's steps in their order: who acts, what happens, and which steps here they were."""
    rows: list[dict[str, object]] = []
    first = story.steps[0].at_ns if story.steps else 0
    for name, (who, what) in PHASES.items():
        mine = [(number, step) for number, step in enumerate(story.steps, 1) if step.phase == name]
        if not mine and name in ("back-up", "catch-up", "other", "ask"):
            continue
        acting = [step.node for _, step in mine if "follower" not in who or step.node != story.leader]
        nodes = list(dict.fromkeys(acting))
        rows.append(
            {
                "phase": name, "who": who, "what": what, "nodes": ", ".join(nodes), "count": len(mine),
                "first": mine[0][0] if mine else None,
                "ms": f"{(mine[0][1].at_ns - first) / 1e6:.3f}" if mine else "",
            }
        )  # fmt: skip
    return rows


def as_svg(story: Story) -> str:
    """Return the diagram alone; its colours are the page's."""
    lane = {name: LEFT + LANE // 2 + number * LANE for number, name in enumerate(story.nodes)}
    height = TOP + ROW * (len(story.steps) + 1)
    width = LEFT + LANE * len(story.nodes) + RIGHT - LANE // 2
    title = escape(summary(story))
    rows, lines, marks = [_rows(story, width)], [_lanes(story, lane, height)], list[str]()
    sent: dict[str, tuple[int, int]] = {}
    for number, step in enumerate(story.steps, 1):
        x, y = lane[step.node], TOP + (number - 1) * ROW + ROW // 2
        marks.append(f'<g class="step {step.phase}" id="s{number}" data-step="{number}">')
        marks.append(f"<title>{number}. {escape(step.node)} {escape(step.text)}</title>")
        marks.append(f'<text class="number" x="30" y="{y + 4}" text-anchor="end">{number}</text>')
        if step.kind == "send":
            sent[step.message] = (x, y)
            marks.append(f'<circle class="sent" cx="{x}" cy="{y}" r="4"/>')
            marks.append(_label(step, x, y, lane.get(step.to, x)))
        elif step.kind == "recv" and step.message in sent:
            x0, y0 = sent[step.message]
            end = f'x2="{x - (7 if x > x0 else -7)}" y2="{y}"'
            lines.append(f'<line class="message {step.phase}" x1="{x0}" y1="{y0}" {end} marker-end="url(#tip)"/>')
        else:
            word = step.label or SHORT.get(step.kind, step.kind.replace("_", " "))
            marks.append(f'<circle class="event" cx="{x}" cy="{y}" r="7"/>')
            marks.append(f'<text class="event" x="{x + 13}" y="{y + 4}">{escape(word)}</text>')
        marks.append("</g>")
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{title}">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>'
    )
    return "\n".join([head, *rows, *lines, *marks, "</svg>"])


def _rows(story: Story, width: int) -> str:
    """Return the stripes that show which step is looked at; behind everything else."""
    return "\n".join(
        f'<rect class="row" data-step="{number}" x="0" y="{TOP + (number - 1) * ROW}" width="{width}" height="{ROW}"/>'
        for number in range(1, len(story.steps) + 1)
    )


def _lanes(story: Story, lane: dict[str, int], height: int) -> str:
    """Return one lane a server, with its name."""
    parts: list[str] = []
    for name, x in lane.items():
        leads, role = (" leads", " · leader") if name == story.leader else ("", "")
        parts.append(f'<line class="lane" x1="{x}" y1="46" x2="{x}" y2="{height - 12}"/>')
        parts.append(f'<rect class="head{leads}" x="{x - 46}" y="14" width="92" height="30" rx="15"/>')
        parts.append(f'<text class="head{leads}" x="{x}" y="34" text-anchor="middle">{escape(name)}{role}</text>')
    return "\n".join(parts)


def _label(step: Step, x: int, y: int, towards: int) -> str:
    """Return what a message carries, written beside its sender, on the side it leaves to."""
    side, anchor = (10, "start") if towards >= x else (-10, "end")
    return f'<text class="carried" x="{x + side}" y="{y - 6}" text-anchor="{anchor}">{escape(step.label)}</text>'
