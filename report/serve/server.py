"""The server itself: a socket taken before anything else, loopback unless told otherwise, an end without delay."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from capsize.errors import CapsizeError, UsageError
from capsize.report.serve.app import application

log = logging.getLogger(__name__)
LINGER_S = 2
"""What answers under way get when the server ends."""


class CannotServe(CapsizeError):
    """The address that was asked for cannot be had."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; raises UsageError for no address, CannotServe for one that cannot be had."""
    if not 0 <= port <= 65535:
        raise UsageError(f"--port: {port} is out of range; expected 0 to 65535 (0: any free one)")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host: {host!r} is no address of this machine: {error}") from error
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)
    except OSError as error:
        made.close()
        why = {
            errno.EADDRINUSE: f"port {port} is taken; choose another one with --port (0: any free one)",
            errno.EACCES: f"no permission for port {port}; choose one above 1023 with --port",
            errno.EADDRNOTAVAIL: "this machine does not have that address; see --host",
        }.get(error.errno or 0, error.strerror or str(error))
        raise CannotServe(f"cannot listen on {host}: {why}") from error
    return made


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Server(uvicorn.Server):
    """Ends the open streams as soon as it is told to end, so that nobody waits for them."""

    def __init__(self, config: uvicorn.Config, ending: Callable[[], None]) -> None:
        super().__init__(config)
        self._ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._ending()
        super().handle_exit(sig, frame)


def serve(root: Path, made: socket.socket, *, host: str) -> None:
    """Serve the store at `root` on a listening socket until a signal ends it."""
    # On loopback a page of the web could still be made to point here (DNS rebinding): only our own names are answered.
    hosts = ["localhost", "127.0.0.1", "[::1]", "::1", host] if is_loopback(host) else None
    app = application(root, hosts=hosts)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="off",
        timeout_graceful_shutdown=LINGER_S, limit_concurrency=200,
    )  # fmt: skip
    _Server(config, app.state.served.ending.set).run(sockets=[made])
