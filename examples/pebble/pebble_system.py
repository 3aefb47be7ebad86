"""The adapter of Pebble: what capsize needs to know to test it."""

import json
from pathlib import Path

from capsize.adapter import Client, Command, DefiniteError, Invocation, Node, NodeStatus, Reply, Stream, System, freeze


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
        said = client.ask("STATUS")
        client.close()
        return NodeStatus(node.name, **json.loads(said))


class PebbleClient(Client):
    def __init__(self, node: Node) -> None:
        self.address = node.reach("raft")

    def open(self) -> None:
        self.stream = Stream(self.address, self.timeout_s)  # refused: a DefiniteError, nothing was sent

    def invoke(self, op: Invocation) -> Reply:
        words = {"read": "GET", "write": "SET", "cas": "CAS"}
        if op.f not in words:
            raise DefiniteError(f"Pebble has no {op.f}")
        values = op.value if isinstance(op.value, tuple) else (op.value,) if op.f == "write" else ()
        answer = self.ask(words[op.f], op.key, *(json.dumps(value) for value in values))
        return Reply(freeze(json.loads(answer or "null")))

    def ask(self, *words: object) -> str:
        self.stream.send((" ".join(map(str, words)) + "\n").encode())
        answer, _, rest = self.stream.line().decode().partition(" ")  # a timeout raises: not known, info
        if answer.startswith("NO"):
            raise DefiniteError(rest)  # Pebble's word that it did nothing: fail
        if answer != "OK":
            raise OSError(rest)  # not known: info
        return rest

    def close(self) -> None:
        self.stream.close()
