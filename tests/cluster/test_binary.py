"""A system's binary by URL: from a small HTTP server on this machine, whole or not at all."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from capsize.cluster import binary
from capsize.cluster.systems.etcd import Etcd
from capsize.cluster.systems.nats import Nats
from capsize.errors import AdapterError

PROGRAM = b"#!/bin/sh\necho a server\n"


class Shelf(ThreadingHTTPServer):
    """A web server with files: path -> (content type, what is sent, the length that is told)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.files: dict[str, tuple[str, bytes, int]] = {}
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def put(self, path: str, body: bytes, *, kind: str = "application/octet-stream", length: int | None = None) -> str:
        self.files[path] = kind, body, len(body) if length is None else length
        return self.url + path


class Answers(BaseHTTPRequestHandler):
    server: Shelf

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path not in self.server.files:
            self.send_error(404)
            return
        kind, body, length = self.server.files[self.path]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def shelf(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Shelf()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


def packed(**files: bytes) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as tar:
        for name, body in files.items():
            about = tarfile.TarInfo(f"release-1/{name.replace('_', '-')}")
            about.size = len(body)
            tar.addfile(about, io.BytesIO(body))
    return whole.getvalue()


def test_a_binary_by_url_is_unpacked_made_executable_and_fetched_once(shelf: Shelf) -> None:
    url = shelf.put("/nats-server-v2-linux-amd64.tar.gz", packed(LICENSE=b"free", nats_server=PROGRAM))
    for _ in range(2):
        found = Nats(version=url).binary()
        assert found.read_bytes() == PROGRAM
        assert found.stat().st_mode & 0o100
    assert shelf.asked == ["/nats-server-v2-linux-amd64.tar.gz"]


def test_a_file_that_is_no_archive_is_the_binary_itself_whatever_its_name(shelf: Shelf) -> None:
    found = Etcd(version=shelf.put("/etcd-nightly?build=7", PROGRAM)).binary()
    assert found.name == "etcd"
    assert found.read_bytes() == PROGRAM
    assert found.stat().st_mode & 0o100


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/other.tar.gz", packed(README=b"nothing here"), "holds no nats-server"),
        ("/none.tar.gz", PROGRAM, "cannot unpack none.tar.gz of .*: it is no archive"),
        ("/broken.tar.gz", packed(nats_server=PROGRAM)[:-30], "cannot unpack broken.tar.gz: "),
        ("/broken.zip", b"PK no more", "cannot unpack broken.zip: File is not a zip file"),
    ],
    ids=["other", "none", "broken-tar", "broken-zip"],
)
def test_a_wrong_archive_is_told_in_one_line_and_not_kept(shelf: Shelf, path: str, body: bytes, told: str) -> None:
    url = shelf.put(path, body)
    with pytest.raises(AdapterError, match=told) as error:
        Nats(version=url).prepare()
    assert "\n" not in str(error.value)
    if path.endswith(".gz"):
        shelf.put(path, packed(nats_server=PROGRAM))
        assert Nats(version=url).binary().read_bytes() == PROGRAM


def test_what_is_not_there_or_does_not_come_whole_is_told_in_one_line(shelf: Shelf) -> None:
    page = shelf.put("/releases", b"<html>choose one</html>", kind="text/html; charset=utf-8")
    half = shelf.put("/nats-server", PROGRAM, length=len(PROGRAM) + 100)
    gone = f"{shelf.url}/gone.tar.gz"
    for url, told in (
        (gone, "HTTP Error 404: Not Found"),
        (page, "what is there is a web page"),
        (half, f"it ended after {len(PROGRAM)} of {len(PROGRAM) + 100} bytes"),
        ("http://127.0.0.1:1/nats-server", "Connection refused"),
    ):
        with pytest.raises(AdapterError, match=f"cannot fetch {url}: .*{told}") as error:
            Nats(version=url).prepare()
        assert "\n" not in str(error.value)
    shelf.put("/nats-server", PROGRAM)
    assert binary.from_place(half, "nats-server").read_bytes() == PROGRAM
