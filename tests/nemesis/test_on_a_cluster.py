"""Faults of processes, members and exact places of the code, on five running nodes: their effect, and their heal."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from capsize.checker.trace import events_of
from capsize.clock import MonotonicClock
from capsize.cluster.backend import Backend
from capsize.cluster.cluster import Cluster
from capsize.cluster.docker_backend import DockerBackend
from capsize.cluster.local_backend import LocalBackend
from capsize.cluster.systems.raft import TRACE, ReferenceRaft
from capsize.crashes import Crashes
from capsize.nemesis.executor import Nemesis
from capsize.nemesis.holds import Holds
from capsize.nemesis.operator import Operator
from capsize.nemesis.schedule import parse
from capsize.op import Invocation
from capsize.recorder import Recorder

Lines = list[tuple[str, Mapping[str, Any]]]


@pytest.fixture(scope="module")
def docker() -> Iterator[Cluster]:
    yield from started(DockerBackend(f"test-nemesis-{os.getpid()}"))


@pytest.fixture(scope="module")
def local() -> Iterator[Cluster]:
    yield from started(LocalBackend(f"test-nemesis-l-{os.getpid()}", disks=False))


def started(backend: Backend) -> Iterator[Cluster]:
    with contextlib.ExitStack() as stack:
        cluster = Cluster(ReferenceRaft(), backend, backend.create(5))
        stack.callback(cluster.destroy)
        cluster.start()
        cluster.wait_ready(30.0)
        yield cluster


class Load:
    """Writes on every node, without a pause, until the block ends; what was acknowledged is in `written`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.ending = cluster, threading.Event()
        self.written: dict[str, int] = {}
        self.threads = [threading.Thread(target=self.write, args=(n,), daemon=True) for n in range(len(cluster.nodes))]

    def write(self, number: int) -> None:
        node, value = self.cluster.nodes[number], 0
        while not self.ending.is_set():
            client = self.cluster.system.client(node, number)
            client.timeout_s = 1.0
            with contextlib.suppress(Exception), contextlib.closing(client):
                client.open()
                while not self.ending.is_set():
                    value += 1
                    client.invoke(Invocation("write", node.name, value))
                    self.written[node.name] = value
                    self.ending.wait(0.02)
            self.ending.wait(0.05)

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join(3.0)


def play(cluster: Cluster, *steps: str, timeout_s: float = 20.0) -> Lines:
    """Carry out these steps under load; return what was recorded once all are healed. Nothing written may be lost."""
    cluster.wait_ready(15.0)
    schedule = parse(
        '{"seed": 3, "steps": [' + ",".join(steps) + "]}", where="test", nodes=[node.name for node in cluster.nodes]
    )
    lines: Lines = []
    operator = Operator(cluster)
    nemesis = Nemesis(
        schedule,
        Holds(cluster.nodes, cluster.restart, operator),
        record=lambda word, value: lines.append((word, value)),
        leader=operator.leader,
        clock=MonotonicClock(),
    )
    over = ("heal-probe", "skip")
    with Load(cluster) as load:
        nemesis.start()
        until = time.monotonic() + timeout_s
        while time.monotonic() < until and sum(v["phase"] in over for _, v in lines) < len(schedule.steps):
            time.sleep(0.02)
        nemesis.stop()
        cluster.wait_ready(15.0)
    for name, value in load.written.items():
        found = read(cluster, name)
        assert found >= value, f"{name}: {value} was acknowledged, {found} was read"
    return lines


def read(cluster: Cluster, key: str) -> int:
    """Return what the first node that answers reads, within 10 s."""
    until = time.monotonic() + 10.0
    while True:
        client = cluster.system.client(cluster.nodes[0], 900)
        client.timeout_s = 2.0
        try:
            with contextlib.closing(client):
                client.open()
                found = client.invoke(Invocation("read", key)).result
        except Exception:
            if time.monotonic() >= until:
                raise
            time.sleep(0.1)
        else:
            assert isinstance(found, int)
            return found


def step(fault: str, *, duration_s: float = 0.6, **more: object) -> str:
    return json.dumps({"at_s": 0.3, "duration_s": duration_s, "fault": {"fault": fault, **more}})


def line(lines: Lines, phase: str) -> Mapping[str, Any]:
    found = [value for _, value in lines if value["phase"] == phase]
    assert found, f"no {phase} in {json.dumps(lines, indent=1, default=str)}"
    return found[0]


