"""Waiting for a port ends as soon as somebody listens, and in one line when nobody does."""

from __future__ import annotations

import socket
import threading

import pytest

from capsize.cluster.ports import wait_for_port
from capsize.errors import AdapterError


def test_waiting_for_a_port_ends_when_somebody_listens_there() -> None:
    with socket.socket() as later:
        later.bind(("127.0.0.1", 0))
        address = later.getsockname()
        listener = threading.Timer(0.2, later.listen)
        listener.start()
        wait_for_port(address, within_s=10.0)
        listener.join()
        assert later.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_a_port_on_which_nobody_listens_is_one_line_and_bounded() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host, port = closed.getsockname()
        with pytest.raises(AdapterError, match=rf"nothing listens on 127.0.0.1:{port} after 0.2 s"):
            wait_for_port((host, port), within_s=0.2)
