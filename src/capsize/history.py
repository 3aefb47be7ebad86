"""The operations of one run, immutable, in columns, so that a million fit.

A `History` behaves as a sequence of `Operation`s, which are built when asked for. Checkers that must be fast read
the columns (`history.columns`, see `capsize.pairing.Columns`) and the value table instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from capsize.errors import HistoryError
from capsize.extras import Extras
from capsize.interning import ValueTable
from capsize.op import NEMESIS, Operation, Value, freeze
from capsize.pairing import FAIL, INFO, OK, OUTCOME_CODES, OUTCOME_NAMES, Columns, Paired, Pairing, closed_positions

__all__ = ["FAIL", "INFO", "OK", "Columns", "History", "add_event", "load_history"]

_COMPLETIONS = frozenset(OUTCOME_CODES)


class History(Sequence[Operation]):
    """An immutable sequence of operations, in the order of their calls.

    columns     numpy columns, one row per operation (`capsize.pairing.Columns`)
    words       the f words that `columns.f` points into
    nodes       the node names that `columns.node` points into
    table       the values that `columns.key`, `.value` and `.result` point into; code 0 is None
    faults      the nemesis' lines, another tool's in our words
    truncated   the recording ended in a cut line (a killed run) and was read up to there
    timed       False where the recording has no times: then positions in the order of its events stand for them
    source      the file it came from, or ""
    """

    def __init__(self, paired: Paired, *, source: str = "") -> None:
        self.columns = paired.columns
        self.words = paired.words
        self.nodes = paired.nodes
        self.table = paired.table
        self.faults = paired.faults
        self.truncated = paired.truncated
        self.timed = paired.timed
        self.source = source
        self._extras = paired.extras
        self._split: tuple[tuple[Value, npt.NDArray[np.int64]], ...] | None = None

    # --- making one ---

    @classmethod
    def of(cls, operations: Iterable[Operation]) -> History:
        """Return the history of `operations`, given in any order.

        Times order the events, and at one nanosecond calls come before returns. Where no operation has a time,
        the positions `call` and `ret` order them; positions that say the same as the times are kept as they are.
        """
        return cls(_pair_operations(list(operations)))

    @classmethod
    def from_events(cls, events: Iterable[Mapping[str, Any]]) -> History:
        """Return the history of event objects as `history.jsonl` holds them, in the order recorded.

        Raises HistoryError that names the event's number, from 0.
        """
        pairing = Pairing()
        for number, event in enumerate(events):
            add_event(pairing, event, number)
        return cls(pairing.finish())

    # --- a sequence of operations ---

    def __len__(self) -> int:
        return len(self.columns.call)

    @overload
    def __getitem__(self, index: int) -> Operation: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: int | slice) -> Operation | History:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return self.operation(index)

    def __iter__(self) -> Iterator[Operation]:
        for index in range(len(self)):
            yield self.operation(index)

    def __repr__(self) -> str:
        cut = ", truncated" if self.truncated else ""
        return f"History({len(self)} operations on {len(self.split())} keys{cut})"

    def operation(self, index: int) -> Operation:
        """Build operation number `index`."""
        columns, table = self.columns, self.table
        row = int(columns.row[index])
        returned = int(columns.ret[index])
        extra = self._extras.get(row)
        node = int(columns.node[index])
        return Operation(
            process=int(columns.process[index]),
            f=self.words[columns.f[index]],
            key=table[int(columns.key[index])],
            value=table[int(columns.value[index])],
            call_ns=int(columns.call_ns[index]),
            return_ns=None if returned < 0 else int(columns.return_ns[index]),
            outcome=OUTCOME_NAMES[columns.outcome[index]],
            result=table[int(columns.result[index])],
            call=int(columns.call[index]),
            ret=None if returned < 0 else returned,
            node=None if node < 0 else self.nodes[node],
            error=extra.get("error"),
            meta=extra.get("meta", {}),
        )

    # --- parts of it ---

    def take(self, rows: npt.NDArray[Any]) -> History:
        """Return the history of some rows (indices or a mask); values, nodes and faults are shared."""
        part = Paired(
            self.columns.take(rows), self.words, self.nodes, self.table, self._extras, self.faults, self.truncated,
            self.timed,
        )  # fmt: skip
        return History(part, source=self.source)

    def split(self) -> tuple[tuple[Value, npt.NDArray[np.int64]], ...]:
        """Return (key, its rows) for each key, in the order of first appearance. O(n) once, then remembered."""
        if self._split is None:
            codes = self.columns.key
            order = np.argsort(codes, kind="stable")
            cuts = np.flatnonzero(np.diff(codes[order])) + 1
            groups = [group for group in np.split(order, cuts) if len(group)]
            groups.sort(key=lambda group: int(group[0]))
            self._split = tuple((self.table[int(codes[group[0]])], group) for group in groups)
        return self._split

    def keys(self) -> tuple[Value, ...]:
        """Return the keys in the order of first appearance."""
        return tuple(key for key, _ in self.split())

    def only(self, key: Value) -> History:
        """Return the operations on `key`; none if it does not occur."""
        code = self.table.find(key)
        for _, rows in self.split():
            if self.columns.key[rows[0]] == code:
                return self.take(rows)
        return self.take(np.empty(0, dtype=np.int64))

    def with_f(self, *words: str) -> History:
        """Return the operations whose f is one of `words`."""
        wanted = [code for code, word in enumerate(self.words) if word in words]
        return self.take(np.isin(self.columns.f, wanted))


def load_history(path: str | Path, *, strict: bool = True) -> History:
    """Read capsize's own `history.jsonl` (docs/history-format.md).

    Raises HistoryError with file, line and what was expected. With `strict=False` a last line that was cut, as
    a killed run leaves it, ends the history there and sets `truncated`.
    """
    from capsize.formats.jsonl import read_jsonl

    return read_jsonl(Path(path), strict=strict)


def add_event(pairing: Pairing, event: Mapping[str, Any], line: int) -> None:
    """Feed one event object of `history.jsonl` to `pairing`."""
    try:
        process, kind = event["process"], event["type"]
        if kind == "invoke" and type(process) is int:
            pairing.invoke(
                process,
                event["f"],
                event.get("key"),
                event.get("value"),
                event["time_ns"],
                line,
                node=event.get("node"),
                final=event.get("final", False) is True,
            )
            return
        if kind in _COMPLETIONS and type(process) is int:
            pairing.complete(
                process,
                OUTCOME_CODES[kind],
                event.get("result"),
                event["time_ns"],
                line,
                f=event["f"],
                error=event.get("error"),
                meta=event.get("meta"),
            )
            return
    except KeyError as missing:
        problem = f"the event has no {missing.args[0]!r}; expected process, type, f and time_ns"
        raise pairing.error(problem, line) from None
    except (TypeError, OverflowError):
        problem = "an event field of the wrong type; expected integers for process and time_ns"
        raise pairing.error(problem, line) from None
    if process == NEMESIS:
        pairing.fault(event)
        return
    if type(process) is not int:
        raise pairing.error(f"process is {process!r}; expected an integer or {NEMESIS!r}", line)
    raise pairing.error(f"type is {kind!r}; expected invoke, ok, fail or info", line)


def _pair_operations(operations: list[Operation]) -> Paired:
    """Lay operations out in columns, positions made closed."""
    operations.sort(key=lambda op: (op.call_ns, op.call))
    ends = [(op.call_ns, op.call, False) for op in operations]
    ends += [(op.return_ns, op.ret or 0, True) for op in operations if op.return_ns is not None]
    given = [op.call for op in operations] + [op.ret for op in operations if op.return_ns is not None]
    positions_given = None not in given and len(set(given)) == len(given)
    if positions_given and len({time for time, _, _ in ends}) == 1:
        ends = [(position, position, is_return) for _, position, is_return in ends]
    order = sorted(range(len(ends)), key=lambda number: (ends[number][0], ends[number][2], ends[number][1]))
    times = np.array([ends[number][0] for number in order], dtype=np.int64)
    returns = np.array([ends[number][2] for number in order], dtype=bool)
    position = np.empty(len(ends), dtype=np.int64)
    position[np.array(order, dtype=np.int64)] = closed_positions(times, returns)
    if positions_given:
        in_time = np.array(given, dtype=np.int64)
        if bool(np.all(np.diff(in_time[order]) > 0)):
            position = in_time
    return _columns_of(operations, position)


def _columns_of(operations: list[Operation], position: npt.NDArray[np.int64]) -> Paired:
    table, words, nodes = ValueTable(), dict[str, int](), dict[str, int]()
    extras = Extras()
    count = len(operations)
    call, ret = position[:count], np.full(count, -1, dtype=np.int64)
    ret[[number for number, op in enumerate(operations) if op.return_ns is not None]] = position[count:]
    by_call = np.argsort(call, kind="stable")
    for row, number in enumerate(by_call):
        op = operations[number]
        if (op.outcome == "info") != (op.return_ns is None):
            raise HistoryError(
                f"{op.f} of process {op.process} is {op.outcome!r}; expected a return for ok and fail, none for info",
                where=f"operation {row}",
            )
        extra = {name: value for name, value in (("error", op.error), ("meta", dict(op.meta))) if value}
        if extra:
            extras.set(row, extra)
    ordered = [operations[number] for number in by_call]
    columns = Columns(
        row=np.arange(count, dtype=np.int64),
        process=np.array([op.process for op in ordered], dtype=np.int64),
        f=np.array([words.setdefault(op.f, len(words)) for op in ordered], dtype=np.int32),
        key=np.array([table.code(op.key) for op in ordered], dtype=np.int32),
        value=np.array([table.code(freeze(op.value)) for op in ordered], dtype=np.int32),
        result=np.array([table.code(op.result) for op in ordered], dtype=np.int32),
        outcome=np.array([OUTCOME_CODES[op.outcome] for op in ordered], dtype=np.int8),
        call=call[by_call],
        ret=ret[by_call],
        call_ns=np.array([op.call_ns for op in ordered], dtype=np.int64),
        return_ns=np.array([-1 if op.return_ns is None else op.return_ns for op in ordered], dtype=np.int64),
        node=np.array(
            [-1 if op.node is None else nodes.setdefault(op.node, len(nodes)) for op in ordered], dtype=np.int32
        ),
    )
    return Paired(columns.take(np.arange(count)), tuple(words), tuple(nodes), table, extras)
