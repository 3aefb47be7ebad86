"""The reference Raft of this project, as a system under test: uploaded as source, run with the host's own Python."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import capsize.raft
from capsize.client import Client
from capsize.cluster.node import Command, Node
from capsize.cluster.option import choice, number
from capsize.cluster.system import NodeStatus, System
from capsize.errors import AdapterError, DefiniteError, UsageError
from capsize.op import Invocation, Reply, freeze
from capsize.raft.client import NotDone, RaftClient, Unknown
from capsize.raft.mutants import UnknownMutant, find

TRACE = "trace.jsonl"
CATCH_UP_S = 3.0
BOOTS_OF_A_LIFE = 10_000
"""More boots than a node has between two wipes: a wiped node must never use an earlier boot's message ids again."""

ACTIONS = {"crash": "kill", "pause": "stop", "error": "error", "off": ""}
"""What a node can be made to do at a failpoint, and the node's own word for it."""

FAILPOINTS = {
    "before_append": "entries are about to be written to the log; nothing of them has left the node",
    "after_append": "entries are in the log file, not synced; nothing of them has left the node",
    "after_fsync": "a batch of writes is durable; what relies on it has not left the node",
    "before_send": "messages are about to leave",
    "before_reply": "answers to clients are about to leave",
    "before_meta_write": "term or vote are about to be written",
    "after_meta_write": "term or vote are durable",
    "before_vote_persist": "a vote was decided, and is not on the disk",
    "after_vote_persist": "a vote is durable, and nobody knows",
    "before_truncate": "a conflicting tail of the log is about to be cut off",
    "after_truncate": "it is cut off, and nothing was written in its place",
    "before_snapshot_rename": "a snapshot is written and synced, and not in its place yet",
    "after_snapshot": "a snapshot is durable, and the log is still whole",
    "before_compact": "the log is about to be cut behind a snapshot",
    "after_compact": "the log was cut behind a snapshot",
}
"""The failpoints of `capsize.raft.failpoints`, each with what is true there."""
ROUGH = {"loss": 0.03, "doubled": 0.2, "late": 0.2, "late_ms": [20, 400]}
READS = frozenset({"get", "read"})


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
        "pre_vote": "on, or off: candidates ask before they raise the term",
        "protect_leader": "on, or off: no votes while a leader is heard of",
        "check_quorum": "on, or off: a leader that hears no majority steps down",
        "parallel_append": "off, or on: send entries before the leader's own disk has them",
        "weather": "calm, or rough: messages between nodes are lost, doubled and overtaken",
        "retries": "ask again that often, elsewhere, under the same request number, when no answer came, 0",
    }
    restart_timeout_s = 15.0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._rebirths: dict[str, int] = {}
        """Node -> how often it was taken in anew, with an empty data directory."""
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
            "pre_vote": choice(options, "pre_vote", ("on", "off")) == "on",
            "protect_leader": choice(options, "protect_leader", ("on", "off")) == "on",
            "check_quorum": choice(options, "check_quorum", ("on", "off")) == "on",
            "parallel_append": choice(options, "parallel_append", ("off", "on")) == "on",
        }
        self.weather = ROUGH if choice(options, "weather", ("calm", "rough")) == "rough" else None
        self.retries = number(options, "retries", 0, least=0, most=10)
        if not 0 < self.settings["heartbeat_ms"] < int(low):
            raise UsageError(f"--opt heartbeat_ms: expected less than the election timeout, {low} ms")

    def install(self, node: Node) -> None:
        package = Path(capsize.raft.__file__).parent
        for source in sorted(package.glob("*.py")):
            node.upload(source, f"{node.install_dir}/raft/{source.name}")
        self._configure(node)

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
            "weather": self.weather,
            **self.settings,
        }

    def _joining(self, node: Node, members: Sequence[str], removed_by: int) -> dict[str, Any]:
        """Return what a new server is told under an old name; its removal is at index `removed_by` or earlier."""
        return {
            "members": [name for name in members if name != node.name],
            "boots_before": BOOTS_OF_A_LIFE * self._rebirths[node.name],
            "votes_from": removed_by,
        }

    def command(self, node: Node) -> Command:
        argv = (node.python, "-m", "raft", "--config", f"{node.install_dir}/{node.name}.json")
        return Command(argv, env={"PYTHONDONTWRITEBYTECODE": "1"}, cwd=node.install_dir)

    def client(self, node: Node, process: int) -> Client:
        others = [peer.reach("raft") for peer in self.nodes if peer.name != node.name]
        return ReferenceClient(node, process, others[: self.retries])

    def status(self, node: Node) -> NodeStatus:
        said = self._status(node)
        known = NodeStatus.__dataclass_fields__
        return NodeStatus(**{name: value for name, value in said.items() if name in known})

    def traces(self, node: Node) -> tuple[str, ...]:
        return (TRACE,) if self.trace else ()

    # -- what an operator asks ---------------------------------------------------------------------------------
    def transfer_leadership(self, leader: Node, to: Node) -> None:
        self._admin(leader, "transfer", to.name)

    def members(self, node: Node) -> tuple[str, ...]:
        return tuple(self._status(node)["voters"])

    def remove_member(self, through: Node, node: Node) -> None:
        self._admin(self._leader(through), "remove", node.name)

    def add_member(self, through: Node, node: Node) -> None:
        """Take `node` in as a learner, and make it a voter once it has caught up, if it runs (thesis §4.2.1).

        One that is down is given a configuration first in which it is no member: a new server, which must not
        campaign or count itself before it was taken in.
        """
        leader = self._leader(through)
        said = self._status(leader)
        runs = node.process().alive
        if not runs:
            if node.name in said["voters"]:
                raise NotDone(f"{leader.name} still counts {node.name} as a voter: only a removed one may begin anew")
            self._rebirths[node.name] = self._rebirths.get(node.name, 0) + 1
            self._configure(node, said["voters"], said["last_index"])
        if node.name not in [*said["voters"], *said["learners"]]:
            self._admin(leader, "add_learner", node.name)
        deadline = time.monotonic() + CATCH_UP_S
        while runs:
            try:
                self._admin(leader, "add_voter", node.name)
                return
            except NotDone:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.05)

    def snapshot(self, node: Node) -> None:
        self._admin(node, "snapshot")

    def failpoints(self) -> Mapping[str, str]:
        return FAILPOINTS

    def arm(self, node: Node, failpoint: str, action: str) -> None:
        what, _, count = action.partition("@")
        if what not in ACTIONS:
            raise AdapterError(f"no action is called {what!r}; expected one of {', '.join(ACTIONS)}")
        with RaftClient(node.reach("raft"), client_id="operator", timeout_s=3.0) as client:
            client.failpoint(failpoint, ACTIONS[what] + (f"@{count}" if count else ""))

    def _admin(self, node: Node, action: str, argument: str | None = None) -> None:
        with RaftClient(node.reach("raft"), client_id="operator", timeout_s=5.0) as client:
            client.admin(action, argument)

    def _status(self, node: Node) -> dict[str, Any]:
        with RaftClient(node.reach("raft"), client_id="status", timeout_s=1.0) as client:
            return client.status()

    def _leader(self, through: Node) -> Node:
        """Return the leader as `through` knows it: changes of the members are its to make."""
        name = self._status(through)["leader"]
        for node in self.nodes:
            if node.name == name:
                return node
        raise NotDone(f"{through.name} knows no leader")

    def _configure(self, node: Node, members: Sequence[str] | None = None, removed_by: int = 0) -> None:
        config = self.config(node) | ({} if members is None else self._joining(node, members, removed_by))
        content = json.dumps(config, indent=1).encode()
        node.upload(content, f"{node.install_dir}/{node.name}.json")


