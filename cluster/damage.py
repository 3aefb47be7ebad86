"""Damage to one file of a stopped process's data, and its undoing. Runs on the node, as a child of the agent.

One file, standard library only, Python 3.8 or newer: `python3 damage.py '{"do": "damage", …}'` prints one JSON object.

    torn    what a write that was under way leaves when the power goes: some bytes of no meaning, or zeros, behind the
            end of the file. Nothing that was synced is touched.
    flip    one bit turned over, in the first half of what the file holds: what comes behind it was written later.
    cut     bytes taken off the end. What was synced is gone, and no checksum can tell: a copy of the data is kept, and
            what the system writes into its traces before that is put back is set aside with the rest.

A file that is longer than what it holds (written ahead with zeros) is taken to end behind its last byte that is not
zero. `flip` and `torn` are undone exactly, and only where the file is still as the damage left it.
"""
# Paths come as text.
# ruff: noqa: PTH108, PTH110, PTH112, PTH113, PTH114, PTH118, PTH123, PTH202, PTH204, PTH208

from __future__ import annotations

import fnmatch
import json
import os
import random
import shutil
import sys
from typing import Any

LEAST_BYTES = {"torn": 1, "flip": 1024, "cut": 1024}
"""A file that holds less is left alone: what is flipped needs something whole behind it, or it is a torn tail."""
TORN_MAX = 48
CUT_MAX = 2048
BLOCK = 1 << 16


class Unfit(Exception):
    """There is no file that this can be done to."""


def held(path: str) -> int:
    """Return how many bytes of a file come before the zeros at its end."""
    end = os.path.getsize(path)
    with open(path, "rb") as file:
        while end > 0:
            start = max(0, end - BLOCK)
            file.seek(start)
            kept = file.read(end - start).rstrip(b"\0")
            if kept:
                return start + len(kept)
            end = start
    return 0


def chosen(data: str, pattern: str, least: int) -> str:
    """Return the file below `data` that was written last, of those that match and hold `least` bytes."""
    found: list[tuple[float, int, str]] = []
    for folder, _, names in os.walk(data):
        for name in names:
            path = os.path.join(folder, name)
            below = os.path.relpath(path, data)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            if pattern and not (fnmatch.fnmatch(below, pattern) or fnmatch.fnmatch(name, pattern)):
                continue
            size = held(path)
            if size >= least:
                found.append((os.path.getmtime(path), size, below))
    if not found:
        told = f" that matches {pattern}" if pattern else ""
        raise Unfit(f"there is no file{told} with {least} bytes or more in the data directory")
    return max(found)[2]


def damage(data: str, kept: str, how: str, pattern: str, seed: int, traces: list[str]) -> dict[str, Any]:
    """Do it, make it durable, and return what is needed to undo it."""
    draw = random.Random(seed)
    below = chosen(data, pattern, LEAST_BYTES[how])
    path = os.path.join(data, below)
    size, end, bit = os.path.getsize(path), held(path), draw.randrange(8)
    if how == "cut":
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(data, kept, symlinks=True)
    with open(path, "r+b") as file:
        if how == "torn":
            offset, count = end, draw.randrange(1, TORN_MAX)
            file.seek(offset)
            file.write(bytes(count) if draw.random() < 0.25 else bytes(draw.randrange(1, 256) for _ in range(count)))
        elif how == "flip":
            offset, count = draw.randrange(end // 2), 1
            flip(file, offset, bit)
        else:
            count = draw.randrange(1, min(CUT_MAX, end // 2))
            offset = end - count
            file.truncate(offset)
        file.flush()
        os.fsync(file.fileno())
    after = os.path.getsize(path)
    return {"how": how, "file": below, "offset": offset, "bytes": count, "size": size, "after": after,
            "bit": bit, "mark": mark(path, offset), "traces": {trace: told(trace) for trace in traces}}  # fmt: skip


def told(trace: str) -> int:
    """Return where the last whole line of a trace ends; it may be written ahead with zeros."""
    if not os.path.exists(trace):
        return 0
    end = held(trace)
    with open(trace, "rb") as file:
        while end > 0:
            start = max(0, end - BLOCK)
            file.seek(start)
            line = file.read(end - start).rfind(b"\n")
            if line >= 0:
                return start + line + 1
            end = start
    return 0


def set_aside(trace: str, end: int) -> None:
    """Move what a trace tells behind `end` to a file beside it."""
    if not os.path.exists(trace):
        return
    last = told(trace)
    with open(trace, "r+b") as file:
        file.seek(end)
        with open(trace + ".truncated", "ab") as aside:
            aside.write(file.read(max(0, last - end)))
        file.truncate(end)


def flip(file: Any, offset: int, bit: int) -> None:
    file.seek(offset)
    value = file.read(1)[0]
    file.seek(offset)
    file.write(bytes([value ^ (1 << bit)]))


def mark(path: str, offset: int) -> int:
    """Return the byte at `offset`, -1 behind the end: tells whether the place is still as it was left."""
    with open(path, "rb") as file:
        file.seek(offset)
        return (file.read(1) or b" ")[0] if offset < os.path.getsize(path) else -1


def repair(data: str, kept: str, done: dict[str, Any]) -> bool:
    """Undo it; False when the system has changed the file meanwhile, or taken it away."""
    path = os.path.join(data, done["file"])
    if done["how"] == "cut":
        for trace, end in done["traces"].items():
            set_aside(trace, end)
        return restored(data, kept)
    if not os.path.exists(path) or os.path.getsize(path) != done["after"] or mark(path, done["offset"]) != done["mark"]:
        return False
    with open(path, "r+b") as file:
        if done["how"] == "flip":
            flip(file, done["offset"], done["bit"])
        else:
            file.seek(done["offset"])
            file.write(bytes(done["bytes"]))
            file.truncate(done["size"])
        file.flush()
        os.fsync(file.fileno())
    return True


def restored(data: str, kept: str) -> bool:
    """Put the copy in place of the data."""
    if not os.path.isdir(kept):
        return False
    for name in os.listdir(data):
        path = os.path.join(data, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    for name in os.listdir(kept):
        path = os.path.join(kept, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.copytree(path, os.path.join(data, name), symlinks=True)
        else:
            shutil.copy2(path, os.path.join(data, name), follow_symlinks=False)
    for folder, _, names in os.walk(data):  # never sync(2): it waits for every frozen disk of this machine
        for path in [folder, *(os.path.join(folder, name) for name in names)]:
            if not os.path.islink(path):
                handle = os.open(path, os.O_RDONLY)
                os.fsync(handle)
                os.close(handle)
    shutil.rmtree(kept, ignore_errors=True)
    return True


def main() -> None:
    order: dict[str, Any] = json.loads(sys.argv[1])
    try:
        if order["do"] == "damage":
            answer = damage(
                order["data"], order["kept"], order["how"], order["pattern"], order["seed"], order["traces"]
            )
        else:
            answer = {"repaired": repair(order["data"], order["kept"], order["damage"])}
    except (Unfit, OSError) as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))  # noqa: T201 (the answer)


if __name__ == "__main__":
    main()
