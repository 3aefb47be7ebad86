"""The suite of 104 synthetic histories on which linearizability checkers are compared. Seeded: same bytes every time.

    python bench/histories.py FOLDER

Clients in a closed loop on a simulated system; every operation takes effect at a random moment of its interval, so
the history is legal by construction. An operation may be lost (`u`): it never returns, half of the lost ones take
effect, some of them long after. In a `_bad` history one completed read at 90 % of the way is made illegal.

One line per operation, in the order of the calls:
    process f key a b call return status out
f: r w c (register: read, write, cas a b) · g p a (map: get, put, append) · call, return: positions in the order of all
events, -1 if it never returned · status: o ok, f cas failed, u unknown · out: what was read; `nil` is a register's
initial value; strings of maps begin with `=`. The first line, after `#`, says how the history was made.
"""

from __future__ import annotations

import heapq
import itertools
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEED = 42
Item = int | str
INVOKE, TAKE_EFFECT, RETURN = 0, 1, 2


@dataclass(slots=True)
class Op:
    """One operation; `ret` -1 never returned."""

    process: int
    f: str
    key: int
    a: Item
    b: Item
    call: int
    status: str
    ret: int = -1
    out: Item = "-"

    @property
    def returned_ok(self) -> bool:
        """Returned, and not a failed cas."""
        return self.status == "o"

    def line(self) -> str:
        """Return the operation as the file holds it."""
        return f"{self.process} {self.f} {self.key} {self.a} {self.b} {self.call} {self.ret} {self.status} {self.out}\n"


@dataclass(frozen=True, slots=True)
class Case:
    """One history of the suite. `values` 0 is unique values, else the size of the domain."""

    name: str
    kind: str
    count: int
    clients: int
    keys: int
    values: int
    lost: float
    bad: bool


class Simulation:
    """The clients, the system, and the queue of what happens next."""

    def __init__(self, case: Case, seed: int) -> None:
        self.case, self.dice = case, random.Random(seed)
        self.initial: Item = "nil" if case.kind == "reg" else ""
        self.operations: list[Op] = []
        self.state: dict[int, Item] = {}
        self.last_seen: dict[tuple[int, int], Item] = {}
        self.positions, self.tickets, self.fresh = itertools.count(), itertools.count(1), itertools.count(1)
        self.processes = itertools.count(case.clients)
        self.queue: list[tuple[float, int, int, int | Op]] = []

    def run(self) -> list[Op]:
        """Play the case and return its operations in the order of their calls."""
        case, dice = self.case, self.dice
        for client in range(case.clients):
            self._at(dice.random(), INVOKE, client)
        while self.queue:
            now, _, what, who = heapq.heappop(self.queue)
            if isinstance(who, int):
                if len(self.operations) < case.count:
                    self._invoke(now, who)
            elif what == TAKE_EFFECT:
                self._take_effect(who)
            else:
                who.ret = next(self.positions)
                self._at(now + dice.expovariate(10), INVOKE, who.process)
        return self.operations

    def _at(self, moment: float, what: int, who: int | Op) -> None:
        heapq.heappush(self.queue, (moment, next(self.tickets), what, who))

    def _invoke(self, now: float, process: int) -> None:
        case, dice = self.case, self.dice
        key = dice.randrange(case.keys) if case.keys > 1 else 0
        f, a, b = self._ask(process, key)
        lost = dice.random() < case.lost
        op = Op(process, f, key, a, b, next(self.positions), "u" if lost else "o")
        self.operations.append(op)
        latency = dice.uniform(0.5, 1.5) if dice.random() < 0.95 else dice.uniform(3, 6)
        if not lost:
            self._at(now + dice.random() * latency, TAKE_EFFECT, op)
            self._at(now + latency, RETURN, op)
            return
        if dice.random() < 0.5:
            self._at(now + (dice.random() * latency if dice.random() < 0.9 else dice.random() * 50), TAKE_EFFECT, op)
        self._at(now + latency, INVOKE, next(self.processes))

    def _ask(self, process: int, key: int) -> tuple[str, Item, Item]:
        """Choose what to do: a third reads, a third writes, a third cas or append."""
        case, dice = self.case, self.dice
        choice = dice.random()
        if choice < 1 / 3:
            return ("r" if case.kind == "reg" else "g"), "-", "-"
        second = choice < 2 / 3
        if case.kind == "kv":
            item = "abcdefghij"[dice.randrange(case.values)] if case.values else f"{next(self.fresh)};"
            return ("p" if second else "a"), item, "-"
        if second:
            return "w", dice.randrange(case.values) if case.values else next(self.fresh), "-"
        if case.values:
            return "c", dice.randrange(case.values), dice.randrange(case.values)
        informed = dice.random() < 0.6
        old = self.state.get(key, self.initial) if informed else self.last_seen.get((process, key), self.initial)
        if old == "nil":
            return "w", next(self.fresh), "-"
        return "c", old, next(self.fresh)

    def _take_effect(self, op: Op) -> None:
        now = self.state.get(op.key, self.initial)
        if op.f in ("r", "g"):
            if op.status != "u":
                op.out = now if op.f == "r" else f"={now}"
                self.last_seen[op.process, op.key] = now
        elif op.f == "a":
            self.state[op.key] = f"{now}{op.a}"
        elif op.f == "c" and now != op.a:
            if op.status != "u":
                op.status = "f"
        else:
            value = op.b if op.f == "c" else op.a
            self.state[op.key] = value
            self.last_seen[op.process, op.key] = value


