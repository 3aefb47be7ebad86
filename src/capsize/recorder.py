"""Writes `history.jsonl` while the run goes on: every event on disk before the next thing happens.

Times are taken while the line is written: an invocation's before it is sent, a completion's after its answer came.
Intervals can only come out too wide by that, which never makes a correct history look wrong.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from capsize.clock import Clock
from capsize.errors import StoreError
from capsize.op import NEMESIS, Invocation, Outcome, Value
from capsize.store import explained


class Recorder:
    """One history file. Safe from any thread. `failure` is set once a line could not be written."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.failure: StoreError | None = None
        self.outcomes: Counter[str] = Counter()
        self.keys: dict[Value, None] = {}
        """Every key asked for, in order of first appearance."""
        self._clock = clock
        self._lock = threading.Lock()
        self._index = 0
        with explained(path, "write the history"):
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._size = 0
        self._write(b'{"capsize":"history","version":1}\n')

    def invoke(self, process: int, op: Invocation, node: str, *, final: bool = False) -> None:
        """Record that `process` is about to ask for `op`."""
        event = {"process": process, "type": "invoke", "f": op.f, "key": op.key, "value": op.value, "node": node}
        with self._lock:
            self._event(event | {"final": True} if final else event)
            self.keys.setdefault(op.key)

    def complete(
        self,
        process: int,
        op: Invocation,
        node: str,
        outcome: Outcome,
        *,
        result: Value = None,
        error: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Record what became of it."""
        event: dict[str, Any] = {"process": process, "type": outcome, "f": op.f, "key": op.key, "value": op.value}
        event |= {"node": node, "result": result} if outcome == "ok" else {"node": node, "error": error}
        if meta:
            event["meta"] = dict(meta)
        with self._lock:
            self._event(event)
            self.outcomes[outcome] += 1

    def nemesis(self, word: str, value: Mapping[str, Any]) -> None:
        """Record a fault, a phase of the run, or a change of leader."""
        with self._lock:
            self._event({"process": NEMESIS, "type": "info", "f": word, "value": dict(value)})

    def phase(self, name: str, **more: Any) -> None:
        """Record that a phase of the run begins."""
        self.nemesis("phase", {"phase": name, **more})

    def close(self) -> None:
        """Put everything on disk; idempotent."""
        with self._lock:
            if self._file >= 0:
                os.fsync(self._file)
                os.close(self._file)
                self._file = -1

    def _event(self, event: dict[str, Any]) -> None:
        head = {"index": self._index, "time_ns": self._clock.now_ns()}
        try:
            line = orjson.dumps(head | event, default=str)
        except TypeError:  # a number beyond 64 bits, a key that is no text: the slower writer takes them
            line = json.dumps(head | event, default=str).encode()
        self._write(line + b"\n")
        self._index += 1

    def _write(self, line: bytes) -> None:
        if self.failure is not None:
            raise StoreError(str(self.failure))
        try:
            with explained(self.path, "write the history"):
                if self._file < 0:
                    raise OSError("the history is closed")
                if os.write(self._file, line) < len(line):  # a full disk takes the beginning of a line
                    os.truncate(self.path, self._size)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self._size += len(line)
        except StoreError as error:
            self.failure = error
            raise
