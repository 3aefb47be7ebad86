"""Taking away what runs left behind: containers, networks, frozen disks, loop devices, processes, folders.

Everything of ours carries the run's label and its owner: ledgers, container and network labels, the environment of
processes (CAPSIZE_RUN, CAPSIZE_OWNER), the name of a disk's image file. What carries neither is never touched, and
a run whose owner still lives is left alone unless it is forced.

The order matters. A frozen disk comes first: a process that hangs in it cannot be killed, a container that holds
such a process cannot be removed, and a frozen file system outlives even its last mount, until somebody thaws it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

from capsize.cluster.ledger import Ledger, Owner, ledgers
from capsize.cluster.sweep import detach, loops, thaw
from capsize.errors import BackendError


def cleanup(labels: Iterable[str] | None = None, *, force: bool = False) -> list[str]:
    """Remove what dead runs left (only these `labels`, if given); return one line for each thing that was removed.

    With `force` also what belongs to a run whose owner still lives. Safe to repeat; what could not be removed is
    there the next time. Needs root to thaw a disk of a run that root made; everything else as the user who ran it.
    """
    return Sweep(None if labels is None else set(labels), force).run()


class Sweep:
    """One pass over everything on this machine that may be ours."""

    def __init__(self, labels: set[str] | None, force: bool) -> None:
        self.labels = labels
        self.force = force
        self.removed: list[str] = []
        self.ledgers = ledgers()
        self.processes = list(_processes())
        self.engine = _Engine()
        self.alive = self._alive()

    def _alive(self) -> set[str]:
        """Return the labels whose owner lives, by whatever still tells of an owner."""
        owners = [(ledger.label, ledger.owner) for ledger in self.ledgers]
        owners += [(label, owner) for _, label, owner in self.processes if owner is not None]
        owners += self.engine.owners()
        return {label for label, owner in owners if owner.alive() or self.engine.may_live_elsewhere(label, owner)}

    def takes(self, label: str) -> bool:
        """Return whether things of this label are to go."""
        return (self.labels is None or label in self.labels) and (self.force or label not in self.alive)

    def run(self) -> list[str]:
        for device, label in loops():
            if self.takes(label) and thaw(device):
                self.removed.append(f"freeze of the disk {device} of run {label}")
        self.removed += self.engine.remove(self.takes)
        self._end_processes()
        for device, label in loops():
            if self.takes(label) and detach(device):
                self.removed.append(f"loop device {device} of run {label}")
        for ledger in self.ledgers:
            if self.takes(ledger.label):
                self._close(ledger)
        return self.removed

    def _end_processes(self) -> None:
        """End processes by pid and start time: those that carry the label, and those the ledger names."""
        doomed = [(process, label) for process, label, _ in self.processes if self.takes(label)]
        for ledger in self.ledgers:
            if self.takes(ledger.label):
                doomed += [(process, ledger.label) for process in _recorded(ledger)]
        mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        ended: dict[int, tuple[psutil.Process, str]] = {}
        for process, label in doomed:
            if process.pid in mine or process.pid in ended:
                continue
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                told = f"process {process.pid} ({process.name()}) of run {label}"
                process.kill()
                ended[process.pid] = process, told
        psutil.wait_procs([process for process, _ in ended.values()], timeout=5.0)
        self.removed += [told for process, told in ended.values() if not process.is_running() or _zombie(process)]

    def _close(self, ledger: Ledger) -> None:
        for folder in ledger.all("folder"):
            path = Path(str(folder["path"]))
            if path.is_dir() and path.name.startswith(f"capsize-{ledger.label}-"):
                shutil.rmtree(path, ignore_errors=True)
                self.removed.append(f"folder {path} of run {ledger.label}")
        if not self.engine.asked and ledger.all("container"):
            return  # its containers are still to be removed, once an engine answers
        ledger.close()
        hosts = ", ".join(str(entry["host"]) for entry in ledger.all("host"))
        told = f" (it used {hosts}: with --nodes-file they are swept, too)" if hosts else ""
        self.removed.append(f"ledger of run {ledger.label}{told}")


# -- processes ---------------------------------------------------------------------------------------------------
def _processes() -> Iterable[tuple[psutil.Process, str, Owner | None]]:
    """Yield the processes whose environment carries a run's label, with the label and the owner."""
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue
        if label := environment.get("CAPSIZE_RUN"):
            yield process, label, Owner.parse(environment.get("CAPSIZE_OWNER", ""))