def assert_struck_and_healed(lines: Lines) -> None:
    assert [value["phase"] for _, value in lines] == ["intend", "inject", "probe", "heal", "heal-probe"], lines
    assert line(lines, "probe")["landed"] is True
    assert line(lines, "heal-probe")["landed"] is True


def pids(cluster: Cluster) -> dict[str, int | None]:
    return {node.name: node.process().pid for node in cluster.nodes if node.process().alive}


ONE_LINE = '{"duration_s": 1, "when": {"failpoint": "after_append", "node": "leader"}, "fault": {"fault": "kill"}}'


@pytest.mark.parametrize("place", ["local", pytest.param("docker", marks=pytest.mark.docker)])
def test_the_leader_crashes_right_after_appending_before_any_follower_responds(
    place: str, request: pytest.FixtureRequest
) -> None:
    """The article's opening question, as one line of a schedule; proven by all nodes' own traces."""
    cluster: Cluster = request.getfixturevalue(place)
    before = {name: len(events) for name, events in traces(cluster).items()}
    lines = play(cluster, ONE_LINE)
    assert_struck_and_healed(lines)
    (leader,) = line(lines, "probe")["targets"]
    told = line(lines, "probe")["detail"]
    assert told[leader]["alive"] is False
    assert told["failpoint"]["code"] == -9
    assert "failpoint after_append: kill" in told["failpoint"]["said"]
    assert f"{leader} is leader" in told["failpoint"]["said"]

    events = {name: found[before[name] :] for name, found in traces(cluster).items()}
    died_in = min(event["inc"] for event in events[leader])
    last_life = [event for event in events[leader] if event["inc"] == died_in]
    appended = [event for event in last_life if event["ev"] == "append"][-1]
    entries = {(entry["i"], entry["t"]) for entry in appended["e"]}
    assert entries
    lowest = min(index for index, _ in entries)
    behind = last_life[last_life.index(appended) :]
    # It never left the leader: nothing that could carry it was sent, and nobody acknowledged it, here or anywhere.
    said = [event["msg"] for event in behind if event["ev"] == "send" and event["msg"]["type"] == "AE"]
    heard = [event["msg"] for event in behind if event["ev"] == "recv" and event["msg"]["type"] == "AER"]
    assert not [message for message in said if reaches(message, lowest)]
    assert not [message for message in heard if message.get("idx", 0) >= lowest]
    assert not [event for event in behind if event["ev"] == "persist" and durable(event) >= lowest]
    term = appended["e"][0]["t"]
    for name, found in events.items():
        for event in found:
            if name != leader and event["ev"] == "append":
                assert not entries & {(entry["i"], entry["t"]) for entry in event["e"]}, f"{name} got it: {event}"
            if name != leader and event["ev"] == "send" and event["msg"]["type"] == "AER":
                message = event["msg"]
                assert not (message.get("term") == term and message.get("ok") and message.get("idx", 0) >= lowest)
    assert judged(cluster) == []


@pytest.mark.docker
def test_a_stopped_process_ends_by_itself_and_is_started_again(docker: Cluster) -> None:
    lines = play(docker, step("stop", target="leader"))
    assert_struck_and_healed(lines)
    (name,) = line(lines, "intend")["targets"]
    assert line(lines, "probe")["detail"]["ended_by"][name].startswith("SIGTERM, after")


@pytest.mark.docker
def test_a_process_that_does_not_end_is_killed_and_that_is_told(docker: Cluster) -> None:
    lines = play(
        docker,
        step("pause-process", target="n2", duration_s=2.0),
        json.dumps({"at_s": 0.8, "duration_s": 0.3, "fault": {"fault": "stop", "target": "n2", "grace_s": 0.4}}),
    )
    stopped = [value for word, value in lines if word == "stop" and value["phase"] == "probe"]
    assert stopped[0]["landed"] is True
    assert stopped[0]["detail"]["ended_by"]["n2"] == "SIGKILL, 0.4 s after SIGTERM"
    assert len(pids(docker)) == 5


@pytest.mark.docker
def test_a_crash_loop_kills_the_same_node_again_and_again(docker: Cluster) -> None:
    lines = play(docker, step("crash-loop", target="follower", duration_s=2.0, every_s=0.3))
    assert_struck_and_healed(lines)
    (kills,) = line(lines, "heal")["detail"]["kills"].values()
    assert kills >= 3


