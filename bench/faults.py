"""How close together a fault lands on five containers: a partition, a kill, a disk pause, against Docker's own exec.

    .venv/bin/python bench/faults.py [--times 50] [--write]

Both ways in turn, in the same run, on the same containers. Spread is the time from the first node on which the fault
has landed to the last, by the one clock that containers of a host share: with us when the agent has carried the order
out, with `docker exec` when the command that does the same has ended. Every fault is healed before the next. Prints a
table; `--write` keeps it in docs/results.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from capsize.cluster.agent_node import AgentNode
from capsize.cluster.docker_backend import DockerBackend
from capsize.cluster.engine import connect, engine_answers
from capsize.cluster.node import Command
from capsize.nemesis.holds import Holds
from capsize.nemesis.partition import split

NODES = 5
RESULTS = Path(__file__).parents[1] / "docs" / "results.md"
HEADING = "## Faults: how close together they land"
IDLE = Command(("sleep", "100000"))


class Bench:
    """Five containers with a process each, and the faults both ways."""

    def __init__(self) -> None:
        self.label = f"bench-faults-{os.getpid()}"
        self.backend = DockerBackend(self.label)
        self.nodes: list[AgentNode] = [node for node in self.backend.create(NODES) if isinstance(node, AgentNode)]
        self.landed_ns: dict[str, int] = {}
        for node in self.nodes:
            node.start(IDLE)
            self.watch(node)
        self.as_nice_as_we_are()
        self.holds = Holds(self.nodes, lambda node: node.start(IDLE))

    def as_nice_as_we_are(self) -> None:
        """Give the containers, and what starts commands in them, our own priority: both ways are measured alike."""
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        if ours == 0:
            return
        engine = connect().api
        for node in self.nodes:
            first = engine.inspect_container(f"capsize-{self.label}-{node.name}")["State"]["Pid"]
            for pid in family(parent_of(first)):
                os.setpriority(os.PRIO_PROCESS, pid, ours)

    def watch(self, node: AgentNode) -> None:
        """Keep when each order was carried out, as the agent says with its answer."""
        order = node.agent.order

        def watched(do: str, **arguments: Any) -> dict[str, Any]:
            answer = order(do, **arguments)
            self.landed_ns[node.name] = int(answer["at_ns"])
            return answer

        node.agent.order = watched  # type: ignore[method-assign]

    # -- ours ------------------------------------------------------------------------------------------------
    def ours(self, inject: Callable[[], Mapping[str, str]]) -> float:
        """Return the spread of a fault by way of the nemesis, in milliseconds."""
        self.landed_ns.clear()
        errors = inject()
        assert not errors, errors
        assert len(self.landed_ns) == NODES
        return (max(self.landed_ns.values()) - min(self.landed_ns.values())) / 1e6

    def cut(self) -> Mapping[str, str]:
        names = [node.name for node in self.nodes]
        return self.holds.cut(1, split([names[:2], names[2:]]))

    # -- theirs ----------------------------------------------------------------------------------------------
    def theirs(self, commands: Mapping[str, str]) -> float:
        """Return the spread of the same fault by one `docker exec` for each node, all started at once."""
        running = [
            subprocess.Popen(
                ["docker", "exec", f"capsize-{self.label}-{name}", "sh", "-c", f"{command} && date +%s%N"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for name, command in commands.items()
        ]
        ended = [int(process.communicate(timeout=30)[0]) for process in running]
        return (max(ended) - min(ended)) / 1e6

    def cut_commands(self) -> dict[str, str]:
        few, many = self.nodes[:2], self.nodes[2:]
        told: dict[str, str] = {}
        for node in self.nodes:
            others = many if node in few else few
            rules = "".join(f"-A CAPSIZE -s {other.address} -j DROP\\n" for other in others)
            table = f"*filter\\n:CAPSIZE - [0:0]\\n{rules}COMMIT\\n"
            told[node.name] = f"printf '{table}' | iptables-restore -w --noflush"
        return told

    def kill_commands(self) -> dict[str, str]:
        return {node.name: f"kill -9 {node.process().pid}" for node in self.nodes}

    def freeze_commands(self) -> dict[str, str]:
        return {node.name: f"fsfreeze -f {node.root}/disk" for node in self.nodes}

    # -- both ------------------------------------------------------------------------------------------------
    def reopen(self) -> None:
        self.holds.reopen(1)
        self.holds.on_each(self.holds.names, lambda name: self.holds.node(name).drop_from([]))

    def revive(self) -> None:
        self.holds.revive(1, self.holds.names)
        for node in self.nodes:
            node.start(IDLE)

    def thaw(self) -> None:
        self.holds.thaw(1, self.holds.names)
        for node in self.nodes:
            node.thaw_disk()

    def compare(self, times: int) -> dict[str, tuple[list[float], list[float]]]:
        """Return the spreads of each fault, ours and theirs, in milliseconds."""
        names = self.holds.names
        faults: dict[str, tuple[Callable[[], Mapping[str, str]], Callable[[], dict[str, str]], Callable[[], None]]] = {
            "partition": (self.cut, self.cut_commands, self.reopen),
            "kill": (lambda: self.holds.kill(1, names), self.kill_commands, self.revive),
            "disk pause": (lambda: self.holds.freeze(1, names), self.freeze_commands, self.thaw),
        }
        found: dict[str, tuple[list[float], list[float]]] = {}
        for name, (inject, commands, heal) in faults.items():
            ours, theirs = found.setdefault(name, ([], []))
            for _ in range(times):
                ours.append(self.ours(inject))
                heal()
                theirs.append(self.theirs(commands()))
                heal()
        return found


def parent_of(pid: int) -> int:
    """Return the process that started another."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def family(pid: int) -> set[int]:
    """Return a process, all its descendants, and their threads."""
    parents = {int(entry.name): entry for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found = {pid}
    while True:
        more = set[int]()
        for other in parents:
            try:
                if other not in found and parent_of(other) in found:
                    more.add(other)
            except (OSError, ValueError):
                continue
        if not more:
            break
        found |= more
    threads = [int(task.name) for one in found for task in Path(f"/proc/{one}/task").glob("*")]
    return found.union(threads)


def table(found: Mapping[str, tuple[list[float], list[float]]], times: int) -> str:
    """Return the section of docs/results.md."""
    rows = [
        f"| {name} | {statistics.median(ours):.1f} | {max(ours):.1f} | {statistics.median(theirs):.1f} "
        f"| {max(theirs):.1f} | {statistics.median(theirs) / statistics.median(ours):.1f} |"
        for name, (ours, theirs) in found.items()
    ]
    worst = max(statistics.median(ours) for ours, _ in found.values())
    return "\n".join(
        [
            HEADING,
            "",
            f"Five containers, {times} injections of each fault and each way, in turn; {engine_answers()[1]}, Linux "
            f"{platform.release()}, {os.cpu_count()} CPUs. Measured with `.venv/bin/python bench/faults.py --write`. "
            "From the first node on which a fault has landed to the last, in milliseconds:",
            "",
            "| fault | median | worst | `docker exec`: median | worst | its median over ours |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"The goal is a median of 50 ms; the slowest of the three has {worst:.1f} ms.",
        ]
    )


def keep(section: str) -> None:
    """Put the section into docs/results.md, in place of the one that is there."""
    text = RESULTS.read_text(encoding="utf-8")
    before, found, rest = text.partition(HEADING)
    after = rest[rest.index("\n## ") :] if found and "\n## " in rest else "\n"
    RESULTS.write_text(f"{before.rstrip()}\n\n{section}\n{after}".rstrip() + "\n", encoding="utf-8")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--write", action="store_true", help="keep the table in docs/results.md")
    asked = parser.parse_args()
    began = time.monotonic()
    bench = Bench()
    try:
        found = bench.compare(asked.times)
    finally:
        bench.backend.destroy()
    section = table(found, asked.times)
    print(section)
    print(f"\ntook {time.monotonic() - began:.0f} s")
    if asked.write:
        keep(section)


if __name__ == "__main__":
    main()
