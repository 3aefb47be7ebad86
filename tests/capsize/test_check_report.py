"""`capsize check --report` and `--write`: the page of any history, drawn from what was judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from capsize.cli import invoke
from capsize.formats import read_history
from capsize.formats.jsonl import read_jsonl, write_jsonl

from .test_check import BAD, GOOD

ETCD = """\
INFO  jepsen.util - 0\t:invoke\t:write\t4
INFO  jepsen.util - 0\t:ok\t:write\t4
INFO  jepsen.util - 1\t:invoke\t:write\t5
INFO  jepsen.util - 1\t:ok\t:write\t5
INFO  jepsen.util - 2\t:invoke\t:read\tnil
INFO  jepsen.util - 2\t:ok\t:read\t4
"""


def check(*words: object) -> int:
    return invoke(["check", *map(str, words)])


def page_data(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_a_foreign_history_has_a_page_with_its_argument(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etcd.log").write_text(ETCD)
    page = tmp_path / "pages" / "one.html"
    assert check(tmp_path / "etcd.log", "--report", page) == 1
    out = capsys.readouterr().out
    assert f"  report  {page}" in out
    assert out.splitlines()[-1].endswith(f"--report {page}")
    html = page_data(page)
    assert "stale-read" in html
    assert "p2 read 4, though 5 had replaced it." in html
    assert "The recording has no times" in html
    assert " is missing." not in html  # nothing that only a run has is missed


def test_each_history_of_a_folder_has_a_page_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, text in (("a", GOOD), ("b", BAD)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.edn").write_text(text)
    pages = tmp_path / "pages"
    assert check(tmp_path / "a", tmp_path / "b", "--report", pages) == 1
    found = sorted(page.name for page in pages.iterdir())
    assert len(found) == 2
    assert all(name.endswith("same.edn.html") for name in found)
    assert check(tmp_path / "a", tmp_path / "b", "--report", tmp_path / "one.html") == 254
    assert "2 histories and one page" in capsys.readouterr().err


def test_json_names_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.edn").write_text(GOOD)
    assert check(tmp_path / "good.edn", "--report", tmp_path / "good.html", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["version"] == 1
    assert data["files"][0]["report"] == str(tmp_path / "good.html")


def test_a_page_that_cannot_be_written_is_one_line_and_the_verdict_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.edn").write_text(GOOD)
    (tmp_path / "file").write_text("")
    assert check(tmp_path / "good.edn", "--report", tmp_path / "file" / "page.html") == 0
    told = capsys.readouterr()
    assert told.out.startswith("VALID")
    assert "cannot write the report" in told.err


def run_folder(tmp_path: Path) -> Path:
    run = tmp_path / "store" / "register" / "20260101T000000Z-s7"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"config": {"seed": 7, "workload": "register", "faults": []}}))
    events: list[dict[str, Any]] = [
        {"process": 0, "type": "invoke", "f": "write", "key": 1, "value": 4, "time_ns": 1},
        {"process": 0, "type": "ok", "f": "write", "key": 1, "time_ns": 2},
        {"process": 1, "type": "invoke", "f": "read", "key": 1, "time_ns": 3},
        {"process": 1, "type": "ok", "f": "read", "key": 1, "result": 5, "time_ns": 4},
    ]
    lines = [orjson.dumps(event) for event in ({"capsize": "history", "version": 1}, *events)]
    (run / "history.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return run


def test_a_run_is_written_only_when_that_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_folder(tmp_path)
    before = sorted(path.name for path in run.iterdir())
    assert check(run) == 1
    assert check(run, "--report", tmp_path / "page.html") == 1
    assert sorted(path.name for path in run.iterdir()) == before
    assert "garbage-read" in page_data(tmp_path / "page.html")
    assert check(run, "--write") == 1
    assert json.loads((run / "verdict.json").read_text())["valid"] is False
    assert "garbage-read" in page_data(run / "report.html")
    (tmp_path / "good.edn").write_text(GOOD)
    capsys.readouterr()
    assert check(run, tmp_path / "good.edn", "--write") == 254
    assert "is no run of the store" in capsys.readouterr().err


def test_faults_of_a_foreign_history_are_kept(tmp_path: Path) -> None:
    text = GOOD.replace("{:process 1", '{:process :nemesis, :type :info, :f :kill, :value "n1"}\n{:process 1', 1)
    (tmp_path / "one.edn").write_text(text)
    history = read_history(tmp_path / "one.edn")
    write_jsonl(history, tmp_path / "one.jsonl")
    assert [fault["f"] for fault in read_jsonl(tmp_path / "one.jsonl").faults] == ["kill"]


def test_the_faults_of_a_jepsen_history_are_bands_of_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        "{:process 0, :type :invoke, :f :write, :value 1, :time 1000}",
        "{:process 0, :type :ok, :f :write, :value 1, :time 2000}",
        '{:process :nemesis, :type :info, :f :kill, :value ["n2"], :time 1000000}',
        '{:process :nemesis, :type :info, :f :kill, :value {"n2" :killed}, :time 2000000}',
        "{:process 0, :type :invoke, :f :write, :value 2, :time 3000000}",
        "{:process 0, :type :ok, :f :write, :value 2, :time 4000000}",
        "{:process :nemesis, :type :info, :f :start, :value :all, :time 5000000}",
        "{:process :nemesis, :type :info, :f :start, :value :all, :time 6000000}",
        "{:process 1, :type :invoke, :f :read, :value nil, :time 7000000}",
        "{:process 1, :type :ok, :f :read, :value 1, :time 8000000}",
    ]
    (tmp_path / "history.edn").write_text("\n".join(lines))
    page = tmp_path / "page.html"
    assert check(tmp_path / "history.edn", "--report", page) == 1
    html = page_data(page)
    (band,) = json.loads(html.partition('id="data">')[2].partition("</script>")[0])["faults"]
    assert {name: band[name] for name in ("name", "targets", "start", "end", "landed")} == {
        "name": "kill", "targets": ["n2"], "start": 1000, "end": 6000, "landed": True
    }  # fmt: skip
    assert "1 fault recorded" in html
    assert "recorded, not proven" in html
    assert "faults landed" not in html.partition("</header>")[0]
    assert "Active meanwhile: kill of n2 (from 0.001 s until 0.006 s, as recorded)." in capsys.readouterr().out


HOSTILE_NEMESIS = [
    ':f :start-</script><img/src=x>, :value ["../../etc/passwd" "n1\\u0000\\u202e" "__proto__"], :time 2500000',
    ':f :kill, :value {"../../etc/passwd" "<b>x</b>"}, :time 3000000',
    f":f :kill, :value {'[' * 300}{']' * 300}, :time 3000001",
    ":f nil, :value {:a {:b #{1 2}}}, :time 3500000",
    ":f 12, :value 99999999999999999999999, :time 3600000",
    ':f :kill, :value {"n1" "' + "A" * 100_000 + '"}, :error ["x" {:k "\\u001b[31m"}], :time -5',
    ":f :start, :value nil, :time 9000000000000000000000",
]


@pytest.mark.parametrize("nemesis", HOSTILE_NEMESIS)
def test_whatever_a_nemesis_said_the_verdict_and_the_page_come(
    nemesis: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        "{:process 0, :type :invoke, :f :write, :value 1, :time 1000000}",
        "{:process 0, :type :ok, :f :write, :value 1, :time 2000000}",
        f"{{:process :nemesis, :type :info, {nemesis}}}",
        "{:process 1, :type :invoke, :f :read, :value nil, :time 4000000}",
        "{:process 1, :type :ok, :f :read, :value 2, :time 5000000}",
    ]
    (tmp_path / "history.edn").write_text("\n".join(lines))
    page = tmp_path / "page.html"
    assert check(tmp_path / "history.edn", "--report", page) == 1
    told = capsys.readouterr()
    assert told.out.startswith("INVALID")
    assert "Traceback" not in told.err
    html = page_data(page)
    assert "<img/src" not in html
    assert not {"\x00", "\u202e", "\x1b"} & set(html)
    assert json.loads(html.partition('id="data">')[2].partition("</script>")[0])["last_us"] in (
        3000,
        5000,
    )  # without times, a millisecond an event


def test_a_page_that_breaks_leaves_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path) -> str:
        raise KeyError("font")

    monkeypatch.setattr("capsize.report.html.render", broken)
    (tmp_path / "good.edn").write_text(GOOD)
    assert check(tmp_path / "good.edn", "--report", tmp_path / "page.html") == 0
    told = capsys.readouterr()
    assert told.out.startswith("VALID")
    assert "no report: KeyError" in told.err
