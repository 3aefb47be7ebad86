"""How several things are named in one sentence."""

from __future__ import annotations

from collections.abc import Sequence


def joined(words: Sequence[str]) -> str:
    """Return words as a sentence names them.

    >>> joined(["n1", "n2", "n3"]), joined(["n1"]), joined([])
    ('n1, n2 and n3', 'n1', '')
    """
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""
