"""The ledger of a run: what it made on this machine, written down before it is used, so that it can be taken away.

One JSON file a run, `<runtime dir>/capsize/<label>.json`. Who owns the run is told by pid, start time and boot, so
that a pid given to somebody else later is never taken for the owner.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capsize.cluster.agent import stat_of


def runtime_dir() -> Path:
    """Return the folder of the ledgers, made if need be: $XDG_RUNTIME_DIR, /run for root, else the temporary folder."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    candidates = [Path(given)] if given else []
    if os.geteuid() == 0:
        candidates.append(Path("/run"))
    for parent in candidates:
        if parent.is_dir() and os.access(parent, os.W_OK):
            break
    else:
        parent = Path(tempfile.gettempdir()) / f"capsize-user-{os.geteuid()}"
    folder = parent / "capsize"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def boot_id() -> str:
    """Return what names this boot of this machine (the host name where the kernel does not tell)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that a run belongs to."""

    pid: int
    start: str
    boot: str

    @classmethod
    def this(cls) -> Owner:
        """Return this process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Owner:
        """Return the process that has this pid now."""
        seen = stat_of(pid)
        return cls(pid, seen[1] if seen else "", boot_id())

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Read what `str` of an owner wrote; None when it is no owner."""
        parts = text.split("/")
        return cls(int(parts[0]), parts[1], parts[2]) if len(parts) == 3 and parts[0].isdigit() else None

    def __str__(self) -> str:
        return f"{self.pid}/{self.start}/{self.boot}"

    def here(self) -> bool:
        """Return whether this owner belongs to this boot of this machine: only then can we know whether it lives."""
        return self.boot == boot_id()

    def alive(self) -> bool:
        """Return whether that very process still runs here."""
        seen = stat_of(self.pid)
        return self.here() and seen is not None and seen[1] == self.start and seen[0] not in "ZX"


@dataclass(slots=True)
class Ledger:
    """What one run made: `things` as {"kind": "process" | "folder" | "loop" | "network" | "container" | "port", …}."""

    label: str
    owner: Owner
    things: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def path(self) -> Path:
        return runtime_dir() / f"{self.label}.json"

    @classmethod
    def open(cls, label: str) -> Ledger:
        """Return a new ledger of this process, on disk."""
        ledger = cls(label, Owner.this())
        ledger.write()
        return ledger

    @classmethod
    def load(cls, path: Path) -> Ledger:
        """Read one; raises ValueError or OSError when it is no ledger."""
        read = json.loads(path.read_text())
        owner = Owner.parse(str(read["owner"]))
        if owner is None:
            raise ValueError(f"{path}: no owner")
        return cls(str(read["label"]), owner, list(read["things"]))

    def record(self, kind: str, **facts: Any) -> None:
        """Write down one thing; it is on disk when this returns."""
        with self.lock:
            self.things.append({"kind": kind, **facts})
            self.write()

    def record_process(self, pid: int) -> None:
        """Write down a process by pid and start time."""
        seen = stat_of(pid)
        self.record("process", pid=pid, start=seen[1] if seen else "")

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Return the things of one kind, in the order in which they were made."""
        return [thing for thing in self.things if thing["kind"] == kind]

    def write(self) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({"label": self.label, "owner": str(self.owner), "things": self.things}))
        fresh.replace(self.path)

    def close(self) -> None:
        """Forget the run: everything was taken away."""
        self.path.unlink(missing_ok=True)


def ledgers() -> list[Ledger]:
    """Return every ledger on this machine that can be read."""
    found: list[Ledger] = []
    for path in sorted(runtime_dir().glob("*.json")):
        try:
            found.append(Ledger.load(path))
        except (OSError, ValueError, KeyError):
            continue
    return found
