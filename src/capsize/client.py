"""The client of a system: one logical process's connection, pinned to one node."""

from __future__ import annotations

from abc import ABC, abstractmethod

from capsize.op import Invocation, Reply


class Client(ABC):
    """One logical process. `open`, then `invoke` one operation at a time, then `close`.

    `invoke` returns a Reply when the system answered; raises `capsize.errors.DefiniteError` only when the
    system certainly did nothing and never will (connection refused, "not the leader" before anything was
    appended); raises anything else when it is not known (timeout, connection reset): the operation is `info`.
    Hidden retries must be off. Every wait is bounded by `timeout_s`.
    """

    timeout_s: float = 5.0

    def open(self) -> None:
        """Connect. Raises DefiniteError when nobody listens."""
        return

    @abstractmethod
    def invoke(self, op: Invocation) -> Reply:
        """Carry out `op` and return the answer."""

    def close(self) -> None:
        """Disconnect; never raises for a connection that is already gone."""
        return
