"""The operations of one `history.jsonl` as columns, read with patience: a broken line is counted, never fatal.

The checkers refuse a history that is none; the report must still come, so it reads for itself. Times are kept in
microseconds, values as interned text, so that a hundred thousand operations are a few megabytes in the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from capsize.op import NEMESIS
from capsize.report.plain import count, value_text, visible

OUTCOMES = ("ok", "fail", "info")
LARGEST_EXACT = 2**53
META_COLUMNS = ("term", "log_index", "served_by")


class Words:
    """Interns words: the same word gets the same small number."""

    def __init__(self) -> None:
        self.table: list[int | str] = []
        self._codes: dict[int | str, int] = {}

    def code(self, word: int | str) -> int:
        """Return the number of `word`."""
        known = self._codes.get(word)
        if known is None:
            known = self._codes[word] = len(self.table)
            self.table.append(word)
        return known

    def value(self, value: Any) -> int:
        """Return the number of a JSON value; exact integers stay numbers, all else becomes text."""
        if type(value) is int and -LARGEST_EXACT < value < LARGEST_EXACT:
            return self.code(value)
        return self.code(value_text(value))


@dataclass(slots=True)
class Ledger:
    """Every operation as one row over parallel columns, in the order of the calls; nemesis events beside them.

    `end_us` is when the completion was recorded, -1 if none was. Codes index the tables of the same name;
    -1 stands for "nothing recorded". `index` numbers the operations in the order recorded, as `History` does.
    """

    index: list[int] = field(default_factory=list[int])
    call_us: list[int] = field(default_factory=list[int])
    end_us: list[int] = field(default_factory=list[int])
    process: list[int] = field(default_factory=list[int])
    f: list[int] = field(default_factory=list[int])
    key: list[int] = field(default_factory=list[int])
    argument: list[int] = field(default_factory=list[int])
    result: list[int] = field(default_factory=list[int])
    node: list[int] = field(default_factory=list[int])
    outcome: list[int] = field(default_factory=list[int])
    error: list[int] = field(default_factory=list[int])
    term: list[int] = field(default_factory=list[int])
    log_index: list[int] = field(default_factory=list[int])
    served_by: list[int] = field(default_factory=list[int])
    extra: list[int] = field(default_factory=list[int])
    final: list[int] = field(default_factory=list[int])
    words: Words = field(default_factory=Words)
    values: Words = field(default_factory=Words)
    nemesis: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    last_us: int = 0
    notes: list[str] = field(default_factory=list[str])

    def __len__(self) -> int:
        return len(self.call_us)

    def word(self, code: int) -> str:
        """Return the word of a node, key, function or error code; "" for -1."""
        return "" if code < 0 else str(self.words.table[code])


COLUMNS = (
    "index", "call_us", "end_us", "process", "f", "key", "argument", "result", "node", "outcome", "error",
    "term", "log_index", "served_by", "extra", "final",
)  # fmt: skip


def read_ledger(path: Path) -> Ledger:
    """Return what can be read of the history at `path`; its `notes` say what could not."""
    ledger = Ledger()
    if not path.is_file():
        ledger.notes.append("history.jsonl is missing: no operation can be shown.")
        return ledger
    try:
        _read(path, ledger)
    except OSError as error:
        ledger.notes.append(f"history.jsonl could not be read to its end: {visible(str(error.strerror))}.")
    return ledger


def _read(path: Path, ledger: Ledger) -> None:
    broken = unpaired = overlapping = 0
    open_rows: dict[int, int] = {}
    for line in _lines(path):
        event = parse(line)
        if event is None:
            broken += 1
            continue
        if "capsize" in event and "type" not in event:
            continue
        time_ns, process, kind = event.get("time_ns"), event.get("process"), event.get("type")
        if not isinstance(time_ns, int | float) or kind not in ("invoke", *OUTCOMES):
            broken += 1
            continue
        time_us = int(time_ns // 1000)
        ledger.last_us = max(ledger.last_us, time_us)
        if process == NEMESIS:
            ledger.nemesis.append(event)
        elif not isinstance(process, int):
            broken += 1
        elif kind == "invoke":
            overlapping += process in open_rows
            open_rows[process] = _invoke(ledger, event, process, time_us)
        elif process in open_rows:
            _complete(ledger, open_rows.pop(process), event, kind, time_us)
        else:
            unpaired += 1
    _sort(ledger)
    if broken:
        ledger.notes.append(f"history.jsonl: {count(broken, 'line')} could not be understood and are not shown.")
    if unpaired:
        ledger.notes.append(f"history.jsonl: {count(unpaired, 'completion')} without an invocation are not shown.")
    if overlapping:
        ledger.notes.append(f"history.jsonl: {count(overlapping, 'operation')} began while its process had one open.")


def _sort(ledger: Ledger) -> None:
    """Bring the rows into the order of their calls; a recording is in it but for a hair."""
    calls = ledger.call_us
    if all(before <= after for before, after in pairwise(calls)):
        return
    order = sorted(range(len(calls)), key=calls.__getitem__)
    for name in COLUMNS:
        column: list[int] = getattr(ledger, name)
        column[:] = [column[row] for row in order]


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield line


def parse(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object of one line, or None."""
    try:
        value: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:  # lone surrogates, NaN and very large integers, which orjson refuses
            value = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def _invoke(ledger: Ledger, event: dict[str, Any], process: int, time_us: int) -> int:
    row = len(ledger.call_us)
    ledger.index.append(row)
    ledger.call_us.append(time_us)
    ledger.end_us.append(-1)
    ledger.process.append(process)
    ledger.f.append(ledger.words.code(visible(str(event.get("f", "?")))))
    key, node, value = event.get("key"), event.get("node"), event.get("value")
    ledger.key.append(-1 if key is None else ledger.words.code(_bare(key)))
    ledger.argument.append(-1 if value is None else ledger.values.value(value))
    ledger.result.append(-1)
    ledger.node.append(-1 if node is None else ledger.words.code(visible(str(node))))
    ledger.outcome.append(2)
    for column in (ledger.error, ledger.term, ledger.log_index, ledger.served_by, ledger.extra):
        column.append(-1)
    ledger.final.append(1 if event.get("final") else 0)
    return row


def _bare(key: Any) -> str:
    """Return a key as text; strings stand without quotes."""
    return visible(key) if isinstance(key, str) else value_text(key)


def _complete(ledger: Ledger, row: int, event: dict[str, Any], kind: str, time_us: int) -> None:
    outcome = OUTCOMES.index(kind)
    ledger.outcome[row] = outcome
    ledger.end_us[row] = max(time_us, ledger.call_us[row])
    if outcome == 0 and "result" in event:
        ledger.result[row] = ledger.values.value(event["result"])
    error = event.get("error")
    if error is not None:
        ledger.error[row] = ledger.words.code(visible(error if isinstance(error, str) else value_text(error)))
    meta: Any = event.get("meta")
    if not isinstance(meta, dict) or not meta:
        return
    for name, column in (("term", ledger.term), ("log_index", ledger.log_index)):
        number = meta.get(name)
        if isinstance(number, int) and 0 <= number < LARGEST_EXACT:
            column[row] = number
    if meta.get("served_by") is not None:
        ledger.served_by[row] = ledger.words.code(visible(str(meta["served_by"])))
    rest = {name: value for name, value in meta.items() if name not in META_COLUMNS}
    if rest:
        ledger.extra[row] = ledger.words.code(value_text(rest))
