"""Read Jepsen's histories: EDN maps, one a line or several, bare or in a vector or list.

`:invoke`, `:ok`, `:fail` and `:info` mean what they mean to Jepsen: a failed cas did nothing and is dropped. Values
of `jepsen.independent` tests, [key value], are recognised from the first operations. Porcupine's KV texts are the
same maps with a `:key`; there an absent key reads as "".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from capsize.errors import HistoryError
from capsize.formats.blocks import blocks_of_lines
from capsize.formats.edn_lines import PlainMaps
from capsize.formats.edn_text import EdnError, EdnReader
from capsize.history import History
from capsize.op import NEMESIS
from capsize.pairing import FAIL, INFO, OK, Doubt, Pairing

_OUTCOMES = {"ok": OK, "fail": FAIL, "info": INFO}
_SAYS_NOTHING = frozenset({"write", "put", "append", "enqueue", "delete", "remove", "release"})
_ASKS_NOTHING = frozenset({"read", "get", "dequeue"})
_LOOK_AHEAD = 400

Event = Mapping[Any, Any]
Located = tuple[int, Event]
"""A map and the line it began on."""


def read_edn(path: Path) -> History:
    """Return the history in `path`."""
    try:
        return _read(path, bulk=True)
    except Doubt:
        return _read(path, bulk=False)


def _read(path: Path, *, bulk: bool) -> History:
    batches = _batches(path)
    head: list[Located] = []
    for batch in batches:
        head += batch
        if len(head) >= _LOOK_AHEAD:
            break
    if not head:
        raise HistoryError("no operation; expected maps with :process, :type, :f and :value", where=f"{path}:1")
    sample = [event for _, event in head[:_LOOK_AHEAD]]
    timed = all(isinstance(event.get("time"), int) for event in sample)
    reader = _Reader(Pairing(str(path), timed=timed), independent=_independent(sample))
    for batch in chain([head], batches):
        if bulk:
            reader.feed_all(batch)
        else:
            for line, event in batch:
                reader.feed(line, event)
    return History(reader.pairing.finish(), source=str(path))


def _batches(path: Path) -> Iterator[list[Located]]:
    """Yield the maps of the file, each with its line, some thousands at a time."""
    reader, plain = EdnReader(), PlainMaps()
    line = 1
    try:
        for first, block, _ in blocks_of_lines(path):
            flat = None if reader.is_open else plain.read(block)
            if flat is not None:
                yield list(enumerate(flat, first))
                continue
            batch: list[Located] = []
            for line, text in enumerate(block.decode("utf-8", "replace").split("\n"), first):
                batch.extend(reader.feed(text, line))
            yield batch
        reader.finish()
    except EdnError as reason:
        raise HistoryError(str(reason), where=f"{path}:{line}") from None


def _independent(events: list[Event]) -> bool:
    """Return whether every operation is on [key value], as `jepsen.independent` makes them."""
    calls = [event for event in events if event.get("type") == "invoke" and isinstance(event.get("process"), int)]
    values = [event.get("value") for event in calls]
    if not values or any(not isinstance(value, tuple | list) or len(value) != 2 for value in values):
        return False
    if any("key" in event or event.get("f") == "txn" for event in calls):
        return False
    return any(
        value[1] is None or isinstance(value[1], tuple | list) for value in values if isinstance(value, tuple | list)
    )


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
            result = _result(f, called, value) if outcome == OK else None
            self.pairing.complete(process, outcome, result, time_ns, line, f=f, error=_said(event.get("error")))
        else:
            raise self.pairing.error(f"type is {kind!r}; expected :invoke, :ok, :fail or :info", line)

    def feed_all(self, batch: list[Located]) -> None:
        """Read many maps at once. Raises Doubt where `feed` might refuse one."""
        clients = [(line, event) for line, event in batch if type(event.get("process")) is int]
        if len(clients) < len(batch):
            for line, event in batch:
                if type(event.get("process")) is not int:
                    self.feed(line, event)
        events = [event for _, event in clients]
        try:
            kinds, processes = [event["type"] for event in events], [event["process"] for event in events]
            words = [event["f"] for event in events]
            times = [event["time"] for event in events] if self.pairing.timed else [line for line, _ in clients]
            if self.independent:
                both = [event["value"] for event in events]
                if not all(type(pair) is list and len(pair) == 2 for pair in both):
                    both = [self._key_and_value(event, line) for line, event in clients]
                keys, values = [pair[0] for pair in both], [pair[1] for pair in both]
            else:
                keys, values = [event.get("key") for event in events], [event.get("value") for event in events]
                if any(value == "" for value in values):
                    values = [self._key_and_value(event, line)[1] for line, event in clients]
        except KeyError:
            raise Doubt from None
        if any(type(word) is not str for word in words):
            raise Doubt
        called, results = self.called, list[Any]()
        for number, (kind, process, word) in enumerate(zip(kinds, processes, words, strict=True)):
            value = values[number]
            if kind == "invoke":
                called[process] = value
                results.append(None)
                if word in _ASKS_NOTHING:
                    values[number] = None
            else:
                asked = called.pop(process, None)
                results.append(_result(word, asked, value) if kind == "ok" else None)
        rows = self.pairing.extend(kinds, processes, words, keys, values, results, times)
        for row, event in zip(rows.tolist(), events, strict=True):
            if "error" in event and event["error"] is not None:
                self.pairing.add_extra(row, _said(event["error"]), None)

    def _key_and_value(self, event: Event, line: int) -> tuple[Any, Any]:
        value = event.get("value")
        if not self.independent:
            key = event.get("key")
            return key, (None if value == "" and key is not None else value)
        if isinstance(value, tuple | list) and len(value) == 2:
            return value[0], value[1]
        if event.get("type") in ("info", "fail"):
            return None, None
        raise self.pairing.error(f"value {value!r}; expected [key value], as the operations before have", line)


def _argument(f: str, value: Any) -> Any:
    """Return what was asked: reads may name in the invocation what they do not know yet."""
    return None if f in _ASKS_NOTHING else value


def _said(error: Any) -> str | None:
    return error if error is None or isinstance(error, str) else repr(error)


def _result(f: str, called: Any, value: Any) -> Any:
    """Return what the completion says beyond the invocation."""
    if f == "cas":
        return True
    if f in _SAYS_NOTHING:
        return None
    if f in _ASKS_NOTHING or f == "txn":
        return value
    return None if value == called else value
