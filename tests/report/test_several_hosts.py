"""A run on several hosts, whose monotonic clocks have nothing to do with each other, tells the story of one clock."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from simulated import first_run, keep

from capsize.judging import judge
from capsize.report.html import render

AHEAD = {"n1": 0, "n2": 10**15, "n3": 10**12, "n4": 3 * 10**9, "n5": 7 * 10**14}


def spread(folder: Path, verdict: dict[str, Any]) -> None:
    """Make of a kept run one over ssh: each node's clock, also in the verdict's events, is its own."""
    run = json.loads((folder / "run.json").read_text()) | {"backend": {"name": "ssh"}}
    (folder / "run.json").write_text(json.dumps(run))
    for path in folder.glob("nodes/*/trace.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        moved = [line | {"mono": line["mono"] + AHEAD[line["node"]]} for line in lines]
        path.write_text("".join(json.dumps(line) + "\n" for line in moved))
    for anomaly in verdict["anomalies"]:
        for event in anomaly.get("events", ()):
            event["mono"] += AHEAD[event["node"]]
    (folder / "verdict.json").write_text(json.dumps(verdict))


def moments(page: str) -> list[float]:
    """Return the times of what the nodes themselves say, in seconds."""
    return [float(found) for table in re.findall(r'class="data moments">.*?</table>', page)
            for found in re.findall(r'#at-(-?[\d.]+)"', table)]  # fmt: skip


def test_the_nodes_events_and_messages_are_drawn_as_on_one_clock(tmp_path: Path) -> None:
    verdict = keep(first_run("vote.cleared_on_stepdown", lambda anomaly: bool(anomaly.events)), tmp_path)
    one = render(tmp_path)
    spread(tmp_path, verdict)
    several = render(tmp_path)
    assert moments(one)
    assert len(moments(several)) == len(moments(one))
    assert max(abs(a - b) for a, b in zip(moments(one), moments(several), strict=True)) < 0.05
    assert several.count("message by message") == one.count("message by message") > 0
    assert several.count('marker-end="url(#tip)"') > 0.8 * one.count('marker-end="url(#tip)"')


def test_the_argument_speaks_of_the_same_moments(tmp_path: Path) -> None:
    """The sentences about a lost entry take the nodes' events; on clocks of their own they told of second 1005."""
    verdict = keep(first_run("read.follower_local", lambda anomaly: bool(anomaly.operations)), tmp_path)
    spread(tmp_path, verdict)
    run = json.loads((tmp_path / "run.json").read_text())
    run["traces"] = {node: ["trace.jsonl"] for node in run["nodes"]}
    (tmp_path / "run.json").write_text(json.dumps(run))
    end_s = (
        max(json.loads(line).get("time_ns", 0) for line in (tmp_path / "history.jsonl").read_text().splitlines()) / 1e9
    )
    told = [time for anomaly in judge(tmp_path).anomalies for because in anomaly.because
            for time in re.findall(r"(-?[\d.]+) s\b", because)]  # fmt: skip
    assert told
    assert all(-1 < float(time) < end_s + 1 for time in told)
