"""The store: one folder per run, never two runs in one, links to the latest, and nothing half-written.

store/latest -> register/20261123T101502Z-s7
store/register/latest -> 20261123T101502Z-s7
store/campaigns/20261123T101502Z-s7.json
store/register/20261123T101502Z-s7/  run.json history.jsonl schedule.json verdict.json report.html capsize.log nodes/
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from capsize.errors import StoreError, UsageError

RUN, HISTORY, SCHEDULE, VERDICT, REPORT, LOG = (
    "run.json", "history.jsonl", "schedule.json", "verdict.json", "report.html", "capsize.log"
)  # fmt: skip
CAMPAIGNS = "campaigns"
"""The folder of the campaigns' rolls; it holds no run."""


@contextmanager
def explained(path: Path, doing: str) -> Generator[None, None, None]:
    """Turn an OSError about `path` into a StoreError that says what was being done and what to do next."""
    try:
        yield
    except OSError as error:
        advice = {
            "PermissionError": "no permission; choose another place with --store",
            "NotADirectoryError": "a file stands where a folder is needed; choose another place with --store",
            "FileNotFoundError": "there is no such file or folder",
        }.get(type(error).__name__, error.strerror or str(error))
        if error.errno in (28, 122):  # ENOSPC, EDQUOT
            advice = "the disk is full; what was written before is kept; free some space or use --store"
        if error.errno == 30:
            advice = "the file system is read-only; choose another place with --store"
        raise StoreError(f"{path}: cannot {doing}: {advice}") from error


def new_folder(store: Path, name: str, seed: int, started: datetime) -> Path:
    """Make and return the folder of a run that starts now (`started` in UTC); it is nobody else's."""
    stamp = started.strftime("%Y%m%dT%H%M%SZ")
    parent = store / name
    with explained(parent, "make the folder"):
        parent.mkdir(parents=True, exist_ok=True)
    for again in range(1, 1000):
        folder = parent / (f"{stamp}-s{seed}" if again == 1 else f"{stamp}-s{seed}-{again}")
        with explained(folder, "make the folder"):
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    raise StoreError(f"{parent}: a thousand runs with seed {seed} began in the same second")


def link_latest(folder: Path) -> None:
    """Point `latest` of the name and of the whole store at this run, atomically."""
    for link, target in ((folder.parent / "latest", folder.name),
                         (folder.parent.parent / "latest", f"{folder.parent.name}/{folder.name}")):  # fmt: skip
        with explained(link, "write the link"):
            if link.exists() and not link.is_symlink():
                continue  # somebody's own folder called latest
            new = link.with_name(f".latest-{os.getpid()}")
            new.unlink(missing_ok=True)
            new.symlink_to(target)
            new.replace(link)


def write_text(path: Path, text: str) -> None:
    """Write a file as a whole or not at all; half a surrogate, which UTF-8 cannot hold, as the escape that JSON has."""
    new = path.with_name(f".{path.name}.new")
    with explained(path, "write"):
        try:
            with new.open("w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)
            raise


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON object as a whole or not at all, keys in the order given."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`; raises StoreError that says what is wrong with it."""
    with explained(path, "read"):
        text = path.read_text(encoding="utf-8")
    try:
        data = json.loads(text)
    except ValueError as error:
        raise StoreError(f"{path}: not JSON: {error}") from error
    if not isinstance(data, dict):
        raise StoreError(f"{path}: expected a JSON object")
    return data


def run_folder(given: Path) -> Path:
    """Return the folder of a run, a link such as `latest` resolved: it may point to another one soon.

    Raises UsageError for whatever is no run of a store.
    """
    if not given.exists():
        raise UsageError(f"{given}: there is no such run (capsize list runs)")
    if given.parent.name == CAMPAIGNS and given.suffix == ".json":
        raise UsageError(f"{given}: this is the roll of a campaign; expected one of the runs that it names")
    if not (given / RUN).is_file():
        raise UsageError(f"{given}: this is no run, it has no {RUN}; expected store/<name>/<time>-s<seed>, or a latest")
    real = given.resolve()
    return real.relative_to(Path.cwd()) if real.is_relative_to(Path.cwd()) else real


def runs(store: Path) -> list[Path]:
    """Return the folders of all runs in `store`, oldest first."""
    if not store.is_dir():
        return []
    found = {path.parent for path in store.glob(f"*/*/{RUN}") if not path.parent.is_symlink()}
    return sorted(found, key=lambda folder: (folder.name, folder.parent.name))
