"""Takes away what runs left on this host: frozen disks, processes, loop devices, mounts, our firewall chain, folders.

Standard library only, Python 3.8 or newer. `capsize cleanup` imports it for this machine, and brings it to hosts over
ssh, beside `agent.py`: `python3 sweep.py '{"labels": null, "force": false}'` prints {"removed": [...], "live": [...]}.

There, what belongs to a run whose agent still lives is left alone unless it is forced: no live run is without one, and
an agent that has lost its controller takes everything away by itself.
"""
# Paths come as text and go to the C library as text.
# ruff: noqa: PTH106, PTH110, PTH112, PTH119, PTH123, PTH207, PTH208

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from capsize.cluster.agent import CHAIN, FITHAW, LOOP_CLR_FD, OrderError, libc, run, stat_of
else:  # on a host
    from agent import CHAIN, FITHAW, LOOP_CLR_FD, OrderError, libc, run, stat_of

IMAGE = re.compile(r"^capsize-(?P<label>.+)-n\d+\.img( \(deleted\))?$")
ROOTS = "/var/tmp/capsize-*-n*"
ROOT = re.compile(r"^/var/tmp/capsize-(?P<label>.+)-n\d+$")
PART = re.compile(r"^(?P<root>/var/tmp/capsize-.+-n\d+)/(?P<file>agent|shaper|damage)\.py$")


# -- disks -------------------------------------------------------------------------------------------------------
def loops() -> list[tuple[str, str]]:
    """Return (device, label) of the loop devices whose image file has a name of ours."""
    found: list[tuple[str, str]] = []
    for backing in sorted(glob.glob("/sys/block/loop*/loop/backing_file")):
        with contextlib.suppress(OSError), open(backing) as file:
            match = IMAGE.match(os.path.basename(file.read().strip()))
            if match:
                found.append((f"/dev/{backing.split('/')[3]}", match["label"]))
    return found


def thaw(device: str) -> bool:
    """End the freeze of the file system on `device`, wherever it is mounted or was; return whether there was one.

    Mounting the device once more gives a way to the file system even when no mount of it is left, or only one in
    the mount namespace of a process that hangs.
    """
    if os.geteuid() != 0:
        return False
    place = tempfile.mkdtemp(prefix="capsize-thaw-")
    try:
        make_node(device)
        libc("mount", device.encode(), place.encode(), b"ext4", 0, None)
    except OSError:
        os.rmdir(place)
        return False
    thawed = False
    try:
        root = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(root, FITHAW, b"\0\0\0\0")
            thawed = True
        except OSError:
            pass  # EINVAL: it was not frozen
        finally:
            os.close(root)
    finally:
        libc("umount2", place.encode(), 0)
        os.rmdir(place)
    return thawed


def make_node(device: str) -> None:
    """Make the device's file here when it was made inside a container only."""
    if not os.path.exists(device):
        os.mknod(device, 0o660 | 0o060000, os.makedev(7, int(device[len("/dev/loop") :])))


def detach(device: str, wait_s: float = 3.0) -> bool:
    """Let go of a loop device that nobody mounts any more; return whether it was ours to free.

    Ours free themselves when the last mount goes, which takes the kernel a moment after the last process.
    """
    backing = f"/sys/block/{os.path.basename(device)}/loop/backing_file"
    deadline = time.monotonic() + wait_s
    while os.path.exists(backing) and time.monotonic() < deadline:
        time.sleep(0.05)
    if not os.path.exists(backing) or os.geteuid() != 0:
        return not os.path.exists(backing)
    make_node(device)
    handle = os.open(device, os.O_RDWR)
    try:
        fcntl.ioctl(handle, LOOP_CLR_FD)
    except OSError:
        return False
    finally:
        os.close(handle)
    return not os.path.exists(backing)


