"""Pair invocations with their completions, event by event, into columns.

What is no history is refused here, for every format alike: a completion without an invocation, two open
operations of one process, an invocation after `info`, an unknown outcome.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from capsize.errors import HistoryError
from capsize.interning import ValueTable
from capsize.op import Outcome

OK, FAIL, INFO = 0, 1, 2
OUTCOME_CODES: dict[str, int] = {"ok": OK, "fail": FAIL, "info": INFO}
OUTCOME_NAMES: tuple[Outcome, ...] = ("ok", "fail", "info")

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Columns:
    """One row per operation, in the order of their calls.

    `call` and `ret` are positions in the order of all events (-1: never returned), already such that every
    operation is a closed interval: at one nanosecond, calls come before returns. Times are -1 likewise.
    `row` is the number of the operation in the whole history; `f`, `node` (-1 none) index `words` and `nodes`;
    `key`, `value` and `result` are codes of the value table.
    """

    row: Ints
    process: Ints
    f: Codes
    key: Codes
    value: Codes
    result: Codes
    outcome: npt.NDArray[np.int8]
    call: Ints
    ret: Ints
    call_ns: Ints
    return_ns: Ints
    node: Codes

    def take(self, rows: npt.NDArray[Any]) -> Columns:
        """Return the columns of `rows` (indices or a mask)."""
        return Columns(*(freeze_array(getattr(self, name)[rows]) for name in COLUMN_NAMES))


COLUMN_NAMES: tuple[str, ...] = tuple(Columns.__slots__)


@dataclass(slots=True)
class Paired:
    """What a reader hands to a History: the columns and the tables that their codes point into."""

    columns: Columns
    words: tuple[str, ...]
    nodes: tuple[str, ...]
    table: ValueTable
    extras: Mapping[int, bytes] = field(default_factory=dict[int, bytes])
    faults: tuple[Mapping[str, Any], ...] = ()
    truncated: bool = False


def freeze_array(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return `column`, made read-only."""
    column.flags.writeable = False
    return column


def closed_positions(times: Ints, returns: npt.NDArray[np.bool_]) -> Ints:
    """Return each event's position when events, given as recorded, make closed intervals.

    Events keep the order in which they were recorded, except that at one time all calls go before all returns.
    A time that runs backwards counts as the latest one seen, which can only make more operations concurrent.
    """
    count = len(times)
    latest = np.maximum.accumulate(times) if count else times
    if count < 2 or bool(np.all(latest[1:] > latest[:-1])):
        return np.arange(count, dtype=np.int64)
    order = np.lexsort((returns, latest))
    positions = np.empty(count, dtype=np.int64)
    positions[order] = np.arange(count, dtype=np.int64)
    return positions


