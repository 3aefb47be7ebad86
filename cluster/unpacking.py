"""Unpacks a tar archive that somebody else made: nothing of it lands outside of the folder.

Python has a filter for that from 3.11.4 on. Debian 12 has 3.11.2: there every member is looked at here, by its rules.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path


def unpack(tar: tarfile.TarFile, target: Path, *, leave_out: bool = False) -> None:
    """Put the files, folders and links of `tar` below `target`, as ours, without special modes.

    A member that points outside, or is a device or a pipe, is left out where `leave_out` says so; otherwise it
    raises tarfile.TarError.
    """
    if hasattr(tarfile, "data_filter"):
        tar.extractall(target, filter=_within if leave_out else "data")
        return
    for member in tar:  # one after the other: a link that is there already is followed when the next one is looked at
        problem = _problem(member, target)
        if not problem:
            tar.extract(_as_ours(member), target)
        elif not leave_out:
            raise tarfile.ExtractError(f"{member.name!r} {problem}")


def _within(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    try:
        return tarfile.data_filter(member, path)
    except tarfile.FilterError:
        return None


def _holds(folder: Path, path: Path) -> bool:
    """Return whether `path` is in the folder, links resolved."""
    return path.resolve().is_relative_to(folder.resolve())


def _problem(member: tarfile.TarInfo, target: Path) -> str:
    """Return what speaks against a member; empty when nothing does."""
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        return "is no file, folder or link"
    if Path(member.name).is_absolute() or not _holds(target, target / member.name):
        return "would land outside of the folder"
    if member.issym() or member.islnk():
        beside = (target / member.name).parent if member.issym() else target
        if Path(member.linkname).is_absolute() or not _holds(target, beside / member.linkname):
            return "is a link that leads outside of the folder"
    if member.islnk() and not (target / member.linkname).is_file():
        return "is another name of a file that is not there"
    return ""


def _as_ours(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return the member owned by who unpacks it, readable and writable to them, without set-user-ID and its kin."""
    runs = member.isdir() or bool(member.mode & 0o100)
    member.mode = (member.mode & (0o755 if runs else 0o644)) | (0o700 if runs else 0o600)
    member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
    return member
