"""Pair invocations with their completions, event by event, into columns.

What is no history is refused here, for every format alike: a completion without an invocation, two open
operations of one process, an invocation after `info`, an unknown outcome.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from capsize.errors import HistoryError
from capsize.extras import Extras
from capsize.interning import ValueTable
from capsize.op import Outcome

OK, FAIL, INFO = 0, 1, 2
UNTIMED_NS = 1_000_000
"""How far apart the events of a recording without times are put, so that they can be drawn."""
OUTCOME_CODES: dict[str, int] = {"ok": OK, "fail": FAIL, "info": INFO}
_KINDS = {"invoke": -1, **OUTCOME_CODES}
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
    """What a reader hands to a History: the columns and the tables that their codes point into.

    `timed` is False where the recording has no times and the order of its events stands for them.
    """

    columns: Columns
    words: tuple[str, ...]
    nodes: tuple[str, ...]
    table: ValueTable
    extras: Extras = field(default_factory=Extras)
    faults: tuple[Mapping[str, Any], ...] = ()
    truncated: bool = False
    timed: bool = True


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


class Doubt(Exception):
    """Something in a block of events is not as it should be."""


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
        self._extras = Extras()
        self._finals: set[int] = set()
        self._faults: list[Mapping[str, Any]] = []

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
        if not (-(1 << 62) < process < 1 << 62 and -(1 << 62) < time_ns < 1 << 62):
            raise self.error(f"process {process}, time {time_ns}: expected numbers below 2^62", line)
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
            self.mark_final(row)

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
        if not -(1 << 62) < time_ns < 1 << 62:
            raise self.error(f"time {time_ns}: expected a number below 2^62", line)
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
            self.add_extra(row, error, meta)
        return row

    def mark_final(self, row: int) -> None:
        """Note that `row` is a final read: its meta says "final"."""
        self._finals.add(row)
        self._extras.set(row, {"meta": {"final": True}})

    def add_extras(self, rows: Sequence[int], extras: Sequence[Mapping[str, Any]]) -> None:
        """Keep errors and evidence of completions beside their rows, many at once."""
        if self._finals.isdisjoint(rows):
            self._extras.extend(rows, extras)
            return
        for row, extra in zip(rows, extras, strict=True):
            self.add_extra(row, extra.get("error"), extra.get("meta"))

    def add_extra(self, row: int, error: str | None, meta: Mapping[str, Any] | None) -> None:
        """Keep the error and the evidence of a completion beside its row."""
        extra = self._extras.get(row) if row in self._finals else {}
        if error is not None:
            extra["error"] = error
        if meta:
            extra["meta"] = {**meta, **extra.get("meta", {})}
        self._extras.set(row, extra)

    def extend(
        self,
        kinds: Sequence[str],
        processes: Sequence[int],
        words: Sequence[str],
        times: Sequence[int],
        asked: Callable[[list[int]], tuple[list[Any], list[Any], list[str | None] | None]],
        answered: Callable[[list[int]], list[Any]],
    ) -> Ints:
        """Add a block of events at once, far faster than one by one.

        `asked` is told the places of the invocations, and gives their keys, values and nodes; `answered` those of the
        oks, and gives their results. Returns the row that each event belongs to. Raises Doubt, which names nothing,
        where `invoke` or `complete` would have refused: read it all again, event by event, for the error.
        """
        count = len(kinds)
        if not count:
            return np.empty(0, dtype=np.int64)
        if not (set(map(type, processes)) == {int} == set(map(type, times)) and set(map(type, words)) == {str}):
            raise Doubt
        try:
            process_column, time_column = np.array(processes, dtype=np.int64), np.array(times, dtype=np.int64)
        except OverflowError:
            raise Doubt from None
        first = row = len(self._process)
        rows: list[int] = []
        pending, ended = self.open, self._ended
        for kind, process in zip(kinds, processes, strict=True):
            if kind == "invoke":
                if process in pending or process in ended:
                    raise Doubt
                pending[process] = row
                rows.append(row)
                row += 1
                continue
            target = pending.pop(process, -1)
            if target < 0 or kind not in OUTCOME_CODES:
                raise Doubt
            rows.append(target)
            if kind == "info":
                ended.add(process)
        owner = np.array(rows, dtype=np.int64)
        kind_codes = np.fromiter(map(_KINDS.__getitem__, kinds), dtype=np.int8, count=count)
        calls = np.flatnonzero(kind_codes < 0)
        for word in dict.fromkeys(words):
            self.words.setdefault(word, len(self.words))
        word_codes = np.fromiter(map(self.words.__getitem__, words), dtype=np.int32, count=count)
        oks = np.flatnonzero(kind_codes == OK)
        try:
            keys, values, nodes = asked(calls.tolist())
            key_codes, value_codes = self.table.codes(keys), self.table.codes(values)
            result_codes = self.table.codes(answered(oks.tolist()))
        except TypeError:
            raise Doubt from None
        # An event's number is its place among calls, oks and fails: info events have none.
        numbered = kind_codes != INFO
        number = len(self._times) + np.cumsum(numbered) - 1
        fresh = row - first
        self._process.frombytes(process_column[calls].tobytes())
        self._f.frombytes(word_codes[calls].tobytes())
        self._key.frombytes(np.array(key_codes, dtype=np.int32).tobytes())
        self._value.frombytes(np.array(value_codes, dtype=np.int32).tobytes())
        self._result.frombytes(bytes(4 * fresh))
        self._outcome.frombytes(np.full(fresh, INFO, dtype=np.int8).tobytes())
        self._call.frombytes(number[calls].tobytes())
        self._ret.frombytes(np.full(fresh, -1, dtype=np.int64).tobytes())
        node_codes = [-1] * fresh
        if nodes is not None:
            known = self.nodes
            for node in dict.fromkeys(nodes):
                if node is not None:
                    known.setdefault(node, len(known))
            node_codes = [-1 if node is None else known[node] for node in nodes]
        self._node.frombytes(np.array(node_codes, dtype=np.int32).tobytes())
        self._times.frombytes(time_column[numbered].tobytes())
        self._returns.frombytes((kind_codes >= 0)[numbered].tobytes())
        if not bool(np.all(word_codes == np.frombuffer(self._f, dtype=np.int32)[owner])):
            raise Doubt
        returned = np.flatnonzero((kind_codes == OK) | (kind_codes == FAIL))
        np.frombuffer(self._ret, dtype=np.int64)[owner[returned]] = number[returned]
        np.frombuffer(self._outcome, dtype=np.int8)[owner[returned]] = kind_codes[returned]
        np.frombuffer(self._result, dtype=np.int32)[owner[oks]] = result_codes
        return owner

    def fault(self, event: Mapping[str, Any]) -> None:
        """Keep a line of the nemesis."""
        self._faults.append(event)

    def finish(self, *, truncated: bool = False) -> Paired:
        """Return the columns; what is still open stays `info`."""
        times = np.frombuffer(self._times, dtype=np.int64) if self._times else np.empty(0, np.int64)
        returns = np.frombuffer(self._returns, dtype=np.int8) if self._returns else np.empty(0, np.int8)
        if not self.timed:
            times = np.arange(len(times), dtype=np.int64) * UNTIMED_NS
        elif len(times):
            times = np.maximum.accumulate(times)  # so that times and positions say the same
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
        words, nodes, faults = tuple(self.words), tuple(self.nodes), tuple(self._faults)
        return Paired(columns, words, nodes, self.table, self._extras, faults, truncated, self.timed)

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
