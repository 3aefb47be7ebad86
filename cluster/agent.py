"""The agent: one process on each node that carries out the orders of the controller.

Standard library only, Python 3.8 or newer, one file, so that it runs on any host that has Python. Orders come as
JSON lines on stdin, answers leave as JSON lines on stdout: `{"id": 1, "do": "freeze"}` is answered by
`{"id": 1, "ok": true, "at_ns": …}` or `{"id": 1, "ok": false, "error": "…"}`; `at_ns` is the node's monotonic clock
when the order had been carried out. Orders on the process, on the network and on the disk each keep their own
order; everything else runs beside them, so that a write that hangs on a frozen disk never delays the thaw.

When stdin ends, or no order came for `deadman_s`, the controller is gone: everything is healed, and on a host that
is not thrown away afterwards (`ends`) the system's process is ended, the disk unmounted and our firewall chain removed
as well; with `removes`, the node's folder too.

Started as `python3 agent.py '{"label": …, "node": …, "root": …}'`; further keys: `disk_mb` (256), `ends`, `removes`,
`private` (root's mounts in a namespace of the agent's own), `deadman_s`, `owner`, `waits_s`: for so long after the
end of stdin it stays, healed, for the controller to come back by `python3 agent.py --attach ROOT` (a connection that
was lost); the system's process goes on meanwhile.
"""
# Paths come as text and go to the C library as text.
# ruff: noqa: PTH101, PTH103, PTH105, PTH106, PTH108, PTH110, PTH112, PTH114, PTH118, PTH119, PTH120, PTH123, PTH202, PTH207, PTH208

from __future__ import annotations

import base64
import contextlib
import ctypes
import errno
import fcntl
import glob
import json
import os
import queue
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable

FIFREEZE = 0xC0045877
FITHAW = 0xC0045878
FS_IOC_SHUTDOWN = 0x8004587D
NOLOGFLUSH = 2
LOOP_SET_FD = 0x4C00
LOOP_CLR_FD = 0x4C01
LOOP_SET_STATUS64 = 0x4C04
LOOP_CTL_GET_FREE = 0x4C82
LO_FLAGS_AUTOCLEAR = 4
CLONE_NEWNS = 0x00020000
MS_NOATIME, MS_REC, MS_PRIVATE = 1024, 16384, 1 << 18

CHAIN = "CAPSIZE"
"""The iptables chain that is ours; no rule outside it is ever touched, but the one jump to it."""

SHAPER_QUEUE = 7199

REAPED_WITHIN_S = 0.5
STANDS_WITHIN_S = 3.0
"""A thread in a system call stands still when that is over; an fsync of a busy disk takes its time."""
SO_NO_CHECK = 11
PT_INTERP = 3
UNLIMITED_BYTES = 1 << 40
"""A memory limit of this or more is none."""

TOOLS = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL": "C"}


class OrderError(Exception):
    """An order that could not be carried out; its text goes back to the controller."""


def run(argv: list[str], timeout_s: float = 10.0, feed: str = "") -> str:
    """Return the stdout of a tool that must succeed."""
    try:
        done = subprocess.run(argv, input=feed.encode(), capture_output=True, timeout=timeout_s, env=TOOLS, check=False)
    except FileNotFoundError:
        raise OrderError(f"{argv[0]} is not installed on this node") from None
    except subprocess.TimeoutExpired:
        raise OrderError(f"{' '.join(argv)} did not end within {timeout_s} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise OrderError(f"{' '.join(argv)} ended with {done.returncode}: {said}")
    return done.stdout.decode(errors="replace")


def libc(name: str, *args: Any) -> None:
    """Call a function of the C library; a negative result raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*args) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def private_mounts() -> None:
    """Give this process a mount namespace of its own: what it mounts is gone when its last process is.

    To be called before any thread is started; a thread keeps the namespace of the thread that made it.
    """
    libc("unshare", CLONE_NEWNS)
    libc("mount", b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None)


def stat_of(pid: int) -> tuple[str, str, int] | None:
    """Return (state letter, start time, session id) of a process, or None when there is none.

    The start time tells a process from a later one that was given the same pid.
    """
    if sys.platform.startswith("linux"):
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except (OSError, ValueError):
            return None
        return fields[0], fields[19], int(fields[3])
    listed = subprocess.run(
        ["ps", "-o", "state=,sess=,lstart=", "-p", str(pid)], capture_output=True, text=True, env=TOOLS, check=False
    ).stdout.split(None, 2)
    return (listed[0][0], listed[2].strip(), pid) if len(listed) == 3 else None


def living(pid: int, state: str) -> str | None:
    """Return a process's state letter, None when it is dead: one whose main thread ended first has that of another.

    Its files, locks and ports are its own until the last thread is gone.
    """
    if state not in "ZX":
        return state
    return next((letter for letter in threads_of(pid) if letter not in "ZX"), None)


def threads_of(pid: int) -> list[str]:
    """Return the state letter of every thread of a process; none where there is no process, or no /proc."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [seen[0] for thread in threads if (seen := stat_of(int(thread))) is not None]


def boot_of_this_kernel() -> str:
    """Return what names the running kernel: processes that share it share its monotonic clock."""
    try:
        return read_text("/proc/sys/kernel/random/boot_id")
    except OSError:
        return os.uname().nodename


class Process:
    """The system's main process: its own session and process group, known by pid and start time."""

    def __init__(self, record: str, label: str) -> None:
        self.record = record
        self.label = label
        self.children: dict[int, subprocess.Popen[bytes]] = {}

    def known(self) -> tuple[int, str] | None:
        try:
            with open(self.record) as file:
                pid, start = json.load(file)
        except (OSError, ValueError):
            return None
        return int(pid), str(start)

    def state(self) -> dict[str, Any]:
        """Return {"alive", "pid", "state", "code"}; a zombie is dead once its last thread is."""
        known = self.known()
        if known is None:
            return {"alive": False, "pid": None, "state": None, "code": None}
        pid, start = known
        seen = stat_of(pid)
        letter = None if seen is None or seen[1] != start else living(pid, seen[0])
        if letter is None:
            return {"alive": False, "pid": pid, "state": None, "code": self.code_of(pid)}
        return {"alive": True, "pid": pid, "state": letter, "code": None}

    def code_of(self, pid: int) -> int | None:
        """Return the exit code of a child that has ended; None for a process that an earlier agent started."""
        child = self.children.get(pid)
        if child is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(REAPED_WITHIN_S)  # poll() says None while another thread is in it
        return child.returncode

    def start(self, argv: list[str], env: dict[str, str], cwd: str | None, log: str) -> dict[str, Any]:
        now = self.state()
        if now["alive"]:
            return {"pid": now["pid"], "already": True}
        os.makedirs(os.path.dirname(log), exist_ok=True)
        with open(log, "ab") as out:
            try:
                child = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    cwd=cwd or "/",
                    env={**os.environ, **env, "CAPSIZE_RUN": self.label},
                    start_new_session=True,
                )
            except OSError as error:
                raise OrderError(f"cannot start {argv[0]}: {error}") from None
        self.children[child.pid] = child
        seen = stat_of(child.pid)
        with open(self.record + ".new", "w") as file:
            json.dump([child.pid, seen[1] if seen else ""], file)
        os.replace(self.record + ".new", self.record)
        return {"pid": child.pid, "already": False, "start": seen[1] if seen else ""}

    def members(self) -> list[int]:
        """Return the live processes of the recorded session, the main one first."""
        known = self.known()
        if known is None:
            return []
        pid = known[0]
        main = [pid] if self.state()["alive"] else []
        if not os.path.isdir("/proc/self"):
            return main
        if not main and stat_of(pid) is not None:
            return []  # the pid is somebody else's: the kernel gives none away while its session has a member
        others = []
        for entry in os.listdir("/proc"):
            seen = stat_of(int(entry)) if entry.isdigit() and int(entry) != pid else None
            if seen and seen[2] == pid and living(int(entry), seen[0]) and self.carries_label(entry):
                others.append(int(entry))
        return main + others

    def carries_label(self, pid: str) -> bool:
        """Return whether a process was started by us: its environment says so."""
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return f"CAPSIZE_RUN={self.label}".encode() in file.read().split(b"\0")
        except OSError:
            return False

    def wait_stopped(self, within_s: float) -> bool:
        """Wait until every thread stands still, out of all system calls; return whether they do."""
        deadline = time.monotonic() + within_s
        while True:
            if all(state in "TtZX" for pid in self.members() for state in threads_of(pid)):
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)

    def signal(self, number: int) -> dict[str, Any]:
        """Send a signal to the whole group; the main process first, so that it is stopped or ended first."""
        known = self.known()
        if known and self.state()["alive"]:
            try:
                os.killpg(known[0], number)
                return {"sent": True}
            except ProcessLookupError:
                pass
        sent = False
        for pid in self.members():
            try:
                os.kill(pid, number)
                sent = True
            except ProcessLookupError:
                pass
        return {"sent": sent}

    def kill(self, wait_s: float = 5.0) -> bool:
        """End the whole group with SIGKILL; return whether it is gone (one that hangs on a frozen disk is not)."""
        deadline = time.monotonic() + wait_s
        self.signal(signal.SIGKILL)
        while self.members() and time.monotonic() < deadline:
            time.sleep(0.002)
        return not self.members()