def _recorded(ledger: Ledger) -> Iterable[psutil.Process]:
    for entry in ledger.all("process"):
        known = Owner(int(entry["pid"]), str(entry["start"]), ledger.owner.boot)
        if known.start and known.alive():
            with contextlib.suppress(psutil.NoSuchProcess):
                yield psutil.Process(known.pid)


def _zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


# -- the Docker engine -------------------------------------------------------------------------------------------
class _Engine:
    """What the Docker engine holds of ours; nothing when none answers."""

    def __init__(self) -> None:
        self.asked = False
        self.remote = False
        self.containers: list[Any] = []
        self.networks: list[Any] = []
        if not _may_have_engine():
            return
        from capsize.cluster.engine import RUN_LABEL, connect, engine_address

        try:
            client = connect(10)
        except BackendError:
            return
        self.asked = True
        self.remote = not engine_address().startswith("unix:")
        self.containers = client.containers.list(all=True, filters={"label": RUN_LABEL}, ignore_removed=True)
        self.networks = client.networks.list(filters={"label": RUN_LABEL})

    def _labelled(self) -> list[tuple[str, Any, str]]:
        from capsize.cluster.engine import OWNER_LABEL, RUN_LABEL

        found = [("container", thing, thing.labels) for thing in self.containers]
        found += [("network", thing, thing.attrs.get("Labels") or {}) for thing in self.networks]
        return [(labels[RUN_LABEL], thing, labels.get(OWNER_LABEL, "")) for _, thing, labels in found]

    def owners(self) -> list[tuple[str, Owner]]:
        if not self.asked:
            return []
        return [(label, owner) for label, _, text in self._labelled() if (owner := Owner.parse(text)) is not None]

    def may_live_elsewhere(self, label: str, owner: Owner) -> bool:
        """Return whether the owner may be a process of another machine that uses the same engine."""
        return self.remote and not owner.here()

    def remove(self, takes: Callable[[str], bool]) -> list[str]:
        """Thaw, then remove containers; then networks. Return what went."""
        if not self.asked:
            return []
        import docker.errors

        removed: list[str] = []
        doomed = [(label, thing) for label, thing, _ in self._labelled() if takes(label)]
        containers = [(label, thing) for label, thing in doomed if thing in self.containers]
        for _, container in containers:
            if container.status == "running":
                _thaw_inside(container)
        for label, thing in [*containers, *(pair for pair in doomed if pair not in containers)]:
            kind = "container" if thing in self.containers else "network"
            try:
                if kind == "container":
                    thing.remove(force=True, v=True)
                else:
                    thing.remove()
            except docker.errors.NotFound:
                continue
            except docker.errors.APIError:
                continue  # still in use or being removed; the next cleanup finds it again
            removed.append(f"{kind} {thing.name} of run {label}")
        return removed


def _thaw_inside(container: Any) -> None:
    """Thaw from within, for engines whose kernel is not ours to reach (a virtual machine, another host)."""
    import docker.errors

    with contextlib.suppress(docker.errors.APIError):
        container.exec_run(["timeout", "5", "fsfreeze", "--unfreeze", "/capsize/disk"])


def _may_have_engine() -> bool:
    """Return whether asking for an engine is worth the import: a socket, an address or a docker command is there."""
    return bool(os.environ.get("DOCKER_HOST")) or Path("/var/run/docker.sock").exists() or bool(shutil.which("docker"))