@pytest.mark.docker
def test_nodes_that_were_killed_at_once_come_back_in_the_order_asked_for(docker: Cluster) -> None:
    lines = play(docker, step("kill-in-order", target="all", order=["n3", "n1", "n5", "n2", "n4"], gap_s=0.2))
    assert_struck_and_healed(lines)
    assert line(lines, "heal-probe")["detail"]["order"] == ["n3", "n1", "n5", "n2", "n4"]
    started_at = {}
    for node in docker.nodes:
        seen = node.run(["cat", f"/proc/{node.process().pid}/stat"]).out
        started_at[node.name] = int(seen.rpartition(")")[2].split()[19])
    assert sorted(started_at, key=lambda name: started_at[name]) == ["n3", "n1", "n5", "n2", "n4"]


@pytest.mark.docker
def test_a_rolling_restart_makes_every_process_a_new_one(docker: Cluster) -> None:
    before = pids(docker)
    lines = play(docker, step("rolling-restart", target="all", pause_s=0.2))
    assert_struck_and_healed(lines)
    after = pids(docker)
    assert len(after) == 5
    assert all(after[name] != before[name] for name in before)


@pytest.mark.docker
def test_a_removed_member_is_named_by_nobody_and_taken_back(docker: Cluster) -> None:
    lines = play(docker, step("remove-member", target="leader"))
    assert_struck_and_healed(lines)
    assert len(line(lines, "probe")["detail"]["voters"]) == 4
    assert len(line(lines, "heal-probe")["detail"]["voters"]) == 5


@pytest.mark.docker
def test_a_wiped_member_loses_its_data_and_comes_back_as_a_new_one_without_breaking_a_rule(docker: Cluster) -> None:
    lines = play(docker, step("wipe-rejoin", target="follower"), step("wipe-rejoin", target="leader"))
    probes = [value for _, value in lines if value["phase"] == "probe"]
    assert [probe["landed"] for probe in probes] == [True, True]
    for probe in probes:
        (name,) = probe["targets"]
        assert name not in probe["detail"]["voters"]
        assert probe["detail"]["files_left"] == {name: []}
    assert [v["landed"] for _, v in lines if v["phase"] == "heal-probe"] == [True, True]
    assert judged(docker) == []


@pytest.mark.docker
def test_leadership_is_handed_over(docker: Cluster) -> None:
    lines = play(docker, step("transfer-leader", target="follower"))
    assert_struck_and_healed(lines)
    old, heir = line(lines, "intend")["targets"]
    assert line(lines, "probe")["detail"]["leader"] == heir != old


@pytest.mark.docker
def test_a_snapshot_is_taken_and_the_log_begins_behind_it(docker: Cluster) -> None:
    lines = play(docker, step("snapshot", target="all"))
    assert_struck_and_healed(lines)
    detail = line(lines, "probe")["detail"]
    assert any((detail["base_after"][name] or 0) > (detail["base_before"][name] or 0) for name in detail["base_after"])


def reaches(message: Mapping[str, Any], index: int) -> bool:
    return bool(message.get("n")) and message["prev"][0] + message["n"] >= index


def durable(event: Mapping[str, Any]) -> int:
    found = event.get("st", {}).get("dur", [0])
    return int(found[0])


def traces(cluster: Cluster) -> dict[str, list[dict[str, Any]]]:
    """Return every node's events as it wrote them, in order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for node in cluster.nodes:
        data, _ = node.read_tail(f"{node.log_dir}/{TRACE}", 0)
        lines = [part.strip(b"\0") for part in data.split(b"\n")]
        whole = [json.loads(part) for part in lines if part.startswith(b"{") and part.endswith(b"}")]
        found[node.name] = [dict(event) for line in whole for event in events_of(line)]
    return found


def judged(cluster: Cluster) -> list[str]:
    """Return the rules of Raft that the nodes' traces break."""
    from capsize.checker.invariants import RaftInvariants
    from capsize.checker.trace import parse_trace

    read = []
    for node in cluster.nodes:
        data, _ = node.read_tail(f"{node.log_dir}/{TRACE}", 0)
        whole = [part.strip(b"\0") for part in data.split(b"\n")]
        lines = [part for part in whole if part.endswith(b"}")]
        read.append(list(parse_trace(lines, name=node.name)))
    verdict = RaftInvariants(read).check()
    return [reason for anomaly in verdict.anomalies for reason in anomaly.because]


