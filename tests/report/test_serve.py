"""The served store without a browser: what it lists, and what nobody can make it show."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from capsize.cli import invoke
from capsize.report.serve import logs
from capsize.report.serve.catalogue import Catalogue, choose
from capsize.report.serve.compare import compare
from capsize.report.serve.confined import Absent, Confined, parts_of
from capsize.report.serve.live import Tail

SECRET = "nobody may read this"
HOSTILE = "<script>alert(1)</script>\u202e'\" onload=x"
Answer = tuple[int, dict[str, str], str]


@pytest.fixture(scope="module")
def store(build: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run of each verdict, one that was not judged, a campaign, and traps that lead out of it."""
    from capsize.report.html import write_html

    root = tmp_path_factory.mktemp("served") / "store"
    (root.parent / "secret.txt").write_text(SECRET)
    (root.parent / "outside").mkdir()
    (root.parent / "outside" / "run.json").write_text(json.dumps({"secret": SECRET}))
    for seed, kind in enumerate(("valid", "invalid", "unknown"), 1):
        folder = build(root / "register" / f"20261123T10150{seed}Z-s{seed}", kind, pace_s=0.2, seed=seed)
        run = json.loads((folder / "run.json").read_text())
        run |= {"campaign": "20261123T101500Z-s1", "started_at": f"2026-11-23T10:15:0{seed}+00:00"}
        (folder / "run.json").write_text(json.dumps(run))
        write_html(folder)
    unjudged = build(root / "kv" / "20261123T111500Z-s9", "valid", pace_s=0.2, seed=9)
    (unjudged / "verdict.json").unlink()
    os.utime(unjudged / "history.jsonl", (1, 1))
    roll = {
        "version": 1, "name": "20261123T101500Z-s1", "planned": 4, "argv": ["capsize", "campaign", HOSTILE],
        "runs": [
            {"folder": "register/20261123T101501Z-s1", "exit_code": 0},
            {"folder": "register/20261123T101502Z-s2", "exit_code": 1},
            {"error": HOSTILE, "repeat": "capsize run --seed 3", "exit_code": 255},
            {"folder": "../outside", "exit_code": 0},
        ],
    }  # fmt: skip
    (root / "campaigns").mkdir()
    (root / "campaigns" / "20261123T101500Z-s1.json").write_text(json.dumps(roll))
    trap = root / "register" / "20261123T101502Z-s2"
    (trap / "link.txt").symlink_to(root.parent / "secret.txt")
    (trap / "away").symlink_to(root.parent)
    (root / "escape").symlink_to(root.parent)
    (root / "register" / "out").symlink_to(root.parent / "outside")
    os.mkfifo(trap / "pipe.log")
    (trap / "nodes" / (HOSTILE.replace("/", "") + ".log")).write_text(HOSTILE)
    (trap / "page.html").write_text("<script>alert(1)</script>")
    (trap / ".hidden").write_text(SECRET)
    return root


class Server:
    """A `capsize serve` of its own process."""

    def __init__(self, store: Path, *words: str) -> None:
        command = [sys.executable, "-m", "capsize", "serve", "--store", str(store), "--port", "0", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://"), self.process.communicate()
        self.port = int(self.url.rsplit(":", 1)[1].strip("/"))

    def get(self, path: str, *, method: str = "GET", host: str = "") -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host or f"127.0.0.1:{self.port}")
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read().decode("utf-8", "replace")
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[Server]:
    made = Server(store)
    yield made
    made.process.send_signal(signal.SIGINT)
    assert made.process.wait(timeout=10) == 0


# -- what it shows -----------------------------------------------------------------------------------------------------


def test_every_run_is_listed_with_its_verdict_newest_first(store: Path) -> None:
    rows = Catalogue(Confined(store)).rows()
    assert [row.started for row in rows] == sorted((row.started for row in rows), reverse=True)
    assert sorted(row.state for row in rows) == ["invalid", "not judged", "unknown", "valid"]
    invalid = next(row for row in rows if row.state == "invalid")
    assert invalid.anomalies == (("lost-write", 1),)
    assert next(row for row in rows if row.state == "unknown").missing == ("coverage",)


def test_rows_are_searched_filtered_and_sorted(store: Path) -> None:
    rows = Catalogue(Confined(store)).rows()
    assert [row.state for row in choose(rows, text="LOST-write seed 2")] == ["invalid"]
    assert [row.state for row in choose(rows, states=["valid", "unknown"], sort="verdict")] == ["unknown", "valid"]
    assert [row.seed for row in choose(rows, fault="partition", sort="seed")] == [1, 2, 3, 9]
    assert [row.seed for row in choose(rows, fault="partition", sort="-seed")] == [9, 3, 2, 1]
    assert choose(rows, text="no such word") == []
    assert len(choose(rows, campaign="20261123T101500Z-s1")) == 3


