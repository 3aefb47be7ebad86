"""The controller's end of an agent: orders go out at once, answers come back when they come.

`order_async` writes the order and returns a future, so that one fault reaches five nodes before the first has
answered; `order` waits for the answer, bounded.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from capsize.errors import BackendError

ASKED_AGAIN = frozenset({"hello", "ping", "process", "read", "heal", "thaw"})
"""Orders that may be given twice, when the connection was lost before the answer came."""

Answer = dict[str, Any]
Send = Callable[[bytes], None]


class Agent:
    """One agent (or the relay, which speaks the same way), behind a pair of byte streams.

    `send` writes bytes to it; `lines` yields its answers and ends when it is gone; `last_words` then says why.
    `again` makes a new pair of streams to the same agent when the connection was lost, or raises BackendError. What
    was under way then has failed, unless it can be asked twice; what is ordered meanwhile waits for it.
    """

    def __init__(
        self,
        name: str,
        send: Send,
        lines: Iterable[bytes],
        last_words: Callable[[], str] = lambda: "",
        *,
        again: Callable[[], tuple[Send, Iterable[bytes]]] | None = None,
    ) -> None:
        self.name = name
        self._send = send
        self._lines = lines
        self._last_words = last_words
        self._again = again
        self._parked: list[bytes] | None = None
        """What waits for the connection to come back; None while it is there."""
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._open: dict[int, tuple[Future[Answer], bool, bytes]] = {}
        """Order number -> its future, whether it may be given twice, its line."""
        self._gone = ""
        threading.Thread(target=self._listen, name=f"answers of {name}", daemon=True).start()

    def order_async(self, do: str, **arguments: Any) -> Future[Answer]:
        """Send an order; the future holds the answer, or the BackendError that names the node."""
        future: Future[Answer] = Future()
        number = next(self._ids)
        line = json.dumps({"id": number, "do": do, **arguments}).encode() + b"\n"
        with self._lock:
            if self._gone:
                future.set_exception(BackendError(self._gone))
                return future
            self._open[number] = future, do in ASKED_AGAIN, line
            if do == "quit":
                self._again = None
            if self._parked is not None:
                self._parked.append(line)
                return future
            try:
                self._send(line)
            except OSError as error:
                if self._again is not None:  # the end of the line did not leave: it was certainly not carried out
                    self._open[number] = future, True, line
                    return future
                self._open.pop(number, None)
                future.set_exception(BackendError(f"{self.name}: the agent cannot be reached: {error}"))
        return future

    def order(self, do: str, *, within_s: float = 10.0, **arguments: Any) -> Answer:
        """Send an order and return its answer; raises BackendError when it failed or took longer than `within_s`."""
        return self.answer(self.order_async(do, **arguments), do, within_s)

    def answer(self, future: Future[Answer], do: str, within_s: float = 10.0) -> Answer:
        """Wait for the answer to an order sent before."""
        try:
            return future.result(within_s)
        except FutureTimeout:
            raise BackendError(f"{self.name}: the agent did not answer {do!r} within {within_s:g} s") from None

    @property
    def gone(self) -> bool:
        """Whether the agent has ended or cannot be reached any more."""
        return bool(self._gone)

    def _listen(self) -> None:
        while True:
            said = self._hear()
            with self._lock:
                again = self._again
                kept = {n: it for n, it in self._open.items() if again is not None and it[1]}
                left = [future for number, (future, _, _) in self._open.items() if number not in kept]
                self._open, self._parked = kept, [line for _, _, line in kept.values()]
                words = self._last_words()
                told = f"{self.name}: the agent is gone{said}" + (f" ({words})" if words else "")
                if again is None:
                    self._gone = told
            for future in left:
                future.set_exception(BackendError(told if again is None else f"{self.name}: the connection was lost"))
            if again is None or not self._reconnect(again):
                return

    def _hear(self) -> str:
        """Take answers until there are no more; return why, where something says it."""
        try:
            for line in self._lines:
                self._take(line)
        except (OSError, ValueError) as error:
            return f": {error}"
        return ""

    def _reconnect(self, again: Callable[[], tuple[Send, Iterable[bytes]]]) -> bool:
        """Go on over a new connection with what was ordered meanwhile; otherwise that has failed, too."""
        try:
            send, self._lines = again()
        except BackendError as error:
            with self._lock:
                self._gone = str(error)
                left, self._open = [future for future, _, _ in self._open.values()], {}
            for future in left:
                future.set_exception(BackendError(self._gone))
            return False
        with self._lock:
            self._send = send
            parked, self._parked = self._parked or [], None
            with contextlib.suppress(OSError):  # lost again: the next round tells
                for line in parked:
                    self._send(line)
        return True

    def _take(self, line: bytes) -> None:
        answer: Answer = json.loads(line)
        with self._lock:
            asked = self._open.pop(int(answer.pop("id")), None)
        if asked is None:
            return
        future = asked[0]
        if answer.pop("ok"):
            future.set_result(answer)
        else:
            future.set_exception(BackendError(f"{self.name}: {answer['error']}"))
