"""The errors that capsize raises on purpose.

    CapsizeError              for people: what was wrong, the value, what was expected, what to do next
    ├── UsageError            the command line or a configuration cannot be carried out     exit 254
    ├── HistoryError          a history that is no history: file, line, what was expected   exit 255
    ├── BackendError          a place to run that cannot be had, or that broke              exit 255
    ├── StoreError            the store cannot be read or written                           exit 255
    ├── AdapterError          an adapter or the system under test could not be brought up   exit 255
    ├── Refused               a fault or capability that this place does not have           exit 254
    └── Declined              a fault that could not happen this time: nothing was done, it is asked for again

    DefiniteError             a client's word that the system surely did nothing: the operation is `fail`

A broken invariant of our own is an `assert` or a plain exception, and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CapsizeError(Exception):
    """Base of the errors shown to a person as one line, without a traceback."""

    exit_code = 255


class UsageError(CapsizeError):
    """What was asked for cannot be carried out as it was written."""

    exit_code = 254


class HistoryError(CapsizeError):
    """A file or a sequence of events that is no history.

    `where` is "file:line" when a file was read, else the position of the offending event.
    """

    def __init__(self, problem: str, *, where: str = "") -> None:
        super().__init__(f"{where}: {problem}" if where else problem)
        self.where = where
        self.problem = problem


class BackendError(CapsizeError):
    """A place to run that cannot be had, or that broke while it was used."""


class StoreError(CapsizeError):
    """The store cannot be read or written."""


class AdapterError(CapsizeError):
    """The system under test, or its adapter, could not be brought up."""


class Refused(CapsizeError):
    """A fault or a capability that this place or this system does not have; says why."""

    exit_code = 254


class Declined(CapsizeError):
    """A fault was asked for and the answer was no: nothing happened, it is skipped and not counted as landed."""


class DefiniteError(Exception):
    """Raised by a client only when the system certainly did nothing and never will."""


def no_such(kind: str, name: str, known: Iterable[str], *, flag: str = "", listing: str = "") -> UsageError:
    """Return the error for an unknown word, with the nearest known one.

    >>> print(no_such("fault", "partitoin", ["kill", "partition"], flag="--faults", listing="faults"))
    --faults: no fault is called 'partitoin'; did you mean 'partition'? (capsize list faults)
    """
    words = sorted(known)
    near = difflib.get_close_matches(name, words, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(words)}"
    prefix = f"{flag}: " if flag else ""
    suffix = f" (capsize list {listing})" if listing else ""
    return UsageError(f"{prefix}no {kind} is called {name!r}; {hint}{suffix}")
