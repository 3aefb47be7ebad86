"""The page (`report.html`) of a history that `capsize check` judged, whatever format or folder it came from."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from capsize.store import HISTORY, REPORT, RUN, SCHEDULE, VERDICT, explained, write_json

if TYPE_CHECKING:
    from capsize.cli.judged import Judged

UNTIMED = "The recording has no times: its events are drawn a millisecond apart, in their order."


def page_path(target: Path, one: Judged, *, alone: bool) -> Path:
    """Return where the page of `one` goes: `target` itself if it is an HTML file, else a file in that folder."""
    if target.suffix.lower() in (".html", ".htm"):
        return target
    if alone:
        return target / f"{one.path.resolve().name}.html"
    # Files of one name in several folders must not meet.
    parts = [part for part in one.path.parts if part not in ("/", "..", ".")]
    return target / ("-".join(parts[-3:]) + ".html")


def write_page(one: Judged, path: Path) -> None:
    """Write the page of `one`. Raises StoreError if `path` cannot be written."""
    from capsize.report.html import render

    with tempfile.TemporaryDirectory(prefix="capsize-") as name:
        folder = Path(name) / one.path.resolve().name
        folder.mkdir()
        if one.path.is_dir():
            _lay_out_run(one, folder)
        else:
            _lay_out_file(one, folder)
        page = render(folder)
    with explained(path, "write the report"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8", errors="backslashreplace")


def write_run(one: Judged) -> Path:
    """Write verdict.json and report.html of a run into its folder; return the report's path."""
    from capsize.judging import write_verdict
    from capsize.report.html import write_html

    assert one.verdict is not None
    with explained(one.path, "write the verdict"):
        write_verdict(one.path, one.verdict)
    with explained(one.path / REPORT, "write the report"):
        return write_html(one.path)


def _lay_out_run(one: Judged, folder: Path) -> None:
    """The run as it is, with the verdict of now."""
    assert one.verdict is not None
    for entry in one.path.resolve().iterdir():
        if entry.name not in (VERDICT, REPORT):
            (folder / entry.name).symlink_to(entry)
    write_json(folder / VERDICT, one.verdict.to_json())


def _lay_out_file(one: Judged, folder: Path) -> None:
    """What the report looks for in a run, made of a history alone."""
    from capsize.formats.jsonl import write_jsonl

    assert one.verdict is not None
    assert one.history is not None
    write_jsonl(one.history, folder / HISTORY)
    write_json(folder / VERDICT, one.verdict.to_json())
    (folder / SCHEDULE).write_text("[]\n")
    config = {"workload": one.model, "history": str(one.path)}
    notes = [] if one.history.timed else [UNTIMED]
    argv = ["capsize", "check", str(one.path), "--model", one.named]
    write_json(folder / RUN, {"config": config, "argv": argv, "notes": notes})
