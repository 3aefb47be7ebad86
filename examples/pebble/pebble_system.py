"""The adapter of Pebble: what capsize needs to know to test it."""

import json
import socket
from pathlib import Path

from capsize.client import Client
from capsize.cluster.node import Command, Node
from capsize.cluster.system import NodeStatus, System
from capsize.errors import DefiniteError
from capsize.op import Invocation, Reply, freeze


class PebbleSystem(System):
    name = "pebble"
    options = {"reads": "leader, or quorum: only after hearing from a majority"}  # noqa: RUF012

    def install(self, node: Node) -> None:
        node.upload(Path(__file__).with_name("pebble.py"), f"{node.install_dir}/pebble.py")

    def command(self, node: Node) -> Command:
        host, port = node.listen("raft")
        argv = [node.python, f"{node.install_dir}/pebble.py", node.name, "--listen", f"{host}:{port}"]
        for peer in self.nodes:
            if peer is not node:
                host, port = peer.reach("raft", frm=node)
                argv += ["--peer", f"{peer.name}={host}:{port}"]
        return Command((*argv, "--data", node.data_dir, "--reads", self.chosen.get("reads", "leader")))

    def client(self, node: Node, process: int) -> Client:
        return PebbleClient(node)

    def status(self, node: Node) -> NodeStatus:
        client = PebbleClient(node)
        client.open()
        return NodeStatus(node.name, **json.loads(client.ask("STATUS")))


class PebbleClient(Client):
    def __init__(self, node: Node) -> None:
        self.address = node.reach("raft")

    def open(self) -> None:
        try:
            self.file = socket.create_connection(self.address, timeout=self.timeout_s).makefile("rw")
        except OSError as error:
            raise DefiniteError(f"cannot connect: {error}") from error  # nothing was sent: fail

    def invoke(self, op: Invocation) -> Reply:
        words = {"read": "GET", "write": "SET", "cas": "CAS"}
        if op.f not in words:
            raise DefiniteError(f"Pebble has no {op.f}")
        values = op.value if isinstance(op.value, tuple) else (op.value,) if op.f == "write" else ()
        answer = self.ask(words[op.f], op.key, *(json.dumps(value) for value in values))
        return Reply(freeze(json.loads(answer or "null")))

    def ask(self, *words: object) -> str:
        print(*words, file=self.file, flush=True)
        answer, _, rest = self.file.readline().strip().partition(" ")  # a timeout raises: not known, info
        if answer.startswith("NO"):
            raise DefiniteError(rest)  # Pebble's word that it did nothing: fail
        if answer != "OK":
            raise OSError(rest or "the connection was closed")  # not known: info
        return rest

    def close(self) -> None:
        self.file.close()
