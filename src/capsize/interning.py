"""A table of the values that a history carries, each kept once and known by a small integer.

Code 0 is always None. True and 1 are different values, 1.0 and 1 are the same one (JSON has one kind of number).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from capsize.op import Value

NONE = 0
"""The code of None in every table."""
DEPTH_MAX = 64
_PLAIN = frozenset({int, str, type(None)})
"""What Python's own equality tells apart."""


class ValueTable:
    """Values in the order of their first appearance; `code` finds or adds one, indexing gives it back.

    >>> table = ValueTable()
    >>> table.code(None), table.code(7), table.code([7, True]), table.code((7, True)), table.code(1)
    (0, 1, 3, 3, 4)
    >>> table[3]
    (7, True)
    """

    def __init__(self, values: Iterable[object] = ()) -> None:
        self._values: list[Value] = [None]
        self._codes: dict[Hashable, int] = {None: NONE}
        self._pairs: dict[int, tuple[int, int]] = {}
        self._depth: dict[int, int] = {}
        for value in values:
            self.code(value)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, code: int) -> Value:
        return self._values[code]

    def __iter__(self) -> Iterator[Value]:
        return iter(self._values)

    def code(self, value: object) -> int:
        """Return the code of `value`, adding it if it is new. Raises TypeError for an object (no operation value)."""
        if type(value) is int or type(value) is str or value is None:
            code = self._codes.get(value)
            return code if code is not None else self._add(value, value)
        return self._compound(value)

    def codes(self, values: Iterable[object]) -> list[int]:
        """Return the codes of many values, new ones added."""
        listed = values if isinstance(values, list) else list(values)
        known = self._codes
        if _PLAIN.issuperset(map(type, listed)):
            found: list[Any] = list(map(known.get, listed))
            if None in found:
                code = self.code
                found = [code(value) if at is None else at for at, value in zip(found, listed, strict=True)]
            return found
        code, pair = self.code, self._pair
        return [
            (at if (at := known.get(value)) is not None else code(value))
            if type(value) in _PLAIN
            else pair(value)
            if type(value) is list and len(value) == 2
            else code(value)
            for value in listed
        ]

    def _pair(self, value: list[Any]) -> int:
        """Return the code of an array of two, as compare-and-set has, without going the long way."""
        known = self._codes
        one, other = value
        if type(one) not in _PLAIN or type(other) not in _PLAIN:
            return self.code(value)
        first, second = known.get(one), known.get(other)
        if first is None:
            first = self._add(one, one)
        if second is None:
            second = self.code(other)
        identity = ("items", first, second)
        code = known.get(identity)
        if code is None:
            code = self._add(identity, (one, other))
            self._pairs[code] = (first, second)
            self._depth[code] = 1
        return code

    def find(self, value: object) -> int | None:
        """Return the code of `value`, or None if it is not in the table."""
        return self._codes.get(_identity(value, self._find_item))

    @property
    def mixes_truth(self) -> bool:
        """True if it holds `true` and 1, or `false` and 0, which Python takes for equal."""
        codes = self._codes
        return any(("bool", truth) in codes and int(truth) in codes for truth in (True, False))

    def pairs(self) -> npt.NDArray[np.int32]:
        """Return an array [code, 2]: the codes of both items of each pair, -1 for what is no pair (cas arguments)."""
        found = np.full((len(self._values), 2), -1, dtype=np.int32)
        if self._pairs:
            rows = np.fromiter(self._pairs.keys(), dtype=np.int64, count=len(self._pairs))
            found[rows] = np.array(list(self._pairs.values()), dtype=np.int32)
        return found

    def _find_item(self, item: object) -> int:
        code = self.find(item)
        return -1 if code is None else code

    def _add(self, identity: Hashable, value: Value) -> int:
        code = len(self._values)
        self._codes[identity] = code
        self._values.append(value)
        return code

    def _compound(self, value: object) -> int:
        identity = _identity(value, self.code)
        code = self._codes.get(identity)
        if code is not None:
            return code
        if isinstance(value, list | tuple):
            assert isinstance(identity, tuple)
            items = identity[1:]
            depth = 1 + max((self._depth.get(item, 0) for item in items), default=0)
            if depth > DEPTH_MAX:
                raise TypeError(f"an array nested deeper than {DEPTH_MAX} is no operation value")
            code = self._add(identity, tuple(self._values[item] for item in items))
            self._depth[code] = depth
            if len(items) == 2:
                self._pairs[code] = (items[0], items[1])
            return code
        if isinstance(value, float) and value.is_integer():
            return self._add(identity, int(value))
        assert isinstance(value, bool | int | float | str)
        return self._add(identity, value)


def _identity(value: object, code_of: object) -> Hashable:
    """Return what `value` is known by: itself, or a tagged tuple where Python's own equality would merge values."""
    if value is None or type(value) is int or type(value) is str:
        return value
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, float):
        if value != value:
            return ("nan",)
        return int(value) if value.is_integer() else value
    if isinstance(value, list | tuple):
        assert callable(code_of)
        try:
            return ("items", *[code_of(item) for item in value])
        except RecursionError:
            raise TypeError(f"an array nested deeper than {DEPTH_MAX} is no operation value") from None
    if isinstance(value, int | str):  # subclasses (an enum, a numpy string)
        return value
    raise TypeError(
        f"{type(value).__name__} is no operation value; expected null, a boolean, a number, a string or an array"
    )