def test_a_changed_verdict_is_read_again_and_an_unchanged_one_is_not(
    build: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build(tmp_path / "register" / "a-s1", "valid", pace_s=0.5)
    catalogue = Catalogue(Confined(tmp_path))
    assert [row.state for row in catalogue.rows()] == ["valid"]
    reads: list[str] = []
    read = Catalogue.object
    monkeypatch.setattr(Catalogue, "object", lambda self, *parts: (reads.append(parts[-1]), read(self, *parts))[1])
    catalogue.rows()
    assert reads == []
    verdict = json.loads((folder / "verdict.json").read_text()) | {"valid": False}
    (folder / "verdict.json").write_text(json.dumps(verdict))
    assert [row.state for row in catalogue.rows()] == ["invalid"]


def test_a_run_goes_on_as_long_as_its_owner_lives(build: Callable[..., Path], tmp_path: Path) -> None:
    from capsize.cluster.ledger import Owner

    folder = build(tmp_path / "register" / "a-s1", "valid", pace_s=0.5)
    (folder / "verdict.json").unlink()
    run = json.loads((folder / "run.json").read_text())
    for owner, state in ((Owner.this(), "running"), (Owner(2**22 - 3, "0", Owner.this().boot), "not judged")):
        (folder / "run.json").write_text(json.dumps(run | {"owner": str(owner)}))
        assert [row.state for row in Catalogue(Confined(tmp_path)).rows()] == [state]


def test_broken_files_are_rows_too(tmp_path: Path) -> None:
    for number, (run, verdict) in enumerate(
        [("", ""), ("[]", "[]"), ("{", "{"), ('{"config": 3, "seed": "x"}', '{"valid": {}, "axes": [1]}')]
    ):
        folder = tmp_path / "register" / f"x{number}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(run)
        (folder / "verdict.json").write_text(verdict)
    assert {row.state for row in Catalogue(Confined(tmp_path)).rows()} == {"unreadable"}


def test_two_runs_are_compared_in_what_differs(store: Path) -> None:
    catalogue = Catalogue(Confined(store))
    left, right = (catalogue.row("register", f"20261123T10150{n}Z-s{n}") for n in (1, 2))
    assert left is not None
    assert right is not None
    made = compare(catalogue, left, right)
    assert [line.word for line in made.setting if line.differs] == ["seed"]
    assert made.axes[0][1][0] == "valid"
    assert made.axes[0][2][0] == "invalid"
    assert [(name, len(a), len(b)) for name, a, b in made.anomalies] == [("lost-write", 0, 1)]
    assert [(a.name, b.name) for a, b in made.faults if a and b] == [
        (word, word) for word in ("kill-leader", "partition", "pause-disk")
    ]
    assert next(line for line in made.outcome if line.word == "operations").differs


def test_the_pages_answer(server: Server, store: Path) -> None:
    status, headers, page = server.get("/")
    assert status == 200
    assert page.count("<tr data-state") == 4
    assert "default-src 'none'" in headers["content-security-policy"]
    for path in ("/campaigns", "/campaign/20261123T101500Z-s1", "/compare", "/rows?q=lost", "/static/serve.css"):
        assert server.get(path)[0] == 200, path
    assert server.get("/latest")[0] == 302
    query = urlencode([("run", "register/20261123T101501Z-s1"), ("run", "register/20261123T101502Z-s2")])
    assert "lost-write" in server.get(f"/compare?{query}")[2]
    assert "not in the store" in server.get("/compare?run=a/b&run=c/d")[2]


def test_a_run_without_a_report_gets_one_drawn_and_nothing_is_written(server: Server, store: Path) -> None:
    before = sorted(path.name for path in (store / "kv" / "20261123T111500Z-s9").iterdir())
    status, headers, page = server.get("/run/kv/20261123T111500Z-s9/report.html")
    assert status == 200
    assert "<h1>unknown</h1>" in page
    assert headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert sorted(path.name for path in (store / "kv" / "20261123T111500Z-s9").iterdir()) == before


def test_the_campaigns_page_names_what_could_not_run(server: Server) -> None:
    page = server.get("/campaign/20261123T101500Z-s1")[2]
    assert "Could not run" in page
    assert "capsize run --seed 3" in page
    assert SECRET not in page


# -- what it does not show ---------------------------------------------------------------------------------------------

RUN = "/run/register/20261123T101502Z-s2"
TRICKS = [
    f"{RUN}/files/../../../../secret.txt", f"{RUN}/files/..%2f..%2f..%2fsecret.txt", f"{RUN}/files/%2e%2e/%2e%2e",
    f"{RUN}/files/..%252f..%252fsecret.txt", f"{RUN}/files/....//secret.txt", f"{RUN}/files/link.txt?raw",
    f"{RUN}/files/away/secret.txt?raw", f"{RUN}/files//etc/passwd", f"{RUN}/files/%00", f"{RUN}/files/nodes",
    f"{RUN}/files/.hidden?raw", f"{RUN}/files/pipe.log?raw", f"{RUN}/files/..\\..\\secret.txt", f"{RUN}/files/",
    "/run/escape/store/files/x", "/run/register/out", "/run/register/out/files/run.json", "/run/../../files/secret.txt",
    "/run/register/%2e%2e", "/run/register/../..", "/static/../app.py", "/static/%2e%2e%2fapp.py",
    "/campaign/..%2fsecret", "/campaign/%2e%2e", f"{RUN}/files/{'a/' * 60}x", f"{RUN}/files/{'a' * 300}",
    "/%ff%fe", f"{RUN}/files/%ff%fe",
]  # fmt: skip


@pytest.mark.parametrize("path", TRICKS)
def test_no_path_leads_out_of_the_store(server: Server, path: str) -> None:
    status, headers, body = server.get(path)
    assert status in (400, 404), body[:200]
    assert SECRET not in body
    assert "content-security-policy" in headers or status == 400


def test_a_link_put_there_after_the_look_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "store" / "a").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text(SECRET)
    confined = Confined(tmp_path / "store")
    (tmp_path / "store" / "a" / "x").write_text("fine")
    assert confined.read("a", "x") == b"fine"
    (tmp_path / "store" / "a" / "x").unlink()
    (tmp_path / "store" / "a" / "x").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(Absent):
        confined.read("a", "x")
    (tmp_path / "store" / "b").symlink_to(tmp_path)
    ways = (("b", "secret.txt"), ("..", "secret.txt"), ("a", "..", "..", "secret.txt"), ("a/../../secret.txt",), ())
    for parts in ways:
        with pytest.raises(Absent):
            confined.read(*parts)