class Disk:
    """The node's data disk: ext4 in an image file on a loop device, mounted at `place`.

    The agent itself never reads or writes there while the disk is frozen: probes are processes of their own.
    """

    def __init__(self, image: str, place: str, size_mb: int) -> None:
        self.image = image
        self.place = place
        self.size_mb = size_mb
        self.loop = ""
        self.frozen = False
        self.dead = False
        self.duty: threading.Event | None = None
        self.slow_thread: threading.Thread | None = None
        self.lock = threading.RLock()
        self.probes: list[subprocess.Popen[bytes]] = []

    @property
    def mounted(self) -> bool:
        return bool(self.loop)

    def create(self) -> dict[str, Any]:
        os.makedirs(self.place, exist_ok=True)
        if not os.path.exists(self.image):
            with open(self.image, "wb") as file:
                file.truncate(self.size_mb << 20)
            run(["mkfs.ext4", "-q", "-F", "-m", "0", "-N", "8192", "-E", "nodiscard,lazy_itable_init=1", self.image])
        return self.mount()

    def attach(self) -> tuple[str, int]:
        """Return a loop device on the image and its open descriptor; it frees itself when it is let go.

        Several nodes may ask for a free device at once: who finds it taken asks again.
        """
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
        image = os.open(self.image, os.O_RDWR | os.O_CLOEXEC)
        try:
            for attempt in range(200):
                number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
                path = f"/dev/loop{number}"
                if not os.path.exists(path):
                    with contextlib.suppress(FileExistsError):
                        os.mknod(path, 0o660 | 0o060000, os.makedev(7, number))
                loop = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.ioctl(loop, LOOP_SET_FD, image)
                except OSError as error:
                    os.close(loop)
                    if error.errno != errno.EBUSY:
                        raise
                    time.sleep(0.002 * (attempt % 10))
                    continue
                name = os.path.basename(self.image).encode()[:63]
                info = struct.pack("=5Q4I64s64s32s2Q", 0, 0, 0, 0, 0, 0, 0, 0, LO_FLAGS_AUTOCLEAR, name, b"", b"", 0, 0)
                fcntl.ioctl(loop, LOOP_SET_STATUS64, info)
                return path, loop
        except OSError as error:
            raise OrderError(f"no loop device for the data disk: {error}") from None
        finally:
            os.close(image)
            os.close(control)
        raise OrderError("no loop device for the data disk: 200 tries, each taken by somebody else")

    def mount(self) -> dict[str, Any]:
        with self.lock:
            if self.mounted:
                return {"loop": self.loop, "image": self.image}
            path, loop = self.attach()
            try:
                libc("mount", path.encode(), self.place.encode(), b"ext4", ctypes.c_ulong(MS_NOATIME), None)
            except OSError as error:
                raise OrderError(f"cannot mount the data disk: {error}") from None
            finally:
                os.close(loop)
            self.loop, self.frozen, self.dead = path, False, False
            os.makedirs(os.path.join(self.place, "data"), exist_ok=True)
            for name in os.listdir(self.place):  # what was under way when the disk died
                if name.startswith(("capsize-probe-", "capsize-filler")):
                    os.unlink(os.path.join(self.place, name))
            return {"loop": self.loop, "image": self.image}

    def unmount(self, wait_s: float = 5.0) -> None:
        """Thaw, then unmount; waits, bounded, for processes that still let go of it."""
        self.thaw()
        with self.lock:
            deadline = time.monotonic() + wait_s
            while self.mounted:
                try:
                    libc("umount2", self.place.encode(), 0)
                    self.loop = ""
                except OSError as error:
                    if error.errno == errno.EINVAL:
                        self.loop = ""
                    elif error.errno != errno.EBUSY or time.monotonic() > deadline:
                        raise OrderError(f"cannot unmount the data disk: {error}") from None
                    else:
                        time.sleep(0.01)

    def ioctl(self, request: int, argument: int = 0) -> None:
        if not self.mounted:
            raise OrderError("this node has no data disk of its own mounted")
        root = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(root, request, struct.pack("=i", argument))
        finally:
            os.close(root)

    def freeze(self) -> None:
        with self.lock:
            try:
                self.ioctl(FIFREEZE)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
            self.frozen = True

    def release(self) -> None:
        with self.lock:
            try:
                self.ioctl(FITHAW)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
            self.frozen = False

    def thaw(self) -> None:
        """End a freeze or a slow-down; nothing happens when there is none."""
        if self.duty is not None:
            self.duty.set()
            if self.slow_thread is not None:
                self.slow_thread.join(5.0)
            self.duty = None
        if self.mounted:
            self.release()

    def slow(self, stall_ms: float, run_ms: float) -> None:
        """Freeze for `stall_ms`, let go for `run_ms`, and again, until thawed."""
        self.thaw()
        self.duty = end = threading.Event()

        def beat() -> None:
            while not end.is_set():
                self.freeze()
                end.wait(stall_ms / 1000)
                self.release()
                end.wait(run_ms / 1000)

        self.freeze()
        self.slow_thread = threading.Thread(target=beat, daemon=True)
        self.slow_thread.start()

    def kill_writes(self) -> None:
        """Make every further write fail with EIO, and lose what no fsync had brought to the disk."""
        self.ioctl(FS_IOC_SHUTDOWN, NOLOGFLUSH)
        self.dead = True

    def fill(self) -> dict[str, Any]:
        """Take all free space with one file, so that every further allocation is ENOSPC."""
        if self.frozen:
            raise OrderError("a frozen disk cannot be filled")
        filler = os.open(self.filler, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = os.fstat(filler).st_size
        try:
            for step in (16 << 20, 1 << 20, 64 << 10, 4 << 10):
                while True:
                    try:
                        os.posix_fallocate(filler, end, step)
                    except OSError as error:
                        if error.errno != errno.ENOSPC:
                            raise
                        break
                    end += step
            os.fsync(filler)
        finally:
            os.close(filler)
        return {"filled_bytes": end}

    @property
    def filler(self) -> str:
        return os.path.join(self.place, "capsize-filler")

    def drain(self) -> None:
        if self.mounted and not self.dead and not self.frozen and os.path.exists(self.filler):
            os.unlink(self.filler)

    def probe(self, wait_s: float) -> dict[str, Any]:
        """Write and fsync a new file in a process of its own: done, stalled or failed, and what the system said.

        A stalled probe ends by itself after the thaw and takes its file away.
        """
        self.probes = [probe for probe in self.probes if probe.poll() is None]
        target = os.path.join(self.place, f"capsize-probe-{time.monotonic_ns()}")
        script = 'dd if=/dev/zero of="$0" bs=4096 count=16 conv=fsync; code=$?; rm -f "$0"; exit $code'
        began = time.monotonic()
        probe = subprocess.Popen(
            ["sh", "-c", script, target],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=TOOLS,
            cwd="/",
            start_new_session=True,
        )
        try:
            _, said = probe.communicate(timeout=wait_s)
        except subprocess.TimeoutExpired:
            self.probes.append(probe)
            return {"outcome": "stalled", "elapsed_ms": (time.monotonic() - began) * 1000, "said": ""}
        text = said.decode(errors="replace")
        outcome = "done" if probe.returncode == 0 else "failed"
        return {
            "outcome": outcome,
            "elapsed_ms": (time.monotonic() - began) * 1000,
            "said": "" if outcome == "done" else text.strip().splitlines()[0] if text.strip() else "",
        }


class Firewall:
    """What this host does with other nodes' packets: one chain of our own, replaced as a whole, in one step.

    A sender is dropped, or its packets are handed to the shaper (`shaper.py`, beside this file), or let through.
    """

    def __init__(self) -> None:
        self.ready = False
        self.drops: list[str] = []
        self.severed: list[str] = []
        self.shapes: dict[str, dict[str, Any]] = {}
        self.closed: tuple[str, list[str]] = ("", [])
        self.shaper: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        if self.ready:
            return
        try:
            run(["iptables", "-w", "-n", "-L", CHAIN])
        except OrderError:
            run(["iptables", "-w", "-N", CHAIN])
        try:
            run(["iptables", "-w", "-C", "INPUT", "-j", CHAIN])
        except OrderError:
            run(["iptables", "-w", "-I", "INPUT", "-j", CHAIN])
        self.ready = True

    def drop(self, sources: list[str], severed: list[str]) -> None:
        """Drop what these senders send; connections to those that are severed as well are reset at the first packet."""
        self.severed = list(severed)
        self.apply(list(sources), self.shapes)

    def shape(self, shapes: dict[str, dict[str, Any]], seed: int) -> None:
        """Shape what these senders send; where packets cannot be had, that is said before anything is changed."""
        if shapes or self.shaper is not None:
            self.tell_shaper({"shapes": shapes, "seed": seed})
        self.apply(self.drops, dict(shapes))

    def shut_out(self, ports: str, peers: list[str]) -> None:
        """Drop what comes to these ports from anybody but the peers and this host; "" lets everybody in again."""
        self.closed = (ports, list(peers)) if ports else ("", [])
        self.apply(self.drops, self.shapes)

    def apply(self, drops: list[str], shapes: dict[str, dict[str, Any]]) -> None:
        self.prepare()
        rules = ""
        for (
            source
        ) in self.severed:  # else the kernel would send again, after the heal, what a process sent before it died
            rules += f"-A {CHAIN} -s {source} -p tcp --tcp-flags RST RST -j RETURN\n"
            rules += f"-A {CHAIN} -s {source} -p tcp -j REJECT --reject-with tcp-reset\n"
        rules += "".join(f"-A {CHAIN} -s {source} -j DROP\n" for source in drops)
        for source in shapes:  # not from loopback: there the shaper sends what is doubled
            rules += f"-A {CHAIN} -s {source} ! -i lo -j NFQUEUE --queue-num {SHAPER_QUEUE} --queue-bypass\n"
        ports, peers = self.closed
        if ports:
            rules += f"-A {CHAIN} -i lo -j RETURN\n"
            rules += "".join(f"-A {CHAIN} -s {peer} -j RETURN\n" for peer in peers)
            rules += "".join(f"-A {CHAIN} -p {kind} --dport {ports} -j DROP\n" for kind in ("tcp", "udp"))
        run(["iptables-restore", "-w", "--noflush"], feed=f"*filter\n:{CHAIN} - [0:0]\n{rules}COMMIT\n")
        self.drops, self.shapes = drops, shapes

    def tell_shaper(self, order: dict[str, Any]) -> None:
        if self.shaper is None or self.shaper.poll() is not None:
            script = os.path.join(os.path.dirname(__file__), "shaper.py")
            self.shaper = subprocess.Popen(
                [sys.executable, "-u", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd="/"
            )
        assert self.shaper.stdin is not None
        assert self.shaper.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.shaper.stdin.write(json.dumps(order).encode() + b"\n")
        answer: dict[str, Any] = json.loads(
            self.shaper.stdout.readline() or b'{"ok": false, "error": "the shaper ended"}'
        )
        if not answer["ok"]:
            raise OrderError(f"packets cannot be shaped: {answer['error']}")

    def heal(self) -> None:
        if self.ready and (self.drops or self.shapes or self.closed[0]):
            self.closed, self.severed = ("", []), []
            self.apply([], {})

    def remove(self) -> None:
        """Take the chain and the jump to it away."""
        if self.shaper is not None:
            self.shaper.kill()
            self.shaper.wait()
            self.shaper = None
        if self.ready:
            run(["iptables", "-w", "-D", "INPUT", "-j", CHAIN])
            run(["iptables", "-w", "-F", CHAIN])
            run(["iptables", "-w", "-X", CHAIN])
            self.drops, self.severed, self.shapes, self.closed, self.ready = [], [], {}, ("", []), False


class Clock:
    """The clock of the system's process, through libfaketime: what it is off by stands in a file that it reads.

    Only what reads the wall clock is faked, unless `monotonic`. libfaketime 0.9.10 then breaks sleeps until a point
    in time (`clock_nanosleep` with TIMER_ABSTIME: EINVAL, so Python's `time.sleep`): a copy of the library is used
    in which that one function has another name and is left to the C library.
    """

    PLACES = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/lib64/faketime", "/usr/local/lib/faketime")

    def __init__(self, folder: str) -> None:
        self.file = os.path.join(folder, "clock")
        self.copy = os.path.join(folder, "libfaketime.so")
        self.library = ""
        self.monotonic = False
        self.offset_s, self.rate, self.since = 0.0, 1.0, 0.0
        self.started: float | None = None
        self.pids: list[int] = []
        self.strobing: threading.Event | None = None
        self.thread: threading.Thread | None = None
        self.lock = threading.RLock()

    def find(self) -> str:
        """Return the library, on this host or where it was put by the controller; empty when there is none."""
        for place in self.PLACES:
            for path in sorted(glob.glob(os.path.join(place, "libfaketimeMT.so.1"))):
                return path
        put = self.copy + ".put"
        return put if os.path.exists(put) else ""

    def prepare(self, monotonic: bool) -> None:
        found = self.find()
        if not found:
            raise OrderError("libfaketime is not installed on this node")
        with open(found, "rb") as file:
            code = file.read()
        if not monotonic:
            code = code.replace(b"\0clock_nanosleep\0", b"\0_lock_nanosleep\0", 1)  # the first: the table of symbols
        with open(self.copy, "wb") as file:
            file.write(code)
        self.library, self.monotonic = self.copy, monotonic
        self.write(0.0, 1.0)

    def environment(self, argv: list[str], env: dict[str, str]) -> dict[str, str]:
        """Return what a process is to be started with; raises OrderError for a program that cannot be faked."""
        if not self.library:
            return {}
        why = why_not_preloaded(argv[0], env.get("PATH", os.environ.get("PATH", "")))
        if why:
            raise OrderError(f"its clock cannot be set: {why}")
        told = {
            "LD_PRELOAD": self.library, "FAKETIME_TIMESTAMP_FILE": self.file, "FAKETIME_NO_CACHE": "1",
            "NO_FAKE_STAT": "1",
        }  # fmt: skip
        if not self.monotonic:  # the second: or waits by the monotonic clock, Python's for its interpreter, take long
            told.update(FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME_FORCE_MONOTONIC_FIX="0")
        return told

    def began(self, pid: int) -> None:
        """A process was started: libfaketime counts a rate from then on."""
        if not self.library:
            return
        with self.lock:
            self.started = time.monotonic()
            self.sweep()
            self.pids.append(pid)
            self.write(*self.now())

    def now(self) -> tuple[float, float]:
        """Return what the clock is off by at this moment, and its rate."""
        return self.offset_s + (time.monotonic() - self.since) * (self.rate - 1.0), self.rate

    def write(self, offset_s: float, rate: float) -> None:
        with self.lock:
            self.offset_s, self.rate, self.since = offset_s, rate, time.monotonic()
            ran = self.since - self.started if self.started is not None else 0.0
            text = f"{offset_s - ran * (rate - 1.0):+.6f}" + (f" x{rate:g}" if rate != 1.0 else "")
            with open(self.file + ".new", "w") as file:
                file.write(text + "\n")
            os.replace(self.file + ".new", self.file)

    def set(self, offset_s: float, rate: float) -> None:
        if not self.library:
            raise OrderError("the process was not started with a clock that can be set")
        self.steady()
        if self.monotonic and offset_s == 0.0:
            offset_s = self.now()[0]  # a monotonic clock never goes back: what it gained, it keeps
        self.write(offset_s, rate)

    def strobe(self, offset_s: float, period_s: float) -> None:
        self.set(offset_s, 1.0)
        self.strobing = end = threading.Event()

        def beat() -> None:
            off = True
            while not end.wait(period_s):
                off = not off
                self.write(offset_s if off else 0.0, 1.0)

        self.thread = threading.Thread(target=beat, daemon=True)
        self.thread.start()

    def steady(self) -> None:
        if self.strobing is not None:
            self.strobing.set()
            if self.thread is not None:
                self.thread.join(5.0)
            self.strobing = None

    def heal(self) -> None:
        if self.library:
            self.set(0.0, 1.0)

    def sweep(self) -> None:
        """Take away what libfaketime leaves in shared memory for processes that are gone."""
        for pid in [pid for pid in self.pids if (stat_of(pid) or "Z")[0] in "ZX"]:
            self.pids.remove(pid)
            for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join("/dev/shm", name))

    def read(self, pid: int, watch_s: float) -> dict[str, Any]:
        """Read the clock as the process `pid` reads it: same library, same file, same point from which it counts."""
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                items = file.read().decode(errors="replace").split("\0")
            with open(f"/proc/{pid}/maps") as file:
                preloaded = any("libfaketime" in line for line in file)
        except OSError as error:
            raise OrderError(f"the process cannot be looked at: {error}") from None
        env = dict(item.split("=", 1) for item in items if item.startswith(("FAKETIME_", "LD_PRELOAD=", "NO_FAKE_")))
        env["FAKETIME_SHARED"] = f"/faketime_sem_{pid} /faketime_shm_{pid}"
        script = "import sys, time\nfor line in sys.stdin: print(time.time(), flush=True)"
        reader = subprocess.Popen(
            [sys.executable, "-S", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd="/",
            env={**TOOLS, **env},
        )  # fmt: skip
        assert reader.stdin is not None
        assert reader.stdout is not None
        seen: list[tuple[float, float]] = []
        began = time.monotonic()
        try:
            while time.monotonic() - began < watch_s or len(seen) < 4:
                before = time.time()
                reader.stdin.write(b"\n")
                said = reader.stdout.readline()
                if not said:
                    raise OrderError("the clock could not be read: the reader ended")
                if time.time() - before < 0.02 or time.monotonic() - began > watch_s + 1.0:
                    seen.append(((before + time.time()) / 2, float(said)))
                time.sleep(0.004)
        finally:
            reader.stdin.close()
            reader.stdout.close()
            reader.wait()
        del seen[0]  # the reader was still starting
        offsets = [clock - real for real, clock in seen]
        ran = max(seen[-1][0] - seen[0][0], 1e-6)
        return {
            "offset_s": offsets[-1], "rate": 1.0 + (offsets[-1] - offsets[0]) / ran, "preloaded": preloaded,
            "steps": sum(abs(after - before) > 0.05 for before, after in zip(offsets, offsets[1:])),  # noqa: B905, RUF007
        }  # fmt: skip


def why_not_preloaded(program: str, path: str) -> str:
    """Return why a library cannot be slipped beneath a program; empty when it can.

    A program that is linked statically has no loader that would do it; one in Go asks the kernel itself.
    """
    found = shutil.which(program, path=path)
    if found is None:
        return ""
    with open(found, "rb") as file:
        head = file.read(1 << 16)
        if head.startswith(b"#!"):
            words = head[2:].split(b"\n", 1)[0].decode(errors="replace").split()
            if not words:
                return ""
            inner = words[1] if words[0].endswith("/env") and len(words) > 1 else words[0]
            return why_not_preloaded(inner, path)
        if not head.startswith(b"\x7fELF"):
            return f"{program} is no ELF program"
        wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
        at, size, count = (
            struct.unpack_from(order + "Q", head, 32)[0] if wide else struct.unpack_from(order + "I", head, 28)[0],
            *struct.unpack_from(order + "HH", head, 54 if wide else 42),
        )
        kinds = {struct.unpack_from(order + "I", head, at + size * index)[0] for index in range(count)}
        if PT_INTERP not in kinds:
            return f"{os.path.basename(program)} is linked statically: no library can be loaded into it"
        file.seek(0)
        if b"\xff Go buildinf:" in file.read():
            return f"{os.path.basename(program)} is a Go program: it reads the clock past the C library"
    return ""


class Limits:
    """CPU and memory limits of the system's processes, in a control group of this node's own (version 1 or 2).

    In a container the engine sets them on the whole container; here they are then only read.
    """

    ROOT = "/sys/fs/cgroup"

    def __init__(self, name: str) -> None:
        self.name = name
        self.groups: dict[str, str] = {}

    def version_2(self) -> bool:
        return os.path.exists(os.path.join(self.ROOT, "cgroup.controllers"))

    def folder(self, controller: str) -> str:
        """Return where the limits of a controller stand: our own group's when there is one, this host's otherwise."""
        if controller in self.groups:
            return self.groups[controller]
        if self.version_2():
            return self.ROOT
        both = os.path.join(self.ROOT, "cpu,cpuacct")
        return both if controller == "cpu" and os.path.isdir(both) else os.path.join(self.ROOT, controller)

    def prepare(self) -> None:
        """Make our group, below the one at the top."""
        if self.groups:
            return
        try:
            if self.version_2():
                with open(os.path.join(self.ROOT, "cgroup.subtree_control"), "w") as file:
                    file.write("+cpu +memory")
            for controller in ("cpu", "memory"):
                group = os.path.join(self.folder(controller), self.name)
                os.makedirs(group, exist_ok=True)
                self.groups[controller] = group
        except OSError as error:
            self.groups.clear()
            raise OrderError(f"no control group can be made on this node: {error}") from None

    def take(self, pids: list[int]) -> None:
        """Put these processes into our group, if there is one."""
        for group in set(self.groups.values()):
            for pid in pids:
                with contextlib.suppress(OSError):  # one that has ended
                    write_text(os.path.join(group, "cgroup.procs"), str(pid))

    def set(self, cpus: float | None, memory_bytes: int | None) -> None:
        """Limit our group; None is no limit."""
        self.prepare()
        cpu, memory = self.groups["cpu"], self.groups["memory"]
        period = 100000
        quota = int(cpus * period) if cpus else -1
        if self.version_2():
            write_text(os.path.join(cpu, "cpu.max"), f"{quota if quota > 0 else 'max'} {period}")
            write_text(os.path.join(memory, "memory.max"), str(memory_bytes or "max"))
        else:
            write_text(os.path.join(cpu, "cpu.cfs_period_us"), str(period))
            write_text(os.path.join(cpu, "cpu.cfs_quota_us"), str(quota))
            write_text(os.path.join(memory, "memory.limit_in_bytes"), str(memory_bytes or -1))

    def read(self) -> dict[str, Any]:
        """Return the limits as the kernel has them, and the memory in use that cannot simply be given back."""
        cpu, memory = self.folder("cpu"), self.folder("memory")
        try:
            if self.version_2():
                quota, period = read_text(os.path.join(cpu, "cpu.max")).split()
                limit = read_text(os.path.join(memory, "memory.max"))
                used, spare = read_text(os.path.join(memory, "memory.current")), ("active_file", "inactive_file")
            else:
                quota = read_text(os.path.join(cpu, "cpu.cfs_quota_us"))
                period = read_text(os.path.join(cpu, "cpu.cfs_period_us"))
                limit = read_text(os.path.join(memory, "memory.limit_in_bytes"))
                used, spare = read_text(os.path.join(memory, "memory.usage_in_bytes")), (
                    "total_active_file", "total_inactive_file",
                )  # fmt: skip
            stat = dict(line.split() for line in read_text(os.path.join(memory, "memory.stat")).splitlines())
        except (OSError, ValueError) as error:
            raise OrderError(f"the limits of this node cannot be read: {error}") from None
        free = quota in ("max", "-1")
        wide = limit == "max" or int(limit) >= UNLIMITED_BYTES
        return {
            "cpus": None if free else int(quota) / int(period),
            "memory_bytes": None if wide else int(limit),
            "memory_used": int(used) - sum(int(stat.get(name, 0)) for name in spare),
        }

    def burn(self, for_s: float) -> float:
        """Return how many CPUs a process under these limits obtains that wants one."""
        script = (
            "import os, sys, time\n"
            "for group in sys.argv[2:]:\n"
            "    with open(group + '/cgroup.procs', 'w') as file: file.write(str(os.getpid()))\n"
            "began, cpu = time.monotonic(), time.process_time()\n"
            "while time.monotonic() - began < float(sys.argv[1]): pass\n"
            "print((time.process_time() - cpu) / (time.monotonic() - began))\n"
        )
        return float(run([sys.executable, "-S", "-c", script, str(for_s), *sorted(set(self.groups.values()))], 30.0))

    def expose(self, pids: list[int], much: bool) -> None:
        """Let the kernel end these first when memory runs out, and not the agent; or as ever."""
        for pid in pids:
            with contextlib.suppress(OSError):
                write_text(f"/proc/{pid}/oom_score_adj", "900" if much else "0")

    def heal(self) -> None:
        if self.groups:
            self.set(None, None)

    def remove(self) -> None:
        """Take our group away; its processes must be gone, and are waited for shortly."""
        for group in set(self.groups.values()):
            for attempt in range(50):
                try:
                    os.rmdir(group)
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02 if attempt else 0.0)
        self.groups.clear()


def read_text(path: str) -> str:
    with open(path) as file:
        return file.read().strip()


def write_text(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


class Listener:
    """Hears probes: words that another node sent to this one over UDP, which needs no way back."""

    def __init__(self) -> None:
        self.heard: dict[str, int] = {}
        self.series: dict[str, list[tuple[int, int, int, int]]] = {}
        self.news = threading.Condition()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("", 0))
        self.port: int = self.udp.getsockname()[1]
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self) -> None:
        while True:
            data = self.udp.recv(2048)
            word = data.decode(errors="replace")
            if word.startswith("series "):
                self.note(data, word.split(), time.monotonic_ns())
                continue
            with self.news:
                if len(self.heard) > 10000:
                    self.heard.clear()
                self.heard[word] = time.monotonic_ns()
                self.news.notify_all()

    def note(self, data: bytes, parts: list[str], now_ns: int) -> None:
        """Keep (number, sent_ns, heard_ns, 1 if it is damaged) of a packet `series NAME NUMBER SENT_NS … CRC`."""
        with contextlib.suppress(ValueError, IndexError), self.news:
            damaged = int(sealed(data) != data)
            self.series.setdefault(parts[1], []).append((int(parts[2]), int(parts[3]), now_ns, damaged))

    def wait(self, word: str, wait_s: float) -> bool:
        """Return whether `word` was heard within `wait_s`.

        When it was not, a word of our own is sent to ourselves: once that one is heard, everything that had
        arrived before it has been read, and "not heard" means not arrived, however busy this machine is.
        """
        with self.news:
            if self.news.wait_for(lambda: word in self.heard, wait_s):
                return True
        control = f"control-{time.monotonic_ns()}"
        self.udp.sendto(control.encode(), ("127.0.0.1", self.port))
        with self.news:
            self.news.wait_for(lambda: control in self.heard, 5.0)
            return word in self.heard


