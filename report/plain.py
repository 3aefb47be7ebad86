"""Values, times and counts as short text that is safe to show: nothing invisible, nothing endless.

A history is written by the system under test. A value may hold markup, control characters or marks that turn the
reading direction; all of them are made visible here, before any template sees them.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

LONGEST = 400
"""Characters of one value that are shown; the rest is counted."""

_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def visible(text: str, longest: int = LONGEST) -> str:
    """Return `text` on one line with every invisible character written as an escape, cut after `longest`.

    >>> visible("a\\nb\\u202ec")
    'a\\\\nb\\\\u202ec'
    """
    more = len(text) - longest
    if more > 0:
        text = text[:longest]
    text = _INVISIBLE.sub(lambda match: _escape(match.group()), text)
    return f"{text}… ({more:,} more characters)" if more > 0 else text


def _escape(character: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    return short or f"\\u{ord(character):04x}"


def value_text(value: Any, longest: int = LONGEST) -> str:
    """Return a JSON value as it would stand in JSON, visible throughout.

    >>> value_text(["x", None, 3])
    '["x", null, 3]'
    """
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        text = f"<{type(value).__name__} that is no JSON>"
    return visible(text, longest)


def middle_out(text: str, longest: int = 36) -> str:
    """Return `text`, its middle left out when it is longer than `longest`.

    >>> middle_out("read → [1, 2, 3, 4, 5, 6, 7, 8, 9]", 20)
    'read → [1… 7, 8, 9]'
    """
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def seconds(time_ns: float | None) -> str:
    """Return a time of the run in seconds, to the millisecond.

    >>> seconds(12_377_000_000)
    '12.377 s'
    """
    return "–" if time_ns is None else f"{time_ns / 1e9:.3f} s"


def moment(time_ns: float) -> str:
    """Return a moment as a person would name it; the run's clock begins with the load.

    >>> moment(12_377_000_000), moment(-178_000_000)
    ('12.377 s of the run', '0.178 s before the load began')
    """
    if time_ns <= -500_000:
        return f"{seconds(-time_ns)} before the load began"
    return f"{seconds(max(time_ns, 0))} of the run"


def duration(time_ns: float | None) -> str:
    """Return a duration in the unit a person would choose.

    >>> duration(1_500_000), duration(61_000_000_000)
    ('1.5 ms', '61.0 s')
    """
    if time_ns is None:
        return "–"
    if abs(time_ns) < 1e6:
        return f"{time_ns / 1e3:.0f} µs"
    if abs(time_ns) < 1e9:
        return f"{time_ns / 1e6:.1f} ms"
    return f"{time_ns / 1e9:.1f} s"


def in_micro(show: Callable[[float | None], str]) -> Callable[[float | None], str]:
    """Return `show`, which takes nanoseconds, as a function of microseconds.

    >>> in_micro(duration)(1_500)
    '1.5 ms'
    """
    return lambda time_us: show(None if time_us is None else time_us * 1000)


def count(number: int, noun: str, plural: str = "") -> str:
    """Return "1 anomaly", "2 anomalies".

    >>> count(1, "anomaly", "anomalies"), count(2000, "operation")
    ('1 anomaly', '2,000 operations')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def command_line(argv: Any) -> str:
    """Return an argument list as one line for a shell; "" when there is none.

    >>> command_line(["/usr/bin/capsize", "run", "--seed", "7"])
    'capsize run --seed 7'
    """
    if isinstance(argv, str):
        return visible(argv, 4000)
    if not isinstance(argv, list) or not argv:
        return ""
    words = [visible(str(word), 4000) for word in argv]
    first = words[0].replace("\\", "/").rsplit("/", 1)[-1]
    words = ["capsize", *words[1:]] if first in ("capsize", "__main__.py", "capsize.exe") else ["capsize", *words]
    return shlex.join(words)