# -- a host reached by ssh ---------------------------------------------------------------------------------------
class HostSweep:
    """One pass over a host; `labels` None takes every run's."""

    def __init__(self, labels: list[str] | None, force: bool) -> None:
        self.labels = labels
        self.force = force
        self.removed: list[str] = []
        self.ours = dict(parts())
        self.agents = {pid: root for pid, (root, file) in self.ours.items() if file == "agent"}
        self.live = sorted({str(label) for root in self.agents.values() if (label := label_of(root))})

    def takes(self, label: str) -> bool:
        return (self.labels is None or label in self.labels) and (self.force or label not in self.live)

    def go(self) -> None:
        for device, label in loops():
            if self.takes(label) and thaw(device):
                self.removed.append(f"freeze of the disk {device} of run {label}")
        self.end_processes()
        for device, label in loops():
            if self.takes(label) and detach(device):
                self.removed.append(f"loop device {device} of run {label}")
        if os.geteuid() == 0 and not any(not self.takes(label) for label in self.live):
            self.remove_chain()
        for root in sorted(glob.glob(ROOTS)):
            label = label_of(root) or ""
            if label and self.takes(label) and os.path.isdir(root):
                self.remove_groups(os.path.basename(root))
                shutil.rmtree(root, ignore_errors=True)
                self.removed.append(f"folder {root} of run {label}")

    def end_processes(self) -> None:
        """SIGKILL to our own parts, and to whatever carries the label of a run in its environment."""
        doomed = {pid: str(label_of(root)) for pid, (root, _) in self.ours.items() if self.takes(str(label_of(root)))}
        doomed.update({pid: label for pid, label in labelled() if self.takes(label)})
        doomed.pop(os.getpid(), None)
        for pid in doomed:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline and any(runs(pid) for pid in doomed):
            time.sleep(0.02)
        self.removed += [f"process {pid} of run {label}" for pid, label in sorted(doomed.items()) if not runs(pid)]

    def remove_chain(self) -> None:
        try:
            run(["iptables", "-w", "-n", "-L", CHAIN])
        except OrderError:
            return
        with contextlib.suppress(OrderError):
            run(["iptables", "-w", "-D", "INPUT", "-j", CHAIN])
        with contextlib.suppress(OrderError):
            run(["iptables", "-w", "-F", CHAIN])
            run(["iptables", "-w", "-X", CHAIN])
            self.removed.append(f"firewall chain {CHAIN}")

    def remove_groups(self, name: str) -> None:
        """Take away the control groups of one node."""
        for group in [*glob.glob(f"/sys/fs/cgroup/{name}"), *glob.glob(f"/sys/fs/cgroup/*/{name}")]:
            with contextlib.suppress(OSError):
                os.rmdir(group)


def label_of(root: str) -> str | None:
    """Return the label of the run that a node's folder belongs to."""
    match = ROOT.match(root)
    return match["label"] if match else None


def parts() -> list[tuple[int, tuple[str, str]]]:
    """Return (pid, (folder, "agent" | "shaper" | "damage")) of the running parts of capsize."""
    found: list[tuple[int, tuple[str, str]]] = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or not runs(int(entry)):
            continue
        with contextlib.suppress(OSError), open(f"/proc/{entry}/cmdline", "rb") as file:
            words = file.read().decode(errors="replace").split("\0")
            if "--attach" in words:  # carries bytes, and ends with them
                continue
            for word in words[:4]:
                match = PART.match(word)
                if match:
                    found.append((int(entry), (match["root"], match["file"])))
                    break
    return found


def labelled() -> list[tuple[int, str]]:
    """Return (pid, label) of the processes whose environment carries a label."""
    found: list[tuple[int, str]] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as file:
                for word in file.read().split(b"\0"):
                    if word.startswith(b"CAPSIZE_RUN="):
                        found.append((int(entry), word.partition(b"=")[2].decode(errors="replace")))
    return found


def runs(pid: int) -> bool:
    """Return whether there is such a process, other than one that only waits for its parent."""
    seen = stat_of(pid)
    return seen is not None and seen[0] not in "ZX"


def main() -> None:
    asked: dict[str, Any] = json.loads(sys.argv[1])
    sweep = HostSweep(asked["labels"], bool(asked["force"]))
    sweep.go()
    left = [label for label in sweep.live if not sweep.takes(label)]
    print(json.dumps({"removed": sweep.removed, "live": left}))  # noqa: T201


if __name__ == "__main__":
    main()
