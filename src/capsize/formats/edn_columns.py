"""The quickest way to read EDN: a block of lines with one plain map each, taken apart column by column.

Lines of one shape (the same keys in the same order) are cut at the keys all at once; then whole columns are turned
into values. Everything is verified: what does not fit is declined, and read by `edn_lines` or `edn_text`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from capsize.formats.edn_text import EdnError, EdnReader

_BETWEEN = b", :"
_END = b"\x00"
_NOT_PLAIN = (b"#", b";", b"(", b")", b"^", b"\\", b"~", b"@", b"\t")
_WORD = re.compile(rb":([^\s,{}\[\]:\"]+)$")
_NUMBER = re.compile(rb"[+-]?\d{1,18}$")
_STRING = re.compile(rb'"([^"\\]*)"$')
FEW = 10
"""If fewer than one in so many lines is odd, the odd ones are read apart."""
SHAPES_MAX = 12
"""More shapes than this in one block are no plain history."""


@dataclass(slots=True)
class EventColumns:
    """The maps of a block, a list for each key that matters, in the order of the lines.

    `times` is None where a map had none; `processes` are integers, or the words of others.
    """

    kinds: list[str]
    processes: list[Any]
    words: list[str]
    values: list[Any]
    keys: list[Any] | None
    times: list[int] | None
    errors: dict[int, Any] = field(default_factory=dict[int, Any])


def read_columns(block: bytes) -> EventColumns | None:
    """Return the maps of `block`, or None if it is not that plain."""
    text = block.rstrip(b"\n")
    if not text.startswith(b"{:") or not text.endswith(b"}") or any(sign in text for sign in _NOT_PLAIN):
        return None
    lines = text.split(b"\n")
    count = len(lines)
    if text.count(b"\n{:") != count - 1 or text.count(b"}\n") != count - 1:
        return None
    odd = _odd_lines(text)
    if odd and len(odd) * FEW < count:
        return _around(lines, odd)
    if text.count(_BETWEEN) % count == 0:
        whole = _one_shape(text, count)
        if whole is not None:
            return whole
    return _several_shapes(lines)


def _odd_lines(text: bytes) -> list[int]:
    """Return the numbers of the lines that tell of an error or of somebody who is no client."""
    starts: set[int] = set()
    for sign in (b", :error ", b":process :"):
        at = text.find(sign)
        while at >= 0:
            starts.add(text.rfind(b"\n", 0, at) + 1)
            at = text.find(sign, at + 1)
    numbers: list[int] = []
    before = number = 0
    for start in sorted(starts):
        number += text.count(b"\n", before, start)
        before = start
        numbers.append(number)
    return numbers


def _around(lines: list[bytes], odd: list[int]) -> EventColumns | None:
    """Read the lines of one shape together, and the few odd ones between them one by one."""
    away = set(odd)
    plain = [line for at, line in enumerate(lines) if at not in away]
    whole = _one_shape(b"\n".join(plain), len(plain)) if plain else None
    if whole is None:
        return _several_shapes(lines)
    for at in odd:
        try:
            maps = [event for _, event in EdnReader().feed(lines[at].decode(), at)]
        except (EdnError, UnicodeDecodeError):
            return None
        if len(maps) != 1 or not {"type", "f", "process"} <= maps[0].keys():
            return None
        event = maps[0]
        value = event.get("value")
        if ("time" in event) is not (whole.times is not None) or ("key" in event and whole.keys is None):
            return None
        whole.kinds.insert(at, event["type"])
        whole.processes.insert(at, event["process"])
        whole.words.insert(at, event["f"])
        whole.values.insert(at, list(value) if isinstance(value, tuple) else value)
        if whole.times is not None:
            whole.times.insert(at, event["time"])
        if whole.keys is not None:
            whole.keys.insert(at, event.get("key"))
        if event.get("error") is not None:
            whole.errors[at] = event["error"]
    return whole


def _several_shapes(lines: list[bytes]) -> EventColumns | None:
    """Read lines of different shapes, those of one shape together."""
    groups: dict[int, list[int]] = {}
    for at, line in enumerate(lines):
        groups.setdefault(line.count(_BETWEEN), []).append(at)
    if len(groups) > SHAPES_MAX:
        return None
    count = len(lines)
    merged = EventColumns([""] * count, [None] * count, [""] * count, [None] * count, [None] * count, [0] * count)
    for places in groups.values():
        part = _one_shape(b"\n".join([lines[at] for at in places]), len(places))
        if part is None:
            return None
        assert merged.keys is not None
        _place(places, merged.kinds, part.kinds)
        _place(places, merged.processes, part.processes)
        _place(places, merged.words, part.words)
        _place(places, merged.values, part.values)
        _place(places, merged.keys, part.keys)
        _place(places, merged.times, part.times)
        if part.times is None:
            merged.times = None
        merged.errors |= {places[at]: error for at, error in part.errors.items()}
        if merged.times is None and part.times is not None:
            return None  # some with a time and some without: that is for others to judge
    if all(key is None for key in merged.keys or ()):
        merged.keys = None
    return merged


def _place(places: list[int], target: list[Any] | None, source: list[Any] | None) -> None:
    """Put the items of `source` where they belong in `target`."""
    if source is not None and target is not None:
        for at, item in zip(places, source, strict=True):
            target[at] = item


def _one_shape(text: bytes, count: int) -> EventColumns | None:
    """Read `count` lines that have the same keys in the same order."""
    pieces = text[2:-1].replace(b"}\n{:", _BETWEEN).split(_BETWEEN)
    width, odd = divmod(len(pieces), count)
    if odd:
        return None
    found: dict[bytes, bytes] = {}
    for at in range(width):
        name = pieces[at].partition(b" ")[0]
        joined = _END.join(pieces[at::width])
        prefix = name + b" "
        if name in found or not joined.startswith(prefix) or joined.count(_END + prefix) != count - 1:
            return None
        if name in _READ:
            found[name] = joined[len(prefix) :].replace(_END + prefix, _END)
        else:
            found[name] = b""
    if not found.keys() >= _NEEDED:
        return None
    columns = {
        name: _times(column) if name == b"time" else _values(column, count, name)
        for name, column in found.items()
        if name in _READ
    }
    if any(column is None for column in columns.values()):
        return None
    kinds, words = columns[b"type"], columns[b"f"]
    assert kinds is not None
    assert words is not None
    errors = columns.get(b"error") or ()
    return EventColumns(
        kinds, columns[b"process"] or [], words, columns.get(b"value") or [None] * count, columns.get(b"key"),
        columns.get(b"time"), {at: error for at, error in enumerate(errors) if error is not None},
    )  # fmt: skip


_NEEDED = frozenset({b"type", b"f", b"process"})
_READ = _NEEDED | {b"value", b"key", b"time", b"error"}


def _times(column: bytes) -> list[Any] | None:
    if b"_" in column or b" " in column:
        return None
    try:
        return list(map(int, column.split(_END)))
    except ValueError:
        return None


def _values(column: bytes, count: int, name: bytes) -> list[Any] | None:
    """Return a column's values; None if one of them is more than a number, nil, true, a word, a string or a vector."""
    if b'"' not in column and b":" not in column and name in (b"value", b"key"):
        if b"{" in column or b"_" in column:
            return None
        body = column.replace(b", ", b" ").replace(b" ", b",").replace(b"nil", b"null").replace(_END, b",")
        try:
            values: list[Any] = orjson.loads(b"[" + body + b"]")
        except orjson.JSONDecodeError:
            return None
        return values if len(values) == count else None
    items = column.split(_END)
    table: dict[bytes, Any] = {}
    for item in set(items):
        simple = _simple(item, word_only=name in (b"type", b"f"))
        if simple is None:
            return None
        table[item] = simple[0]
    return list(map(table.__getitem__, items))


def _simple(item: bytes, *, word_only: bool) -> tuple[Any] | None:
    """Return a word, string, number or nil in a tuple; None if it is something else."""
    word = _WORD.match(item)
    try:
        if word is not None:
            return (word[1].decode(),)
        if word_only:
            return None
        if item == b"nil":
            return (None,)
        if item in (b"true", b"false"):
            return (item == b"true",)
        if _NUMBER.match(item):
            return (int(item),)
        string = _STRING.match(item)
        return None if string is None else (string[1].decode(),)
    except UnicodeDecodeError:
        return None
