"""Every word of `--faults` on four running nodes: it lands, it heals, and nothing of it is left on any node."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from capsize.clock import MonotonicClock
from capsize.cluster.agent_node import AgentNode
from capsize.cluster.backend import Backend
from capsize.cluster.cluster import Cluster
from capsize.cluster.docker_backend import DockerBackend
from capsize.cluster.local_backend import LocalBackend
from capsize.cluster.node import Node
from capsize.cluster.systems.raft import ReferenceRaft
from capsize.nemesis.executor import Nemesis
from capsize.nemesis.holds import Holds
from capsize.nemesis.kinds import KINDS
from capsize.nemesis.operator import Operator
from capsize.nemesis.place_kinds import PLACES
from capsize.nemesis.schedule import Schedule, draw
from capsize.op import Invocation

WRITES = 40
"""So that the log holds enough to be damaged."""
HOLD_S = 0.3
IN_A_ROW = {"rolling-restart": 6.0, "crash-loop": 1.0, "shrink": 1.0}


class Place:
    """A cluster on a place, and its nemesis."""

    def __init__(self, backend: Backend) -> None:
        system = ReferenceRaft(election_timeout_ms="800-1600")  # the machine may be busy
        self.cluster = Cluster(system, backend, backend.create(4))
        self.operator = Operator(self.cluster)
        self.timers = False
        self.written = 0
        self.ending = threading.Event()
        self.prepare(frozenset({"clock", "pressure"}))
        self.cluster.start()
        self.cluster.wait_ready(60.0)
        self.fill()

    def prepare(self, needs: frozenset[str]) -> None:
        self.cluster.prepare(needs & self.cluster.backend.capabilities())

    def restart(self, *, timers: bool) -> None:
        """Start every process anew, with timers that follow its clock or with timers that do not."""
        if timers is self.timers:
            return
        self.timers = timers
        self.prepare(frozenset({"clock", "pressure"} | ({"monotonic"} if timers else set())))
        self.cluster.at_once(lambda node: node.kill())
        self.cluster.at_once(self.cluster.restart)

    def fill(self) -> None:
        """Write on every node until the end: some words strike in the middle of its reply, others need a log."""
        for number in range(len(self.cluster.nodes)):
            threading.Thread(target=self._write, args=(number,), daemon=True).start()
        deadline = time.monotonic() + 60.0
        while self.written < WRITES:
            assert time.monotonic() < deadline, f"{self.written} writes within 60 s"
            time.sleep(0.05)

    def _write(self, number: int) -> None:
        node, process = self.cluster.nodes[number], 0
        while not self.ending.wait(0.05):
            process += 1
            client = self.cluster.system.client(node, 1000 * number + process)
            client.timeout_s = 4.0
            with contextlib.suppress(Exception):  # nodes are down, cut off, frozen: that is what is tested
                client.open()
                while not self.ending.wait(0.05):
                    client.invoke(Invocation("write", "filler", f"value {self.written}"))
                    self.written += 1
            client.close()

    def play(self, word: str) -> list[Mapping[str, Any]]:
        """Have one fault of a kind strike now, and return what was recorded."""
        step = draw(7, [KINDS[word]], 20.0).steps[0]
        lines: list[Mapping[str, Any]] = []
        nemesis = Nemesis(
            Schedule((replace(step, at_s=0.0, duration_s=IN_A_ROW.get(word, HOLD_S)),), 7),
            Holds(self.cluster.nodes, self.cluster.restart, self.operator),
            record=lambda kind, value: lines.append(value),
            leader=self.operator.leader,
            clock=MonotonicClock(),
        )
        nemesis.start()
        deadline = time.monotonic() + 30.0
        while time.monotonic() < deadline and not {"heal-probe", "skip"} & {line["phase"] for line in lines}:
            time.sleep(0.01)
        nemesis.stop(timeout_s=20.0)
        return lines


@pytest.fixture(scope="module")
def docker() -> Iterator[Place]:
    yield from opened(DockerBackend(f"test-words-{os.getpid()}"))


@pytest.fixture(scope="module")
def local() -> Iterator[Place]:
    yield from opened(LocalBackend(f"test-words-l-{os.getpid()}"))


def opened(backend: Backend) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        stack.callback(backend.destroy)
        place = Place(backend)
        stack.callback(place.ending.set)
        yield place


def lands_and_heals(place: Place, word: str) -> None:
    place.restart(timers=word == "time-rate")
    place.cluster.wait_ready(40.0)
    found: dict[str, Any] = {}
    for _ in range(3):  # a busy machine may change its leader, or write nothing, in the time a fault waits
        found = {line["phase"]: line for line in place.play(word)}
        if "skip" not in found:
            break
    assert "skip" not in found, found["skip"]["detail"]
    assert "error" not in found, found["error"]["detail"]
    assert found["probe"]["landed"], found["probe"]["detail"]
    assert found["heal-probe"]["landed"], found["heal-probe"]["detail"]
    if word in ("full-disk", "dead-disk"):  # where the error is met late, the run starts the node again
        place.cluster.at_once(place.cluster.restart)
    left = {name: said for name, said in place.cluster.at_once(partial(left_on, timers=place.timers)).items() if said}
    assert not left
    place.cluster.wait_ready(40.0)


def left_on(node: Node, *, timers: bool) -> list[str]:
    """Return what of a fault is left on a node, looked up in its kernel and its files."""
    assert isinstance(node, AgentNode)
    left: list[str] = []
    state = node.process()
    if not state.alive or state.state in ("T", "t"):
        left.append(f"process {state}")
    if node.disk_probe(wait_s=5.0).outcome != "done":
        left.append("disk")
    others = node.run(["ls", "-A", f"{node.root}/disk"]).out.split()
    left += [name for name in others if name.startswith("capsize-")]
    if node.address != "127.0.0.1":
        left += [rule for rule in node.agent.order("rules")["rules"] if rule != "-N CAPSIZE"]
    clock = node.run(["cat", f"{node.root}/run/clock"]).out.strip()
    if "x" in clock or (clock != "+0.000000" and not timers):  # time that timers follow keeps what it gained or lost
        left.append(f"clock {clock}")
    if "kept" in node.run(["ls", f"{node.root}/run"]).out.split():
        left.append("a copy of the data")
    limits = node.limits()
    if limits.cpus is not None or limits.memory_bytes is not None:
        left.append(f"limits {limits}")
    return left


@pytest.mark.docker
@pytest.mark.parametrize("word", list(KINDS))
def test_every_word_lands_on_containers_and_heals_completely(docker: Place, word: str) -> None:
    lands_and_heals(docker, word)


@pytest.mark.root
@pytest.mark.parametrize("word", [kind.word for kind in PLACES])
def test_every_word_of_places_lands_on_local_nodes_or_is_refused_with_a_reason(local: Place, word: str) -> None:
    backend = local.cluster.backend
    missing = KINDS[word].needs - backend.capabilities()
    if missing:
        assert missing <= {"clients", "clock", "monotonic"}
        assert all(
            backend.why_not(need).startswith("local: ") and "there" not in backend.why_not(need) for need in missing
        )
        return
    lands_and_heals(local, word)