def plant(operations: list[Op], case: Case) -> str:
    """Make one completed read from 90 % on illegal; return how, in words."""
    start = int(len(operations) * 0.9)
    reads = [i for i in range(start, len(operations)) if operations[i].f in "rg" and operations[i].returned_ok]
    if case.kind == "reg" and not case.values:
        for i in reads:
            value = _overwritten_before(operations, i)
            if value is not None:
                operations[i].out = value
                return f"stale read op#{i}"
    if case.kind == "reg" and case.values and not case.lost:
        for i, value in itertools.product(reads, range(case.values)):
            if _cannot_be(operations, i, value):
                operations[i].out = value
                return f"illegal small-domain read op#{i}"
    first = operations[reads[0]]
    first.out = 777777 if case.kind == "reg" else f"{first.out}zz"
    return f"never-written value read op#{reads[0]}"


def _overwritten_before(operations: list[Op], i: int) -> Item | None:
    """Return a value written 300 to 600 operations ago and overwritten since, all before read `i`."""
    read = operations[i]
    for j in range(max(0, i - 600), max(0, i - 300)):
        old = operations[j]
        if old.f != "w" or not old.returned_ok or old.ret > read.call:
            continue
        later = operations[j + 1 : i]
        if any(w.f == "w" and w.returned_ok and w.call > old.ret and w.ret < read.call for w in later):
            return old.a
    return None


def _cannot_be(operations: list[Op], i: int, value: int) -> bool:
    """Return whether some write of another value came last before read `i`, whatever the order."""
    read, low = operations[i], max(0, i - 400)
    near = operations[low : i + 400]
    makers = [o for o in near if o.returned_ok and ((o.f == "w" and o.a == value) or (o.f == "c" and o.b == value))]
    long_ago = max((o.ret for o in operations[:low] if o.returned_ok), default=-1)
    for w in operations[low:i]:
        settled = w.f == "w" and w.returned_ok and w.a != value and w.ret < read.call and long_ago <= w.call
        if settled and all(o.ret < w.call or o.call > read.ret for o in makers):
            return True
    return False


def cases() -> Iterator[Case]:
    """Yield the 104 cases of the suite."""
    short = {1_000: "1k", 10_000: "10k", 100_000: "100k", 1_000_000: "1m"}
    shapes = [("reg", 10, 1, count) for count in (1_000, 10_000, 100_000)]
    shapes += [("reg", clients, 1, count) for clients in (50, 100) for count in (1_000, 10_000)]
    shapes += [("kv", 10, 10, count) for count in short]
    shapes += [("kv", 50, 10, count) for count in (10_000, 100_000)]
    for bad, values, lost in itertools.product((False, True), (0, 5), (0, 0.05)):
        for kind, clients, keys, count in shapes:
            name = f"{kind}_c{clients}_{'small' if values else 'uniq'}_p{'5' if lost else '0'}_{short[count]}"
            yield Case(f"{name}_{'bad' if bad else 'ok'}", kind, count, clients, keys, values, lost, bad)


def write(case: Case, path: Path, seed: int = SEED) -> None:
    """Play `case` and write it to `path`, which is there only when it is whole."""
    operations = Simulation(case, seed).run()
    how = plant(operations, case).replace(" ", "_") if case.bad else "none"
    head = {
        "kind": case.kind,
        "n": len(operations),
        "clients": case.clients,
        "keys": case.keys,
        "values": case.values or "unique",
        "pu": case.lost,
        "bad": int(case.bad),
        "how": how,
        "seed": seed,
    }
    unfinished = path.with_suffix(".part")
    with unfinished.open("w", encoding="ascii") as file:
        file.write("# " + " ".join(f"{name}={value}" for name, value in head.items()) + "\n")
        file.writelines(op.line() for op in operations)
    unfinished.replace(path)


def write_suite(folder: Path) -> list[Path]:
    """Write every history that is not there yet; return all paths, in the order of the suite."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for case in cases():
        path = folder / f"{case.name}.txt"
        if not path.exists():
            print(f"writing {path.name}", file=sys.stderr, flush=True)
            write(case, path)
        paths.append(path)
    return paths


if __name__ == "__main__":
    write_suite(Path(sys.argv[1] if len(sys.argv) > 1 else "histories"))
