"""Read Jepsen's histories: EDN maps, one a line or several, bare or in a vector or list.

`:invoke`, `:ok`, `:fail` and `:info` mean what they mean to Jepsen: a failed cas did nothing and is dropped. Values
of `jepsen.independent` tests, [key value], are recognised from the first operations. Porcupine's KV texts are the
same maps with a `:key`; there an absent key reads as "".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from capsize.errors import HistoryError
from capsize.formats.blocks import blocks_of_lines
from capsize.formats.edn_text import EdnError, EdnReader
from capsize.history import History
from capsize.op import NEMESIS
from capsize.pairing import FAIL, INFO, OK, Pairing

_OUTCOMES = {"ok": OK, "fail": FAIL, "info": INFO}
_SAYS_NOTHING = frozenset({"write", "put", "append", "enqueue", "delete", "remove", "release"})
_LOOK_AHEAD = 400

Event = Mapping[Any, Any]


def read_edn(path: Path) -> History:
    """Return the history in `path`."""
    events = _events(path)
    head = list(islice(events, _LOOK_AHEAD))
    if not head:
        raise HistoryError("no operation; expected maps with :process, :type, :f and :value", where=f"{path}:1")
    timed = all(isinstance(event.get("time"), int) for _, event in head)
    reader = _Reader(Pairing(str(path), timed=timed), independent=_independent([event for _, event in head]))
    for line, event in chain(head, events):
        reader.feed(line, event)
    return History(reader.pairing.finish(), source=str(path))


def _events(path: Path) -> Iterator[tuple[int, Event]]:
    """Yield (line, map) for each map of the file."""
    reader = EdnReader()
    line = 1
    try:
        for first, block, _ in blocks_of_lines(path):
            for line, text in enumerate(block.decode("utf-8", "replace").split("\n"), first):
                yield from reader.feed(text, line)
        reader.finish()
    except EdnError as reason:
        raise HistoryError(str(reason), where=f"{path}:{line}") from None


def _independent(events: list[Event]) -> bool:
    """Return whether every operation is on [key value], as `jepsen.independent` makes them."""
    calls = [event for event in events if event.get("type") == "invoke" and isinstance(event.get("process"), int)]
    values = [event.get("value") for event in calls]
    if not values or any(not isinstance(value, tuple) or len(value) != 2 for value in values):
        return False
    if any("key" in event or event.get("f") == "txn" for event in calls):
        return False
    return any(value[1] is None or isinstance(value[1], tuple) for value in values if isinstance(value, tuple))


class _Reader:
    """Feeds events to a pairing, in our words."""

    def __init__(self, pairing: Pairing, *, independent: bool) -> None:
        self.pairing = pairing
        self.independent = independent
        self.called: dict[int, Any] = {}

    def feed(self, line: int, event: Event) -> None:
        """Read one map."""
        process, kind, f = event.get("process"), event.get("type"), event.get("f")
        time_ns = event.get("time")
        if not isinstance(time_ns, int):
            if self.pairing.timed:
                raise self.pairing.error("no :time, which the events before had; expected nanoseconds", line)
            time_ns = line
        if type(process) is not int:
            if process is None or kind is None:
                raise self.pairing.error("a map without :process or :type; expected an operation", line)
            value = event.get("value")
            fault = {"process": NEMESIS, "type": "info", "f": str(f), "value": value, "time_ns": time_ns}
            self.pairing.fault(fault)
            return
        if not isinstance(f, str):
            raise self.pairing.error(f"f is {f!r}; expected a keyword", line)
        key, value = self._key_and_value(event, line)
        if kind == "invoke":
            self.called[process] = value
            self.pairing.invoke(process, f, key, _argument(f, value), time_ns, line)
        elif kind in _OUTCOMES:
            called = self.called.pop(process, None)
            outcome = _OUTCOMES[kind]
            error = event.get("error")
            result = _result(f, called, value) if outcome == OK else None
            said = None if error is None else error if isinstance(error, str) else repr(error)
            self.pairing.complete(process, outcome, result, time_ns, line, f=f, error=said)
        else:
            raise self.pairing.error(f"type is {kind!r}; expected :invoke, :ok, :fail or :info", line)

    def _key_and_value(self, event: Event, line: int) -> tuple[Any, Any]:
        value = event.get("value")
        if not self.independent:
            key = event.get("key")
            return key, (None if value == "" and key is not None else value)
        if isinstance(value, tuple) and len(value) == 2:
            return value
        if event.get("type") in ("info", "fail"):
            return None, None
        raise self.pairing.error(f"value {value!r}; expected [key value], as the operations before have", line)


def _argument(f: str, value: Any) -> Any:
    """Return what was asked: reads may name in the invocation what they do not know yet."""
    return None if f in ("read", "get", "dequeue") else value


def _result(f: str, called: Any, value: Any) -> Any:
    """Return what the completion says beyond the invocation."""
    if f == "cas":
        return True
    if f in _SAYS_NOTHING:
        return None
    if f in ("read", "get", "dequeue", "txn"):
        return value
    return None if value == called else value
