"""Five real processes on loopback: what they acknowledged survives the leader, twice over."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import capsize.raft
from capsize.checker.trace import events_of
from capsize.raft.client import NotDone, RaftClient

NAMES = ("n1", "n2", "n3", "n4", "n5")


class Cluster:
    """Processes of the package itself, with the parent folder of `raft/` as their directory."""

    def __init__(self, directory: Path, **settings: object) -> None:
        self.directory = directory
        self.settings = settings
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in NAMES}
        self.ports = {name: bound.getsockname()[1] for name, bound in sockets.items()}
        for bound in sockets.values():
            bound.close()
        for name in NAMES:
            self.start(name)

    def start(self, name: str, **more: object) -> None:
        home = self.directory / name
        home.mkdir(exist_ok=True)
        config = {
            "node": name,
            "listen": ["127.0.0.1", self.ports[name]],
            "peers": {peer: ["127.0.0.1", port] for peer, port in self.ports.items()},
            "data_dir": str(home / "data"),
            "trace": str(home / "trace.jsonl"),
            **self.settings,
            **more,
        }
        path = home / "config.json"
        path.write_text(json.dumps(config))
        root = Path(capsize.raft.__file__).parent.resolve().parent
        with (home / "node.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "raft", "--config", str(path)], cwd=root, stderr=log, stdout=log
            )

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait(10)

    def client(self, name: str, client_id: str = "test", timeout_s: float = 5.0) -> RaftClient:
        return RaftClient(("127.0.0.1", self.ports[name]), client_id=client_id, timeout_s=timeout_s)

    def status(self, name: str) -> dict[str, object]:
        client = self.client(name, timeout_s=1.0)
        try:
            return client.status()
        finally:
            client.close()

    def leader(self, *, but: str = "", within_s: float = 15.0) -> str:
        """Wait, bounded, for a leader that is not `but` and that every running node knows of."""
        deadline = time.monotonic() + within_s
        known: set[object] = set()
        while time.monotonic() < deadline:
            running = [name for name, process in self.processes.items() if process.poll() is None]
            try:
                known = {self.status(name)["leader"] for name in running}
            except (OSError, NotDone):
                known = set()
            if len(known) == 1 and known.isdisjoint({None, but}):
                return str(known.pop())
            time.sleep(0.02)
        raise AssertionError(f"no leader in time; the nodes say {known}")

    def agree(self, within_s: float = 15.0) -> list[dict[str, object]]:
        """Wait, bounded, until every node has applied the same log; return what they say."""
        deadline = time.monotonic() + within_s
        said: list[dict[str, object]] = []
        while time.monotonic() < deadline:
            try:
                said = [self.status(name) for name in NAMES]
            except (OSError, NotDone):
                continue
            if len({(s["applied_index"], s["last_index"]) for s in said}) == 1:
                return said
            time.sleep(0.02)
        raise AssertionError(f"the nodes do not agree: {said}")

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


@pytest.fixture
def cluster(tmp_path):
    running = Cluster(tmp_path)
    yield running
    running.stop()


def keep_adding(cluster: Cluster, name: str, stop: threading.Event, added: list[str]) -> None:
    """Append unique words through one node until told to stop; remember those that were acknowledged."""
    client = cluster.client(name, client_id=f"adder-{name}")
    count = 0
    while not stop.is_set():
        count += 1
        word = f"{name}.{count}"
        try:
            client.invoke("append", "words", [word])
        except Exception:  # whatever went wrong, the word was not acknowledged
            time.sleep(0.01)
        else:
            added.append(word)
    client.close()


def test_nothing_acknowledged_is_lost_when_leaders_are_killed(cluster):
    cluster.leader()
    stop, added = threading.Event(), {name: [] for name in NAMES}
    threads = [
        threading.Thread(target=keep_adding, args=(cluster, name, stop, added[name]), daemon=True) for name in NAMES
    ]
    for thread in threads:
        thread.start()
    killed = ""
    for _ in range(2):
        time.sleep(0.7)
        killed = cluster.leader()
        cluster.kill(killed)
        began = time.monotonic()
        cluster.leader(but=killed)
        assert time.monotonic() - began < 5
        cluster.start(killed)
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join(10)
    said = cluster.agree()
    assert len({s["state_hash"] for s in said}) == 1
    for name in NAMES:
        words, _ = cluster.client(name).invoke("get", "words")
        assert len(words) == len(set(words)), "a word was added twice"
        assert {word for words_of in added.values() for word in words_of} <= set(words), "an acknowledged word is gone"
    assert sum(map(len, added.values())) > 100


def test_a_client_gets_evidence_and_definite_errors(cluster):
    leader = cluster.leader()
    follower = next(name for name in NAMES if name != leader)
    with cluster.client(follower) as client:
        result, meta = client.invoke("incr", "n", 2)
        assert result == 2
        assert meta["served_by"] == follower
        assert meta["log_index"] > 0
        assert client.invoke("incr", "n", 2, seq=client.seq)[0] == 2  # the same request again
        with pytest.raises(NotDone, match="no command"):
            client.invoke("fly", "n")
    cluster.kill(follower)
    with pytest.raises(NotDone, match="cannot connect"):
        cluster.client(follower).invoke("get", "n")


def test_a_kill_between_append_and_fsync_loses_no_acknowledged_write(cluster):
    """Failpoints: the leader dies at the worst place, and comes back."""
    leader = cluster.leader()
    with cluster.client(leader) as client:
        client.invoke("put", "x", 1)
        client.failpoint("after_append", "kill")
        with pytest.raises((ConnectionError, TimeoutError)):
            client.invoke("put", "x", 2)
    cluster.processes[leader].wait(10)
    cluster.leader(but=leader)
    cluster.start(leader)
    cluster.agree()
    values = {cluster.client(name).invoke("get", "x")[0] for name in NAMES}
    assert len(values) == 1
    assert values <= {1, 2}


def test_leadership_is_handed_over_on_request(cluster):
    leader = cluster.leader()
    target = next(name for name in NAMES if name != leader)
    with cluster.client(leader) as client:
        client.admin("transfer", target)
    assert cluster.leader(but=leader) == target


def events_in(trace: Path) -> list[Any]:
    lines = trace.read_text().rstrip("\0").splitlines()
    return [event for line in lines for event in events_of(json.loads(line))]


def test_a_node_stops_on_a_signal_and_its_trace_is_whole(cluster):
    cluster.leader()
    with cluster.client("n1") as client:
        client.invoke("put", "x", 1)
    cluster.stop()
    assert {process.returncode for process in cluster.processes.values()} == {0}
    for name in NAMES:
        events = events_in(cluster.directory / name / "trace.jsonl")
        assert [event["lc"] for event in events] == list(range(1, len(events) + 1))
        assert events[0]["ev"] == "recover"
        assert set(events[0]["st"]) >= {"term", "vote", "role", "commit", "applied", "last", "base", "dur", "cfg"}
        assert events[-1]["ev"] == "stop"
        assert {event["inc"] for event in events} == {1}


def test_a_boot_is_in_the_trace_before_anything_else_happens(cluster):
    cluster.leader()
    cluster.kill("n2")
    with socket.create_server(("127.0.0.1", 0)) as bound:
        cluster.ports["n2"] = bound.getsockname()[1]  # where no other node looks for it
    cluster.start("n2", election_timeout_ms=[60_000, 60_000])
    deadline = time.monotonic() + 15.0
    while (cluster.directory / "n2" / "node.log").read_text().count("listens") != 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    cluster.status("n2")  # answered in a later turn of its loop
    cluster.kill("n2")
    last = events_in(cluster.directory / "n2" / "trace.jsonl")[-1]
    assert (last["inc"], last["lc"], last["ev"]) == (2, 1, "recover")


def test_a_corrupt_log_is_refused_with_exit_code_3(cluster):
    cluster.leader()
    with cluster.client("n1") as client:
        for number in range(20):
            client.invoke("put", "x", number)
    cluster.agree()
    cluster.kill("n2")
    (segment,) = (cluster.directory / "n2" / "data" / "log").glob("*.seg")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    cluster.start("n2")
    assert cluster.processes["n2"].wait(10) == 3
    assert "no torn tail" in (cluster.directory / "n2" / "node.log").read_text()


def test_a_port_in_use_is_told_with_exit_code_4(cluster):
    cluster.leader()
    taken = cluster.ports["n2"]
    cluster.kill("n1")
    cluster.start("n1", listen=["127.0.0.1", taken])
    assert cluster.processes["n1"].wait(10) == 4
    assert f"cannot listen on 127.0.0.1:{taken}" in (cluster.directory / "n1" / "node.log").read_text()
