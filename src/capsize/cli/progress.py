"""How a run goes, on stderr: a live line on a terminal, else a plain line every few seconds."""

from __future__ import annotations

import sys
from typing import Any

from capsize.watcher import Snapshot

PLAIN_EVERY_S = 5.0


def line(snapshot: Snapshot) -> str:
    """Return the state of a run in one line."""
    told = [f"{snapshot.phase}", f"{min(snapshot.elapsed_s, 1e6):.0f}/{snapshot.time_limit_s:g} s"]
    if snapshot.outcomes:
        total = sum(snapshot.outcomes.values())
        by = " ".join(f"{word} {snapshot.outcomes.get(word, 0):,}" for word in ("ok", "fail", "info"))
        told.append(f"{total:,} operations ({by})")
    if snapshot.leader is not None:
        told.append(f"leader {snapshot.leader} term {snapshot.term}")
    elif snapshot.outcomes:
        told.append("no leader")
    if snapshot.active:
        told.append("fault " + ", ".join(snapshot.active))
    return " · ".join(told)


class Progress:
    """A watcher. Use as a context manager, so that a live line ends with the run."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live: Any = None
        self._said_s = 0.0
        self._phase = ""

    def __enter__(self) -> Progress:
        if sys.stderr.isatty() and not self._quiet:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """Print one line that stays."""
        if self._quiet and not text.startswith("warning"):
            return
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def show(self, snapshot: Snapshot) -> None:
        """Renew the live line, or print a plain one when it is time."""
        if self._quiet:
            return
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(line(snapshot), no_wrap=True, overflow="ellipsis"), refresh=True)
            return
        if snapshot.phase != self._phase:
            self._phase, self._said_s = snapshot.phase, snapshot.elapsed_s
            if snapshot.phase == "load":
                return
        elif snapshot.elapsed_s - self._said_s < PLAIN_EVERY_S:
            return
        self._said_s = snapshot.elapsed_s
        print(f"          {line(snapshot)}", file=sys.stderr, flush=True)
