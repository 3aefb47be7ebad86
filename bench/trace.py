"""What tracing costs the reference Raft: throughput of five nodes with and without, in pairs, and their ratio.

    python bench/trace.py [--pairs 20] [--seconds 2]

Two clusters of five processes each run on this machine all the time, one that traces and one that does not, and are
loaded in turns: on, off, off, on … So what the machine does besides hits both alike. The load is `--clients`
connections that each ask again as soon as they are answered, half puts, half gets; the other cluster only sends
heartbeats meanwhile. Printed: every pair, the median ratio, and a 95 % interval of the median from the pairs (binomial,
no assumption on their distribution).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

LENGTH = struct.Struct(">I")
ROOT = Path(__file__).resolve().parent.parent
NAMES = tuple(f"n{number}" for number in range(1, 6))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    ratios: list[float] = []
    costs: list[float] = []
    with cluster(trace=True, clients=asked.clients) as on, cluster(trace=False, clients=asked.clients) as off:
        for side in (on, off):
            side.load(1.0)
        for pair in range(asked.pairs):
            order = (on, off) if pair % 2 == 0 else (off, on)
            measured = {side: side.load(asked.seconds) for side in order}
            ratios.append(measured[on][0] / measured[off][0])
            costs.append(measured[on][1] / measured[off][1])
            if not asked.json:
                told = "   ".join(
                    f"{name} {measured[side][0]:6.0f} ops/s, {measured[side][1]:4.0f} us cpu"
                    for name, side in (("on", on), ("off", off))
                )
                print(f"pair {pair + 1:2}   {told}   ratio {ratios[-1]:.3f}   of cpu {costs[-1]:.3f}", flush=True)
    low, high = interval(ratios)
    cost, cpu = 1 - statistics.median(ratios), statistics.median(costs) - 1
    if asked.json:
        print(json.dumps({"ratios": ratios, "median_cost": cost, "low": 1 - high, "high": 1 - low, "cpu": cpu}))
    else:
        print(f"tracing costs {cost:.1%} of the throughput (median; 95 % between {1 - high:.1%} and {1 - low:.1%})")
        print(f"and {cpu:.1%} more processor time an operation, all nodes together (median)")


def interval(ratios: list[float]) -> tuple[float, float]:
    """Return order statistics that hold the median with a probability of at least 95 %; the extremes when too few."""
    ordered, count = sorted(ratios), len(ratios)
    inside = 0.0
    for skipped in range((count - 1) // 2, -1, -1):
        tail = sum(math.comb(count, k) for k in range(skipped + 1)) / 2**count
        inside = 1 - 2 * tail
        if inside >= 0.95:
            return ordered[skipped], ordered[-1 - skipped]
    return ordered[0], ordered[-1]


@contextlib.contextmanager
def cluster(*, trace: bool, clients: int) -> Iterator[Cluster]:
    """Start five nodes, and end them whatever happens."""
    ports, processes = free_ports(), list[subprocess.Popen[bytes]]()
    with tempfile.TemporaryDirectory(prefix="capsize-bench-") as folder:
        try:
            processes += [start(Path(folder), name, ports, trace) for name in NAMES]
            wait_for_leader(ports)
            yield Cluster(processes, ports, clients)
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.wait()


class Cluster:
    """Five nodes that run, and the connections that load them."""

    def __init__(self, processes: list[subprocess.Popen[bytes]], ports: dict[str, int], clients: int) -> None:
        self._processes = processes
        self._chosen = selectors.DefaultSelector()
        self._askers: list[Asking] = []
        for number in range(clients):
            connection = socket.create_connection(("127.0.0.1", ports[NAMES[number % len(NAMES)]]))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._askers.append(Asking(connection, number))
            self._chosen.register(connection, selectors.EVENT_READ, self._askers[-1])

    def load(self, seconds: float) -> tuple[float, float]:
        """Ask as fast as answers come; return operations a second, and the nodes' processor time an operation (us)."""
        used_s, began = processor_s(self._processes), time.monotonic()
        for asking in self._askers:
            asking.next()
        done, waiting, asks_on = 0, len(self._askers), True
        while waiting:
            if time.monotonic() > began + seconds + 10.0:
                raise SystemExit(f"{waiting} requests were not answered within 10 s")
            asks_on = asks_on and time.monotonic() < began + seconds
            for key, _ in self._chosen.select(timeout=0.5):
                answered = key.data.take(asks_on)
                done += answered
                waiting -= 0 if asks_on else answered
        took_s = time.monotonic() - began
        return done / took_s, (processor_s(self._processes) - used_s) / done * 1e6