class Pairing:
    """Collects events in the order recorded; `finish` gives the columns.

    `source` names the file for error messages ("" for events from memory); every event comes with the number of
    its line. With `timed=False` the times given are ignored and the order of the events alone counts.
    """

    def __init__(self, source: str = "", *, timed: bool = True) -> None:
        self.source = source
        self.timed = timed
        self.table = ValueTable()
        self.words: dict[str, int] = {}
        self.nodes: dict[str, int] = {}
        self.open: dict[int, int] = {}
        self._ended: set[int] = set()
        self._process, self._call, self._ret = array("q"), array("q"), array("q")
        self._f, self._key, self._value, self._result = array("i"), array("i"), array("i"), array("i")
        self._node = array("i")
        self._outcome = array("b")
        self._times, self._returns = array("q"), array("b")
        self._extras: dict[int, dict[str, Any]] = {}
        self._packed: dict[int, bytes] = {}
        self._faults: list[Mapping[str, Any]] = []
        self._names: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._process)

    def where(self, line: int) -> str:
        return f"{self.source}:{line}" if self.source else f"event {line}"

    def error(self, problem: str, line: int) -> HistoryError:
        return HistoryError(problem, where=self.where(line))

    def value_code(self, value: object, line: int) -> int:
        try:
            return self.table.code(value)
        except TypeError as reason:
            raise self.error(str(reason), line) from None

    def invoke(
        self,
        process: int,
        f: str,
        key: object,
        value: object,
        time_ns: int,
        line: int,
        *,
        node: str | None = None,
        final: bool = False,
    ) -> None:
        """Open an operation of `process`."""
        row = len(self._process)
        if process in self.open or process in self._ended:
            raise self._cannot_invoke(process, f, line)
        self.open[process] = row
        self._process.append(process)
        self._f.append(self.words.setdefault(f, len(self.words)))
        code = self.value_code
        self._key.append(code(key, line))
        self._value.append(code(value, line))
        self._result.append(0)
        self._outcome.append(INFO)
        self._node.append(-1 if node is None else self.nodes.setdefault(node, len(self.nodes)))
        self._call.append(len(self._times))
        self._ret.append(-1)
        self._times.append(time_ns)
        self._returns.append(0)
        if final:
            self._extras[row] = {"meta": {"final": True}}

    def complete(
        self,
        process: int,
        outcome: int,
        result: object,
        time_ns: int,
        line: int,
        *,
        f: str | None = None,
        error: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> int:
        """Close the open operation of `process`; returns its row."""
        row = self.open.pop(process, -1)
        if row < 0:
            problem = (
                f"process {process} completes {f or 'an operation'} but has none open; expected its invocation first"
            )
            raise self.error(problem, line)
        if f is not None and self.words.get(f, -1) != self._f[row]:
            problem = f"process {process} completes {f!r}; expected {self._word(row)!r}, which it has open"
            raise self.error(problem, line)
        self._outcome[row] = outcome
        if outcome == INFO:
            self._ended.add(process)
        else:
            self._ret[row] = len(self._times)
            self._times.append(time_ns)
            self._returns.append(1)
            if outcome == OK:
                self._result[row] = self.value_code(result, line)
        if error is not None or meta:
            extra = self._extras.pop(row, {})
            if error is not None:
                extra["error"] = error
            if meta:
                extra["meta"] = {**meta, **extra.get("meta", {})}
            self._packed[row] = orjson.dumps(extra)
        return row

    def invocation(self, process: int) -> tuple[str, object, object] | None:
        """Return (f, key, value) of the open operation of `process`, or None."""
        row = self.open.get(process)
        if row is None:
            return None
        return self._word(row), self.table[self._key[row]], self.table[self._value[row]]

    def set_key_and_value(self, row: int, key: object, value: object, line: int) -> None:
        """Replace key and value of `row`, for formats whose completion says more than the invocation."""
        self._key[row] = self.value_code(key, line)
        self._value[row] = self.value_code(value, line)

    def fault(self, event: Mapping[str, Any]) -> None:
        """Keep a line of the nemesis."""
        self._faults.append(event)

    def finish(self, *, truncated: bool = False) -> Paired:
        """Return the columns; what is still open stays `info`."""
        times = np.frombuffer(self._times, dtype=np.int64) if self._times else np.empty(0, np.int64)
        returns = np.frombuffer(self._returns, dtype=np.int8) if self._returns else np.empty(0, np.int8)
        if not self.timed:
            times = np.arange(len(times), dtype=np.int64)
        positions = closed_positions(times, returns.astype(bool))
        call_event, ret_event = _ints(self._call), _ints(self._ret)
        returned = ret_event >= 0
        call = positions[call_event] if len(call_event) else call_event
        ret = np.full(len(call), -1, dtype=np.int64)
        return_ns = np.full(len(call), -1, dtype=np.int64)
        ret[returned] = positions[ret_event[returned]]
        return_ns[returned] = times[ret_event[returned]]
        columns = Columns(
            row=np.arange(len(call), dtype=np.int64),
            process=_ints(self._process),
            f=_codes(self._f),
            key=_codes(self._key),
            value=_codes(self._value),
            result=_codes(self._result),
            outcome=np.array(self._outcome, dtype=np.int8),
            call=call,
            ret=ret,
            call_ns=times[call_event] if len(call_event) else call_event,
            return_ns=return_ns,
            node=_codes(self._node),
        )
        for name in COLUMN_NAMES:
            freeze_array(getattr(columns, name))
        for row, extra in self._extras.items():
            self._packed[row] = orjson.dumps(extra)
        return Paired(
            columns, tuple(self.words), tuple(self.nodes), self.table, self._packed, tuple(self._faults), truncated
        )

    def _word(self, row: int) -> str:
        return list(self.words)[self._f[row]]

    def _cannot_invoke(self, process: int, f: str, line: int) -> HistoryError:
        if process in self._ended:
            return self.error(
                f"process {process} invokes {f!r} after its {'info'!r}; expected a new process id, for the old "
                "operation may still take effect",
                line,
            )
        return self.error(
            f"process {process} invokes {f!r} while its {self._word(self.open[process])!r} is open; "
            "expected the completion first",
            line,
        )


def _ints(column: array[int]) -> Ints:
    return np.array(column, dtype=np.int64)


def _codes(column: array[int]) -> Codes:
    return np.array(column, dtype=np.int32)
