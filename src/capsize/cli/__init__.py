"""The command line: `capsize run`, `campaign`, `check`, `list`, `cleanup`.

stdout is the answer, stderr the progress. What a person did wrong is one line, without a traceback. Exit codes: 0
valid, 1 invalid, 2 unknown, 254 usage, 255 could not run; of several runs the gravest, 1 before all others.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from capsize.errors import CapsizeError, UsageError, no_such

__all__ = ["main"]

COULD_NOT_RUN = 255


def main(argv: Sequence[str] | None = None) -> None:
    """Carry out one command line and leave with its exit code."""
    words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    try:
        code = invoke(words)
    except BrokenPipeError:  # who read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = COULD_NOT_RUN
    sys.exit(code)


def invoke(words: list[str]) -> int:
    """Carry out one command line; return its exit code. Errors for people are printed to stderr as one line."""
    from capsize.cli.commands import command_line, usage_problem

    try:
        if words and not words[0].startswith("-") and words[0] not in command_line().commands:
            raise no_such("command", words[0], command_line().commands)
        result = command_line().main(args=words, prog_name="capsize", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except CapsizeError as error:
        return _tell(error)
    except KeyboardInterrupt:
        return _tell(CapsizeError("interrupted"))
    except BrokenPipeError:
        raise
    except Exception as error:
        problem = usage_problem(error)
        if problem is not None:
            return _tell(UsageError(problem))
        traceback.print_exc()  # a broken invariant of our own; never exit 1, which says that the system is at fault
        return COULD_NOT_RUN


def _tell(error: CapsizeError) -> int:
    line = " ".join(str(error).split())
    print(f"capsize: {line}", file=sys.stderr)
    return error.exit_code
