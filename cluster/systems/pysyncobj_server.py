"""A small server around PySyncObj: a replicated map, asked over JSON lines. Runs on the node, beside the package.

Standard library and pysyncobj only; uploaded by `pysyncobj.py`. Started as `python3 pysyncobj_server.py config.json`;
with the word `dump` behind it, it prints what the journal of a stopped node holds, one JSON object. The config:
{"node": "n1", "listen_peer": ["host", port], "listen_client": [...], "peers": {"n2": ["host", port]}, "data_dir": …,
 "journal": true, "local_reads": false, "batch": false}
"""

from __future__ import annotations

import hashlib
import json
import logging
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any

OPERATIONS = ("read", "get", "write", "put", "delete", "cas", "append", "incr")
DEFINITE = ("QUEUE_FULL", "MISSING_LEADER", "NOT_LEADER", "REQUEST_DENIED")
"""Reasons given before anything was added to a log; DISCARDED and LEADER_CHANGED come after that."""
PORT = ":1"
"""PySyncObj names a node by its address; ours are names, `where` says how each is reached."""
ROLES = ("follower", "candidate", "leader")
APPLY_S = 60.0
JOURNAL = "/journal"


def replicated_map(config: dict[str, Any]) -> Any:
    """Return this node's replica. The package is imported here: it exists only where this file was uploaded."""
    from pysyncobj import SyncObj, SyncObjConf, replicated  # type: ignore # pyright: ignore
    from pysyncobj.node import TCPNode  # type: ignore # pyright: ignore

    where: dict[str, tuple[str, int]] = {name + PORT: tuple(place) for name, place in config["peers"].items()}

    class NamedNode(TCPNode):  # type: ignore
        @property
        def ip(self) -> str:
            return where[self.id][0]

        @property
        def port(self) -> int:
            return where[self.id][1]

    class Map(SyncObj):  # type: ignore
        def __init__(self, me: Any, others: list[Any], conf: Any) -> None:
            super().__init__(me, others, conf, nodeClass=NamedNode)
            self.data: dict[str, Any] = {}

        @replicated  # type: ignore
        def change(self, f: str, key: str, value: Any) -> Any:
            return carry_out(self.data, f, key, value)

        def status(self) -> dict[str, Any]:
            told = self.getStatus()
            return {
                "role": ROLES[told["state"]],
                "term": told["raft_term"],
                "leader": name_of(told["leader"]),
                "vote": name_of(self._SyncObj__votedForNodeId),
                "commit_index": told["commit_idx"],
                "applied_index": told["last_applied"],
                "last_index": self._SyncObj__raftLog[-1][1],
            }

        def replica(self) -> dict[str, Any]:
            """How far the log is applied, and a digest of the map there: read between two looks at the former."""
            while True:
                applied = self.getStatus()["last_applied"]
                text = json.dumps(sorted(self.data.copy().items()))
                if self.getStatus()["last_applied"] == applied:
                    return {"applied": applied, "digest": hashlib.sha256(text.encode()).hexdigest()[:16]}

    data = config["data_dir"]
    Path(data).mkdir(parents=True, exist_ok=True)
    kept = {"journalFile": data + JOURNAL, "fullDumpFile": data + "/dump"} if config["journal"] else {}

    def told_role(old: int, new: int) -> None:
        logging.info("role %s -> %s", ROLES[old], ROLES[new])

    conf = SyncObjConf(
        bindAddress="{}:{}".format(*config["listen_peer"]),
        commandsWaitLeader=False,
        onStateChanged=told_role,
        appendEntriesUseBatch=config["batch"],
        connectionRetryTime=0.5,
        **kept,
    )
    return Map(NamedNode(config["node"] + PORT), [NamedNode(name) for name in sorted(where)], conf)


