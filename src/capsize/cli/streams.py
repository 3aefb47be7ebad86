"""The streams of one command line: whoever stops listening ends no run, and a lost answer is never an exit code 1.

stderr is the progress: when it is gone, nothing more is said. stdout is the answer: when it cannot be written, the
command ends with one line and 255. A stream that was closed from the start is closed for good: its number is taken, so
that no history is opened under the number that children write their complaints to.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import sys
from collections.abc import Generator
from typing import Any, TextIO, cast

from capsize.errors import CapsizeError

SIGNS = {"·": "-", "…": "...", "→": "->", "×": "x", "–": "-", "’": "'"}
"""What capsize itself writes beyond ASCII, and what stands for it where a terminal has no more than that."""


class AnswerLost(CapsizeError):
    """stdout could not be written. `quiet` when its reader left: it has seen what it wanted."""

    def __init__(self, error: Exception) -> None:
        self.quiet = isinstance(error, BrokenPipeError)
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        super().__init__(f"stdout: the answer could not be written: {why}")


class Stream:
    """A text stream in front of another one, or of none. Losing it raises AnswerLost once if it is `needed`."""

    def __init__(self, under: TextIO | None, *, needed: bool) -> None:
        self._under = under
        self._needed = needed
        self._lost = False

    def write(self, text: str) -> int:
        """Write, unless the stream is lost."""
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] (how the parser tells streams apart)
            raise TypeError(f"expected text, not {type(text).__name__}")
        if text:
            self._do("write", text)
        return len(text)

    def flush(self) -> None:
        """Flush, unless the stream is lost."""
        if self._under is not None:
            self._do("flush")

    def isatty(self) -> bool:
        """Whether a person may be watching."""
        return self._under is not None and not self._lost and self._under.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._under, name)

    def _do(self, what: str, *words: str) -> None:
        if self._lost:
            return
        try:
            if self._under is None:
                raise OSError(errno.EBADF, "it is closed")
            getattr(self._under, what)(*words)
        except OSError as error:
            self._lose(error)
        except ValueError as error:
            if self._under is None or not self._under.closed:
                raise
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        self._lost = True
        with contextlib.suppress(OSError, ValueError, AttributeError):  # what it still holds back must not fail at exit
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
        if self._needed:
            raise AnswerLost(error) from error


@contextlib.contextmanager
def guarded() -> Generator[None, None, None]:
    """Have stdout and stderr be such streams while inside; signs that they cannot show are spelled out."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    before = sys.stdout, sys.stderr
    codecs.register_error("capsize", _spelled_out)
    for stream in before:
        with contextlib.suppress(AttributeError, ValueError):  # another kind of stream, or a closed one
            cast(Any, stream).reconfigure(errors="capsize")
    sys.stdout = cast(TextIO, Stream(before[0], needed=True))
    sys.stderr = cast(TextIO, Stream(before[1], needed=False))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _spelled_out(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    sign = error.object[error.start]
    if sign in SIGNS:
        return SIGNS[sign], error.start + 1
    return codecs.backslashreplace_errors(error)
