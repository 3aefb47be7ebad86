"""A summary in Markdown, as GitHub shows it on the page of a job: a table, and what speaks against each run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from html import escape

from capsize.report.plain import visible
from capsize.report.result import Result

SIGNS = {"valid": "✅", "invalid": "❌", "unknown": "⚠️", "error": "🛑"}
MOST_ROWS = 200
MOST_CHARACTERS = 400_000
"""GitHub shows up to 1 MiB a step; what comes after is left out."""
_MARKED = re.compile(r"([\\`*_{}\[\]()|~@$])")


def markdown(results: Sequence[Result], *, title: str, repeat: str = "") -> str:
    """Return the summary; what a system under test wrote cannot become markup in it."""
    words = Counter(result.word for result in results)
    counted = ", ".join(f"{words[word]} {word}" for word in ("invalid", "error", "unknown", "valid") if words[word])
    gravest = next((word for word in ("invalid", "error", "unknown", "valid") if words[word]), "unknown")
    lines = [f"## {SIGNS[gravest]} {plain(title)}: {counted or 'nothing was judged'}", ""]
    columns = list(dict.fromkeys(word for result in results for word, _ in result.facts))
    lines += ["| | " + " | ".join([plain(word) for word in ("run", *columns)]) + " | what was found |"]
    lines += ["|---" * (len(columns) + 3) + "|"]
    for result in results[:MOST_ROWS]:
        facts = dict(result.facts)
        cells = [result.name, *(facts.get(word, "") for word in columns), result.headline]
        lines.append(f"| {SIGNS[result.word]} {result.word} | " + " | ".join(plain(cell) for cell in cells) + " |")
    if len(results) > MOST_ROWS:
        lines.append(f"\n{len(results) - MOST_ROWS} more are not shown here.")
    for result in results[:MOST_ROWS]:
        told = result.told()
        if result.word != "valid" and told:
            lines += ["", f"<details><summary>{SIGNS[result.word]} {_in_html(result.name)}</summary>", "", "<pre>"]
            lines += [_in_html(line) for line in told]
            lines += ["", _in_html(result.repeat), "</pre>", "</details>"]
    if repeat:
        lines += ["", "<pre>" + _in_html(repeat) + "</pre>"]
    text = "\n".join(lines) + "\n"
    if len(text) > MOST_CHARACTERS:
        text = text[:MOST_CHARACTERS].rsplit("\n", 1)[0] + "\n</pre></details>\n\nCut: too long to be shown.\n"
    return text


def plain(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, in one cell of a table.

    >>> plain("a|b <script> *x*")
    'a\\\\|b &lt;script&gt; \\\\*x\\\\*'
    """
    return _MARKED.sub(r"\\\1", escape(visible(text, 600), quote=False))


def _in_html(text: str) -> str:
    return escape(visible(text, 4000)) or "&nbsp;"
