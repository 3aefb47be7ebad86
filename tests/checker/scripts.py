"""Histories small enough to judge by eye: one line per operation, its bar drawn where it was open.

    w:1     |---|
    r->1        |--|        a read that saw 1
    c:1,2   |-----|         cas from 1 to 2, true; `c:1,2!` was told false
    w:3       |---|...      never returned

A column is a nanosecond; `|` marks call and return. Each line is a process of its own.
"""

from __future__ import annotations

import re

from capsize.history import History
from capsize.op import Operation, Value

_WORD = re.compile(r"(?P<f>[a-z_]+):?(?P<value>[^ ]*?)(?:->(?P<result>[^ ]+))?(?P<false>!)?$")
_LETTERS = {"w": "write", "r": "read", "c": "cas"}


def history(text: str, key: Value = None) -> History:
    """Return the history that `text` draws.

    Words are f:argument->result, with w, r and c for write, read and cas; numbers are numbers, nil is None.
    """
    operations: list[Operation] = []
    for line in text.strip("\n").splitlines():
        if not line.strip():
            continue
        word, _, bar = line.strip().partition(" ")
        start = line.index("|")
        end = line.rindex("|")
        pending = bar.rstrip().endswith("...")
        found = _WORD.match(word)
        assert found is not None, word
        f = _LETTERS.get(found["f"], found["f"])
        value = _value(found["value"])
        if f == "cas":
            value = tuple(_value(part) for part in found["value"].split(","))
        result: Value = _value(found["result"] or "nil")
        if f == "cas":
            result = None if pending else not found["false"]
        operations.append(
            Operation(
                len(operations), f, key, value, start, None if pending else end, "info" if pending else "ok", result
            )
        )
    return History.of(operations)


def _value(text: str) -> Value:
    if text in ("", "nil"):
        return None
    if text.startswith("["):
        return tuple(_value(part) for part in text[1:-1].split(",") if part)
    return int(text) if text.lstrip("-").isdigit() else text
