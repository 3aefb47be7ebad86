"""What the doctor says of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["good", "bad", "note", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence on one check: good, bad (the adapter must change), a note, or skipped with its reason."""

    check: str
    verdict: Verdict
    says: str


def good(check: str, says: str) -> Finding:
    """Return that the check held."""
    return Finding(check, "good", says)


def bad(check: str, says: str) -> Finding:
    """Return that the adapter must change, and what was expected."""
    return Finding(check, "bad", says)


def note(check: str, says: str) -> Finding:
    """Return something to know that is no mistake."""
    return Finding(check, "note", says)


def skipped(check: str, says: str) -> Finding:
    """Return why the check could not be carried out."""
    return Finding(check, "skipped", says)
