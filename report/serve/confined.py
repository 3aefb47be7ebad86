"""The store as the server may see it: regular files and folders below one root, and nothing that leads out of it.

Every part of a path is opened from the folder before it, and links are not followed, so that neither `..` nor a
link, put there before or while we look, leads anywhere else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

LONGEST_PATH = 32
"""Folders below the root."""


class Absent(Exception):
    """There is no such file or folder that the server may show."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or folder, by its name as the file system has it."""

    name: str
    folder: bool
    size: int
    changed_ns: int


class Confined:
    """Opens what lies below `root`; raises Absent for everything else."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    @contextmanager
    def _folder(self, parts: tuple[str, ...]) -> Generator[int, None, None]:
        if len(parts) > LONGEST_PATH or not all(map(allowed, parts)):
            raise Absent
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        opened = -1
        try:
            opened = os.open(self.root, flags)
            for part in parts:
                inner = os.open(part, flags | os.O_NOFOLLOW, dir_fd=opened)
                os.close(opened)
                opened = inner
            yield opened
        except (OSError, ValueError) as error:
            raise Absent from error
        finally:
            if opened >= 0:
                os.close(opened)

    def open(self, *parts: str) -> BinaryIO:
        """Return the regular file at `parts`, opened for reading."""
        if not parts or not allowed(parts[-1]):
            raise Absent
        with self._folder(parts[:-1]) as folder:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            opened = os.open(parts[-1], flags, dir_fd=folder)
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                os.close(opened)
                raise Absent
            return os.fdopen(opened, "rb")

    def read(self, *parts: str, most: int = 64 << 20) -> bytes:
        """Return up to `most` bytes of the file at `parts`."""
        with self.open(*parts) as file:
            return file.read(most)

    def mark(self, *parts: str) -> tuple[int, int]:
        """Return (size, time of change in ns) of the file at `parts`; (-1, 0) when there is none."""
        try:
            with self.open(*parts) as file:
                seen = os.fstat(file.fileno())
                return seen.st_size, seen.st_mtime_ns
        except Absent:
            return -1, 0

    def entries(self, *parts: str) -> list[Entry]:
        """Return the files and folders at `parts`, by name; links and devices are left out, and names with a dot."""
        with self._folder(parts) as folder:
            return sorted(_entries(folder), key=lambda entry: (not entry.folder, entry.name))

    def has_folder(self, *parts: str) -> bool:
        """Return whether there is a folder at `parts`."""
        try:
            with self._folder(parts):
                return True
        except Absent:
            return False


def allowed(part: str) -> bool:
    """Return whether one part of a path may be looked at."""
    return bool(part) and not part.startswith(".") and "/" not in part and "\0" not in part and len(part) < 256


def parts_of(raw_path: bytes) -> tuple[str, ...]:
    """Return the parts of a request's path, each decoded once; raises Absent for one that is not allowed.

    >>> parts_of(b"/run/a%20b/c")
    ('run', 'a b', 'c')
    """
    parts = tuple(os.fsdecode(unquote_to_bytes(part)) for part in raw_path.split(b"?")[0].split(b"/")[1:])
    if parts and parts[-1] == "":
        parts = parts[:-1]
    if not all(map(allowed, parts)):
        raise Absent
    return parts


def _entries(folder: int) -> Iterator[Entry]:
    with os.scandir(folder) as found:
        for item in found:
            if item.is_symlink() or not allowed(item.name):
                continue
            seen = item.stat(follow_symlinks=False)
            if stat.S_ISDIR(seen.st_mode) or stat.S_ISREG(seen.st_mode):
                yield Entry(item.name, stat.S_ISDIR(seen.st_mode), seen.st_size, seen.st_mtime_ns)