def send_word(host: str, port: int, word: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for _ in range(3):
            out.sendto(word.encode(), (host, port))
            time.sleep(0.005)


def sealed(packet: bytes) -> bytes:
    """Return a packet of a series with the checksum that belongs to it, as its last eight bytes."""
    return packet[:-8] + f"{zlib.crc32(packet[:-8]):08x}".encode()


def send_series(host: str, port: int, name: str, count: int, gap_s: float, size: int = 0) -> None:
    """Send numbered packets of at least `size` bytes; without a UDP checksum, so that damaged ones arrive as well."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        with contextlib.suppress(OSError):  # Linux only
            out.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        for number in range(count):
            head = f"series {name} {number} {time.monotonic_ns()} ".encode()
            out.sendto(sealed(head + b"x" * max(0, size - len(head) - 8) + b" " * 9), (host, port))
            time.sleep(gap_s)


class Agent:
    """Reads orders, carries each out in its lane, and answers."""

    LANES = {  # noqa: RUF012 (read only)
        "start": "process", "signal": "process", "process": "process", "kill": "process",
        "drop": "network", "shape": "network", "shut_out": "network",
        "prepare_network": "network", "clear_network": "network",
        "freeze": "disk", "thaw": "disk", "slow": "disk", "fill": "disk", "drain": "disk", "kill_writes": "disk",
        "create_disk": "disk", "mount": "disk", "unmount": "disk", "power_off": "disk", "power_on": "disk",
        "damage": "disk", "repair": "disk", "set_clock": "clock", "strobe_clock": "clock", "prepare": "process",
        "set_limits": "limits", "expose": "limits",
    }  # fmt: skip

    def __init__(self, config: dict[str, Any], answers: BinaryIO) -> None:
        self.label: str = config["label"]
        self.node: str = config["node"]
        self.root: str = config["root"]
        self.ends: bool = bool(config.get("ends", False))
        self.removes: bool = bool(config.get("removes", False))
        self.deadman_s: float = float(config.get("deadman_s", 0.0))
        self.waits_s: float = float(config.get("waits_s", 0.0))
        self.heard_at = time.monotonic()
        self.answers = answers
        self.write_lock = threading.Lock()
        for folder in ("install", "log", "run", "disk/data"):
            os.makedirs(os.path.join(self.root, folder), exist_ok=True)
        image = os.path.join(self.root, f"capsize-{self.label}-{self.node}.img")
        self.process = Process(os.path.join(self.root, "run", "system.json"), self.label)
        self.disk = Disk(image, os.path.join(self.root, "disk"), int(config.get("disk_mb", 256)))
        self.firewall = Firewall()
        self.clock = Clock(os.path.join(self.root, "run"))
        self.limits = Limits(f"capsize-{self.label}-{self.node}")
        self.listener: Listener | None = None
        self.lanes: dict[str, queue.SimpleQueue[dict[str, Any]]] = {}
        for lane in sorted(set(self.LANES.values())):
            self.lanes[lane] = queue.SimpleQueue()
            threading.Thread(target=self.work, args=(self.lanes[lane],), daemon=True).start()

    # -- the loop --------------------------------------------------------------------------------------------
    def serve(self, orders: BinaryIO) -> None:
        if self.deadman_s:
            threading.Thread(target=self.watch_controller, daemon=True).start()
        if self.waits_s:
            self.serve_whoever_comes(orders.fileno())
            return
        for line in orders:
            if self.take(line):
                return
        self.quit()

    def take(self, line: bytes) -> bool:
        """Begin to carry out an order; return whether it was the last one."""
        self.heard_at = time.monotonic()
        if not line.strip():
            return False
        order = json.loads(line)
        lane = self.lanes.get(self.LANES.get(order["do"], ""))
        if order["do"] == "quit":
            self.quit()
            self.answer(order, {})
            return True
        if lane is not None:
            lane.put(order)
        else:
            threading.Thread(target=self.carry_out, args=(order,), daemon=True).start()
        return False

    def serve_whoever_comes(self, orders: int) -> None:
        """Serve the newest connection of the controller; when it ends, heal and wait a while for the next one."""
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(door_of(self.root))
            door.listen(1)
            healed: list[str] = []
            rest, wait_s = b"", None
            sources: list[Any] = [door, orders]
            while True:
                ready = select.select(sources, [], [], wait_s)[0]
                if not ready:  # nobody came back
                    self.quit()
                    return
                if door in ready:
                    caller = door.accept()[0]
                    with self.write_lock:
                        self.answers = caller.makefile("wb")
                    self.send({"id": 0, "ok": True, "healed": healed})
                    sources, rest, wait_s, healed = [door, caller], b"", None, []
                    continue
                source = sources[1]
                try:
                    data = os.read(source if isinstance(source, int) else source.fileno(), 1 << 20)
                except OSError:
                    data = b""
                if not data:
                    healed = self.held()
                    self.heal()
                    sources, wait_s = [door], self.waits_s
                    continue
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if self.take(line):
                        return

    def held(self) -> list[str]:
        """Return what faults hold on this node now, in words."""
        state = self.process.state()["state"]
        found = {
            "a stopped process": state in ("T", "t"),
            "a paused disk": self.disk.frozen and self.disk.duty is None,
            "a slow disk": self.disk.duty is not None,
            "a full disk": os.path.exists(self.disk.filler),
            "a dead disk": self.disk.dead,
            "cut links": bool(self.firewall.drops),
            "shaped links": bool(self.firewall.shapes),
            "clients shut out": bool(self.firewall.closed[0]),
            "a shifted clock": (self.clock.offset_s, self.clock.rate) != (0.0, 1.0) or self.clock.strobing is not None,
        }
        return [word for word, holds in found.items() if holds]

    def watch_controller(self) -> None:
        """End as if stdin had ended when nothing was heard for too long: a connection can die without a word."""
        while time.monotonic() - self.heard_at < self.deadman_s:
            time.sleep(min(1.0, self.deadman_s / 4))
        self.quit()
        os._exit(0)

    def work(self, lane: queue.SimpleQueue[dict[str, Any]]) -> None:
        while True:
            self.carry_out(lane.get())

    def carry_out(self, order: dict[str, Any]) -> None:
        arguments = {key: value for key, value in order.items() if key not in ("id", "do")}
        hook: Callable[..., dict[str, Any] | None] | None = getattr(self, "do_" + order["do"], None)
        try:
            if hook is None:
                raise OrderError(f"the agent knows no order {order['do']!r}")
            self.answer(order, hook(**arguments) or {})
        except Exception as error:  # whatever an order meets is the controller's to judge
            said = str(error) if isinstance(error, OrderError) else f"{type(error).__name__}: {error}"
            self.send({"id": order["id"], "ok": False, "error": said})

    def answer(self, order: dict[str, Any], result: dict[str, Any]) -> None:
        self.send({"id": order["id"], "ok": True, "at_ns": time.monotonic_ns(), **result})

    def send(self, answer: dict[str, Any]) -> None:
        line = json.dumps(answer).encode() + b"\n"
        with self.write_lock:
            try:
                self.answers.write(line)
                self.answers.flush()
            except OSError:
                pass  # the controller is gone; the end of stdin says so too

    def heal(self) -> list[str]:
        """Undo every fault, each on its own; return what could not be undone."""
        problems: list[str] = []

        def attempt(action: Callable[[], Any]) -> None:
            try:
                action()
            except Exception as error:  # one thing that cannot be healed must not keep the others from it
                problems.append(str(error))

        attempt(self.disk.thaw)
        attempt(self.firewall.heal)
        attempt(self.clock.heal)
        attempt(self.limits.heal)
        attempt(lambda: self.process.signal(signal.SIGCONT))
        attempt(self.disk.drain)
        if self.disk.dead:
            attempt(self.do_power_off)
            attempt(self.do_power_on)
        return problems

    def quit(self) -> None:
        self.heal()
        if not self.ends:
            return
        self.process.kill()
        for probe in self.disk.probes:
            probe.kill()
        with contextlib.suppress(OrderError):  # the mount namespace takes it away with its last process
            self.disk.unmount()
        with contextlib.suppress(OrderError):
            self.firewall.remove()
        self.limits.remove()
        self.clock.sweep()
        if self.removes:
            shutil.rmtree(self.root, ignore_errors=True)

    # -- orders ----------------------------------------------------------------------------------------------
    def do_hello(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(), "root": self.root, "uid": os.getuid(), "python": sys.version.split()[0],
            "platform": sys.platform, "dead": self.disk.dead, "boot": boot_of_this_kernel(),
        }  # fmt: skip

    def do_ping(self) -> None:
        return None

    def do_heal(self) -> dict[str, Any]:
        return {"problems": self.heal()}

    def do_start(self, argv: list[str], env: dict[str, str], cwd: str | None, log: str) -> dict[str, Any]:
        faked = self.clock.environment(argv, env)
        started = self.process.start(argv, {**env, **faked}, cwd, os.path.join(self.root, "log", log))
        if not started["already"]:
            self.limits.take([started["pid"]])
            self.clock.began(started["pid"])
        return started

    def do_signal(self, number: int) -> dict[str, Any]:
        return self.process.signal(number)

    def do_kill(self, wait_s: float = 5.0) -> dict[str, Any]:
        return {"gone": self.process.kill(wait_s)}

    def do_process(self) -> dict[str, Any]:
        return self.process.state()

    def do_run(self, argv: list[str], timeout_s: float, env: dict[str, str] | None = None) -> dict[str, Any]:
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                env={**TOOLS, "CAPSIZE_RUN": self.label, **(env or {})},
                cwd="/",
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise OrderError(f"{' '.join(argv)} did not end within {timeout_s} s") from None
        except OSError as error:
            raise OrderError(f"cannot run {argv[0]}: {error}") from None
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        return {"code": done.returncode, "out": out, "err": err}

    # files
    def do_put(self, target: str, data: str, offset: int, mode: int | None = None) -> None:
        """Write a part of an upload; the last part carries the mode and moves the file into place."""
        os.makedirs(os.path.dirname(target) or "/", exist_ok=True)
        part = target + ".capsize-part"
        with open(part, "r+b" if offset else "wb") as file:
            file.seek(offset)
            file.write(base64.b64decode(data))
        if mode is not None:
            os.chmod(part, mode)
            os.replace(part, target)

    def do_unpack(self, archive: str, target: str) -> None:
        os.makedirs(target, exist_ok=True)
        with tarfile.open(archive) as tar:
            tar.extractall(target)
        os.unlink(archive)

    def do_pack(self, source: str) -> dict[str, Any]:
        """Return what is at `source`: a file to be read as it is, or a folder as a temporary archive."""
        if not os.path.isdir(source):
            if not os.path.exists(source):
                raise OrderError(f"there is no {source} on this node")
            return {"folder": False, "path": source, "size": os.path.getsize(source)}
        handle, path = tempfile.mkstemp(suffix=".tar.gz", dir=os.path.join(self.root, "run"))
        with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
            for name in sorted(os.listdir(source)):
                with contextlib.suppress(FileNotFoundError):  # a file that went away while the folder was read
                    tar.add(os.path.join(source, name), arcname=name)
        return {"folder": True, "path": path, "size": os.path.getsize(path)}

    def do_read(self, source: str, offset: int, limit: int) -> dict[str, Any]:
        try:
            with open(source, "rb") as file:
                file.seek(offset)
                data = file.read(limit)
        except FileNotFoundError:
            raise OrderError(f"there is no {source} on this node") from None
        return {"data": base64.b64encode(data).decode(), "offset": offset + len(data)}

    def do_remove(self, path: str) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)

    def do_wipe(self) -> None:
        if self.process.state()["alive"]:
            raise OrderError("the process still runs; stop it before its data is wiped")
        if self.disk.frozen:
            raise OrderError("the disk is frozen; thaw it before it is wiped")
        data = os.path.join(self.disk.place, "data")
        for name in os.listdir(data):
            self.do_remove(os.path.join(data, name))

    # network
    def do_drop(self, sources: list[str], severed: list[str] | None = None) -> None:
        self.firewall.drop(sources, severed or [])

    def do_shape(self, shapes: dict[str, dict[str, Any]], seed: int) -> None:
        self.firewall.shape(shapes, seed)

    def do_shut_out(self, ports: str, peers: list[str]) -> None:
        self.firewall.shut_out(ports, peers)

    def do_rules(self) -> dict[str, Any]:
        """Return our chain as the kernel has it."""
        return {"rules": run(["iptables", "-w", "-S", CHAIN]).splitlines()}

    def do_prepare_network(self) -> None:
        """Make our chain now, so that a cut is one step later."""
        self.firewall.prepare()

    def do_clear_network(self) -> None:
        self.firewall.remove()

    def do_listen_probe(self) -> dict[str, Any]:
        if self.listener is None:
            self.listener = Listener()
        return {"port": self.listener.port}

    def do_send_probe(self, host: str, port: int, word: str) -> dict[str, Any]:
        try:
            send_word(host, port, word)
        except OSError as error:
            return {"sent": False, "said": str(error)}
        return {"sent": True}

    def do_send_series(self, host: str, port: int, name: str, count: int, gap_s: float, size: int = 0) -> None:
        send_series(host, port, name, count, gap_s, size)

    def do_take_series(self, name: str) -> dict[str, Any]:
        """Return (number, sent_ns, heard_ns, damaged) of each packet of a series that arrived, in that order."""
        return {"arrived": self.listener.series.pop(name, []) if self.listener else []}

    def do_wait_probe(self, word: str, wait_s: float) -> dict[str, Any]:
        if self.listener is None:
            raise OrderError("nobody listens for probes on this node yet")
        return {"heard": self.listener.wait(word, wait_s)}

    # disk
    def do_create_disk(self) -> dict[str, Any]:
        return self.disk.create()

    def do_freeze(self) -> None:
        self.disk.freeze()

    def do_thaw(self) -> None:
        self.disk.thaw()

    def do_slow(self, stall_ms: float, run_ms: float) -> None:
        self.disk.slow(stall_ms, run_ms)

    def do_fill(self) -> dict[str, Any]:
        return self.disk.fill()

    def do_drain(self) -> None:
        self.disk.drain()

    def do_kill_writes(self) -> None:
        """Make the disk dead while the process stands still, between two of its system calls.

        An fsync that is under way when the file system goes may be told that it was done, though the journal never
        committed what it waited for: no disk does that, and a system that believes it has done nothing wrong.
        """
        running = self.process.state()["alive"] and self.process.state()["state"] not in ("T", "t")
        if running:
            self.process.signal(signal.SIGSTOP)
            self.process.wait_stopped(STANDS_WITHIN_S)
        try:
            self.disk.kill_writes()
        finally:
            if running:
                self.process.signal(signal.SIGCONT)

    def do_disk_probe(self, wait_s: float) -> dict[str, Any]:
        return self.disk.probe(wait_s)

    def part(self, name: str, order: dict[str, Any]) -> dict[str, Any]:
        """Run one of the files beside this one, and return what it answers."""
        script = os.path.join(os.path.dirname(__file__), name)
        answer: dict[str, Any] = json.loads(run([sys.executable, script, json.dumps(order)], 30.0))
        if "error" in answer:
            raise OrderError(answer["error"])
        return answer

    def stopped_data(self) -> dict[str, str]:
        if self.process.state()["alive"]:
            raise OrderError("the process still runs; stop it before its files are touched")
        if self.disk.frozen or self.disk.dead:
            raise OrderError("the disk is frozen or dead; heal it before its files are touched")
        kept = os.path.join(self.root, "run", "kept")
        return {"data": os.path.join(self.disk.place, "data"), "kept": kept}

    def do_damage(self, how: str, pattern: str, seed: int, traces: list[str]) -> dict[str, Any]:
        order = {"do": "damage", "how": how, "pattern": pattern, "seed": seed, "traces": traces, **self.stopped_data()}
        return self.part("damage.py", order)

    def do_repair(self, damage: dict[str, Any]) -> dict[str, Any]:
        return self.part("damage.py", {"do": "repair", "damage": damage, **self.stopped_data()})

    # clock and pressure
    def do_prepare(self, needs: list[str]) -> None:
        """Have processes from now on started so that these can be done to them."""
        if "clock" in needs:
            self.clock.prepare("monotonic" in needs)
        if "pressure" in needs:
            self.limits.prepare()
            self.limits.take(self.process.members())

    def do_find_clock(self) -> dict[str, Any]:
        return {"library": self.clock.find(), "put": self.clock.copy + ".put", "machine": os.uname().machine}

    def do_set_clock(self, offset_s: float, rate: float) -> None:
        self.clock.set(offset_s, rate)

    def do_strobe_clock(self, offset_s: float, period_s: float) -> None:
        self.clock.strobe(offset_s, period_s)

    def do_read_clock(self, watch_s: float) -> dict[str, Any]:
        state = self.process.state()
        if not state["alive"]:
            raise OrderError("the process does not run: it reads no clock")
        return self.clock.read(state["pid"], watch_s)

    def do_set_limits(self, cpus: float | None, memory_bytes: int | None) -> None:
        self.limits.prepare()
        self.limits.take(self.process.members())
        self.limits.set(cpus, memory_bytes)
        self.limits.expose(self.process.members(), memory_bytes is not None)

    def do_expose(self, much: bool) -> None:
        self.limits.expose(self.process.members(), much)

    def do_limits(self) -> dict[str, Any]:
        return self.limits.read()

    def do_burn(self, for_s: float) -> dict[str, Any]:
        return {"cpus": self.limits.burn(for_s)}

    def do_mount(self) -> dict[str, Any]:
        return self.disk.mount()

    def do_unmount(self) -> None:
        self.disk.unmount()

    def do_power_off(self) -> dict[str, Any]:
        """Pull the plug: what no fsync had brought to the disk is lost. Each step is confirmed before the next.

        The process is stopped first, so that it can neither act on the errors of a disk that is gone nor tell a
        client anything after the plug was pulled.
        """
        steps: list[str] = []
        if self.process.state()["alive"]:
            self.process.signal(signal.SIGSTOP)
            steps.append("stopped")
        if not self.disk.dead:
            self.disk.kill_writes()
        steps.append("disk-cut")
        self.process.signal(signal.SIGKILL)
        self.disk.thaw()
        if not self.process.kill():
            raise OrderError(f"after {', '.join(steps)}: the process did not die within 5 s")
        steps.append("killed")
        self.disk.unmount()
        steps.append("unmounted")
        return {"steps": steps}

    def do_power_on(self) -> dict[str, Any]:
        """Mount again; the file system replays its journal."""
        return {"steps": ["mounted"], **self.disk.mount()}


def door_of(root: str) -> str:
    """Return the socket at which the agent of this folder hears a controller that comes back."""
    return os.path.join(root, "door")


def attach(root: str) -> None:
    """Carry bytes between this process's stdin and stdout and the agent of `root`, until either ends."""
    with socket.socket(socket.AF_UNIX) as door:
        try:
            door.connect(door_of(root))
        except OSError as error:
            sys.exit(f"the agent is not there any more: {error}")

        def forth() -> None:
            while True:
                data = os.read(0, 1 << 20)
                if not data:
                    door.shutdown(socket.SHUT_WR)
                    return
                door.sendall(data)

        threading.Thread(target=forth, daemon=True).start()
        while True:
            data = door.recv(1 << 20)
            if not data:
                os._exit(0)
            os.write(1, data)


def main() -> None:
    if sys.argv[1] == "--attach":
        attach(sys.argv[2])
        return
    config: dict[str, Any] = json.loads(sys.argv[1])
    os.umask(0o022)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if config.get("private") and os.geteuid() == 0:
        private_mounts()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.environ["CAPSIZE_RUN"] = config["label"]
    if config.get("owner"):
        os.environ["CAPSIZE_OWNER"] = config["owner"]
    agent = Agent(config, answers)
    try:
        agent.serve(sys.stdin.buffer)
    finally:
        answers.close()
        os._exit(0)


if __name__ == "__main__":
    main()
