"""The node's own account of what it does: one JSON object a line, written before the messages leave."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

VERSION = 1


class TraceWriter:
    """Appends events to a file; `lc` counts the events of one incarnation, from 1."""

    def __init__(self, path: Path, node: str, incarnation: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._head = f'{{"v":{VERSION},"node":{json.dumps(node)},"inc":{incarnation},"lc":'
        self._count = 0
        self._mark = os.urandom(8).hex()
        """Stands before each event while they are encoded; random, so that no event can hold it."""
        self._cut = f',"{self._mark}",{{'
        self._encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

    def write(self, events: list[dict[str, Any]]) -> None:
        """Write events as lines, in one call of the system: a killed node leaves no half line but the last.

        All events are encoded in one go and cut apart again, which takes half the time of one by one.
        """
        if not events:
            return
        mixed: list[Any] = [self._mark] * (2 * len(events))
        mixed[1::2] = events
        bodies = self._encode(mixed)[len(self._cut) : -1].split(self._cut)
        times = f',"mono":{time.monotonic_ns()},"wall":{time.time_ns()},'
        head, first = self._head, self._count + 1
        self._count += len(bodies)
        lines = [f"{head}{number}{times}{body}\n" for number, body in enumerate(bodies, first)]
        os.write(self._file, "".join(lines).encode())

    def close(self) -> None:
        os.close(self._file)
