"""The nodes' events around a moment, found in traces of any size: by bisection, for every trace is in order of time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from capsize.checker.trace import events_of
from capsize.report.ledger import parse

MOST_LINES = 20_000
"""Lines of one node's trace that are looked at around one moment."""
_MONO = re.compile(rb'"mono":\s?(\d{1,19})\b')


def events_between(
    traces: Mapping[str, Sequence[Path]], start: int, end: int, shifts: Mapping[str, int] | None = None
) -> list[dict[str, Any]]:
    """Return the events of all nodes from `start` to `end` (ns of one clock), in order of time.

    `shifts` says what to add to a node's own clock; the events come with their times on the one.
    Cost: logarithmic in the traces, linear in the window.
    """
    found: list[tuple[int, int, dict[str, Any]]] = []
    for node, paths in traces.items():
        shift = (shifts or {}).get(node, 0)
        for path in paths:
            for line in _lines(path, start - shift, end - shift):
                for event in parse_events(line):
                    if isinstance(event.get("mono"), int) and isinstance(event.get("ev"), str):
                        event["node"] = str(event.get("node", node))
                        event["mono"] += shift
                        order = event.get("lc")
                        found.append((event["mono"], order if isinstance(order, int) else len(found), event))
    found.sort(key=lambda item: item[:2])
    return [event for _, _, event in found]


def parse_events(line: bytes) -> list[dict[str, Any]]:
    """Return the events of one line of a trace; none where it cannot be understood."""
    found = parse(line)
    try:
        return [] if found is None else [dict(event) for event in events_of(found)]
    except (TypeError, ValueError):
        return []


def _lines(path: Path, start: int, end: int) -> Iterable[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(_first(file, start))
            for _ in range(MOST_LINES):
                line = file.readline(1 << 20)
                at = _time(line)
                if not line or (at is not None and at > end):
                    return
                if at is not None and at >= start:
                    yield line
    except OSError:
        return


def _first(file: BinaryIO, start: int) -> int:
    """Return where a line begins that is not later than the first one at or after `start`."""
    low, high = 0, os.fstat(file.fileno()).st_size
    while high - low > 4_096:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline(1 << 20)
        at = None
        for _ in range(50):  # a line without a time says nothing; the next one may
            line = file.readline(1 << 20)
            at = _time(line)
            if at is not None or not line:
                break
        if at is not None and at < start:
            low = middle
        else:
            high = middle
    if low == 0:
        return 0
    file.seek(low)
    file.readline(1 << 20)
    return file.tell()


def _time(line: bytes) -> int | None:
    found = _MONO.search(line)
    return int(found.group(1)) if found else None
