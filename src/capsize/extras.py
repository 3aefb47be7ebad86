"""What operations carry beside their columns: errors, the system's evidence (meta). Lean: JSON, parsed when asked."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson


class Extras:
    """A small object for some rows, kept as JSON end to end in one buffer.

    >>> extras = Extras()
    >>> extras.set(4, {"error": "timeout"})
    >>> extras.get(4), extras.get(5)
    ({'error': 'timeout'}, {})
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._rows, self._start = array("q"), array("q")
        self._sorted: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def set(self, row: int, extra: Mapping[str, Any]) -> None:
        """Keep `extra` for `row`, in place of what was kept before."""
        self._rows.append(row)
        self._start.append(len(self._data))
        self._data += orjson.dumps(extra)
        self._sorted = None

    def extend(self, rows: Sequence[int], extras: Sequence[Mapping[str, Any]]) -> None:
        """Keep many at once."""
        parts = list(map(orjson.dumps, extras))
        ends = np.cumsum(np.fromiter(map(len, parts), dtype=np.int64, count=len(parts)))
        starts = np.concatenate([[0], ends[:-1]]) if len(parts) else ends
        self._rows.frombytes(np.array(rows, dtype=np.int64).tobytes())
        self._start.frombytes((starts + len(self._data)).astype(np.int64).tobytes())
        self._data += b"".join(parts)
        self._sorted = None

    def get(self, row: int) -> dict[str, Any]:
        """Return what is kept for `row`; empty if nothing is."""
        if not self._rows:
            return {}
        if self._sorted is None:
            rows = np.array(self._rows, dtype=np.int64)
            order = np.argsort(rows, kind="stable")
            self._sorted = rows[order], order
        rows, order = self._sorted
        at = int(np.searchsorted(rows, row, side="right")) - 1
        if at < 0 or rows[at] != row:
            return {}
        number = int(order[at])
        end = self._start[number + 1] if number + 1 < len(self._start) else len(self._data)
        extra: dict[str, Any] = orjson.loads(self._data[self._start[number] : end])
        return extra
