"""A run that goes on, told from its growing history: how many, how fast, who leads, which faults hold now."""

from __future__ import annotations

import os
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from capsize.op import NEMESIS
from capsize.report.ledger import parse
from capsize.report.plain import visible
from capsize.report.serve.confined import Absent, Confined
from capsize.store import HISTORY, LOG

CHUNK = 8 << 20
SECONDS_KEPT = 180
LATENCIES_KEPT = 2_000
NEWS_KEPT = 12
LOG_TAIL = 64_000
OUTCOMES = ("ok", "fail", "info")


@dataclass(slots=True)
class Tail:
    """What was read of one history so far; `advance` reads on."""

    store: Confined
    path: tuple[str, str]
    position: int = 0
    rest: bytes = b""
    phase: str = "starting"
    last_ns: int = 0
    counts: Counter[str] = field(default_factory=Counter[str])
    seconds: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    calls: dict[int, int] = field(default_factory=dict[int, int])
    latencies_us: deque[int] = field(default_factory=lambda: deque[int](maxlen=LATENCIES_KEPT))
    leader: str = ""
    term: int | None = None
    active: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    landed: int = 0
    windows: deque[dict[str, Any]] = field(default_factory=lambda: deque[dict[str, Any]](maxlen=60))
    news: deque[tuple[float, str]] = field(default_factory=lambda: deque[tuple[float, str]](maxlen=NEWS_KEPT))

    def advance(self) -> bool:
        """Read what was written since, a chunk at most; return whether there is more."""
        try:
            with self.store.open(*self.path, HISTORY) as file:
                size = os.fstat(file.fileno()).st_size
                if size < self.position:
                    self._forget()
                file.seek(self.position)
                data = file.read(CHUNK)
        except Absent:
            return False
        self.position += len(data)
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            event = parse(line) if line.strip() else None
            if event is not None and isinstance(event.get("time_ns"), int):
                self._take(event, int(event["time_ns"]))
        return len(data) == CHUNK

    def _forget(self) -> None:
        fresh = Tail(self.store, self.path)
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    def _take(self, event: dict[str, Any], time_ns: int) -> None:
        self.last_ns = max(self.last_ns, time_ns)
        process, kind = event.get("process"), event.get("type")
        if process == NEMESIS:
            self._nemesis(str(event.get("f")), event.get("value"), time_ns)
        elif not isinstance(process, int):
            return
        elif kind == "invoke":
            self.calls[process] = time_ns
        elif kind in OUTCOMES:
            self.counts[kind] += 1
            called = self.calls.pop(process, None)
            if called is not None and kind == "ok":
                self.latencies_us.append((time_ns - called) // 1000)
            bin_ = self.seconds.setdefault(time_ns // 1_000_000_000, [0, 0, 0])
            bin_[OUTCOMES.index(kind)] += 1
            if len(self.seconds) > SECONDS_KEPT:
                del self.seconds[min(self.seconds)]

    def _nemesis(self, word: str, value: Any, time_ns: int) -> None:
        told = value if isinstance(value, dict) else {}
        if word == "phase":
            self.phase = visible(str(told.get("phase")), 40)
            self._say(time_ns, f"phase: {self.phase}")
        elif word == "leader":
            self.leader = visible(str(told.get("leader") or ""), 60)
            self.term = told["term"] if isinstance(told.get("term"), int) else None
            term = "" if self.term is None else f", term {self.term}"
            self._say(time_ns, f"{self.leader} leads{term}" if self.leader else "nobody leads")
        elif word == "status":
            return
        elif "phase" in told:
            self._fault(visible(word, 60), told, time_ns)
        else:
            self._say(time_ns, visible(word, 60))

    def _fault(self, word: str, told: dict[str, Any], time_ns: int) -> None:
        id_, phase = str(told.get("id")), told.get("phase")
        targets = told.get("targets")
        names = [visible(str(name), 60) for name in targets] if isinstance(targets, list) else []
        on = f" of {', '.join(names)}" if names else ""
        if phase == "inject":
            self.active[id_] = {"name": word, "targets": names, "since_s": time_ns / 1e9, "landed": told.get("landed")}
            self.windows.append({"id": id_, "name": word, "from_s": time_ns / 1e9, "to_s": None})
            self._say(time_ns, f"{word}{on} begins")
        elif phase == "probe" and id_ in self.active:
            self.active[id_]["landed"] = told.get("landed")
            self.landed += told.get("landed") is True
            self._say(time_ns, f"{word}{on} {'has landed' if told.get('landed') else 'did not land'}")
        elif phase == "heal":
            self.active.pop(id_, None)
            for window in self.windows:
                if window["id"] == id_ and window["to_s"] is None:
                    window["to_s"] = time_ns / 1e9
            self._say(time_ns, f"{word}{on} is healed")
        elif phase in ("skip", "error"):
            self.active.pop(id_, None)
            self._say(time_ns, f"{word}{on}: {'skipped' if phase == 'skip' else 'went wrong'}")

    def _say(self, time_ns: int, text: str) -> None:
        self.news.append((round(time_ns / 1e9, 3), text))

    def log_tail(self) -> list[str]:
        """Return the last lines of the run's own log, without the chatter of its connections."""
        try:
            with self.store.open(*self.path, LOG) as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - LOG_TAIL))
                lines = file.read(LOG_TAIL).decode("utf-8", "replace").splitlines()
        except Absent:
            return []
        told = [line for line in lines[1 if size > LOG_TAIL else 0 :] if " DEBUG " not in line]
        return [visible(line, 300) for line in told[-14:]]

    def snapshot(self) -> dict[str, Any]:
        """Return what a person following the run wants to see now."""
        latest = self.last_ns // 1_000_000_000
        bins = [[second, *self.seconds.get(second, [0, 0, 0])] for second in range(max(0, latest - 119), latest + 1)]
        whole = bins[:-1][-5:]
        order = sorted(self.latencies_us)
        return {
            "phase": self.phase,
            "elapsed_s": round(self.last_ns / 1e9, 3),
            "counts": {word: self.counts[word] for word in OUTCOMES},
            "open": len(self.calls),
            "per_second": round(sum(sum(bin_[1:]) for bin_ in whole) / len(whole), 1) if whole else 0.0,
            "p50_us": order[len(order) // 2] if order else None,
            "p99_us": order[min(len(order) - 1, len(order) * 99 // 100)] if order else None,
            "leader": self.leader,
            "term": self.term,
            "active": list(self.active.values()),
            "landed": self.landed,
            "news": list(self.news)[::-1],
            "seconds": bins,
            "windows": [{word: window[word] for word in ("name", "from_s", "to_s")} for window in self.windows],
            "log": self.log_tail(),
        }
