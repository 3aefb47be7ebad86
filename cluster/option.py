"""An adapter's options (`--opt name=value`), read with one clear line when a value is not among the expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from capsize.errors import UsageError


def choice(options: Mapping[str, Any], name: str, among: Sequence[str]) -> str:
    """Return the option's value, one of `among`; the first of them when it is not given.

    >>> choice({"reads": "stale"}, "reads", ("linearizable", "serializable"))
    Traceback (most recent call last):
    capsize.errors.UsageError: --opt reads: 'stale' is not possible; expected linearizable or serializable
    """
    value = str(options.get(name, among[0]))
    if value not in among:
        *others, last = among
        told = f"{', '.join(others)} or {last}" if others else last
        raise UsageError(f"--opt {name}: {value!r} is not possible; expected {told}")
    return value


def number(options: Mapping[str, Any], name: str, default: int, *, least: int, most: int) -> int:
    """Return the option's value as a whole number from `least` to `most`.

    >>> number({"heartbeat_ms": "50"}, "heartbeat_ms", 100, least=1, most=10_000)
    50
    """
    value = options.get(name, default)
    try:
        found = int(value)
    except (TypeError, ValueError):
        raise UsageError(f"--opt {name}: {value!r} is no whole number; expected {least} to {most}") from None
    if not least <= found <= most:
        raise UsageError(f"--opt {name}: {found} is out of range; expected {least} to {most}")
    return found
