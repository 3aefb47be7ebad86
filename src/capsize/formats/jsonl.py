"""Read and write capsize's own `history.jsonl`, version 1 (docs/history-format.md), block by block."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from capsize.errors import HistoryError
from capsize.formats.blocks import blocks_of_lines
from capsize.history import History, add_event
from capsize.op import NEMESIS
from capsize.pairing import Doubt, Pairing

VERSION = 1

Events = list[dict[str, Any] | None]


def read_jsonl(path: Path, *, strict: bool = True) -> History:
    """Return the history in `path`; see `capsize.history.load_history` for `strict`."""
    try:
        return _read(path, strict=strict, feed=_feed_block)
    except Doubt:
        return _read(path, strict=strict, feed=_feed_events)


def _read(path: Path, *, strict: bool, feed: Callable[[Pairing, int, Events], None]) -> History:
    pairing = Pairing(str(path))
    truncated = False
    seen_header = False
    for first_line, block, last in blocks_of_lines(path):
        if not seen_header:
            head, _, block = block.partition(b"\n")
            _check_header(path, head)
            seen_header = True
            first_line += 1
        cut = last and not strict and not block.endswith(b"\n")
        events, truncated = _parse_block(path, first_line, block, tolerate_cut=cut)
        feed(pairing, first_line, events)
    if not seen_header:
        raise HistoryError("the file is empty; expected the header line of a history", where=f"{path}:1")
    return History(pairing.finish(truncated=truncated), source=str(path))


def _feed_events(pairing: Pairing, first_line: int, events: Events) -> None:
    """Feed the events one by one: slower, and names the one that is wrong."""
    for number, event in enumerate(events, first_line):
        if event is not None:
            add_event(pairing, event, number)


def _feed_block(pairing: Pairing, first_line: int, events: Events) -> None:
    """Feed all events at once. Raises Doubt."""
    clients: list[dict[str, Any]] = [event for event in events if event is not None]
    try:
        processes = [event["process"] for event in clients]
        if NEMESIS in processes:
            for event in clients:
                if event["process"] == NEMESIS:
                    pairing.fault(event)
            clients = [event for event in clients if event["process"] != NEMESIS]
            processes = [event["process"] for event in clients]

        def asked(places: list[int]) -> tuple[list[Any], list[Any], list[str | None]]:
            calls = [clients[at] for at in places]
            return (
                [event.get("key") for event in calls],
                [event.get("value") for event in calls],
                [event.get("node") for event in calls],
            )

        def answered(places: list[int]) -> list[Any]:
            return [clients[at].get("result") for at in places]

        kinds = [event["type"] for event in clients]
        rows = pairing.extend(
            kinds,
            processes,
            [event["f"] for event in clients],
            [event["time_ns"] for event in clients],
            asked,
            answered,
        )
    except (KeyError, TypeError, OverflowError):
        raise Doubt from None
    _keep_extras(pairing, rows.tolist(), kinds, clients)


def _keep_extras(pairing: Pairing, rows: list[int], kinds: list[str], clients: list[dict[str, Any]]) -> None:
    """Keep errors and meta, and what is marked as a final read."""
    owners: list[int] = []
    extras: list[dict[str, Any]] = []
    for row, kind, event in zip(rows, kinds, clients, strict=True):
        if kind == "invoke":
            if "final" in event and event["final"] is True:
                pairing.mark_final(row)
        elif "meta" in event or "error" in event:
            error, meta = event.get("error"), event.get("meta")
            extra = {} if error is None else {"error": error}
            if meta:
                extra["meta"] = meta
            if extra:
                owners.append(row)
                extras.append(extra)
    pairing.add_extras(owners, extras)


def _check_header(path: Path, line: bytes) -> None:
    where = f"{path}:1"
    try:
        header: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        header = None
    if not isinstance(header, dict) or header.get("capsize") != "history":
        expected = '{"capsize":"history","version":1}'
        raise HistoryError(f"no capsize history; expected {expected} on the first line", where=where)
    if header.get("version") != VERSION:
        raise HistoryError(f"history version {header.get('version')!r}; expected {VERSION}", where=where)


def _parse_block(path: Path, first_line: int, block: bytes, *, tolerate_cut: bool) -> tuple[Events, bool]:
    """Return one object per line (None for a blank one), and whether the last line was dropped as cut."""
    body = block[:-1] if block.endswith(b"\n") else block
    if not body:
        return [], False
    try:
        events: list[Any] = orjson.loads(b"[" + body.replace(b"\n", b",") + b"]")
        if len(events) == body.count(b"\n") + 1 and all(type(event) is dict for event in events):
            return events, False
    except orjson.JSONDecodeError:
        pass
    lines = body.split(b"\n")
    events = []
    for number, line in enumerate(lines):
        if not line.strip():
            events.append(None)
            continue
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError as reason:
            if tolerate_cut and number == len(lines) - 1:
                return events, True
            cut = " (the last line is cut)" if number == len(lines) - 1 and not block.endswith(b"\n") else ""
            raise HistoryError(
                f"no JSON: {reason.msg}{cut}; expected one event object a line", where=f"{path}:{first_line + number}"
            ) from None
        if type(event) is not dict:
            raise HistoryError(
                f"{type(event).__name__} instead of an object; expected one event object a line",
                where=f"{path}:{first_line + number}",
            )
        events.append(event)
    return events, False


def write_jsonl(history: History, path: Path) -> None:
    """Write `history`, whatever it was read from, as our own format.

    What never returned is left without a completion. Positions become the order of the lines; they keep their order.
    """
    header = orjson.dumps({"capsize": "history", "version": VERSION})
    with path.open("wb") as file:
        file.write(header + b"\n")
        lines: list[bytes] = []
        for number, event in enumerate(_events(history)):
            lines.append(_as_line({"index": number, **event}))
            if len(lines) >= LINES_AT_ONCE:
                file.write(b"\n".join(lines) + b"\n")
                lines.clear()
        file.write(b"\n".join([*lines, b""]))


def _as_line(event: dict[str, Any]) -> bytes:
    """Return one line; what no JSON writer takes (an endless nesting) stands there as its beginning, in words."""
    try:
        return orjson.dumps(event, option=orjson.OPT_NON_STR_KEYS, default=str)
    except TypeError:  # an integer of more than 64 bits, half a surrogate pair, a deep nesting
        pass
    try:
        return json.dumps(event, default=str).encode()
    except (RecursionError, TypeError, ValueError):
        told = {name: item if isinstance(item, int | str) else "(no JSON)" for name, item in event.items()}
        return json.dumps(told).encode()


LINES_AT_ONCE = 10_000


def _events(history: History) -> Iterator[dict[str, Any]]:
    """Yield the events in their order; the nemesis' where their time is."""
    columns = history.columns
    returned = np.flatnonzero(columns.ret >= 0)
    positions = np.concatenate([columns.call, columns.ret[returned]])
    rows = np.concatenate([np.arange(len(history)), returned])
    calls = np.arange(len(positions)) < len(history)
    faults = sorted((_at(fault), number) for number, fault in enumerate(history.faults))
    for place in np.argsort(positions, kind="stable").tolist():
        op = history.operation(int(rows[place]))
        time_ns = op.call_ns if calls[place] else op.return_ns
        assert time_ns is not None
        while faults and faults[0][0] <= time_ns:
            yield _nemesis(history.faults[faults.pop(0)[1]])
        event: dict[str, Any] = {"time_ns": time_ns, "process": op.process, "f": op.f}
        if op.node is not None:
            event["node"] = op.node
        if calls[place]:
            event |= {"type": "invoke"} | {
                word: value for word, value in (("key", op.key), ("value", op.value)) if value is not None
            }
            if op.meta.get("final") is True:
                event["final"] = True
        else:
            event["type"] = op.outcome
            known = (("result", op.result), ("error", op.error), ("meta", dict(op.meta) or None))
            event |= {word: value for word, value in known if value is not None}
        yield event
    for _, number in faults:
        yield _nemesis(history.faults[number])


def _at(fault: Mapping[str, Any]) -> int:
    time_ns = fault.get("time_ns")
    return time_ns if isinstance(time_ns, int) else 0


def _nemesis(fault: Mapping[str, Any]) -> dict[str, Any]:
    return {**{str(word): value for word, value in fault.items() if word != "index"}, "process": NEMESIS}
