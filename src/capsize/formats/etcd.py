"""Read the logs of Jepsen's etcd test as Porcupine keeps them: one register, `process :type :f value` a line.

A `:fail` of a cas is an answer here: the comparison did not hold. `:timed-out` is not: a read that timed out is
dropped, anything else stays pending.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from capsize.errors import HistoryError
from capsize.formats.blocks import blocks_of_lines
from capsize.formats.foreign_faults import in_our_words
from capsize.history import History
from capsize.op import NEMESIS, Value
from capsize.pairing import FAIL, INFO, OK, Doubt, Pairing

_LINE = re.compile(r"jepsen\.util\s+-\s+(\d+)\s+:(\w+)\s+:(\w+)\s+(.*?)\s*$")
_LINES = re.compile(rb"jepsen\.util\s+-\s+(\d+)\s+:(\w+)\s+:(\w+)[ \t]+([^\n]*?)[ \t\r]*(?:\n|$)")
_KINDS = frozenset({b"invoke", b"ok", b"fail", b"info"})
_NEMESIS = re.compile(r"jepsen\.util\s+-\s+:nemesis\s+:(\w+)\s+:(\S+)\s*(.*?)\s*$")
_PAIR = re.compile(r"\[(-?\d+)\s+(-?\d+)\]$")


def read_etcd_log(path: Path) -> History:
    """Return the history in `path`."""
    try:
        return _read(path, bulk=True)
    except Doubt:
        return _read(path, bulk=False)


def _read(path: Path, *, bulk: bool) -> History:
    pairing = Pairing(str(path), timed=False)
    for first, block, _ in blocks_of_lines(path):
        if not (bulk and _feed_block(pairing, block)):
            _feed_lines(pairing, path, first, block)
    return History(in_our_words(pairing.finish()), source=str(path))


def _feed_block(pairing: Pairing, block: bytes) -> bool:
    """Read a block of clients' lines at once; False if there are others. Raises Doubt where one might be refused."""
    found: list[tuple[bytes, bytes, bytes, bytes]] = _LINES.findall(block)
    if not found or len(found) != block.count(b"\n") + (not block.endswith(b"\n")):
        return False
    processes, told, words, texts = zip(*found, strict=True)
    if max(map(len, processes)) > 18 or not _KINDS.issuperset(told):
        raise Doubt
    try:
        values = {text: _parsed(text) for text in set(texts)}
        named = {word: word.decode() for word in set(words)}
    except ValueError:
        raise Doubt from None
    kinds: list[str] = []
    results: list[Any] = []
    for kind, word, text in zip(told, words, texts, strict=True):
        outcome, result = kind.decode(), None
        if outcome != "invoke":
            if text == b":timed-out":
                outcome = "fail" if word == b"read" else "info"
            elif outcome != "info":
                if word == b"cas":
                    outcome, result = "ok", kind == b"ok"
                elif outcome == "ok" and word == b"read":
                    result = values[text]
        kinds.append(outcome)
        results.append(result)

    def asked(places: list[int]) -> tuple[list[Any], list[Any], None]:
        return [None] * len(places), [None if words[at] == b"read" else values[texts[at]] for at in places], None

    def answered(places: list[int]) -> list[Any]:
        return [results[at] for at in places]

    ids = {process: int(process) for process in set(processes)}
    rows = pairing.extend(
        kinds,
        [ids[process] for process in processes],
        [named[word] for word in words],
        [0] * len(kinds),
        asked,
        answered,
    )
    late = [at for at, text in enumerate(texts) if text == b":timed-out"]
    pairing.add_extras([int(rows[at]) for at in late], [{"error": "timed-out"}] * len(late))
    return True


def _parsed(text: bytes) -> Any:
    """Return a value; raises ValueError for what is none."""
    if text in (b"nil", b":timed-out"):
        return None
    pair = _PAIR.match(text.decode())
    return [int(pair[1]), int(pair[2])] if pair is not None else int(text)


def _feed_lines(pairing: Pairing, path: Path, first: int, block: bytes) -> None:
    """Read a block line by line: slower, and names the line that is wrong."""
    for number, raw in enumerate(block.decode("utf-8", "replace").split("\n"), first):
        line = raw.strip()
        if not line:
            continue
        found = _LINE.search(line)
        if found is None:
            nemesis = _NEMESIS.search(line)
            if nemesis is None:
                raise HistoryError(
                    f"{line[:60]!r}; expected `INFO jepsen.util - process :type :f value`", where=f"{path}:{number}"
                )
            value = None if nemesis[3] == "nil" else nemesis[3]
            pairing.fault({"process": NEMESIS, "f": nemesis[2], "value": value, "time_ns": number})
            continue
        if len(found[1]) > 18:
            raise pairing.error(f"process {found[1][:30]}; expected a smaller number", number)
        _event(pairing, int(found[1]), found[2], found[3], found[4], number)


def _event(pairing: Pairing, process: int, kind: str, f: str, text: str, line: int) -> None:
    if kind == "invoke":
        pairing.invoke(process, f, None, None if f == "read" else _value(pairing, text, line), line, line)
        return
    if kind not in ("ok", "fail", "info"):
        raise pairing.error(f"type is :{kind}; expected :invoke, :ok, :fail or :info", line)
    if text == ":timed-out":
        pairing.complete(process, FAIL if f == "read" else INFO, None, line, line, f=f, error="timed-out")
    elif kind == "info":
        pairing.complete(process, INFO, None, line, line, f=f)
    elif f == "cas":
        pairing.complete(process, OK, kind == "ok", line, line, f=f)
    elif kind == "fail":
        pairing.complete(process, FAIL, None, line, line, f=f)
    else:
        pairing.complete(process, OK, _value(pairing, text, line) if f == "read" else None, line, line, f=f)


def _value(pairing: Pairing, text: str, line: int) -> Value:
    if text == "nil":
        return None
    pair = _PAIR.match(text)
    if pair is not None:
        return (int(pair[1]), int(pair[2]))
    try:
        return int(text)
    except ValueError:
        raise pairing.error(f"value {text!r}; expected nil, a number or [old new]", line) from None