@pytest.mark.parametrize("raw", [b"/a/..", b"/a/%2e%2e", b"/a/b%2fc", b"/a/%00", b"/a//b", b"/a/.ssh"])
def test_a_path_with_a_trick_in_it_has_no_parts(raw: bytes) -> None:
    with pytest.raises(Absent):
        parts_of(raw)


def test_nothing_can_be_changed(server: Server) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert server.get("/", method=method)[0] == 405


def test_another_name_for_this_server_is_refused(server: Server) -> None:
    assert server.get("/", host="evil.example")[0] == 421
    assert server.get("/", host=f"localhost:{server.port}")[0] == 200
    assert server.get("/", host=f"[::1]:{server.port}")[0] == 200


def test_hostile_names_are_escaped_and_can_be_opened(server: Server) -> None:
    page = server.get(RUN)[2]
    assert "<script>alert" not in page
    assert "\u202e" not in page
    name = HOSTILE.replace("/", "") + ".log"
    status, _, shown = server.get(f"{RUN}/files/nodes/{quote(name)}")
    assert status == 200
    assert "&lt;script&gt;alert" in shown
    assert "<script>alert" not in shown
    assert "<script>alert" not in server.get("/campaigns")[2]
    status, headers, _ = server.get(f"{RUN}/files/page.html?raw")
    assert headers["content-type"].startswith("text/plain")
    assert headers["content-security-policy"].startswith("sandbox;")
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("query", ["?at=99999999999", "?at=-5", "?at=x", "?find=%00", "?find=" + "a" * 5000, "?page=0"])
def test_odd_questions_get_an_answer(server: Server, query: str) -> None:
    assert server.get(f"{RUN}/files/history.jsonl{query}")[0] == 200
    assert server.get(f"/{query}")[0] == 200


# -- logs --------------------------------------------------------------------------------------------------------------


