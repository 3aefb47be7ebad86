"""The node's own account of what it does: one JSON object a line, written before the messages leave."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
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
        self._encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

    def write(self, events: Iterable[dict[str, Any]]) -> None:
        """Write events as lines, in one call of the system: a killed node leaves no half line but the last."""
        monotonic = time.monotonic_ns()
        wall = time.time_ns()
        times = f',"mono":{monotonic},"wall":{wall},'
        lines: list[str] = []
        for event in events:
            self._count += 1
            lines.append(f"{self._head}{self._count}{times}{self._encode(event)[1:]}\n")
        os.write(self._file, "".join(lines).encode())

    def close(self) -> None:
        os.close(self._file)