class ReferenceClient(Client):
    """One logical process: its own session in the cluster, its own connection; no retries unless asked for.

    `others` are asked, one each, when no answer to a write came: under the same request number, so that the session
    table decides whether it is applied again (paper §8). All tries share the client's time.
    """

    _opened = itertools.count(1)

    def __init__(self, node: Node, process: int, others: Sequence[tuple[str, int]] = ()) -> None:
        self.name = f"p{process}.{next(self._opened)}"  # never the same session twice: its sequence numbers begin anew
        self.others = others
        self.client = RaftClient(node.reach("raft"), client_id=self.name)

    def open(self) -> None:
        self.client.timeout_s = self.timeout_s
        try:
            self.client.open()
        except NotDone as error:
            raise DefiniteError(str(error)) from error

    def invoke(self, op: Invocation) -> Reply:
        self.client.timeout_s = self.timeout_s / (1 + len(self.others))
        try:
            result, meta = self.client.invoke(op.f, op.key, op.value)
        except NotDone as error:
            raise DefiniteError(str(error)) from error
        except (Unknown, OSError) as error:  # a timeout is an OSError, too
            if op.f in READS:
                raise
            result, meta = self._again(op, error)
        return Reply(freeze(result), {name: freeze(value) for name, value in meta.items()})

    def _again(self, op: Invocation, error: Exception) -> tuple[Any, dict[str, Any]]:
        """Ask the others for what may have been done already; a refusal by them decides nothing any more."""
        for address in self.others:
            client = RaftClient(address, client_id=self.name, timeout_s=self.client.timeout_s)
            try:
                return client.invoke(op.f, op.key, op.value, seq=self.client.seq)
            except (NotDone, Unknown, OSError):
                continue
            finally:
                client.close()
        raise error

    def close(self) -> None:
        self.client.close()