def carry_out(data: dict[str, Any], f: str, key: str, value: Any) -> Any:
    """Carry out one operation on the replicated state; the same on every node."""
    if f in ("read", "get"):
        found = data.get(key)
        return list(found) if isinstance(found, list) else found
    if f in ("write", "put"):
        data[key] = value
    elif f == "delete":
        data.pop(key, None)
    elif f == "cas":
        old, new = value
        if data.get(key) != old:
            return False
        data[key] = new
        return True
    elif f == "append":
        data[key] = joined(data.get(key), value)
    elif f == "incr":
        data[key] = data.get(key, 0) + value
        return data[key]
    return None


def joined(old: Any, item: Any) -> Any:
    """Return what appending makes: text joins text, anything may join an array; what cannot be joined stays."""
    if old is None or item is None:
        return item if old is None else old
    if isinstance(old, str) and isinstance(item, str):
        return old + item
    if isinstance(old, list):
        return old + item if isinstance(item, list) else [*old, item]
    return old


def name_of(node: Any) -> str | None:
    """Return our name of a node, given as PySyncObj's node or its id."""
    return None if node is None else str(getattr(node, "id", node))[: -len(PORT)]


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(tuple(config["listen_client"]), Session)
        from pysyncobj import FAIL_REASON  # pyright: ignore

        self.config = config
        self.reasons = {number: name for name, number in vars(FAIL_REASON).items() if isinstance(number, int)}
        self.map = replicated_map(config)

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        f, key = asked["f"], json.dumps(asked["key"])
        if f == "status":
            return {"type": "ok", "result": self.map.status()}
        if f == "replica":
            return {"type": "ok", "result": self.map.replica()}
        if f not in OPERATIONS:
            return {"type": "fail", "error": f"this server knows no operation {f!r}"}
        if self.config["local_reads"] and f in ("read", "get"):
            return self.ok(carry_out(self.map.data, f, key, None))
        done = threading.Event()
        outcome: list[tuple[Any, int]] = []

        def told(result: Any, reason: int) -> None:
            outcome.append((result, reason))
            done.set()

        self.map.change(f, key, asked["value"], callback=told)
        if not done.wait(APPLY_S):
            return {"type": "info", "error": f"not applied within {APPLY_S:g} s"}
        result, reason = outcome[0]
        why = self.reasons.get(reason, str(reason))
        return self.ok(result) if why == "SUCCESS" else {"type": "fail" if why in DEFINITE else "info", "error": why}

    def ok(self, result: Any) -> dict[str, Any]:
        told = self.map.getStatus()
        meta = {"term": told["raft_term"], "applied_index": told["last_applied"], "served_by": self.config["node"]}
        return {"type": "ok", "result": result, "meta": meta}


class Session(socketserver.StreamRequestHandler):
    """One client's connection: a request a line, an answer a line."""

    disable_nagle_algorithm = True
    server: Server  # pyright: ignore

    def handle(self) -> None:
        for line in self.rfile:
            asked = json.loads(line)
            answer = {"id": asked["id"], **self.server.answer(asked)}
            try:
                self.wfile.write(json.dumps(answer).encode() + b"\n")
            except OSError:
                return


def dump(config: dict[str, Any]) -> dict[str, Any]:
    """Return what the journal holds: entries with a digest each, and its own note of term, vote and commit index."""
    from pysyncobj.journal import FileJournal, MetaStorer  # type: ignore # pyright: ignore

    path = config["data_dir"] + JOURNAL
    if not Path(path).exists():
        return {"entries": [], "meta": {}}
    entries = [
        {"index": index, "term": term, "digest": hashlib.sha256(bytes(command)).hexdigest()[:16]}
        for command, index, term in FileJournal(path)[:]
    ]
    return {"entries": entries, "meta": MetaStorer(path + ".meta").getMeta()}


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    if sys.argv[2:] == ["dump"]:
        sys.stdout.write(json.dumps(dump(json.loads(Path(sys.argv[1]).read_text())), default=str) + "\n")
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.info("started: %s", Path(sys.argv[1]).read_text())
    Server(json.loads(Path(sys.argv[1]).read_text())).serve_forever()


if __name__ == "__main__":
    main()
