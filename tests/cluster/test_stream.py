"""A connection for adapters: lines, JSON values, frames; bounded, and what it raises is what it means."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from capsize.cluster.stream import Stream
from capsize.errors import DefiniteError

Serve = Callable[..., tuple[str, int]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Listen once; after the first bytes came, send these parts, and close or not."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def begin(*parts: bytes, close: bool = False) -> tuple[str, int]:
        def answer() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(100)
                for part in parts:
                    connection.sendall(part)
                    time.sleep(0.01)
                if not close:
                    ended.wait(5.0)

        threading.Thread(target=answer, daemon=True).start()
        return "127.0.0.1", int(listener.getsockname()[1])

    yield begin
    ended.set()
    listener.close()


def test_lines_json_values_and_frames_come_whole_however_they_were_cut(serve: Serve) -> None:
    stream = Stream(serve(b"one\r\ntw", b"o\n", b'{"a": [1', b', "\xc3', b'\xb6"]}[2]  ', b"abcdef"), 5.0)
    stream.send(b"?")
    assert [stream.line(), stream.line()] == [b"one", b"two"]
    assert [stream.json(), stream.json()] == [{"a": [1, "ö"]}, [2]]
    assert stream.exactly(4) == b"  ab"
    stream.close()


def test_nobody_there_is_definite_and_a_closed_connection_is_not(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = nobody.getsockname()
    with pytest.raises(DefiniteError, match=r"cannot connect to 127.0.0.1:\d+"):
        Stream(address, 1.0)
    stream = Stream(serve(b"half a li", close=True), 5.0)
    stream.send(b"?")
    with pytest.raises(ConnectionResetError, match="the server closed the connection"):
        stream.line()


def test_an_answer_that_trickles_is_no_answer_in_time(serve: Serve) -> None:
    stream = Stream(serve(*[b"x"] * 200), 0.3)
    stream.send(b"?")
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.3 s"):
        stream.line()
    assert time.monotonic() - began < 1.0
