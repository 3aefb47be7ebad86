"""One command line, carried out: what a person did wrong is one line without a traceback; only a verdict exits 1."""

from __future__ import annotations

import sys
import traceback

from capsize.errors import CapsizeError, UsageError, no_such

COULD_NOT_RUN = 255


def invoke(words: list[str]) -> int:
    """Carry out one command line; return its exit code. Errors for people are printed to stderr as one line.

    Only a verdict exits 1. So nothing that breaks in here may leave as what it is: not our own error, not a pipe that
    broke, not a `sys.exit()` in somebody's adapter.
    """
    try:
        return _carried_out(words)
    except CapsizeError as error:
        return _tell(error)
    except KeyboardInterrupt:
        return _tell(CapsizeError("interrupted"))
    except SystemExit as left:
        return _tell(CapsizeError(f"something called sys.exit({left.code!r}) while capsize ran; was it the adapter?"))
    except Exception:
        traceback.print_exc()  # a broken invariant of our own
        return COULD_NOT_RUN


def _carried_out(words: list[str]) -> int:
    from capsize.cli.commands import Left, command_line, usage_problem

    commands = command_line()
    if words and not words[0].startswith("-") and words[0] not in commands.commands:
        raise no_such("command", words[0], commands.commands)
    try:  # not its main(), which makes an exit code 1 of a broken pipe, and 130 of Ctrl-C
        with commands.make_context("capsize", words) as context:
            result = commands.invoke(context)
    except Left as left:
        result = left.exit_code
    except Exception as error:
        problem = usage_problem(error)
        if problem is None:
            raise
        raise UsageError(problem) from None
    if sys.stdout is not None:
        sys.stdout.flush()
    return result if isinstance(result, int) else 0


def _tell(error: CapsizeError) -> int:
    if not getattr(error, "quiet", False):
        line = " ".join(str(error).split())
        print(f"capsize: {line}", file=sys.stderr)
    return error.exit_code
