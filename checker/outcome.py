"""What an engine says about one key: a legal order, an impossibility with its reason, or that the budget ran out.

Every engine has the shape `decide(history, model, budget) -> Outcome`, where `history` holds the operations of one
key, and answers with one of three:

    Legal(order)        there is a legal order; `order` names it when the engine keeps one
    Illegal(reason)     there is none; the reason in structure
    Exhausted(...)      the budget ran out before either was known

Operations are named everywhere by `History.columns.row`, their number in the whole history, so that a result about
a part of the history still points at the right operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from capsize.history import History


@dataclass(frozen=True, slots=True)
class Legal:
    """`order`: the rows in a legal order, pending operations that took effect included; None if not kept.

    `steps` and `bytes` are what it cost, in the budget's units.
    """

    order: tuple[int, ...] | None = None
    steps: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Illegal:
    """`reason` is the contradiction in structure, JSON-able; `kind` is its name, `rows` the operations in it.

    Kinds of the general engines: "no-configuration": at the return of `rows[0]` no order of the operations so far
    was legal; `reason` then holds
        at            row of the operation that could not be placed
        window        [first position, last position] of the segment judged
        last          up to 8 of the last configurations: {"state": text, "done": rows, "refused": [{"row", "why"}]}
    """

    kind: str
    rows: tuple[int, ...]
    reason: Mapping[str, Any] = field(default_factory=dict[str, Any])
    steps: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The budget ran out at positions `window`, with `open` operations in flight and `pending` ones never returned.

    `what` is "steps" or "bytes"; `hint` says what would help.
    """

    what: str
    window: tuple[int, int]
    open: int
    pending: int
    hint: str = ""
    steps: int = 0
    bytes: int = 0


Outcome = Legal | Illegal | Exhausted
Decide = Callable[[History], Outcome]
"""An engine with its model and budget already bound."""
