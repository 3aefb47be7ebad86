"""What programs read: JSON held against its schema, JUnit XML, and the summary of a job; from real commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator

from capsize import campaign, runner
from capsize.cli import invoke
from capsize.plan import Plan, refuse_impossible
from capsize.report.junit import junit_xml
from capsize.report.result import Result
from capsize.report.summary import markdown
from capsize.runner import Place
from capsize.verdict import Anomaly, Axis, Finding, Verdict

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "capsize.schema.json").read_text())
HOSTILE = "</testcase>]]><script>|`*\x00\x1b[31m\u202e & \ud800\n# heading"
RUN = ["--system", "fake_cluster:FakeSystem", "--backend", "local", "--nodes", "3", "--time-limit", "1", "--seed", "5"]


def held(data: Any, part: str) -> None:
    """Fail unless `data` is what the schema says of `part`."""
    schema = {"$ref": f"#/$defs/{part}", "$defs": SCHEMA["$defs"]}
    problems = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(data)]
    assert problems == []


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Real commands on a cluster inside this process; returns their store."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "fakes"))
    from fake_cluster import World, cluster_of  # type: ignore[import-not-found]

    def place(made: Plan, label: str) -> Place:
        cluster = cluster_of(World(), made.system, ("processes", "network", "disks"))
        refuse_impossible(made, cluster.backend)
        return Place(cluster, "fake: this is a test")

    monkeypatch.setattr(runner, "open_real", place)
    monkeypatch.setattr(campaign, "where", lambda configs: "fake")
    monkeypatch.setitem(campaign.carry_out.__kwdefaults__, "open_place", place)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return tmp_path / "store"


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_run_replay_check_and_list_print_what_the_schema_says(
    fake: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    junit, summary = tmp_path / "made" / "j.xml", tmp_path / "s.md"
    words = ["run", *RUN, "--faults", "kill-leader", "--store", str(fake), "--json", "--quiet"]
    code = invoke([*words, "--junit", str(junit), "--summary", str(summary)])
    told = printed(capsys)
    held(told, "run")
    assert (told["command"], told["exit_code"]) == ("run", code)
    folder = Path(told["folder"])
    held(json.loads((folder / "verdict.json").read_text()), "verdict")
    run = json.loads((folder / "run.json").read_text())
    held(run, "run.json")
    assert run["campaign"] is None
    assert run["model"] == "cas-register"
    assert run["origin_ns"] > 0
    cases = ElementTree.parse(junit).getroot().findall(".//testcase")
    assert len(cases) == 1
    assert "register under kill-leader" in summary.read_text()
    invoke(["replay", str(folder), "--store", str(fake), "--json", "--quiet"])
    again = printed(capsys)
    held(again, "run")
    assert again["command"] == "replay"
    assert invoke(["check", str(folder), "--json", "--quiet"]) == code
    held(printed(capsys), "check")
    invoke(["list", "--json", "--store", str(fake)])
    shelves = printed(capsys)
    held(shelves, "list")
    assert {"systems", "workloads", "faults", "models"} <= set(shelves)
    invoke(["list", "runs", "--json", "--store", str(fake)])
    listed = printed(capsys)
    held(listed, "list")
    assert len(listed["runs"]) == 2


def test_a_campaign_prints_and_keeps_what_the_schema_says_also_of_what_could_not_run(
    fake: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = campaign.carry_out.__kwdefaults__["open_place"]

    def place(made: Plan, label: str) -> Place:
        if made.config.seed == 6:
            raise campaign.CapsizeError(f"no place today: {HOSTILE}")
        found: Place = works(made, label)
        return found

    monkeypatch.setitem(campaign.carry_out.__kwdefaults__, "open_place", place)
    junit, summary = tmp_path / "j.xml", tmp_path / "s.md"
    words = ["campaign", *RUN, "--runs", "2", "--faults", "none", "--store", str(fake), "--json", "--quiet"]
    monkeypatch.setattr(sys, "argv", ["capsize", *words])
    assert invoke([*words, "--junit", str(junit), "--summary", str(summary)]) == 255
    told = printed(capsys)
    held(told, "campaign")
    assert [("error" in run) for run in told["runs"]] == [False, True]
    roll = json.loads(next((fake / "campaigns").iterdir()).read_text())
    held(roll, "roll")
    assert roll["planned"] == 2
    assert (fake / roll["runs"][0]["folder"] / "run.json").exists()
    assert json.loads((fake / roll["runs"][0]["folder"] / "run.json").read_text())["campaign"] == roll["name"]
    root = ElementTree.parse(junit).getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("2", "0", "1")
    assert "could not run" in summary.read_text()


def test_the_doctor_prints_what_the_schema_says(capsys: pytest.CaptureFixture[str]) -> None:
    invoke(["doctor", "raft", "--backend", "local", "--nodes", "1", "--only", "answers", "--json", "--quiet"])
    told = printed(capsys)
    held(told, "doctor")
    assert told["findings"]


def test_check_prints_what_the_schema_says_of_good_bad_and_no_histories(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, build: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = tmp_path / "step.md"
    step.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    stale = [("invoke", 0, "write", 1), ("ok", 0, "write", 1), ("invoke", 1, "write", 2), ("ok", 1, "write", 2),
             ("invoke", 2, "read", None), ("ok", 2, "read", 1)]  # fmt: skip
    files: dict[str, list[tuple[str, int, str, int | None]]] = {"bad": stale, "good": stale[:4]}
    for name, events in files.items():
        lines = ['{"capsize":"history","version":1}']
        for at, (type_, process, f, value) in enumerate(events):
            event: dict[str, Any] = {"time_ns": at, "process": process, "type": type_, "f": f, "key": "k"}
            event |= {"result": value} if f == "read" and type_ == "ok" else {"value": value}
            lines.append(json.dumps(event))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "none.jsonl").write_text("no history\n")
    paths = [str(tmp_path / f"{name}.jsonl") for name in ("bad", "good", "none")]
    junit = tmp_path / "j.xml"
    assert invoke(["check", *paths, "--json", "--quiet", "--junit", str(junit)]) == 1
    told = printed(capsys)
    held(told, "check")
    assert [file["exit_code"] for file in told["files"]] == [1, 0, 255]
    cases = ElementTree.parse(junit).getroot().findall(".//testcase")
    outcomes = [[child.tag for child in case if child.tag != "properties"] for case in cases]
    assert outcomes == [["failure"], [], ["error"]]
    assert step.read_text().startswith("before\n## ❌ capsize check: 1 invalid, 1 error, 1 valid")
    assert "stale" in step.read_text()


def test_a_file_that_cannot_be_written_is_a_warning(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    history = tmp_path / "h.jsonl"
    ask = {"time_ns": 1, "process": 0, "type": "invoke", "f": "write", "value": 1}
    lines = [{"capsize": "history", "version": 1}, ask, ask | {"type": "ok"}]
    history.write_text("\n".join(map(json.dumps, lines)) + "\n")
    code = invoke(["check", str(history), "--quiet", "--junit", str(history / "x.xml"), "--summary", str(tmp_path)])
    told = capsys.readouterr()
    assert code == 0
    assert told.err.count("warning") == 2
    assert "--junit" in told.err


def result(**fields: Any) -> Result:
    anomaly = Anomaly(HOSTILE, (HOSTILE, HOSTILE), key=HOSTILE)
    verdict = Verdict("run", {Axis.SAFETY: Finding(False, (HOSTILE,))}, (anomaly,))
    given: dict[str, Any] = {"suite": HOSTILE, "name": HOSTILE, "exit_code": 1, "verdict": verdict, "repeat": HOSTILE,
                             "folder": HOSTILE, "report": HOSTILE, "facts": ((HOSTILE, HOSTILE),)}  # fmt: skip
    return Result(**given | fields)


def test_hostile_words_stay_words_in_xml() -> None:
    unknown = Verdict("run", {Axis.COVERAGE: Finding("unknown", (HOSTILE,))})
    results = [result(), result(verdict=None, error=HOSTILE, exit_code=255), result(verdict=unknown, exit_code=2)]
    text = junit_xml(results, name=HOSTILE)
    root = ElementTree.fromstring(text.encode("utf-8", "strict"))
    assert [len(root.findall(f".//{tag}")) for tag in ("testcase", "failure", "error", "script")] == [3, 1, 2, 0]
    assert root.get("errors") == "2"
    assert "\u202e" not in text


def test_hostile_words_stay_words_in_the_summary() -> None:
    text = markdown([result()], title=HOSTILE, repeat=HOSTILE)
    assert "<script" not in text
    assert not set("\x00\x1b\u202e") & set(text)
    assert not any(line.startswith("# heading") for line in text.splitlines())
    rows = [line for line in text.splitlines() if line.startswith("| ❌")]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 5


def test_half_a_surrogate_in_a_verdict_is_kept_and_read_back(tmp_path: Path) -> None:
    from capsize.judging import write_verdict

    verdict = Verdict("run", {Axis.SAFETY: Finding(False, (HOSTILE,))}, (Anomaly("x", (HOSTILE,), key=HOSTILE),))
    write_verdict(tmp_path, verdict)
    assert Verdict.from_json(json.loads((tmp_path / "verdict.json").read_text())) == verdict


def test_a_summary_has_an_end() -> None:
    text = markdown([result(name=f"run {n}") for n in range(5_000)], title="many")
    assert len(text) < 500_000
    assert "more are not shown" in text or "too long" in text
