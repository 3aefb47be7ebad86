"""PySyncObj, the pure-Python Raft library, behind a small server of our own (`pysyncobj_server.py`).

Every operation goes through the log, reads too: PySyncObj itself reads local state on every node, which
`--opt reads=local` brings back. A command is refused at once where no leader is known, instead of waiting for one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capsize.client import Client
from capsize.cluster.binary import from_place, from_pypi
from capsize.cluster.json_lines import JsonLinesClient
from capsize.cluster.node import Command, Node
from capsize.cluster.option import choice
from capsize.cluster.system import NodeStatus, System
from capsize.errors import AdapterError

MEMBERS = (
    "PySyncObj changes its members only with dynamicMembershipChange, which is off by default; the server around it "
    "leaves that as it is"
)
SERVER = Path(__file__).with_name("pysyncobj_server.py")


class PySyncObj(System):
    """PySyncObj of PyPI, or a source tree of it by path."""

    name = "pysyncobj"
    options = {  # noqa: RUF012
        "version": "0.3.17, or another one of PyPI's pysyncobj, or a path to a source tree or archive",
        "journal": "on: entries, and what the version keeps besides, in the data directory; off: in memory only",
        "reads": "log: through the log, or local: what the asked node holds, possibly stale",
        "batch": "off, or on: commands wait for the next tick (50 ms)",
    }
    left_out = dict.fromkeys(("members", "add_member", "remove_member"), MEMBERS)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.version = str(options.get("version", "0.3.17"))
        self.journal = choice(options, "journal", ("on", "off")) == "on"
        self.local_reads = choice(options, "reads", ("log", "local")) == "local"
        self.batch = choice(options, "batch", ("off", "on")) == "on"

    def package(self) -> Path:
        """Return the package's folder on this machine, fetched if need be."""
        if self.version.replace(".", "").isdigit():
            return from_pypi("pysyncobj", self.version, f"pysyncobj-{self.version}/pysyncobj")
        return from_place(self.version, "pysyncobj/syncobj.py").parent

    def prepare(self) -> None:
        self.package()

    def install(self, node: Node) -> None:
        node.upload(self.package(), f"{node.install_dir}/pysyncobj")
        node.upload(SERVER, f"{node.install_dir}/pysyncobj_server.py")
        config = {
            "node": node.name,
            "listen_peer": node.listen("peer"),
            "listen_client": node.listen("client"),
            "peers": {peer.name: peer.reach("peer", frm=node) for peer in self.nodes if peer is not node},
            "data_dir": f"{node.data_dir}/pysyncobj",
            "journal": self.journal,
            "local_reads": self.local_reads,
            "batch": self.batch,
        }
        node.upload(json.dumps(config).encode(), f"{node.install_dir}/config.json")

    def command(self, node: Node) -> Command:
        return Command((node.python, f"{node.install_dir}/pysyncobj_server.py", f"{node.install_dir}/config.json"))

    def client(self, node: Node, process: int) -> Client:
        return JsonLinesClient(node.reach("client"))

    def status(self, node: Node) -> NodeStatus:
        return NodeStatus(node.name, **_asked(node, "status"))

    def replica(self, node: Node, at: int | None) -> tuple[int, str]:
        told = _asked(node, "replica")
        return int(told["applied"]), str(told["digest"])

    def dump_log(self, node: Node) -> tuple[Mapping[str, Any], ...]:
        """Return the journal's entries, each with a digest of its command; nothing when there is no journal."""
        if not self.journal:
            return ()
        done = node.run([*self.command(node).argv, "dump"])
        if done.code:
            raise AdapterError(f"{node.name}: the journal cannot be read: {done.err.strip().splitlines()[-1:]}")
        return tuple(json.loads(done.out)["entries"])


def _asked(node: Node, question: str) -> dict[str, Any]:
    client = JsonLinesClient(node.reach("client"))
    client.timeout_s = 1.0
    client.open()
    try:
        return client.ask(question)
    finally:
        client.close()
