"""Looks at `history.jsonl` while it is being written, and tells the first anomaly in it.

It reads the file like anybody else: nobody who writes to it waits for this thread, or knows of it. It rests four times
as long as it judged, key by key, so that it takes a fifth of one core at most, in small bites. What it finds ends a
load early; the verdict is judged from the files as always.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.checker import Checker
from capsize.checker.models.model import plain
from capsize.checker.watch import Watch
from capsize.op import freeze
from capsize.verdict import Axis

log = logging.getLogger(__name__)

REST_S = 0.25
REST_FACTOR = 4
ONLY_WHEN_CALLED = 1 << 62
JOIN_S = 5.0
BUDGET = Budget(steps=100_000, bytes=1 << 26)
"""Of one key of a prefix: about a second in plain Python."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Where a history became illegal: the answer that nothing explains, and why."""

    at_s: float
    """When it was recorded."""
    seen_s: float
    """Up to when answers had been read by then."""
    event: int
    operation: int
    what: str
    why: str

    def to_json(self) -> dict[str, Any]:
        """Return it as run.json keeps it."""
        return {
            "at_s": self.at_s, "seen_s": self.seen_s, "event": self.event, "operation": self.operation,
            "what": self.what, "why": self.why,
        }  # fmt: skip

    def __str__(self) -> str:
        return f"at {self.at_s:.3f} s, operation {self.operation:,}: {self.what}: {self.why}"


class Lookout:
    """One thread over one file. `start`; `found` once there is an anomaly; `stop`; then `told`."""

    def __init__(self, path: Path, checkers: Sequence[Checker]) -> None:
        self.path = path
        self.found: Anomaly | None = None
        self._watches = [Watch(checker, budget=BUDGET, every=ONLY_WHEN_CALLED) for checker in checkers]
        self._began_s = 0.0
        self._broke = ""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._look, name="lookout", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ending.set()
        self._thread.join(JOIN_S)

    def told(self) -> str:
        """Return what could not be watched; "" when everything was."""
        hard = sum(watch.hard for watch in self._watches)
        if self._broke:
            return f"the history could not be watched for anomalies to the end: {self._broke}"
        if hard and self.found is None:
            keys = "1 key was" if hard == 1 else f"{hard} keys were"
            return f"{keys} too hard to be watched for anomalies during the load; the verdict judges all"
        return ""

    def _look(self) -> None:
        try:
            with self.path.open("rb") as file:
                left = b""
                while self.found is None and not self._ending.wait(REST_S):
                    self._began_s = time.perf_counter()
                    *lines, left = (left + file.read()).split(b"\n")
                    self._judge([json.loads(line) for line in lines])
        except Exception as error:  # a watch that breaks stops no run, and judges none
            log.exception("the lookout broke")
            self._broke = f"{type(error).__name__}: {error}"

    def _rest(self) -> bool:
        ending = self._ending.wait(REST_FACTOR * (time.perf_counter() - self._began_s))
        self._began_s = time.perf_counter()
        return ending

    def _judge(self, events: Sequence[Mapping[str, Any]]) -> None:
        for watch in self._watches:
            for event in events:
                watch.event(event)
            watch.judge(self._rest)
            if watch.verdict is not None and watch.event_at is not None:
                last, because = watch.event_at, watch.verdict.axes[Axis.SAFETY].because
                seen_ns = max(int(event.get("time_ns", 0)) for event in events) if events else int(last["time_ns"])
                self.found = Anomaly(
                    int(last["time_ns"]) / 1e9, seen_ns / 1e9, int(last["index"]), watch.row_at, _answer(last),
                    because[0] if because else watch.checker.name,
                )  # fmt: skip
                return


def _answer(event: Mapping[str, Any]) -> str:
    """Return a completion in words: "p3 write key 5 17: ok"."""
    words = [f"p{event['process']}", str(event["f"])]
    if event.get("key") is not None:
        words.append(f"key {plain(freeze(event['key']))}")
    if event.get("value") is not None:
        words.append(plain(freeze(event["value"])))
    answer = plain(freeze(event["result"])) if event.get("result") is not None else str(event["type"])
    return f"{' '.join(words)} → {answer}" + (f" on {event['node']}" if event.get("node") else "")
