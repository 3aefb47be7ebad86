"""A text file of any size, a screenful at a time: from a place, from the end, or the lines that hold a word."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import BinaryIO

from capsize.report.plain import visible

PAGE_BYTES = 48 << 10
LONGEST_LINE = 2_000
MOST_FOUND = 400
SEARCHED_BYTES = 64 << 20
"""How far one request looks for a word; the page offers to look on."""
CHUNK = 1 << 20


@dataclass(slots=True)
class Page:
    """Some lines of a file, each with where it begins; `before` and `after` are where the neighbouring pages begin."""

    size: int
    start: int = 0
    end: int = 0
    lines: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    find: str = ""
    more: bool = False

    @property
    def before(self) -> int:
        return max(0, self.start - PAGE_BYTES)


def page(file: BinaryIO, *, at: int = 0, find: str = "") -> Page:
    """Return the lines from byte `at` on (negative: the last ones), or those from there on that hold `find`."""
    size = os.fstat(file.fileno()).st_size
    at = max(0, size - PAGE_BYTES) if at < 0 else min(at, size)
    return _search(file, size, at, find) if find else _read(file, size, at)


def _read(file: BinaryIO, size: int, at: int) -> Page:
    file.seek(max(0, at - 1))
    inside = at > 0 and file.read(1) != b"\n"
    data = file.read(PAGE_BYTES)
    if inside:  # begin with a whole line, if there is one
        first = data.find(b"\n") + 1
        at, data = (at + first, data[first:]) if 0 < first < len(data) else (at, data)
    last = data.rfind(b"\n") + 1
    if at + len(data) < size and last > 0:
        data = data[:last]
    found = Page(size, at, at + len(data), more=at + len(data) < size)
    position = at
    for line in data.split(b"\n")[: None if not data.endswith(b"\n") else -1]:
        found.lines.append((position, _text(line)))
        position += len(line) + 1
    return found


def _search(file: BinaryIO, size: int, at: int, find: str) -> Page:
    file.seek(at)
    needle = find.encode("utf-8", "surrogateescape").lower()
    found = Page(size, at, at, find=find)
    position, rest = at, b""
    while position - at < SEARCHED_BYTES and len(found.lines) < MOST_FOUND:
        data = file.read(CHUNK)
        if not data:
            _take(found, position - len(rest), rest, needle)
            found.end = size
            return found
        position += len(data)
        whole = rest + data
        last = whole.rfind(b"\n") + 1
        if last == 0 and len(whole) < 4 * CHUNK:
            rest = whole
            continue
        last = last or len(whole)
        start = position - len(whole)
        if needle in whole[:last].lower():
            for line in whole[:last].split(b"\n"):
                _take(found, start, line, needle)
                start += len(line) + 1
        rest = whole[last:]
    found.end, found.more = min(position - len(rest), size), True
    return found


def _take(found: Page, position: int, line: bytes, needle: bytes) -> None:
    if needle in line.lower():
        found.lines.append((position, _text(line)))


def _text(line: bytes) -> str:
    return visible(line[: LONGEST_LINE * 4].decode("utf-8", "replace"), LONGEST_LINE)
