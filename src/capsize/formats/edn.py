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
from capsize.formats.edn_columns import EventColumns, read_columns
from capsize.formats.edn_lines import PlainMaps
from capsize.formats.edn_text import EdnError, EdnReader
from capsize.formats.foreign_faults import in_our_words
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
    batches = _batches(path, bulk=bulk)
    head: list[Located] = []
    for batch in batches:
        assert isinstance(batch, list)
        head += batch
        if len(head) >= _LOOK_AHEAD:
            break
    if not head:
        raise HistoryError("no operation; expected maps with :process, :type, :f and :value", where=f"{path}:1")
    sample = [event for _, event in head[:_LOOK_AHEAD]]
    timed = all(isinstance(event.get("time"), int) for event in sample)
    reader = _Reader(Pairing(str(path), timed=timed), independent=_independent(sample))
    for batch in chain([head], batches):
        if not isinstance(batch, list):
            reader.feed_columns(*batch)
        elif bulk:
            reader.feed_all(batch)
        else:
            for line, event in batch:
                reader.feed(line, event)
    return History(in_our_words(reader.pairing.finish()), source=str(path))


def _batches(path: Path, *, bulk: bool) -> Iterator[list[Located] | tuple[int, EventColumns]]:
    """Yield the maps of the file, some thousands at a time: each with its line, or in columns from a line on.

    The first ones are maps, so that they can be looked at.
    """
    reader, plain = EdnReader(), PlainMaps()
    line, seen = 1, 0
    try:
        for first, block, _ in blocks_of_lines(path):
            if bulk and seen >= _LOOK_AHEAD and not reader.is_open:
                columns = read_columns(block)
                if columns is not None:
                    yield first, columns
                    continue
            flat = None if reader.is_open else plain.read(block)
            if flat is not None:
                seen += len(flat)
                yield list(enumerate(flat, first))
                continue
            batch: list[Located] = []
            for line, text in enumerate(block.decode("utf-8", "replace").split("\n"), first):
                batch.extend(reader.feed(text, line))
            seen += len(batch)
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
            fault = {"process": NEMESIS, "by": process, "f": str(f), "value": event.get("value"), "time_ns": time_ns}
            self.pairing.fault(fault | {"error": event.get("error")})
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
            columns = EventColumns(
                [event["type"] for event in events],
                [event["process"] for event in events],
                [event["f"] for event in events],
                [event.get("value") for event in events],
                [event.get("key") for event in events],
                [event["time"] for event in events] if self.pairing.timed else None,
                {at: event["error"] for at, event in enumerate(events) if "error" in event},
            )
        except KeyError:
            raise Doubt from None
        self._feed([line for line, _ in clients], columns)

    def feed_columns(self, first: int, columns: EventColumns) -> None:
        """Read the maps of a block of lines. Raises Doubt where `feed` might refuse one."""
        count = len(columns.kinds)
        others = [at for at, process in enumerate(columns.processes) if type(process) is not int]
        lines = list(range(first, first + count))
        if others:
            for at in others:
                event = {"process": columns.processes[at], "type": columns.kinds[at], "f": columns.words[at]}
                event |= {"value": columns.values[at], "error": columns.errors.get(at)}
                event |= {"time": columns.times[at]} if columns.times is not None else {}
                self.feed(first + at, event)
            away = set(others)
            kept = [at for at in range(count) if at not in away]
            place = {at: number for number, at in enumerate(kept)}
            lines = [lines[at] for at in kept]
            columns = EventColumns(
                [columns.kinds[at] for at in kept],
                [columns.processes[at] for at in kept],
                [columns.words[at] for at in kept],
                [columns.values[at] for at in kept],
                None if columns.keys is None else [columns.keys[at] for at in kept],
                None if columns.times is None else [columns.times[at] for at in kept],
                {place[at]: error for at, error in columns.errors.items() if at in place},
            )
        self._feed(lines, columns)

    def _feed(self, lines: list[int], columns: EventColumns) -> None:
        """Give the operations of clients to the pairing, all at once."""
        kinds, processes, words, values = columns.kinds, columns.processes, columns.words, columns.values
        keys = [None] * len(kinds) if columns.keys is None else columns.keys
        times = lines
        if self.pairing.timed:
            if columns.times is None:
                raise Doubt
            times = columns.times
        if set(map(type, words)) - {str}:
            raise Doubt
        if self.independent:
            if all(type(pair) is list and len(pair) == 2 for pair in values):
                keys, values = [pair[0] for pair in values], [pair[1] for pair in values]
            else:
                both = [self._split(value, kind) for value, kind in zip(values, kinds, strict=True)]
                keys, values = [pair[0] for pair in both], [pair[1] for pair in both]
        elif columns.keys is not None and "" in values:
            # Only a map's text has keys of its own: there "" is absence.
            values = [
                None if value == "" and key is not None else value for key, value in zip(keys, values, strict=True)
            ]
        called = self.called
        reads = _ASKS_NOTHING.intersection(words)
        # What was asked is needed to read an answer only where a word says neither all nor nothing with it.
        silent = _SAYS_NOTHING | _ASKS_NOTHING | {"cas", "txn"}
        results: list[Any] | None = None
        if not silent.issuperset(words):
            results = []
            for kind, process, word, value in zip(kinds, processes, words, values, strict=True):
                if kind == "invoke":
                    called[process] = value
                    results.append(None)
                else:
                    asked_for = called.pop(process, None)
                    results.append(_result(word, asked_for, value) if kind == "ok" else None)

        def asked(places: list[int]) -> tuple[list[Any], list[Any], None]:
            if reads:
                return (
                    [keys[at] for at in places],
                    [None if words[at] in _ASKS_NOTHING else values[at] for at in places],
                    None,
                )
            return [keys[at] for at in places], [values[at] for at in places], None

        def answered(places: list[int]) -> list[Any]:
            if results is not None:
                return [results[at] for at in places]
            return [_result(words[at], None, values[at]) for at in places]

        rows = self.pairing.extend(kinds, processes, words, times, asked, answered)
        owners = [at for at, error in columns.errors.items() if error is not None]
        self.pairing.add_extras(
            [int(rows[at]) for at in owners], [{"error": _said(columns.errors[at])} for at in owners]
        )

    def _split(self, value: Any, kind: str) -> tuple[Any, Any]:
        if isinstance(value, tuple | list) and len(value) == 2:
            return value[0], value[1]
        if kind in ("info", "fail"):
            return None, None
        raise Doubt

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