def test_a_log_of_a_hundred_megabytes_is_read_by_the_page_and_searched(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    line = b"2026-11-23 INFO " + b"x" * 83 + b"\n"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(line * 10_000)
        file.write(b"the needle\n")
    with path.open("rb") as file:
        began = time.perf_counter()
        last = logs.page(file, at=-1)
        assert last.lines[-1][1] == "the needle"
        first = logs.page(file)
        assert first.lines[0][1].startswith("2026-11-23 INFO")
        assert first.more
        following = logs.page(file, at=first.end)
        assert following.start == first.end
        assert time.perf_counter() - began < 0.5
        found = logs.page(file, find="NEEDLE")
        while found.more and not found.lines:
            found = logs.page(file, at=found.end, find="needle")
        assert [text for _, text in found.lines] == ["the needle"]
        assert found.lines[0][0] == path.stat().st_size - len("the needle\n")


def test_a_log_without_line_ends_or_with_control_characters_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    path.write_bytes(b"\x1b[31m\x00\xff" + b"y" * 5_000_000)
    with path.open("rb") as file:
        shown = logs.page(file).lines[0][1]
        assert shown.startswith("\\u001b[31m\\u0000")
        assert len(shown) < 3_000
        assert logs.page(file, find="yyyy").lines


# -- a run that goes on ------------------------------------------------------------------------------------------------


def test_a_growing_history_is_followed_line_by_line(build: Callable[..., Path], tmp_path: Path) -> None:
    whole = (build(tmp_path / "made", "valid", pace_s=0.1) / "history.jsonl").read_bytes()
    path = tmp_path / "store" / "register" / "x" / "history.jsonl"
    path.parent.mkdir(parents=True)
    tail = Tail(Confined(tmp_path / "store"), ("register", "x"))
    assert not tail.advance()
    seen: list[int] = []
    active: set[str] = set()
    for end in range(0, len(whole) + 5_000, 5_000):
        path.write_bytes(whole[:end])
        while tail.advance():
            pass
        told = tail.snapshot()
        seen.append(sum(told["counts"].values()))
        active |= {fault["name"] for fault in told["active"]}
    assert seen == sorted(seen)
    lines = [json.loads(line) for line in whole.splitlines()[1:]]
    done = [line for line in lines if line["process"] != "nemesis" and line["type"] != "invoke"]
    assert seen[-1] == len(done)
    assert active == {"kill-leader", "partition", "pause-disk"}
    assert told["active"] == []
    assert told["open"] == 0
    assert told["leader"] == "n5"
    assert told["phase"] == "final"
    path.write_bytes(whole[:1000])  # the file was made anew
    tail.advance()
    assert sum(tail.snapshot()["counts"].values()) < 10


def test_the_stream_tells_a_run_and_ends_with_it(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", f"{RUN}/events")
    answer = connection.getresponse()
    assert answer.getheader("content-type", "").startswith("text/event-stream")
    body = answer.read().decode()
    data = [json.loads(line.removeprefix("data: ")) for line in body.splitlines() if line.startswith("data: ")]
    assert [told["state"] for told in data] == ["invalid"]
    assert data[0]["counts"]["ok"] > 100


# -- the command -------------------------------------------------------------------------------------------------------


def test_a_taken_port_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert invoke(["serve", "--store", str(tmp_path), "--port", str(port)]) == 255
    told = capsys.readouterr().err.strip()
    assert "\n" not in told
    assert f"port {port} is taken" in told


@pytest.mark.parametrize(("words", "code"), [(["--port", "70000"], 254), (["--host", "no.such.host.invalid"], 254),
                                             (["--host", "198.51.100.7"], 255)])  # fmt: skip
def test_an_address_that_cannot_be_had_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], code: int
) -> None:
    assert invoke(["serve", "--store", str(tmp_path), *words]) == code
    assert "\n" not in capsys.readouterr().err.strip()


def test_ctrl_c_ends_it_cleanly_though_somebody_follows_a_run(build: Callable[..., Path], tmp_path: Path) -> None:
    from capsize.cluster.ledger import Owner

    folder = build(tmp_path / "register" / "a-s1", "valid", pace_s=0.5)
    (folder / "verdict.json").unlink()
    run: dict[str, Any] = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {"owner": str(Owner.this())}))
    made = Server(tmp_path)
    connection = http.client.HTTPConnection("127.0.0.1", made.port, timeout=20)
    connection.request("GET", "/run/register/a-s1/events")
    answer = connection.getresponse()
    assert answer.readline().startswith(b"retry")
    began = time.monotonic()
    made.process.send_signal(signal.SIGINT)
    assert made.process.wait(timeout=10) == 0
    assert time.monotonic() - began < 5
    _, said = made.process.communicate()
    assert "Traceback" not in said
