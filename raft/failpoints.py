"""Named places at which a test can make a node die, wait or meet a disk error.

Armed by configuration (`"failpoints": {"after_append": "kill"}`) or while running (client order "failpoint").
An action is `kill` (SIGKILL to oneself), `stop` (SIGSTOP to oneself: somebody else says when to go on), `error` (an
I/O error) or `sleep:<ms>`; `@<n>` behind it waits for the n-th time the place is reached. A failpoint fires once, and
says so in the log first, with what `who` says of the server at that moment.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

PLACES = frozenset(
    {
        "before_meta_write",
        "after_meta_write",
        "before_append",
        "after_append",
        "after_fsync",
        "before_truncate",
        "after_truncate",
        "before_snapshot_rename",
        "after_snapshot",
        "before_compact",
        "after_compact",
        "before_vote_persist",
        "after_vote_persist",
        "before_send",
        "before_reply",
    }
)


class Failpoints:
    """The failpoints of one node; safe to use from any thread."""

    def __init__(self, armed: Mapping[str, str] | None = None, *, who: Callable[[], str] = str) -> None:
        self._who = who
        self._armed: dict[str, tuple[str, int]] = {}
        self._lock = threading.Lock()
        for place, action in (armed or {}).items():
            self.arm(place, action)

    def arm(self, place: str, action: str) -> None:
        """Arm one place; an empty action disarms it. Raises ValueError for an unknown place or action."""
        if place not in PLACES:
            raise ValueError(f"no failpoint is called {place!r}; known: {', '.join(sorted(PLACES))}")
        what, _, count = action.partition("@")
        valid = what in ("", "kill", "stop", "error") or (what.startswith("sleep:") and what[6:].isdigit())
        if not valid or (count and not count.isdigit()):
            raise ValueError(f"failpoint {place}: {action!r} is no action; kill, stop, error or sleep:<ms>, then @<n>")
        with self._lock:
            if what:
                self._armed[place] = (what, int(count or 1))
            else:
                self._armed.pop(place, None)

    def reach(self, place: str) -> None:
        """Do what is armed at `place`, if its time has come."""
        if place not in self._armed:
            return
        with self._lock:
            what, left = self._armed.pop(place, ("", 0))
            if left > 1:
                self._armed[place] = (what, left - 1)
                return
        if what:
            log.warning("failpoint %s: %s; %s", place, what, self._who())
        if what == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "error":
            raise OSError(errno.EIO, f"failpoint {place}")
        elif what:
            time.sleep(int(what[6:]) / 1000)
