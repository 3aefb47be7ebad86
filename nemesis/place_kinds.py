"""The fault words of places: links, files, clocks, limits."""

from __future__ import annotations

from capsize.nemesis.kind import Kind

PLACES: tuple[Kind, ...] = ()
