"""The controller's end of an agent: orders go out at once, answers come back when they come.

`order_async` writes the order and returns a future, so that one fault reaches five nodes before the first has
answered; `order` waits for the answer, bounded.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from capsize.errors import BackendError

Answer = dict[str, Any]


class Agent:
    """One agent (or the relay, which speaks the same way), behind a pair of byte streams.

    `send` writes bytes to it; `lines` yields its answers and ends when it is gone; `last_words` then says why.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[bytes], None],
        lines: Iterable[bytes],
        last_words: Callable[[], str] = lambda: "",
    ) -> None:
        self.name = name
        self._send = send
        self._lines = lines
        self._last_words = last_words
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._open: dict[int, Future[Answer]] = {}
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
            self._open[number] = future
            try:
                self._send(line)
            except OSError as error:
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
        said = ""
        try:
            for line in self._lines:
                self._take(line)
        except (OSError, ValueError) as error:
            said = f": {error}"
        with self._lock:
            words = self._last_words()
            self._gone = f"{self.name}: the agent is gone{said}" + (f" ({words})" if words else "")
            left, self._open = list(self._open.values()), {}
        for future in left:
            future.set_exception(BackendError(self._gone))

    def _take(self, line: bytes) -> None:
        answer: Answer = json.loads(line)
        with self._lock:
            future = self._open.pop(int(answer.pop("id")), None)
        if future is None:
            return
        if answer.pop("ok"):
            future.set_result(answer)
        else:
            future.set_exception(BackendError(f"{self.name}: {answer['error']}"))
