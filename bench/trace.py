"""What tracing costs the reference Raft: throughput of five nodes with and without, in pairs, and their ratio.

    python bench/trace.py [--pairs 8] [--seconds 3]

Every measurement is a new cluster of five processes on this machine, and `--clients` connections that each ask again
as soon as they are answered, half puts, half gets. Measurements alternate: on, off, off, on …; each pair gives one
ratio. Printed: every pair, the median ratio, and a 95 % interval of the median from the pairs (binomial, no
assumption on their distribution).
"""

from __future__ import annotations

import argparse
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
from pathlib import Path

import psutil

LENGTH = struct.Struct(">I")
ROOT = Path(__file__).resolve().parent.parent
NAMES = tuple(f"n{number}" for number in range(1, 6))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    ratios: list[float] = []
    costs: list[float] = []
    for pair in range(asked.pairs):
        order = (True, False) if pair % 2 == 0 else (False, True)
        measured = {trace: measure(trace, asked.seconds, asked.clients) for trace in order}
        (on, cpu_on), (off, cpu_off) = measured[True], measured[False]
        ratios.append(on / off)
        costs.append(cpu_on / cpu_off)
        if not asked.json:
            told = f"on {on:6.0f} ops/s, {cpu_on:4.0f} us cpu   off {off:6.0f} ops/s, {cpu_off:4.0f} us cpu"
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


def measure(trace: bool, seconds: float, clients: int) -> tuple[float, float]:
    """Return the operations a second of a new cluster, and the nodes' processor time an operation, microseconds."""
    with tempfile.TemporaryDirectory(prefix="capsize-bench-") as folder:
        ports = free_ports()
        processes = [start(Path(folder), name, ports, trace) for name in NAMES]
        try:
            wait_for_leader(ports)
            return load(ports, seconds, clients, processes)
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.wait()


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


def load(
    ports: dict[str, int], seconds: float, clients: int, processes: list[subprocess.Popen[bytes]]
) -> tuple[float, float]:
    """Ask as fast as answers come; return what `measure` does, the first second left out."""
    chosen = selectors.DefaultSelector()
    for number in range(clients):
        connection = socket.create_connection(("127.0.0.1", ports[NAMES[number % len(NAMES)]]))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asking = Asking(connection, number)
        chosen.register(connection, selectors.EVENT_READ, asking)
        asking.next()
    answered = counted = 0
    used_s: float | None = None
    began = time.monotonic()
    warm, end = began + 1.0, began + 1.0 + seconds
    while (now := time.monotonic()) < end:
        for key, _ in chosen.select(timeout=0.5):
            answered += key.data.take()
        if now >= warm and used_s is None:
            counted, used_s = answered, processor_s(processes)
    done = answered - counted
    return done / seconds, (processor_s(processes) - (used_s or 0.0)) / done * 1e6


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

    def take(self) -> int:
        """Take what arrived; return how many answers that completed."""
        self.buffer += self.connection.recv(65536)
        done = 0
        while len(self.buffer) >= 4 and len(self.buffer) >= 4 + LENGTH.unpack(self.buffer[:4])[0]:
            length = LENGTH.unpack(self.buffer[:4])[0]
            if b'"ok"' not in self.buffer[4 : 4 + length]:
                raise SystemExit(f"not answered: {self.buffer[4 : 4 + length].decode()}")
            self.buffer = self.buffer[4 + length :]
            done += 1
            self.next()
        return done


if __name__ == "__main__":
    main()
