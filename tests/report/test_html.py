"""The page without a browser: it always comes, says what is missing, and lets nothing out of its quotes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capsize.report.alignment import origin_ns
from capsize.report.faults import fault_rows
from capsize.report.html import embedded, render, write_html
from capsize.report.lanes import lay_out
from capsize.report.ledger import read_ledger

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">\u202e\u2028\x00\x1b[31m../../etc/passwd'


def test_an_empty_folder_still_gives_a_report_that_names_what_is_missing(tmp_path: Path) -> None:
    page = write_html(tmp_path).read_text()
    for name in ("run.json", "verdict.json", "schedule.json", "history.jsonl"):
        assert f"{name} is missing" in page
    assert "<h1>unknown</h1>" in page


@pytest.mark.parametrize("content", ["", "{", "[1, 2", "null", "[]", '"x"', "\ud800".encode("utf-8", "surrogatepass")])
def test_broken_files_never_stop_the_report(tmp_path: Path, content: str | bytes) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    for name in ("run.json", "verdict.json", "schedule.json", "history.jsonl", "nodes/n1/trace.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    assert "<h1>unknown</h1>" in render(tmp_path)


@pytest.mark.parametrize("kind", ["valid", "invalid", "unknown"])
def test_the_verdict_is_the_first_heading(reports: dict[str, Path], kind: str) -> None:
    first = re.search(r"<h1>(.*?)</h1>", reports[kind].read_text())
    assert first is not None
    assert first.group(1) == kind


def test_a_cut_last_line_is_counted_and_the_rest_is_shown(build: Callable[..., Path], tmp_path: Path) -> None:
    folder = build(tmp_path, "valid", pace_s=0.5)
    path = folder / "history.jsonl"
    path.write_text(path.read_text()[:-20])
    assert "1 line could not be understood" in render(folder)


def test_hostile_values_stay_inside_their_quotes(build: Callable[..., Path], tmp_path: Path) -> None:
    folder = build(tmp_path, "invalid", pace_s=0.5)
    lines = (folder / "history.jsonl").read_text().splitlines()
    for position in range(5, 60):
        event = json.loads(lines[position])
        if event["process"] != "nemesis":
            event |= {"key": HOSTILE, "value": HOSTILE, "error": HOSTILE, "result": [HOSTILE], "node": HOSTILE}
            lines[position] = json.dumps(event | {"f": HOSTILE, "meta": {HOSTILE: HOSTILE, "served_by": HOSTILE}})
    (folder / "history.jsonl").write_text("\n".join(lines))
    verdict = json.loads((folder / "verdict.json").read_text())
    verdict["anomalies"][0] |= {"name": HOSTILE, "because": [HOSTILE], "details": {HOSTILE: [{HOSTILE: HOSTILE}]}}
    verdict["figures"] = {HOSTILE: {HOSTILE: HOSTILE}}
    (folder / "verdict.json").write_text(json.dumps(verdict))
    run = {"config": {"system": HOSTILE, "workload": HOSTILE}, "argv": [HOSTILE], "nodes": [HOSTILE, "../../x"]}
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "schedule.json").write_text(json.dumps([{HOSTILE: HOSTILE}]))
    page = render(folder)
    assert len(re.findall(r"<script", page)) == 2
    assert "<img" not in page
    assert not re.search("[\x00\x1b\u202e\u2028]", page)


def test_embedded_data_holds_no_markup_and_reads_back() -> None:
    data = {"a": HOSTILE, "b": ["<!--", "]]>", "&amp;"]}
    text = embedded(data)
    assert not set("<>&") & set(text)
    assert json.loads(text) == data


def test_a_renamed_client_keeps_its_lane(build: Callable[..., Path], tmp_path: Path) -> None:
    ledger = read_ledger(build(tmp_path, "valid", pace_s=0.1) / "history.jsonl")
    lanes = lay_out(ledger, ["n1", "n2", "n3", "n4", "n5"])
    assert len(lanes.lane_of_process) > 15
    assert len(lanes.node_of_lane) <= 15
    assert lanes.node_of_lane == sorted(lanes.node_of_lane)


def test_a_fault_says_what_the_clients_felt(build: Callable[..., Path], tmp_path: Path) -> None:
    kill, cut, disk = fault_rows(read_ledger(build(tmp_path, "valid") / "history.jsonl"))
    assert [fault.state for fault in (kill, cut, disk)] == ["healed"] * 3
    assert kill.targets == ["n2"]
    assert kill.silence_us is not None
    assert kill.silence_us > 300_000
    assert kill.answered < kill.called
    assert kill.recovery_us is not None
    assert kill.recovery_us < 500_000
    assert kill.leader_after_us == 400_000


def test_a_skipped_fault_has_not_landed(build: Callable[..., Path], tmp_path: Path) -> None:
    rows = fault_rows(read_ledger(build(tmp_path, "unknown", pace_s=0.5) / "history.jsonl"))
    assert [row.state for row in rows] == ["healed", "skipped", "skipped"]
    assert not rows[1].landed


def test_without_an_origin_the_answers_place_the_traces(build: Callable[..., Path], tmp_path: Path) -> None:
    folder = build(tmp_path, "valid", pace_s=0.5)
    run = json.loads((folder / "run.json").read_text())
    began = run.pop("origin_ns")
    ledger = read_ledger(folder / "history.jsonl")
    rows = [row for row in range(len(ledger)) if ledger.outcome[row] == 0 and ledger.argument[row] >= 0]
    path = tmp_path / "trace.jsonl"
    with path.open("w") as file:
        for row in rows:
            entry = {"i": ledger.log_index[row], "t": ledger.term[row]}
            mono = began + (ledger.call_us[row] + ledger.end_us[row]) * 500
            file.write(json.dumps({"ev": "apply", "mono": mono, "e": [entry]}) + "\n")
    found = origin_ns(run, ledger, [path])
    assert found is not None
    assert abs(found - began) < 500_000
    assert origin_ns(run, ledger, []) is None


def test_a_system_that_never_served_again_is_argued_from_the_recording(reports: dict[str, Path]) -> None:
    page = reports["unavailable"].read_text()
    article = page[page.index('id="anomaly-1"') : page.index('id="timeline"')]
    text = re.sub(r"<[^>]+>", "", article)
    assert "no node answered within 30 s after everything was healed." in text
    last = re.search(r"The last answer was given at (\d+\.\d{3}) s to p\d+ \(#(\d+), by n5 in term 3\)", text)
    assert last is not None
    assert 19.5 < float(last.group(1)) < 20.1
    assert f'href="#op-{last.group(2)}"' in article
    assert re.search(r"Since then \d+ operations were asked and none was answered ok: \d+ × timeout", text)
    assert "The last fault was pause-disk of n4, from 20.000 s, healed at 24.000 s; everything was healed by 26" in text
    assert "n5, the last leader of term 3" in text


def test_a_broken_harness_is_told_apart_from_a_broken_system(reports: dict[str, Path]) -> None:
    page = reports["harness"].read_text()
    assert "<h1>unknown</h1>" in page
    assert "Missing: harness." in page
    assert "the tool was killed or broke" in page
    assert 'id="anomalies"' not in page


def test_sentences_link_to_their_operations(reports: dict[str, Path]) -> None:
    page = reports["invalid"].read_text()
    links: Any = re.findall(r'<a class="jump" href="#op-(\d+)">(#\d+|[\d.]+ s)</a>', page)
    assert len(links) >= 4


def test_a_time_before_the_load_or_before_a_call_is_no_moment_of_the_timeline() -> None:
    from capsize.report.witness import linked

    for told in ("n2, 0.178 s before the load began, cut its log", "n1 had said 0.300 s before #9 was called"):
        assert not any(kind == "at" for _, kind, _ in linked(told, []))
    assert ("0.178 s", "at", "0.178") in linked("answered at 0.178 s, before #9", [])


def test_a_nodes_own_event_is_told_in_words_and_linked_to_its_moment(
    build: Callable[..., Path], tmp_path: Path
) -> None:
    folder = build(tmp_path, "valid", pace_s=0.5)
    verdict = json.loads((folder / "verdict.json").read_text())
    origin = json.loads((folder / "run.json").read_text())["origin_ns"]
    state = {"term": 1, "role": "L", "commit": 7, "last": [8, 1]}
    event = {"node": "n3", "mono": origin + 12_345_000_000, "ev": "commit", "st": state, "msg": {}, "x": {"by": 2}}
    verdict |= {
        "valid": False,
        "anomalies": [{"name": "committed-without-a-majority", "because": ["x"], "events": [event]}],
    }
    (folder / "verdict.json").write_text(json.dumps(verdict))
    page = render(folder)
    assert '<a class="jump" href="#at-12.345">12.345 s</a>' in page
    assert "leader, term 1, commit 7, last entry 8 of term 1" in page


def test_the_command_to_repeat_stands_in_the_report(reports: dict[str, Path]) -> None:
    assert "capsize run --system raft --workload register" in reports["valid"].read_text()


def test_over_ssh_every_node_is_placed_by_its_own_answers(build: Callable[..., Path], tmp_path: Path) -> None:
    """Each host has a clock of its own: one origin for all would draw them hours apart."""
    from capsize.report.nodes import node_lanes

    folder = build(tmp_path, "valid", pace_s=0.3)
    run = json.loads((folder / "run.json").read_text()) | {"backend": {"name": "ssh"}}
    ledger = read_ledger(folder / "history.jsonl")
    clocks = {"n2": 10**15, "n3": 5 * 10**12, "n5": 77}
    for name, began in clocks.items():
        lines = [json.dumps({"ev": "recover", "mono": began, "st": {"term": 1, "role": "F", "commit": 0}})]
        for row in range(len(ledger)):
            if ledger.outcome[row] == 0 and ledger.log_index[row] > 0 and ledger.argument[row] >= 0:
                mono = began + (ledger.call_us[row] + ledger.end_us[row]) * 500
                entry = {"i": ledger.log_index[row], "t": ledger.term[row]}
                lines.append(json.dumps({"ev": "apply", "mono": mono, "e": [entry]}))
        (folder / "nodes" / name / "trace.jsonl").write_text("\n".join(lines) + "\n")
    notes: list[str] = []
    lanes, origin, _ = node_lanes(folder, run, ledger, [], notes)
    assert origin is None
    for lane in lanes:
        if lane.name in clocks:
            assert lane.source == "trace"
            assert abs(lane.marks[0][0]) < 2_000, (lane.name, lane.marks[0])
        else:
            assert any(lane.name in note and "nor an answer places its clock" in note for note in notes)


def test_without_traces_the_lanes_show_what_the_nodes_said_when_polled(
    build: Callable[..., Path], tmp_path: Path
) -> None:
    import shutil

    from capsize.report.nodes import node_lanes

    folder = build(tmp_path, "valid", pace_s=0.5)
    shutil.rmtree(folder / "nodes")
    polls = [
        (1, "n2", "leader", 1, 5), (1, "n1", "follower", 1, 4), (1.2, "n2", "leader", 1, 9),
        (7, "n3", "leader", 2, 30), (7, "n1", "follower", 2, 30), (9.5, "n2", "follower", 2, 31),
    ]  # fmt: skip
    with (folder / "history.jsonl").open("a") as file:
        for at, node, role, term, commit in polls:
            value = {"node": node, "role": role, "term": term, "commit_index": commit, "seen": 1}
            line = {"time_ns": int(at * 1e9), "process": "nemesis", "type": "info", "f": "status", "value": value}
            file.write(json.dumps(line) + "\n")
    ledger = read_ledger(folder / "history.jsonl")
    lanes = {lane.name: lane for lane in node_lanes(folder, {}, ledger, fault_rows(ledger), [])[0]}
    assert lanes["n1"].spans == [(1_000_000, 7_000_000, "follower", 1), (7_000_000, ledger.last_us, "follower", 2)]
    assert lanes["n1"].commits == [(1_000_000, 4), (7_000_000, 30)]
    assert [span[2] for span in lanes["n2"].spans] == ["leader", "down", "unknown", "follower"]
    assert lanes["n2"].spans[1][:2] == (6_000_000, 9_000_000)
    assert lanes["n2"].marks[0][1] == "become_leader"
    assert "<h1>valid</h1>" in render(folder)


def test_what_a_node_said_when_it_was_polled_leads_to_its_moment(build: Callable[..., Path], tmp_path: Path) -> None:
    folder = build(tmp_path, "valid", pace_s=0.5)
    verdict = json.loads((folder / "verdict.json").read_text())
    said = {"node": "n2", "ev": "was polled at 9.161 s", "st": {"role": "L", "term": 2}}
    verdict |= {"valid": False, "anomalies": [{"name": "two-leaders-in-a-term", "because": ["x"], "events": [said]}]}
    (folder / "verdict.json").write_text(json.dumps(verdict))
    page = render(folder)
    assert '<a class="jump" href="#at-9.161">9.161 s</a>' in page
    assert 'data-show="0"' in page
    assert "split brain" in page


def test_a_client_of_another_tools_history_stands_in_a_lane_of_its_own(tmp_path: Path) -> None:
    """Two clients, one after the other, are two lanes; a client that ended without an answer goes on in its own."""
    path = tmp_path / "history.jsonl"
    lines: list[dict[str, object]] = [{"capsize": "history", "version": 1}]
    for time, process, end in ((1, 0, "ok"), (10, 1, "info"), (20, 5, "ok")):
        lines.append({"time_ns": time * 1_000_000, "process": process, "type": "invoke", "f": "read"})
        lines.append({"time_ns": (time + 1) * 1_000_000, "process": process, "type": end, "f": "read"})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    lane = lay_out(read_ledger(path), []).lane_of_process
    assert lane[0] != lane[1]
    assert lane[5] == lane[1]


def test_a_run_that_nobody_judged_says_so_and_complains_of_nothing_else(
    build: Callable[..., Path], tmp_path: Path
) -> None:
    from capsize.report.html import render

    folder = build(tmp_path, "valid")
    (folder / "verdict.json").unlink()
    page = render(folder)
    assert "Nobody has judged this run yet." in page
    assert "Missing: " not in page
    assert "could not be drawn" not in page
