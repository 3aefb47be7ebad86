"""Strikes a node at an exact place of its own code: the failpoint is armed, and the node dies or waits there.

A kill is done by the node itself, at that very instruction. For any other fault the node stops itself there
(SIGSTOP), the fault strikes while it stands, and then it goes on. Seen from outside both times: by the process table.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from capsize.cluster.node import SIGKILL
from capsize.nemesis.holds import SIGCONT, Holds
from capsize.nemesis.lookout import LogTail
from capsize.nemesis.trigger import Failpoint

POLL_S = 0.005
LEADER_EVERY_S = 0.1
SAID_WITHIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Caught:
    """The node that reached the place, its exit code where it died there, and the line of its log that says so."""

    node: str
    code: int | None
    said: str

    @property
    def proven(self) -> bool:
        """Whether it was the failpoint: the node says so, or waits there, or died of a SIGKILL of nobody else."""
        return bool(self.said) or self.code in (None, -SIGKILL)


class Ambush:
    """One armed failpoint. `action` is "crash" or "pause"."""

    def __init__(self, number: int, trigger: Failpoint, action: str, holds: Holds, ending: threading.Event) -> None:
        self._number = number
        self._trigger = trigger
        self._action = action
        self._holds = holds
        self._ending = ending
        self._log: LogTail | None = None
        self._until = time.monotonic() + trigger.within_s if trigger.within_s else None

    @property
    def place(self) -> str:
        """The failpoint."""
        return self._trigger.place

    @property
    def over(self) -> bool:
        """Whether no time is left to lie in wait."""
        return self._ending.is_set() or (self._until is not None and time.monotonic() >= self._until)

    def lie_in_wait(self, name: str, move: Callable[[], str | None]) -> Caught | str:
        """Arm `name` and wait; return who was caught, or why nobody was.

        `move` says on whom to lie in wait from now on, when that has changed (the leader is another one); None: stay.
        A leader that another fault takes down first is followed by the next one.
        """
        why_not = self._arm(name)
        looked = time.monotonic()
        try:
            while not self.over:
                if not why_not:
                    seen = self._look(name)
                    if isinstance(seen, Caught):
                        return seen
                    why_not = seen
                elif self._trigger.node != "leader":
                    return why_not
                if time.monotonic() - looked >= LEADER_EVERY_S:
                    other = move()
                    if other is not None and (other != name or why_not):
                        if not why_not:
                            self._give_up(name)
                        name = other
                        why_not = self._arm(name)
                    looked = time.monotonic()
                self._ending.wait(POLL_S)
        except BaseException:
            self._give_up(name)
            raise
        if why_not:
            return why_not
        self._give_up(name)
        return f"{name} did not reach {self._trigger.place} in time"

    def _look(self, name: str) -> Caught | str:
        """Return what became of the armed node: caught; why it never will be; or "" while it has not come there."""
        state = self._holds.node(name).process()
        if state.alive:
            stands = self._action == "pause" and state.state in ("T", "t") and not self._holds.held("paused", name)
            return Caught(name, None, self._said()) if stands else ""
        by_another = f"{name} was taken down by another fault before it reached {self._trigger.place}"
        if self._holds.held_by_others(name, self._number, but=("out",)):
            self._holds.unexpect(self._number, name)
            return by_another
        if self._action != "crash":
            return f"{name} ended before it reached {self._trigger.place}"
        self._holds.keep_down(self._number, [name])
        self._holds.unexpect(self._number, name)
        said = self._said()
        if not said and self._holds.held("out", name):  # a member that is being removed may end of that, or die here
            self._holds.revive(self._number, [name])
            return by_another
        return Caught(name, state.code, said)

    def release(self, name: str) -> None:
        """Let a node that waits at the place go on, unless a fault keeps it paused or took it down."""
        node = self._holds.node(name)
        if self._action == "pause" and not self._holds.held("paused", name) and node.process().alive:
            node.signal(SIGCONT)

    def _arm(self, name: str) -> str:
        """Arm `name`; return why that cannot be done, "" when it was: one that is down or out of reach cannot be."""
        count = f"@{self._trigger.nth}" if self._trigger.nth != 1 else ""
        if self._action == "crash":
            self._holds.expect(self._number, name)  # from now on its death is no crash of its own
        try:
            self._log = LogTail(self._holds, name)
            self._holds.operator.arm(name, self._trigger.place, self._action + count)
        except Exception as error:  # a client call: down, cut off or frozen meanwhile
            self._give_up(name)
            return f"{name} could not be armed: {error}"
        return ""

    def _give_up(self, name: str) -> None:
        """Disarm what may still be armed; a node that reached the place meanwhile is started, or goes on."""
        with contextlib.suppress(Exception):  # a clean-up: on a node that is down or out of reach nothing is armed long
            self._holds.operator.arm(name, self._trigger.place, "off")
        self._raise(name)
        self.release(name)

    def _raise(self, name: str) -> None:
        """Start a node that reached the place after all, when nobody waited for it any more."""
        if self._action == "crash" and not self._holds.node(name).process().alive:
            self._holds.keep_down(self._number, [name])
            self._holds.revive(self._number, [name])
        self._holds.unexpect(self._number, name)

    def _said(self) -> str:
        """Return the line of the node's log that names the place; empty where the system writes none."""
        until = time.monotonic() + SAID_WITHIN_S
        while self._log is not None:
            for line in self._log.new_lines():
                if self._trigger.place in line:
                    return line
            if time.monotonic() >= until:
                break
            time.sleep(POLL_S)
        return ""
