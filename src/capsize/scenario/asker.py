"""One client of a scenario: what it asks is recorded before it is sent, and what became of it before it returns."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from capsize.errors import no_such
from capsize.load import RETRY_S, Worker
from capsize.op import Invocation, Outcome, Value, freeze

LOOK_S = 0.05


class NotDone(Exception):
    """The system's word that it certainly did nothing and never will (`fail`)."""


class NotKnown(Exception):
    """Whether the operation took effect is not known (`info`)."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one operation: `ok` with its result, `fail` or `info` with the reason."""

    outcome: Outcome
    result: Value = None
    error: str = ""


class Asker:
    """One logical process, pinned to a node. One operation at a time; further threads wait their turn.

    `words` are the operations that the workload's model can judge.
    """

    def __init__(self, worker: Worker, words: frozenset[str], workload: str) -> None:
        self._worker = worker
        self._words = words
        self._workload = workload
        self._turn = threading.Lock()

    @property
    def node(self) -> str:
        """The node it asks."""
        return self._worker.node

    def invoke(self, f: str, key: Value = None, value: object = None) -> Told:
        """Ask once, and return what became of it; raises nothing of the system's. Bounded, also if the client hangs."""
        __tracebackhide__ = True
        if f not in self._words:
            raise no_such(f"operation of the workload {self._workload}", f, self._words)
        op = Invocation(f, key, freeze(value))
        found: list[Outcome | None] = []
        with self._turn:
            asking = threading.Thread(target=lambda: found.append(self._worker.perform(op)), name="asker", daemon=True)
            asking.start()
            while asking.is_alive() and not self._worker.abandon_if_stuck():
                asking.join(LOOK_S)
            outcome, reply, error = (found[0] if found else None), self._worker.reply, self._worker.error or ""
        if outcome is None:  # given up: a read that never answered has done nothing, anything else is not known
            return Told("fail" if f in self._worker.reads else "info", None, error)
        return Told(outcome, reply.result if reply is not None else None, error)

    def ask(self, f: str, key: Value = None, value: object = None, *, within_s: float = 0.0) -> Value:
        """Ask, and return the result; ask anew until it succeeds, for at most `within_s`.

        Each try is an operation of its own. Raises NotDone or NotKnown with what the last try was told.
        """
        __tracebackhide__ = True
        deadline = time.monotonic() + within_s
        while True:
            told = self.invoke(f, key, value)
            if told.outcome == "ok":
                return told.result
            if time.monotonic() >= deadline:
                asked = f"{f} of {key!r} on {self.node}"
                raise (NotDone if told.outcome == "fail" else NotKnown)(f"{asked}: {told.error}")
            time.sleep(RETRY_S)

    def read(self, key: Value, *, within_s: float = 0.0) -> Value:
        """Return a register's value; None when it was never written."""
        __tracebackhide__ = True
        return self.ask("read", key, within_s=within_s)

    def write(self, key: Value, value: object, *, within_s: float = 0.0) -> None:
        """Write a register."""
        __tracebackhide__ = True
        self.ask("write", key, value, within_s=within_s)

    def cas(self, key: Value, old: object, new: object, *, within_s: float = 0.0) -> bool:
        """Set `key` to `new` if it is `old`; return whether it was."""
        __tracebackhide__ = True
        return bool(self.ask("cas", key, (old, new), within_s=within_s))

    def close(self) -> None:
        """Disconnect."""
        self._worker.close()
