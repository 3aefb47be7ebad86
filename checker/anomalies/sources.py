"""Values that were read though nobody had written them: never at all, not successfully, or not yet."""

from __future__ import annotations

from collections.abc import Sequence

from capsize.checker.anomalies.case import Case, name, short
from capsize.op import Operation, Value


def from_nowhere(
    case: Case,
    read: Operation,
    value: Value,
    writers: Sequence[Operation],
    refused: Sequence[Operation],
    written: str = "written",
) -> tuple[str, list[str], list[Operation]] | None:
    """Return name, argument and the refused writes, if `read` cannot have seen `value` from any of `writers`.

    `writers` are all that wrote it or may have, `refused` those that asked for it and were answered fail.
    """
    shown = short(value)
    if writers:
        if read.ret is None or any(op.call <= read.ret for op in writers):
            return None
        first = min(writers, key=lambda op: op.call)
        return (
            "future-read",
            [
                f"{name(read)} found {shown}{case.brief(read)} before anybody had asked for it to be {written}.",
                f"{case.told(read)}.",
                f"{shown} was first asked to be {written}{case.at(first.call_ns)} ({case.no(first)}), after that "
                "answer.",
            ],
            [],
        )
    if refused:
        other = refused[0]
        why = f" ({other.error})" if other.error else ""
        return (
            "dirty-read",
            [
                f"{name(read)} read {shown}{case.brief(read)}, and the only attempt to have it {written} was answered "
                "fail.",
                f"{case.told(read)}.",
                f"{shown} was asked for only by {name(other)} ({case.no(other)}"
                f"{case.at(other.call_ns, ', called at ')}), and that was answered fail{why}: it must never have any "
                "effect.",
            ],
            list(refused[:3]),
        )
    return (
        "garbage-read",
        [
            f"{name(read)} read {shown}{case.brief(read)}, which nobody ever asked to be {written}.",
            f"{case.told(read)}.",
            f"No operation of the history ever asked for {shown} to be {written}"
            f"{f' to{case.on_key}' if case.on_key else ''}.",
        ],
        [],
    )
