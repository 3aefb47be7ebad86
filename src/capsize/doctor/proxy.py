"""A man in the middle of one client's connections: passes everything on, or withholds the answers.

It speaks no protocol. What tells a hidden retry from a patient client is counted in bytes and connections: a second
connection within one operation, or the same bytes sent twice.
"""

from __future__ import annotations

import contextlib
import copy
import socket
import threading
from typing import Literal

from capsize.cluster.node import Node

Mode = Literal["pass", "cut", "silent"]
"""cut: the connection is closed as soon as the server answers; silent: answers are swallowed."""


class Proxy:
    """Listens on loopback for the address it stands before. `arm` sets the mode and forgets what was counted."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.mode: Mode = "pass"
        self.connections = 0
        self.sent: list[bytes] = []
        """What the client sent since it was armed, piece by piece."""
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = ("127.0.0.1", int(self._listener.getsockname()[1]))
        threading.Thread(target=self._accept, name="doctor-proxy", daemon=True).start()

    def arm(self, mode: Mode) -> None:
        with self._lock:
            self.mode = mode
            self.connections = 0
            self.sent = []

    def repeats(self) -> bool:
        """Return whether the client sent its first piece again, as it was."""
        with self._lock:
            return bool(self.sent) and len(self.sent[0]) >= 8 and b"".join(self.sent).count(self.sent[0]) > 1

    def close(self) -> None:
        for one in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
            try:
                server = socket.create_connection(self.target, timeout=2.0)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self._open += [client, server]
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()
            threading.Thread(target=self._down, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                with self._lock:
                    self.sent.append(data)
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self.mode == "cut":
                    for one in (client, server):  # shut down first: a thread that reads it keeps it open
                        one.shutdown(socket.SHUT_RDWR)
                        one.close()
                    return
                if self.mode == "pass":
                    client.sendall(data)
        if self.mode != "silent":
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)


class Between:
    """A node as its clients see it, with a proxy before each port that is asked for."""

    def __init__(self, node: Node) -> None:
        self.proxies: dict[str, Proxy] = {}
        self.node = copy.copy(node)
        reach = node.reach

        def proxied(port: str, *, frm: Node | None = None) -> tuple[str, int]:
            if frm is not None:
                return reach(port, frm=frm)
            if port not in self.proxies:
                self.proxies[port] = Proxy(reach(port))
            return self.proxies[port].address

        self.node.reach = proxied  # type: ignore[method-assign]

    def arm(self, mode: Mode) -> None:
        for proxy in self.proxies.values():
            proxy.arm(mode)

    @property
    def connections(self) -> int:
        return sum(proxy.connections for proxy in self.proxies.values())

    @property
    def sent(self) -> int:
        """Bytes sent by the client since the proxies were armed."""
        return sum(len(piece) for proxy in self.proxies.values() for piece in proxy.sent)

    def repeats(self) -> bool:
        return any(proxy.repeats() for proxy in self.proxies.values())

    def close(self) -> None:
        for proxy in self.proxies.values():
            proxy.close()