@pytest.mark.docker
def test_triggers_chain_one_fault_behind_another_s_heal_and_behind_an_election(docker: Cluster) -> None:
    lines = play(
        docker,
        json.dumps({"at_s": 0.2, "duration_s": 3, "name": "first", "fault": {"fault": "kill", "target": "leader"}}),
        json.dumps({
            "when": {"leader": "any"}, "duration_s": 0.3, "kind": "elected",
            "fault": {"fault": "snapshot", "target": "all"},
        }),
        json.dumps({
            "when": {"healed": "first", "delay_ms": 200}, "duration_s": 0.3, "kind": "later",
            "fault": {"fault": "pause-process", "target": "n1"},
        }),
        json.dumps({
            "when": {"log": "is leader, term", "node": "any"}, "duration_s": 0.3, "kind": "logged",
            "fault": {"fault": "pause-process", "target": "n2"},
        }),
    )  # fmt: skip
    order = [(word, value["phase"]) for word, value in lines]
    assert order.index(("elected", "intend")) > order.index(("kill", "inject"))
    assert order.index(("later", "intend")) > order.index(("kill", "heal-probe"))
    seen = {word: value["detail"].get("trigger") for word, value in lines if value["phase"] == "intend"}
    assert "is leader, term" in seen["logged"]["line"]
    assert seen["elected"]["term"] >= 2
    assert all(value["landed"] for _, value in lines if value["phase"] in ("probe", "heal-probe"))


@pytest.mark.docker
def test_power_is_lost_while_the_leader_stands_at_the_failpoint(docker: Cluster) -> None:
    lines = play(
        docker,
        ONE_LINE.replace("kill", "power-loss"),
    )
    assert_struck_and_healed(lines)
    assert "failpoint after_append: stop" in line(lines, "probe")["detail"]["failpoint"]["said"]


@pytest.mark.docker
def test_a_failpoint_that_nobody_reaches_is_disarmed_and_the_fault_skipped(docker: Cluster) -> None:
    before = pids(docker)
    lines = play(
        docker,
        '{"duration_s": 0.5, "when": {"failpoint": "before_truncate", "node": "leader", "within_s": 1},'
        ' "fault": {"fault": "kill"}}',
    )
    assert [value["phase"] for _, value in lines] == ["intend", "skip"]
    assert "did not reach before_truncate" in line(lines, "skip")["detail"]["reason"]
    assert pids(docker) == before


@pytest.mark.docker
def test_a_container_that_is_removed_by_hand_during_a_partition_is_told_and_the_others_are_healed(
    tmp_path: Any,
) -> None:
    """In the field a host dies under the tool: the rest is healed, and the verdict is not valid."""
    from capsize.checker.health import Health
    from capsize.history import load_history

    label = f"test-half-{os.getpid()}"
    backend = DockerBackend(label)
    cluster = Cluster(ReferenceRaft(), backend, backend.create(3))
    try:
        cluster.start()
        cluster.wait_ready(30.0)
        recorder = Recorder(tmp_path / "history.jsonl", MonotonicClock())
        operator = Operator(cluster)
        holds = Holds(cluster.nodes, cluster.restart, operator)
        crashes = Crashes(cluster, holds, recorder)
        schedule = parse(
            '{"steps": [{"at_s": 0, "duration_s": 2, "fault": {"fault": "partition", "target": "n1"}}]}', where="test"
        )
        nemesis = Nemesis(
            schedule, holds, record=recorder.nemesis, leader=operator.leader, clock=MonotonicClock()
        )  # fmt: skip
        recorder.phase("load")
        nemesis.start()
        until = time.monotonic() + 10
        while not holds.cut_now("n1", "n2") and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        found = subprocess.run(
            ["docker", "ps", "-q", "--filter", f"label=capsize.run={label}", "--filter", "name=n3"],
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        subprocess.run(["docker", "rm", "-f", *found], check=True, capture_output=True)
        time.sleep(2.0)
        nemesis.stop()
        crashes.look()
        recorder.phase("done")
        recorder.close()
        one, two, _ = cluster.nodes
        assert not two.blocked_from(one)
        assert not one.blocked_from(two)
        history = load_history(tmp_path / "history.jsonl")
        verdict = Health(["partition"]).check(history, None)  # type: ignore[arg-type]
        assert verdict.axes["harness"].valid is False
        assert "n3" in " ".join(verdict.axes["harness"].because)
    finally:
        cluster.destroy()
    left = subprocess.run(
        ["docker", "ps", "-aq", "--filter", f"label=capsize.run={label}"], capture_output=True, text=True, check=True
    )
    assert not left.stdout.strip()
