"""The templates of the served pages, and the few files that they load."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from capsize.report.plain import duration, in_micro, seconds, value_text, visible

HERE = Path(__file__).parent / "templates"
REPORTS = Path(__file__).parents[1] / "templates"
SIGNS = {"valid": "✓", "invalid": "✗", "unknown": "?", "running": "▸", "not judged": "–", "unreadable": "!"}


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters.update(
        value=value_text, visible=visible, part=partial(quote, safe="", errors="surrogateescape"), size=size,
        micro=in_micro(duration), moment=in_micro(seconds),
    )  # fmt: skip
    return made


def html(template: str, **facts: Any) -> str:
    """Return a page; everything in `facts` is escaped."""
    page = _environment().get_template(template).render(signs=SIGNS, **facts)
    return page.encode("utf-8", "backslashreplace").decode()


def size(number: int) -> str:
    """Return a number of bytes as a person reads it.

    >>> size(900), size(4_149_599)
    ('900 B', '4.1 MB')
    """
    amount = float(number)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def _file(path: Path) -> Callable[[], bytes]:
    return path.read_bytes


STATIC: dict[str, tuple[Callable[[], bytes], str]] = {
    "report.css": (_file(REPORTS / "report.css"), "text/css"),
    "serve.css": (_file(HERE / "serve.css"), "text/css"),
    "theme.js": (_file(HERE / "theme.js"), "text/javascript"),
    "index.js": (_file(HERE / "index.js"), "text/javascript"),
    "live.js": (_file(HERE / "live.js"), "text/javascript"),
}
"""The files that pages may load, by name; there are no others."""
