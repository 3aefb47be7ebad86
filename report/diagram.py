"""A story as a message diagram: one lane a node, time going down, an arrow for every message that arrived."""

from __future__ import annotations

from html import escape

from capsize.report.story import Story

LANE, ROW, TOP, LEFT = 190, 30, 70, 110
COLOURS = {"append": "#1f6feb", "persist": "#6e7781", "commit": "#1a7f37", "apply": "#8250df", "truncate": "#cf222e",
           "client": "#9a6700", "send": "#57606a", "recv": "#57606a"}  # fmt: skip
SHORT = {"append": "append", "persist": "fsync", "commit": "commit", "apply": "apply", "truncate": "cut"}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem; color: #1f2328; }}
svg text {{ font: 12px system-ui, sans-serif; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; margin-top: 1.5rem; width: 100%; }}
td, th {{ border-bottom: 1px solid #d0d7de; padding: .25rem .6rem; text-align: left; vertical-align: top; }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
</style></head><body>
<h1>{title}</h1>
<p>{summary}</p>
<div class="scroll">{svg}</div>
<table><thead><tr><th>step</th><th>ms</th><th>who</th><th>what happens</th></tr></thead><tbody>
{rows}
</tbody></table>
</body></html>
"""


def as_html(story: Story) -> str:
    """Return one self-contained page: the diagram and, below it, the same steps in words."""
    entry = story.entry
    first = story.steps[0].at_ns if story.steps else 0
    title = f"Entry {entry.index} of term {entry.term} through {len(story.nodes)} nodes"
    fate = "committed" if story.committed else "not committed within these traces"
    rows = "\n".join(
        f'<tr><td class="n">{number}</td><td class="n">{(step.at_ns - first) / 1e6:.3f}</td>'
        f"<td>{escape(step.node)}</td><td>{escape(step.text)}</td></tr>"
        for number, step in enumerate(story.steps, 1)
    )
    summary = f"Appended by {escape(story.leader)}, {fate}. Causes stand above their effects; hover for the words."
    return _PAGE.format(title=title, summary=summary, svg=as_svg(story), rows=rows)


def as_svg(story: Story) -> str:
    """Return the diagram alone."""
    lane = {name: LEFT + number * LANE for number, name in enumerate(story.nodes)}
    height = TOP + ROW * (len(story.steps) + 1)
    width = LEFT + LANE * len(story.nodes)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img">']
    parts.append(
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#57606a"/></marker></defs>'
    )
    for name, x in lane.items():
        weight = "700" if name == story.leader else "400"
        mark = " (leader)" if name == story.leader else ""
        parts.append(f'<text x="{x}" y="30" text-anchor="middle" font-weight="{weight}">{escape(name)}{mark}</text>')
        parts.append(f'<line x1="{x}" y1="42" x2="{x}" y2="{height}" stroke="#d0d7de"/>')
    sent: dict[str, tuple[int, int]] = {}
    for number, step in enumerate(story.steps):
        x, y = lane[step.node], TOP + number * ROW
        parts.append(f'<text x="8" y="{y + 4}" fill="#6e7781">{number + 1}</text>')
        title = f"<title>{escape(step.text)}</title>"
        if step.kind == "send":
            sent[step.message] = (x, y)
            parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{COLOURS["send"]}">{title}</circle>')
        elif step.kind == "recv" and step.message in sent:
            x0, y0 = sent[step.message]
            parts.append(
                f'<line x1="{x0}" y1="{y0}" x2="{x}" y2="{y}" stroke="#57606a" marker-end="url(#tip)">{title}</line>'
            )
        else:
            colour = COLOURS.get(step.kind, "#57606a")
            word = SHORT.get(step.kind, step.kind.replace("_", " "))
            parts.append(f'<circle cx="{x}" cy="{y}" r="6" fill="{colour}">{title}</circle>')
            parts.append(f'<text x="{x + 10}" y="{y + 4}" fill="{colour}">{escape(word)}</text>')
    parts.append("</svg>")
    return "\n".join(parts)
