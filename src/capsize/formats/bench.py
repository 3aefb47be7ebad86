"""Read the bench's text: one operation a line, `process f key a b call ret status out`, sorted by call.

The first line is `# kind=reg …` or `# kind=kv …`. f is r, w, c (register) or g, p, a (map); call and ret are
positions in the order of all events, ret -1 when it never returned; status is o (ok), f (the cas failed) or u.
Values of maps that are read stand behind `=`, so that the empty string, which is absence, can be written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capsize.errors import HistoryError
from capsize.formats.blocks import blocks_of_lines
from capsize.history import History
from capsize.interning import NONE, ValueTable
from capsize.op import Value
from capsize.pairing import INFO, OK, UNTIMED_NS, Columns, Paired, freeze_array

_FIELDS = 9
_WORDS = {b"r": "read", b"w": "write", b"c": "cas", b"g": "get", b"p": "put", b"a": "append"}
_STATUS = {b"o": OK, b"f": OK, b"u": INFO}


def read_bench(path: Path) -> History:
    """Return the history in `path`."""
    reader = _Reader(path)
    for first, block, _ in blocks_of_lines(path):
        reader.feed(first, block)
    return reader.finish()


class _Reader:
    """Turns blocks of lines into columns, a whole column of a block at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.table = ValueTable()
        self.words = {letter: code for code, letter in enumerate(_WORDS)}
        self.codes: dict[bytes, int] = {b"-": NONE, b"nil": NONE, b"=": NONE, b"": NONE}
        self.true, self.false = self.table.code(True), self.table.code(False)
        self.parts: list[list[npt.NDArray[Any]]] = []

    def feed(self, first: int, block: bytes) -> None:
        """Read one block of whole lines."""
        if first == 1:
            head, _, rest = block.partition(b"\n")
            if head.startswith(b"#"):
                block, first = rest, 2
        tokens = block.split()
        lines = block.count(b"\n") + (not block.endswith(b"\n") and bool(block))
        if len(tokens) != lines * _FIELDS:
            raise self._wrong_line(first, block)
        if not tokens:
            return
        try:
            process, call, ret = (np.array(tokens[at::_FIELDS], dtype=np.int64) for at in (0, 5, 6))
            letters, status = tokens[1::_FIELDS], tokens[7::_FIELDS]
            f = np.array([self.words[letter] for letter in letters], dtype=np.int32)
            outcome = np.array([_STATUS[letter] for letter in status], dtype=np.int8)
            key = self._column(tokens[2::_FIELDS], _integer)
            value = self._column(tokens[3::_FIELDS], _text)
            result = self._column(tokens[8::_FIELDS], _text)
            compare = np.flatnonzero(f == self.words[b"c"])
            new = self._column(tokens[4::_FIELDS], _text) if len(compare) else value
        except (KeyError, ValueError, OverflowError):
            raise self._wrong_line(first, block) from None
        if len(compare):
            value[compare] = self._pairs(value[compare], new[compare])
            failed = np.array([status[at] == b"f" for at in compare.tolist()], dtype=bool)
            result[compare] = np.where(failed, self.false, self.true)
        result[outcome == INFO] = NONE
        ret[outcome == INFO] = -1
        self.parts.append([process, f, key, value, result, outcome, call, ret])

    def finish(self) -> History:
        """Return the history; operations in the order of their calls."""
        if not self.parts:
            raise HistoryError("no operation; expected one a line", where=f"{self.path}:1")
        process, f, key, value, result, outcome, call, ret = (
            np.concatenate([part[at] for part in self.parts]) for at in range(8)
        )
        self.parts.clear()
        self._refuse(process, call, ret, outcome)
        if bool(np.any(np.diff(call) < 0)):
            order = np.argsort(call, kind="stable")
            process, f, key, value, result, outcome, call, ret = (
                column[order] for column in (process, f, key, value, result, outcome, call, ret)
            )
        call_ns, return_ns = call * UNTIMED_NS, np.where(ret < 0, -1, ret * UNTIMED_NS)
        columns = Columns(
            np.arange(len(call), dtype=np.int64), process, f, key, value, result, outcome, call, ret,
            call_ns, return_ns, np.full(len(call), -1, dtype=np.int32),
        )  # fmt: skip
        for name in Columns.__slots__:
            freeze_array(getattr(columns, name))
        return History(Paired(columns, tuple(_WORDS.values()), (), self.table, timed=False), source=str(self.path))

    def _column(self, tokens: Sequence[bytes], parse: Callable[[bytes], Value]) -> npt.NDArray[np.int32]:
        codes = self.codes
        for token in set(tokens):
            if token not in codes:
                codes[token] = self.table.code(parse(token))
        return np.array([codes[token] for token in tokens], dtype=np.int32)

    def _pairs(self, old: npt.NDArray[np.int32], new: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        table = self.table
        pairs = zip(old.tolist(), new.tolist(), strict=True)
        return np.array([table.code((table[a], table[b])) for a, b in pairs], dtype=np.int32)

    def _refuse(self, process: Any, call: Any, ret: Any, outcome: Any) -> None:
        """Raise HistoryError for a return before its call, and for two open operations of one process."""
        wrong = np.flatnonzero((outcome == OK) & (ret <= call))
        if len(wrong):
            raise self._error(
                wrong[0], f"returns at {ret[wrong[0]]}, called at {call[wrong[0]]}; expected a later position"
            )
        order = np.lexsort((call, process))
        before, after = order[:-1], order[1:]
        ends = np.where(ret[before] < 0, np.iinfo(np.int64).max, ret[before])
        wrong = np.flatnonzero((process[before] == process[after]) & (ends > call[after]))
        if len(wrong):
            row = int(after[wrong[0]])
            raise self._error(row, f"process {process[row]} has an operation open still; expected its return first")

    def _error(self, row: Any, problem: str) -> HistoryError:
        return HistoryError(problem, where=f"{self.path}:{int(row) + 2}")

    def _wrong_line(self, first: int, block: bytes) -> HistoryError:
        """Return the error for the first line of `block` that cannot be read."""
        expected = "expected `process f key a b call ret status out`"
        for number, line in enumerate(block.split(b"\n"), first):
            fields = line.split()
            if not fields and number - first >= block.count(b"\n"):
                continue
            where = f"{self.path}:{number}"
            if len(fields) != _FIELDS:
                return HistoryError(f"{len(fields)} fields; {expected}", where=where)
            if fields[1] not in _WORDS or fields[7] not in _STATUS:
                return HistoryError(f"f {_shown(fields[1])}, status {_shown(fields[7])}; {expected}", where=where)
            for at in (0, 2, 5, 6):
                try:
                    int(fields[at])
                except ValueError:
                    return HistoryError(f"{_shown(fields[at])} is no number; {expected}", where=where)
        return HistoryError(f"cannot be read; {expected}", where=f"{self.path}:{first}")


def _shown(token: bytes) -> str:
    return repr(token[:30].decode("utf-8", "backslashreplace"))


def _integer(token: bytes) -> Value:
    return int(token)


def _text(token: bytes) -> Value:
    if token.startswith(b"="):
        return token[1:].decode()
    return int(token) if token.lstrip(b"-").isdigit() else token.decode()
