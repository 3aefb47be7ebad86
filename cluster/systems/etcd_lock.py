"""etcd's locks: a lease, the lock service's `Lock` bound to it, and a keep-alive while the lock is held.

This is how etcd's own clients lock. The lock is lost when its lease runs out, and a holder that cannot keep its lease
alive is not asked: it goes on believing that it holds the lock until it gives it back. That no two believe so at once
is what the workload `lock` judges. A token is the revision at which the lock's own key was made: of two holders the
later one has the larger token, so that what the lock protects can turn the earlier one away.
"""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from capsize.client import Client
from capsize.cluster.http_client import HttpClient, post_json
from capsize.cluster.node import Node
from capsize.errors import DefiniteError
from capsize.op import Invocation, Reply, Value

WAIT_SHARE = 0.6
"""How much of the client's time is spent waiting for a lock that somebody else holds."""


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that was granted: etcd's key of it, its lease, and what ends the keep-alive."""

    key: str
    lease: str
    released: threading.Event


class EtcdLockClient(Client):
    """`acquire`, `release`, `read` (the token of who holds it); everything else goes to `of_map`."""

    def __init__(self, node: Node, of_map: Client, *, ttl_s: int) -> None:
        self.node = node
        self.of_map = of_map
        self.ttl_s = ttl_s
        self.http = HttpClient(node.reach("client"))
        self.held: dict[Value, Held] = {}

    def open(self) -> None:
        self.of_map.timeout_s = self.http.timeout_s = self.timeout_s
        self.of_map.open()
        self.http.open()

    def close(self) -> None:
        """Disconnect. Locks that are still held are no longer kept alive."""
        for held in self.held.values():
            held.released.set()
        self.http.close()
        self.of_map.close()

    def invoke(self, op: Invocation) -> Reply:
        match op.f:
            case "acquire":
                return self._acquire(op.key)
            case "release":
                return self._release(op.key)
            case "read":
                return self._holder(op.key)
            case _:
                return self.of_map.invoke(op)

    def _acquire(self, key: Value) -> Reply:
        lease = self._lease()
        self.http.timeout_s = self.timeout_s * WAIT_SHARE
        try:
            said = self.http.post("/v3/lock/lock", {"name": _text(f"lock-{key}"), "lease": lease})
            owner = str(said["key"])
            self.http.timeout_s = self.timeout_s
            found = self.http.post("/v3/kv/range", {"key": owner})
        except Exception as error:  # a client call: whatever it met, without its lease the lock is not held
            self._give_up(lease, error)
        if not found.get("kvs"):
            # Granted, and gone already: the answer said that the lock is held, and who asked for it believes that.
            token: Value = None
        else:
            token = int(found["kvs"][0]["create_revision"])
        held = Held(owner, lease, threading.Event())
        self.held[key] = held
        threading.Thread(
            target=self._keep_alive, args=(held,), name=f"keep-alive {self.node.name}", daemon=True
        ).start()
        return Reply(token, {**_meta(said, self.node), "lease": lease, "ttl_s": self.ttl_s})

    def _lease(self) -> str:
        """Have a lease made; raises DefiniteError whatever goes wrong, because no lock hangs on it yet."""
        self.http.timeout_s = self.timeout_s
        try:
            return str(self.http.post("/v3/lease/grant", {"TTL": self.ttl_s})["ID"])
        except Exception as error:  # a client call: a lease that nobody knows of locks nothing
            raise DefiniteError(f"no lease: {error}") from error

    def _give_up(self, lease: str, error: Exception) -> NoReturn:
        """Revoke the lease of a lock that was not granted in time: then it is certainly not held, else nobody knows."""
        try:
            post_json(self.node.reach("client"), "/v3/lease/revoke", {"ID": lease}, timeout_s=self.timeout_s / 2)
        except Exception as worse:
            raise error from worse
        raise DefiniteError(f"not granted, and its lease is revoked: {error}") from error

    def _keep_alive(self, held: Held) -> None:
        while not held.released.wait(self.ttl_s / 3):
            with contextlib.suppress(Exception):  # a lease that cannot be kept alive runs out, which is what is tested
                body = {"ID": held.lease}
                post_json(self.node.reach("client"), "/v3/lease/keepalive", body, timeout_s=self.ttl_s / 3)

    def _release(self, key: Value) -> Reply:
        held = self.held.pop(key, None)
        if held is None:
            raise DefiniteError("this client does not hold it")
        held.released.set()
        self.http.timeout_s = self.timeout_s
        said = self.http.post("/v3/lock/unlock", {"key": held.key})
        with contextlib.suppress(Exception):  # the lock is given back; its lease runs out by itself if need be
            post_json(self.node.reach("client"), "/v3/lease/revoke", {"ID": held.lease}, timeout_s=self.timeout_s / 2)
        return Reply(None, _meta(said, self.node))

    def _holder(self, key: Value) -> Reply:
        """Return the token of the oldest key under the lock's name: that one holds it."""
        name = f"lock-{key}/".encode()
        body = {"key": base64.b64encode(name).decode(), "range_end": base64.b64encode(_after(name)).decode(),
                "sort_target": "CREATE", "sort_order": "ASCEND", "limit": "1"}  # fmt: skip
        self.http.timeout_s = self.timeout_s
        said = self.http.post("/v3/kv/range", body)
        token = int(said["kvs"][0]["create_revision"]) if said.get("kvs") else None
        return Reply(token, _meta(said, self.node))


def _after(prefix: bytes) -> bytes:
    """Return the end of the range of all keys that begin with `prefix`."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _meta(said: Any, node: Node) -> Mapping[str, Value]:
    header = said.get("header", {})
    return {"revision": int(header.get("revision", 0)), "term": int(header.get("raft_term", 0)), "served_by": node.name}


def _text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()
