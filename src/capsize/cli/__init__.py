"""The command line: `capsize run`, `campaign`, `check`, `list`, `cleanup`.

stdout is the answer, stderr the progress. What a person did wrong is one line, without a traceback. Exit codes: 0
valid, 1 invalid, 2 unknown, 254 usage, 255 could not run; of several runs the gravest, 1 before all others.

Next to nothing is imported here: a Ctrl-C during the imports of a second is told like a later one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["invoke", "main"]

COULD_NOT_RUN = 255


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out one command line and leave with its exit code."""
    code = COULD_NOT_RUN
    words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    try:
        from capsize.cli.streams import guarded

        with guarded():
            code = invoke(words)
    except KeyboardInterrupt:
        print("capsize: interrupted", file=sys.stderr)
    sys.exit(code)


def invoke(words: list[str]) -> int:
    """Carry out one command line; return its exit code. Errors for people are printed to stderr as one line."""
    from capsize.cli.invocation import invoke as carry_out

    return carry_out(words)
