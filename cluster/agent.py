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
`private` (root's mounts in a namespace of the agent's own), `deadman_s`, `owner`.
"""
# Paths come as text and go to the C library as text.
# ruff: noqa: PTH101, PTH103, PTH105, PTH108, PTH110, PTH112, PTH114, PTH118, PTH119, PTH120, PTH123, PTH202, PTH208

from __future__ import annotations

import base64
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import queue
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
        """Return {"alive", "pid", "state", "code"}; a zombie is dead."""
        known = self.known()
        if known is None:
            return {"alive": False, "pid": None, "state": None, "code": None}
        pid, start = known
        child = self.children.get(pid)
        code = child.poll() if child else None
        seen = stat_of(pid)
        if seen is None or seen[1] != start or seen[0] in "ZX":
            return {"alive": False, "pid": pid, "state": None, "code": code}
        return {"alive": True, "pid": pid, "state": seen[0], "code": None}

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
            if seen and seen[2] == pid and seen[0] not in "ZX" and self.carries_label(entry):
                others.append(int(entry))
        return main + others

    def carries_label(self, pid: str) -> bool:
        """Return whether a process was started by us: its environment says so."""
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return f"CAPSIZE_RUN={self.label}".encode() in file.read().split(b"\0")
        except OSError:
            return False

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
        self.shapes: dict[str, dict[str, Any]] = {}
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

    def drop(self, sources: list[str]) -> None:
        self.apply(list(sources), self.shapes)

    def shape(self, shapes: dict[str, dict[str, Any]], seed: int) -> None:
        """Shape what these senders send; what the shaper cannot do is refused before anything is changed."""
        if any(shape.get("duplicate") for shape in shapes.values()):
            raise OrderError("packets cannot be duplicated here: a queue in user space lets each go on once")
        if shapes or self.shaper is not None:
            self.tell_shaper({"shapes": shapes, "seed": seed})
        self.apply(self.drops, dict(shapes))

    def apply(self, drops: list[str], shapes: dict[str, dict[str, Any]]) -> None:
        self.prepare()
        rules = "".join(f"-A {CHAIN} -s {source} -j DROP\n" for source in drops)
        for source in shapes:
            rules += f"-A {CHAIN} -s {source} -j NFQUEUE --queue-num {SHAPER_QUEUE} --queue-bypass\n"
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
        if self.ready and (self.drops or self.shapes):
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
            self.drops, self.shapes, self.ready = [], {}, False


class Listener:
    """Hears probes: words that another node sent to this one over UDP, which needs no way back."""

    def __init__(self) -> None:
        self.heard: dict[str, int] = {}
        self.series: dict[str, list[tuple[int, int]]] = {}
        self.news = threading.Condition()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("", 0))
        self.port: int = self.udp.getsockname()[1]
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self) -> None:
        while True:
            word = self.udp.recv(256).decode(errors="replace")
            if word.startswith("series "):
                self.note(word.split(), time.monotonic_ns())
                continue
            with self.news:
                if len(self.heard) > 10000:
                    self.heard.clear()
                self.heard[word] = time.monotonic_ns()
                self.news.notify_all()

    def note(self, parts: list[str], now_ns: int) -> None:
        """Keep (number, nanoseconds on its way) of one packet of a series: `series NAME NUMBER SENT_NS`."""
        with contextlib.suppress(ValueError, IndexError), self.news:
            arrived = self.series.setdefault(parts[1], [])
            arrived.append((int(parts[2]), now_ns - int(parts[3])))

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


def send_series(host: str, port: int, name: str, count: int, gap_s: float) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for number in range(count):
            out.sendto(f"series {name} {number} {time.monotonic_ns()}".encode(), (host, port))
            time.sleep(gap_s)


class Agent:
    """Reads orders, carries each out in its lane, and answers."""

    LANES = {  # noqa: RUF012 (read only)
        "start": "process", "signal": "process", "process": "process", "kill": "process",
        "drop": "network", "shape": "network", "prepare_network": "network", "clear_network": "network",
        "freeze": "disk", "thaw": "disk", "slow": "disk", "fill": "disk", "drain": "disk", "kill_writes": "disk",
        "create_disk": "disk", "mount": "disk", "unmount": "disk", "power_off": "disk", "power_on": "disk",
    }  # fmt: skip

    def __init__(self, config: dict[str, Any], answers: BinaryIO) -> None:
        self.label: str = config["label"]
        self.node: str = config["node"]
        self.root: str = config["root"]
        self.ends: bool = bool(config.get("ends", False))
        self.removes: bool = bool(config.get("removes", False))
        self.deadman_s: float = float(config.get("deadman_s", 0.0))
        self.heard_at = time.monotonic()
        self.answers = answers
        self.write_lock = threading.Lock()
        for folder in ("install", "log", "run", "disk/data"):
            os.makedirs(os.path.join(self.root, folder), exist_ok=True)
        image = os.path.join(self.root, f"capsize-{self.label}-{self.node}.img")
        self.process = Process(os.path.join(self.root, "run", "system.json"), self.label)
        self.disk = Disk(image, os.path.join(self.root, "disk"), int(config.get("disk_mb", 256)))
        self.firewall = Firewall()
        self.listener: Listener | None = None
        self.lanes: dict[str, queue.SimpleQueue[dict[str, Any]]] = {}
        for lane in sorted(set(self.LANES.values())):
            self.lanes[lane] = queue.SimpleQueue()
            threading.Thread(target=self.work, args=(self.lanes[lane],), daemon=True).start()

    # -- the loop --------------------------------------------------------------------------------------------
    def serve(self, orders: BinaryIO) -> None:
        if self.deadman_s:
            threading.Thread(target=self.watch_controller, daemon=True).start()
        for line in orders:
            self.heard_at = time.monotonic()
            if not line.strip():
                continue
            order = json.loads(line)
            lane = self.lanes.get(self.LANES.get(order["do"], ""))
            if order["do"] == "quit":
                self.quit()
                self.answer(order, {})
                return
            if lane is not None:
                lane.put(order)
            else:
                threading.Thread(target=self.carry_out, args=(order,), daemon=True).start()
        self.quit()

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
        if self.removes:
            shutil.rmtree(self.root, ignore_errors=True)

    # -- orders ----------------------------------------------------------------------------------------------
    def do_hello(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(), "root": self.root, "uid": os.getuid(), "python": sys.version.split()[0],
            "platform": sys.platform, "dead": self.disk.dead,
        }  # fmt: skip

    def do_ping(self) -> None:
        return None

    def do_heal(self) -> dict[str, Any]:
        return {"problems": self.heal()}

    def do_start(self, argv: list[str], env: dict[str, str], cwd: str | None, log: str) -> dict[str, Any]:
        return self.process.start(argv, env, cwd, os.path.join(self.root, "log", log))

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
    def do_drop(self, sources: list[str]) -> None:
        self.firewall.drop(sources)

    def do_shape(self, shapes: dict[str, dict[str, Any]], seed: int) -> None:
        self.firewall.shape(shapes, seed)

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

    def do_send_series(self, host: str, port: int, name: str, count: int, gap_s: float) -> None:
        send_series(host, port, name, count, gap_s)

    def do_take_series(self, name: str) -> dict[str, Any]:
        """Return (number, nanoseconds on its way) of each packet of a series that arrived, in that order."""
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
        self.disk.kill_writes()

    def do_disk_probe(self, wait_s: float) -> dict[str, Any]:
        return self.disk.probe(wait_s)

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


def main() -> None:
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
