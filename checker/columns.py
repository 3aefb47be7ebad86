"""Operations on registers and maps as plain integers, for the fast engines.

Every (key, value) that occurs is one *slot*, a small integer; the initial value of each key is a slot as well.
What constrains nothing is left out here: operations that failed, reads that never returned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capsize.op import Value

READ, WRITE, CAS, CAS_FAILED, APPEND = 0, 1, 2, 3, 4
KIND_NAMES = ("read", "write", "cas", "failed cas", "append")

Ints = npt.NDArray[np.int64]
Slots = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class KeyColumns:
    """Operations of many keys, one row each, in the order of their calls.

    kind      READ a · WRITE a · CAS a to b · CAS_FAILED (the state was not a) · APPEND a
    a, b      slots, or for APPEND the code of what is appended
    call      position of the call; all positions of calls and returns are distinct
    ret       position of the return, -1 for an operation that may have taken effect at any time or never
    row       the operation's index in the history
    key       index into `keys`; `initial[key]` is the slot of its first value
    """

    key: Slots
    kind: npt.NDArray[np.int8]
    a: Slots
    b: Slots
    call: Ints
    ret: Ints
    row: Ints
    initial: Slots
    slots: int
    keys: tuple[Value, ...]

    def __len__(self) -> int:
        return len(self.call)

    @property
    def positions(self) -> int:
        """One more than the largest position."""
        if not len(self):
            return 0
        return int(max(self.call.max(), self.ret.max())) + 1

    def take(self, rows: npt.NDArray[np.int64]) -> KeyColumns:
        """Return some rows; slots and keys as they are."""
        return KeyColumns(
            self.key[rows], self.kind[rows], self.a[rows], self.b[rows], self.call[rows], self.ret[rows],
            self.row[rows], self.initial, self.slots, self.keys,
        )  # fmt: skip
