"""How a run goes, on stderr: a bar and a table renewed in place on a terminal, else plain lines.

Plain are pipes and files, and every terminal where `CI` is set or `TERM` is `dumb`: one line for each phase, and one
every few seconds.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from capsize.watcher import Snapshot

if TYPE_CHECKING:
    from rich.console import RenderableType

PLAIN_EVERY_S = 5.0
RATE_OVER_S = 2.0


def _term(words: str, term: int | None) -> str:
    return "" if term is None else f"{words} {term}"  # not every system tells it


def line(snapshot: Snapshot) -> str:
    """Return the state of a run in one line."""
    told = [f"{snapshot.phase}", f"{min(snapshot.elapsed_s, 1e6):.0f}/{snapshot.time_limit_s:g} s"]
    if snapshot.outcomes:
        total = sum(snapshot.outcomes.values())
        by = " ".join(f"{word} {snapshot.outcomes.get(word, 0):,}" for word in ("ok", "fail", "info"))
        told.append(f"{total:,} operations ({by})")
    if snapshot.leader is not None:
        told.append(f"leader {snapshot.leader}{_term(' term', snapshot.term)}")
    elif snapshot.outcomes:
        told.append("no leader")
    if snapshot.active:
        told.append("fault " + ", ".join(snapshot.active))
    return " · ".join(told)


def in_place() -> bool:
    """Return whether stderr is a terminal on which lines can be renewed."""
    return sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM", "") not in ("", "dumb")


class Progress:
    """A watcher. Use as a context manager, so that what is renewed ends with the run."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live: Any = None
        self._said_s = 0.0
        self._phase = ""
        self._counted: list[tuple[float, int]] = []

    def __enter__(self) -> Progress:
        if not self._quiet and in_place():
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
        """Renew the table, or print a plain line when it is time."""
        if self._quiet:
            return
        if self._live is not None:
            self._live.update(self._table(snapshot), refresh=True)
            return
        if snapshot.phase != self._phase:
            self._phase, self._said_s = snapshot.phase, snapshot.elapsed_s
            if snapshot.phase == "load":
                return
        elif snapshot.elapsed_s - self._said_s < PLAIN_EVERY_S:
            return
        self._said_s = snapshot.elapsed_s
        print(f"          {line(snapshot)}", file=sys.stderr, flush=True)

    def _table(self, snapshot: Snapshot) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        head = Table.grid(padding=(0, 1))
        done = min(snapshot.elapsed_s, snapshot.time_limit_s)
        head.add_row(
            Text(f"{snapshot.phase:<11}"),
            ProgressBar(total=snapshot.time_limit_s, completed=done, width=32),
            Text(f"{snapshot.elapsed_s:.0f}/{snapshot.time_limit_s:g} s"),
        )
        if not snapshot.outcomes:
            return head
        table = Table.grid(padding=(0, 2))
        for word in ("ok", "fail", "info", "a second", "leader", "faults now"):
            table.add_column(word)
        leader = "none known" if snapshot.leader is None else f"{snapshot.leader}{_term(', term', snapshot.term)}"
        cells = [f"{snapshot.outcomes.get(word, 0):,}" for word in ("ok", "fail", "info")]
        cells += [f"{self._rate(snapshot):.0f}", leader, ", ".join(snapshot.active) or "none"]
        for words, style in ((("ok", "fail", "info", "a second", "leader", "faults now"), "dim"), (cells, "bold")):
            table.add_row(*(Text(word, style=style) for word in words))
        return Group(head, table)

    def _rate(self, snapshot: Snapshot) -> float:
        """Return the answers a second over the last two seconds."""
        total = sum(snapshot.outcomes.values())
        self._counted = [item for item in self._counted if 0 <= snapshot.elapsed_s - item[0] <= RATE_OVER_S]
        self._counted.append((snapshot.elapsed_s, total))
        since, before = self._counted[0]
        return (total - before) / (snapshot.elapsed_s - since) if snapshot.elapsed_s > since else 0.0
