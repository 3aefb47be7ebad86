"""Waiting for a server to listen, for adapters that must do something once it does."""

from __future__ import annotations

import socket
import time

from capsize.errors import AdapterError

POLL_S = 0.05


def wait_for_port(address: tuple[str, int], *, within_s: float = 10.0) -> None:
    """Return once a connection to `address` is accepted. Raises AdapterError when none is within `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while True:
        left = deadline - time.monotonic()
        try:
            socket.create_connection(address, timeout=max(0.05, min(1.0, left))).close()
            return
        except OSError as error:
            if time.monotonic() + POLL_S >= deadline:
                host, port = address
                raise AdapterError(f"nothing listens on {host}:{port} after {within_s:g} s: {error}") from error
        time.sleep(POLL_S)
