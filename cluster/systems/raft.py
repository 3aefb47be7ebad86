"""The reference Raft of this project, as a system under test: uploaded as source, run with the host's own Python."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import capsize.raft
from capsize.client import Client
from capsize.cluster.node import Command, Node
from capsize.cluster.option import choice, number
from capsize.cluster.system import NodeStatus, System
from capsize.errors import DefiniteError, UsageError
from capsize.op import Invocation, Reply, freeze
from capsize.raft.client import NotDone, RaftClient
from capsize.raft.mutants import UnknownMutant, find

TRACE = "trace.jsonl"


class ReferenceRaft(System):
    """The Raft that the article describes, complete; with planted bugs on request."""

    name = "raft"
    options = {  # noqa: RUF012
        "fsync": "on, or off: writes count as durable without fsync (power loss then loses them)",
        "mutant": "planted bugs to run with, by name, comma-separated",
        "election_timeout_ms": "randomised from low-high, 300-600",
        "heartbeat_ms": "the leader's heartbeat interval, 50",
        "trace": "on, or off: write no events",
        "append_max": "most entries in one AppendEntries, 128",
        "snapshot_every": "entries applied between snapshots, 10000; 0: never",
        "disk_stall_ms": "a leader whose disk stalls longer steps down, 1000; 0: never",
        "apply_delay_ms": "hold every apply back, 0",
        "lease_reads": "off, or on: serve reads under a leader lease",
    }
    restart_timeout_s = 15.0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.fsync = choice(options, "fsync", ("on", "off")) == "on"
        self.trace = choice(options, "trace", ("on", "off")) == "on"
        self.mutants = [name for name in str(options.get("mutant", "")).split(",") if name]
        try:
            find(self.mutants)
        except UnknownMutant as error:
            raise UsageError(f"--opt mutant: {error}") from None
        low, _, high = str(options.get("election_timeout_ms", "300-600")).partition("-")
        if not low.isdigit() or not (high or low).isdigit():
            raise UsageError(f"--opt election_timeout_ms: expected low-high, found {low}-{high}")
        self.settings: dict[str, Any] = {
            "election_timeout_ms": [int(low), int(high or low)],
            "heartbeat_ms": number(options, "heartbeat_ms", 50, least=1, most=10_000),
            "append_entries_max": number(options, "append_max", 128, least=1, most=100_000),
            "snapshot_every": number(options, "snapshot_every", 10_000, least=0, most=10_000_000),
            "disk_stall_ms": number(options, "disk_stall_ms", 1000, least=0, most=60_000),
            "apply_delay_ms": number(options, "apply_delay_ms", 0, least=0, most=60_000),
            "lease_reads": choice(options, "lease_reads", ("off", "on")) == "on",
        }
        if not 0 < self.settings["heartbeat_ms"] < int(low):
            raise UsageError(f"--opt heartbeat_ms: expected less than the election timeout, {low} ms")

    def install(self, node: Node) -> None:
        package = Path(capsize.raft.__file__).parent
        for source in sorted(package.glob("*.py")):
            node.upload(source, f"{node.install_dir}/raft/{source.name}")
        node.upload(json.dumps(self.config(node), indent=1).encode(), f"{node.install_dir}/{node.name}.json")

    def config(self, node: Node) -> dict[str, Any]:
        """Return the node's configuration file."""
        peers = {
            peer.name: list(node.listen("raft") if peer.name == node.name else peer.reach("raft", frm=node))
            for peer in self.nodes
        }
        return {
            "node": node.name,
            "listen": list(node.listen("raft")),
            "peers": peers,
            "data_dir": f"{node.data_dir}/raft",
            "trace": f"{node.log_dir}/{TRACE}" if self.trace else None,
            "fsync": self.fsync,
            "mutants": self.mutants,
            **self.settings,
        }

    def command(self, node: Node) -> Command:
        argv = (node.python, "-m", "raft", "--config", f"{node.install_dir}/{node.name}.json")
        return Command(argv, env={"PYTHONDONTWRITEBYTECODE": "1"}, cwd=node.install_dir)

    def client(self, node: Node, process: int) -> Client:
        return ReferenceClient(node, process)

    def status(self, node: Node) -> NodeStatus:
        with RaftClient(node.reach("raft"), client_id="status", timeout_s=1.0) as client:
            said = client.status()
        known = NodeStatus.__dataclass_fields__
        return NodeStatus(**{name: value for name, value in said.items() if name in known})

    def traces(self, node: Node) -> tuple[str, ...]:
        return (TRACE,) if self.trace else ()

    def transfer_leadership(self, leader: Node, to: Node) -> None:
        with RaftClient(leader.reach("raft"), client_id="operator", timeout_s=3.0) as client:
            client.admin("transfer", to.name)


class ReferenceClient(Client):
    """One logical process: its own session in the cluster, its own connection, no retries."""

    _opened = itertools.count(1)

    def __init__(self, node: Node, process: int) -> None:
        name = f"p{process}.{next(self._opened)}"  # never the same session twice: its sequence numbers begin anew
        self.client = RaftClient(node.reach("raft"), client_id=name)

    def open(self) -> None:
        self.client.timeout_s = self.timeout_s
        try:
            self.client.open()
        except NotDone as error:
            raise DefiniteError(str(error)) from error

    def invoke(self, op: Invocation) -> Reply:
        self.client.timeout_s = self.timeout_s
        try:
            result, meta = self.client.invoke(op.f, op.key, op.value)
        except NotDone as error:
            raise DefiniteError(str(error)) from error
        return Reply(freeze(result), {name: freeze(value) for name, value in meta.items()})

    def close(self) -> None:
        self.client.close()
