"""Which code and which machine a run came from."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from capsize import __version__

_TOLD = ("docker", "networkx", "numba", "numpy")


def origin() -> dict[str, Any]:
    """Return the versions and the commit of this code, as run.json keeps them; what is not known is None."""
    versions: dict[str, str | None] = {"capsize": __version__, "python": sys.version.split()[0]}
    for name in _TOLD:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {"versions": versions, "kernel": platform.release(), "machine": platform.machine(), "commit": commit()}


def commit() -> str | None:
    """Return the commit of the checkout this code runs from, "+" when files differ; None when installed."""
    here = Path(__file__).resolve().parent
    root = here.parent.parent
    if not (root / ".git").exists():
        return None
    try:
        told = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip()
