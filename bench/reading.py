"""How fast each format is read: python bench/reading.py [operations] [format …]

Writes a history of that many operations (a million if nothing is said) in every format into a temporary folder,
reads each in a process of its own, and prints operations per second and the peak of memory. Every history is the
same: ten clients, a hundred keys, writes, reads and cas, one operation in fifty unknown.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

CLIENTS, KEYS = 10, 100
Call = tuple[int, str, int, Any, Any, str, int]
"""process, f, key, argument, answer, outcome, time"""


def calls(count: int) -> Iterator[tuple[bool, Call]]:
    """Yield (is it the return, the operation) in the order of the events; a client has one operation at a time."""
    dice = random.Random(42)
    process = list(range(CLIENTS))
    open_now: list[Call | None] = [None] * CLIENTS
    asked, clock = 0, 1_000
    values = [0] * KEYS
    while asked < count or any(open_now):
        clock += dice.randrange(1, 900_000)
        client = dice.randrange(CLIENTS)
        one = open_now[client]
        if one is not None:
            open_now[client] = None
            yield True, (*one[:6], clock)
            if one[5] == "info":
                process[client] += CLIENTS
            continue
        if asked >= count:
            continue
        asked += 1
        key = dice.randrange(KEYS)
        f = dice.choice(("read", "write", "write", "cas"))
        argument: Any = None if f == "read" else asked if f == "write" else [values[key], asked]
        answer: Any = values[key] if f == "read" else True if f == "cas" else None
        if f != "read":
            values[key] = asked
        outcome = "info" if dice.random() < 0.02 and f != "read" else "ok"
        open_now[client] = (process[client], f, key, argument, answer, outcome, clock)
        yield False, (*open_now[client][:6], clock)  # type: ignore[index]


def write_capsize(count: int, file: TextIO, *, meta: bool = False) -> None:
    """Our own JSONL; with `meta`, answers carry the evidence that a run records."""
    file.write('{"capsize":"history","version":1}\n')
    for number, (returns, (process, f, key, argument, answer, outcome, at)) in enumerate(calls(count)):
        event: dict[str, Any] = {"index": number, "time_ns": at, "process": process, "type": "invoke", "f": f}
        if not returns:
            event |= {"key": key, "node": f"n{process % 5 + 1}"}
            event |= {} if argument is None else {"value": argument}
        else:
            event |= {"type": outcome, "key": key, "node": f"n{process % 5 + 1}"}
            event |= {"result": answer} if outcome == "ok" and answer is not None else {}
            event |= {"error": "timeout after 2 s"} if outcome == "info" else {}
            event |= (
                {"meta": {"term": 4, "log_index": number // 2, "served_by": "n2"}} if meta and outcome == "ok" else {}
            )
        file.write(json.dumps(event, separators=(",", ":")) + "\n")


def write_capsize_with_meta(count: int, file: TextIO) -> None:
    """Our own JSONL as a run writes it."""
    write_capsize(count, file, meta=True)


def write_edn(count: int, file: TextIO, *, plain: bool = False) -> None:
    """Jepsen's: independent tuples, a time, an index; with `plain`, a key of its own as in Porcupine's KV texts."""
    for number, (returns, (process, f, key, argument, answer, outcome, at)) in enumerate(calls(count)):
        value = answer if returns and f == "read" else argument
        text = "nil" if value is None else f"[{value[0]} {value[1]}]" if isinstance(value, list) else str(value)
        kind = f":{outcome}" if returns else ":invoke"
        if plain:
            word = {"read": "get", "write": "put"}.get(f, f)
            file.write(f'{{:process {process}, :type {kind}, :f :{word}, :key "{key}", :value {text}}}\n')
        else:
            error = ", :error :timeout" if kind == ":info" else ""
            rest = f":process {process}, :time {at}, :index {number}{error}"
            file.write(f"{{:type {kind}, :f :{f}, :value [{key} {text}], {rest}}}\n")


def write_kv(count: int, file: TextIO) -> None:
    """Porcupine's KV text."""
    write_edn(count, file, plain=True)


def write_etcd(count: int, file: TextIO) -> None:
    """The logs of Jepsen's etcd test."""
    for returns, (process, f, _, argument, answer, outcome, _at) in calls(count):
        value = answer if returns and f == "read" else argument
        text = "nil" if value is None else f"[{value[0]} {value[1]}]" if isinstance(value, list) else str(value)
        kind = ":ok" if returns else ":invoke"
        if returns and outcome == "info":
            kind, text = ":info", ":timed-out"
        file.write(f"INFO  jepsen.util - {process}\t{kind}\t:{f}\t{text}\n")


def write_bench(count: int, file: TextIO) -> None:
    """The text of the checker's bench."""
    file.write(f"# kind=reg n={count}\n")
    rows: dict[int, list[Any]] = {}
    done: list[list[Any]] = []
    for at, (returns, (process, f, key, argument, answer, outcome, _)) in enumerate(calls(count)):
        if not returns:
            a, b = argument if isinstance(argument, list) else (argument, None)
            rows[process] = [process, f[0], key, a, b, at, -1, "u", None]
            done.append(rows[process])
        elif outcome == "ok":
            rows[process][6:] = [at, "o", answer if f == "read" else None]
    for row in done:
        file.write(" ".join("-" if item is None else str(item) for item in row) + "\n")


WRITERS: dict[str, Callable[[int, TextIO], None]] = {
    "capsize": write_capsize,
    "capsize+meta": write_capsize_with_meta,
    "edn": write_edn,
    "kv text": write_kv,
    "etcd-log": write_etcd,
    "bench": write_bench,
}


def read(path: Path) -> None:
    """Read `path` and print what it cost as JSON; in a process of its own."""
    from capsize.formats import read_history

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    history = read_history(path)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"operations": len(history), "seconds": seconds, "before_kb": before, "peak_kb": peak}))


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["--read"]:
        read(Path(sys.argv[2]))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    chosen = sys.argv[2:] or list(WRITERS)
    print("| format | operations | MB | read s | operations/s | peak MB | bytes/operation |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            path = Path(folder) / "history"
            with path.open("w") as file:
                WRITERS[name](count, file)
            done = subprocess.run(
                [sys.executable, __file__, "--read", str(path)], capture_output=True, text=True, check=True
            )
            told = json.loads(done.stdout)
            grown = (told["peak_kb"] - told["before_kb"]) * 1024
            print(
                f"| {name} | {told['operations']:,} | {path.stat().st_size >> 20} | {told['seconds']:.2f} "
                f"| {told['operations'] / told['seconds']:,.0f} | {told['peak_kb'] >> 10} "
                f"| {grown / told['operations']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
