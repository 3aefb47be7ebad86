"""Readers of histories: our own JSONL, Jepsen's EDN, Porcupine's logs and texts, and the bench's own text.

`read_history` recognises the format by the first bytes of the file. Every reader streams the file in blocks,
refuses what is no history with file, line and what was expected, and gives the same `History`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from capsize.errors import HistoryError, no_such
from capsize.formats.bench import read_bench
from capsize.formats.edn import read_edn
from capsize.formats.etcd import read_etcd_log
from capsize.formats.jsonl import read_jsonl
from capsize.garbage import uncollected
from capsize.history import History

__all__ = ["FORMATS", "read_history", "recognise"]

FORMATS: dict[str, Callable[[Path], History]] = {
    "capsize": read_jsonl,
    "edn": read_edn,
    "etcd-log": read_etcd_log,
    "bench": read_bench,
}
"""The readers by the word that --format takes; "edn" reads Jepsen's histories and Porcupine's KV texts."""

_HEAD_BYTES = 4096


def read_history(path: str | Path, format: str | None = None, *, strict: bool = True) -> History:
    """Return the history in `path`, in the format named or recognised.

    `strict=False` lets a capsize history end in a cut line. Raises HistoryError, or UsageError for an unknown format.
    """
    path = Path(path)
    if format is not None and format not in FORMATS:
        raise no_such("format", format, FORMATS, flag="--format")
    name = format or recognise(path)
    with uncollected():
        return read_jsonl(path, strict=strict) if name == "capsize" else FORMATS[name](path)


def recognise(path: Path) -> str:
    """Return the name of the format of `path`, by its first bytes. Raises HistoryError if none fits."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as reason:
        raise HistoryError(f"cannot be read: {reason.strerror}; expected a history file", where=str(path)) from None
    lines = [line.strip() for line in head.split(b"\n") if line.strip()]
    first = lines[0] if lines else b""
    if first.startswith(b'{"'):
        return "capsize"
    if first.startswith(b"# ") and b"kind=" in first:
        return "bench"
    if any(b"jepsen.util" in line[:200] for line in lines[:20]):
        return "etcd-log"
    while first.startswith((b";", b"#_")) and len(lines) > 1:
        lines = lines[1:]
        first = lines[0]
    if first.startswith((b"{:", b"[", b"(", b"#jepsen")) or first == b"{":
        return "edn"
    said = "the file is empty" if not head else f"starts with {first[:30]!r}"
    raise HistoryError(
        f"{said}; expected a history: capsize JSONL, Jepsen EDN, a Porcupine log or text, or the bench's text",
        where=f"{path}:1",
    )
