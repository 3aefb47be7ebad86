"""Open vSwitch's database in clustered mode, a Raft in C, as Debian ships it: one table is a map of registers."""

import json
import re

from capsize.adapter import (
    Client, Command, DefiniteError, Invocation, Node, NodeStatus, Reply, Stream, System,
    freeze, from_debian, libraries_from_debian,
)  # fmt: skip

TABLES = {table: {"columns": {"key": {"type": "string"}, "value": {"type": "string"}}} for table in ("kv", "tick")}
START = "cd {0}; test -e {1} || ./ovsdb-tool {2} || exit; exec ./ovsdb-server --unixctl={0}/ctl --remote={3} {1}"


class Ovsdb(System):
    name = "ovsdb"
    options = {"reads": "committed: after a write of their own; or local: from the server's own copy"}  # noqa: RUF012

    def install(self, node: Node) -> None:
        for member in ("sbin/ovsdb-server", "bin/ovsdb-tool", "bin/ovs-appctl"):
            program = from_debian("openvswitch-common", member)
            node.upload(program, f"{node.install_dir}/{program.name}", mode=0o755)
        node.upload(libraries_from_debian("openvswitch-common"), f"{node.install_dir}/lib")
        node.upload(json.dumps({"name": "kv", "tables": TABLES}).encode(), f"{node.install_dir}/schema")

    def command(self, node: Node) -> Command:
        mine, *others = [peer.reach("raft") for peer in sorted(self.nodes, key=lambda peer: peer is not node)]
        tcp, data, (host, port) = "tcp:{}:{}".format, f"{node.data_dir}/kv", node.listen("client")
        join = f"join-cluster {data} kv {tcp(*mine)} {' '.join(tcp(*other) for other in others)}"
        make = f"create-cluster {data} schema {tcp(*mine)}" if node is self.nodes[0] else join
        script = START.format(node.install_dir, data, make, f"ptcp:{port}:{host}")
        return Command(("sh", "-c", script), env={"LD_LIBRARY_PATH": f"{node.install_dir}/lib"})

    def client(self, node: Node, process: int) -> Client:
        return OvsdbClient(node, committed=self.chosen.get("reads") != "local")

    def status(self, node: Node) -> NodeStatus:
        ask = f"cd {node.install_dir}; LD_LIBRARY_PATH=lib exec ./ovs-appctl --timeout=1 -t $PWD/ctl cluster/status kv"
        told = dict(re.findall(r"^(Role|Term): (.+)$", node.run(["sh", "-c", ask], timeout_s=2.0).out, re.MULTILINE))
        return NodeStatus(node.name, told["Role"], int(told["Term"]))

    def refuses(self, backend: str) -> dict[str, str]:
        why = "a server tells the others one address, so that links on loopback cannot be told apart"
        return {"network": why, "shape": why} if backend == "local" else {}


class OvsdbClient(Client):
    def __init__(self, node: Node, *, committed: bool) -> None:
        self.address, self.committed = node.reach("client"), committed

    def open(self) -> None:
        self.stream = Stream(self.address, self.timeout_s)

    def invoke(self, op: Invocation) -> Reply:
        if op.f not in ("read", "write", "cas"):
            raise DefiniteError(f"there is no {op.f}")
        if op.f != "write" and self.committed:  # a server that has committed a write of ours knows all before it
            self.transact({"op": "insert", "table": "tick", "row": {"key": "now"}})
        key, (old, new) = json.dumps(op.key), map(json.dumps, op.value if op.f == "cas" else (None, op.value))
        row = {"table": "kv", "where": [["key", "==", key]]}
        if op.f == "read":
            (rows,) = self.transact({"op": "select", **row})
            return Reply(freeze(json.loads(rows["rows"][0]["value"])) if rows["rows"] else None)
        same = {"op": "wait", "timeout": 0, "until": "==", "columns": ["value"], "rows": [{"value": old}], **row}
        put = [{"op": "delete", **row}, {"op": "insert", "table": "kv", "row": {"key": key, "value": new}}]
        results = self.transact(*([same] if op.f == "cas" else []), *put)
        return Reply("error" not in results[0] if op.f == "cas" else None)

    def transact(self, *ops: dict) -> list:
        self.stream.send(json.dumps({"method": "transact", "params": ["kv", *ops], "id": 1}).encode())
        while "result" not in (said := self.stream.json()):
            pass  # a probe
        if [result for result in said["result"] if result and result.get("error", "timed out") != "timed out"]:
            raise OSError(str(said["result"]))  # not known
        return said["result"]
