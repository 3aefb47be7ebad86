"""The storage in a thread of its own: a disk that stalls must not stop the node from thinking."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence

from .events import Persisted, Write, WriteFailed
from .storage import Storage

log = logging.getLogger(__name__)


class DiskThread:
    """Carries out writes in order; everything that waits goes into one batch, with one fsync (group commit)."""

    def __init__(self, storage: Storage, report: Callable[[Persisted | WriteFailed], None]) -> None:
        self._storage = storage
        self._report = report
        self._queue: queue.SimpleQueue[Sequence[Write] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, writes: Sequence[Write]) -> None:
        self._queue.put(writes)

    def stop(self, *, timeout_s: float) -> bool:
        """Finish what was asked for; False if the disk did not let that happen in time."""
        self._queue.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            batch: list[Write] = []
            more: Sequence[Write] | None = self._queue.get()
            while more is not None:
                batch += more
                if self._queue.empty():
                    break
                more = self._queue.get()
            if batch:
                self._carry_out(batch)
            if more is None:
                return

    def _carry_out(self, batch: list[Write]) -> None:
        """Carry out a batch and report it. Whatever goes wrong is the core's to decide, in the event loop."""
        try:
            self._storage.carry_out(batch)
        except Exception as error:  # the thread must not die in silence: the node would wait for it for ever
            if not isinstance(error, OSError):
                log.exception("the storage broke")
            self._report(WriteFailed(batch[-1].write, str(error)))
        else:
            self._report(Persisted(batch[-1].write))