def free_ports() -> dict[str, int]:
    """Return a port for each node that was free just now."""
    bound = {name: socket.create_server(("127.0.0.1", 0)) for name in NAMES}
    ports = {name: server.getsockname()[1] for name, server in bound.items()}
    for server in bound.values():
        server.close()
    return ports


def start(folder: Path, name: str, ports: dict[str, int], trace: bool) -> subprocess.Popen[bytes]:
    """Start one node."""
    config = {
        "node": name, "listen": ["127.0.0.1", ports[name]], "data_dir": str(folder / name),
        "peers": {peer: ["127.0.0.1", port] for peer, port in ports.items()},
        "trace": str(folder / f"{name}.jsonl") if trace else None,
        "election_timeout_ms": [1500, 3000], "disk_stall_ms": 0,
    }  # fmt: skip
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    argv = [sys.executable, "-m", "raft", "--config", str(path)]
    return subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL)


def ask(connection: socket.socket, order: dict[str, object]) -> dict[str, object]:
    """Ask one node one thing, and wait for its answer."""
    data = json.dumps(order).encode()
    connection.sendall(LENGTH.pack(len(data)) + data)
    head = connection.recv(4, socket.MSG_WAITALL)
    answer: dict[str, object] = json.loads(connection.recv(LENGTH.unpack(head)[0], socket.MSG_WAITALL))
    return answer


def wait_for_leader(ports: dict[str, int]) -> None:
    """Wait until every node knows the same leader and that one has committed in its term."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        time.sleep(0.1)
        try:
            leaders: set[object] = set()
            for port in ports.values():
                with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                    status = ask(connection, {"do": "status", "id": 1})
                    leaders.add(status["leader"] if status["commit_index"] else None)
            if len(leaders) == 1 and None not in leaders:
                return
        except (OSError, struct.error):
            continue
    raise SystemExit("no leader within 30 s")


def processor_s(processes: list[subprocess.Popen[bytes]]) -> float:
    """Return the processor time that these processes have used so far."""
    return sum(sum(psutil.Process(process.pid).cpu_times()[:2]) for process in processes)


class Asking:
    """One connection that asks again as soon as it is answered."""

    def __init__(self, connection: socket.socket, number: int) -> None:
        self.connection = connection
        self.number = number
        self.seq = 0
        self.buffer = b""

    def next(self) -> None:
        """Ask: a put, then a get, and so on."""
        self.seq += 1
        what = f'"f":"put","value":{self.seq}' if self.seq % 2 else '"f":"get"'
        order = f'{{"do":"invoke",{what},"key":{self.number % 20},"client":"c{self.number}","seq":{self.seq},"id":1}}'
        data = order.encode()
        self.connection.sendall(LENGTH.pack(len(data)) + data)

    def take(self, asks_on: bool) -> int:
        """Take what arrived, and ask anew if that goes on; return how many answers came."""
        self.buffer += self.connection.recv(65536)
        done = 0
        while len(self.buffer) >= 4 and len(self.buffer) >= 4 + LENGTH.unpack(self.buffer[:4])[0]:
            length = LENGTH.unpack(self.buffer[:4])[0]
            if b'"ok"' not in self.buffer[4 : 4 + length]:
                raise SystemExit(f"not answered: {self.buffer[4 : 4 + length].decode()}")
            self.buffer = self.buffer[4 + length :]
            done += 1
            if asks_on:
                self.next()
        return done


if __name__ == "__main__":
    main()
