"""Notices processes of the system that ended by themselves: no fault held them, and yet they are gone."""

from __future__ import annotations

import logging

from capsize.cluster.cluster import Cluster
from capsize.cluster.node import ProcessState
from capsize.nemesis.holds import Holds
from capsize.recorder import Recorder

log = logging.getLogger(__name__)


class Crashes:
    """Looks when asked to, and records each crash once."""

    def __init__(self, cluster: Cluster, holds: Holds, recorder: Recorder) -> None:
        self._cluster = cluster
        self._holds = holds
        self._recorder = recorder
        self._known: set[tuple[str, int | None]] = set()

    def look(self) -> list[str]:
        """Record and return the nodes whose process is newly gone. One that a fault keeps down is none of them."""
        gone = self._gone()
        if not gone:
            return []
        again = self._gone()  # a fault may have struck, or have been healed, between two questions
        found: list[str] = []
        for name, state in gone.items():
            if name in again and (name, state.pid) not in self._known:
                self._known.add((name, state.pid))
                self._recorder.nemesis("crash", {"node": name, "pid": state.pid, "code": state.code})
                log.info("the process of %s ended by itself (code %s)", name, state.code)
                found.append(name)
        return found

    def _gone(self) -> dict[str, ProcessState]:
        free = {name for name in self._holds.names if not self._holds.may_have_ended(name)}
        states = self._cluster.at_once(lambda node: node.process())
        return {
            name: state
            for name, state in states.items()
            if not isinstance(state, Exception)
            and not state.alive
            and name in free
            and not self._holds.may_have_ended(name)
        }
