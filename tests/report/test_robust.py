"""Whatever breaks, the report comes, escaped, and the verdict is untouched."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capsize.report import drawings, html
from capsize.report.html import render, write_html

Build = Callable[..., Path]
HOSTILE = '</script></svg><script>alert(1)</script><img src=x onerror="alert(2)">\u202e\u2028\x00\x1b[31m../../etc/x'


def digest(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "report.html"}


def prove(folder: Path) -> dict[str, Any]:
    """Let the synthetic anomaly count as proven, so that everything is drawn; return the verdict."""
    verdict: dict[str, Any] = json.loads((folder / "verdict.json").read_text())
    verdict["anomalies"][0]["details"]["proven_by"] = "wgl"
    (folder / "verdict.json").write_text(json.dumps(verdict))
    return verdict


@pytest.mark.parametrize("broken", ["orders_of", "shortest_cycle", "ring_svg", "around_operations", "as_svg"])
def test_a_failing_drawing_is_a_note(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    folder = build(tmp_path, "invalid", pace_s=0.5)
    prove(folder)
    before = digest(folder)

    def fail(*given: Any, **more: Any) -> Any:
        raise ZeroDivisionError("the plot thickens")

    whole = render(folder)
    monkeypatch.setattr(drawings, broken, fail)
    page = write_html(folder).read_text()
    assert "<h1>invalid</h1>" in page
    assert "ZeroDivisionError: the plot thickens" in page
    assert "the plot thickens" not in whole
    assert "90002 is gone" in page
    assert digest(folder) == before


def test_everything_is_drawn_of_the_synthetic_run(build: Build, tmp_path: Path) -> None:
    folder = build(tmp_path, "invalid", pace_s=0.5)
    prove(folder)
    page = render(folder)
    assert 'class="ring"' in page
    assert 'class="chain"' in page
    assert "What this report could not show" not in page


def test_hostile_words_in_traces_and_proofs_stay_in_the_drawings(build: Build, tmp_path: Path) -> None:
    folder = build(tmp_path, "invalid", pace_s=0.5)
    verdict = prove(folder)
    for op in verdict["anomalies"][0]["operations"]:
        op["node"] = op["meta"]["served_by"] = "n3"
        for word in ("value", "result"):
            if op[word] is not None:
                op[word] = f"{HOSTILE}{op[word]}"
    origin = json.loads((folder / "run.json").read_text())["origin_ns"]
    at = origin + 12_380_000_000
    message = dict.fromkeys(("type", "id", "to", "term", "n"), HOSTILE) | {"from": "n3", "prev": [HOSTILE]}
    events = [
        {"mono": at, "ev": "send", "msg": message}, {"mono": at + 1, "ev": HOSTILE, "x": {"to": HOSTILE}},
        {"mono": at + 2, "ev": "become_leader", "st": {"term": HOSTILE, "role": HOSTILE, "commit": HOSTILE}},
        {"mono": at + 3, "ev": "append", "e": [{"i": HOSTILE, "t": HOSTILE}, HOSTILE]},
        {"mono": at + 4, "ev": "send", "msg": {"type": "RV", "from": "n3", "to": HOSTILE, "term": HOSTILE, "id": "q"}},
        {"mono": at + 5, "ev": "truncate", "x": {"to": HOSTILE}}, {"mono": HOSTILE, "ev": 3},
        {"mono": at + 6, "evs": [{"ev": HOSTILE}, {"ev": "commit", "st": {"commit": HOSTILE}}]},
        {"mono": at + 7, "evs": HOSTILE}, {"mono": at + 8, "evs": [HOSTILE, 7]}, {"mono": at + 9, "evs": {"ev": 1}},
    ]  # fmt: skip
    with (folder / "nodes" / "n3" / "trace.jsonl").open("a") as file:
        file.writelines(json.dumps({"node": "n3", "inc": 1, "lc": n, **event}) + "\n" for n, event in enumerate(events))
    white = {
        "name": HOSTILE, "because": [HOSTILE], "key": None, "operations": [],
        "events": [{"node": "n3", "inc": 1, "lc": 1, **events[1]}], "details": {"invariant": HOSTILE, "node": HOSTILE},
    }  # fmt: skip
    verdict["anomalies"].append(white)
    (folder / "verdict.json").write_text(json.dumps(verdict))
    page = render(folder)
    assert len(re.findall(r"<script", page)) == 2
    assert "<img" not in page
    assert not re.search("[\x00\x1b\u202e\u2028]", page)
    assert page.count("</svg>") == page.count("<svg ")
    assert 'class="messages"' in page


def test_a_node_log_of_a_hundred_megabytes_costs_nothing(build: Build, tmp_path: Path) -> None:
    folder = build(tmp_path, "valid", pace_s=0.5)
    for node in ("n1", "n2"):
        with (folder / "nodes" / node / "node.log").open("wb") as file:
            file.truncate(100 << 20)
    began = time.perf_counter()
    render(folder)
    assert time.perf_counter() - began < 5


def test_a_large_trace_costs_a_window_and_not_its_length(build: Build, tmp_path: Path) -> None:
    from capsize.report.moments import events_between

    path = tmp_path / "trace.jsonl"
    with path.open("wb") as file:
        for k in range(400_000):
            file.write(b'{"v":1,"node":"n1","mono":%d,"ev":"commit","pad":"%s"}\n' % (k * 1_000, b"x" * 40))
    began = time.perf_counter()
    assert len(events_between({"n1": [path]}, 200_000_000, 200_050_000)) == 51
    assert time.perf_counter() - began < 0.2


@pytest.mark.parametrize("seed", range(12))
def test_a_folder_whose_files_were_damaged_still_gives_a_page(build: Build, tmp_path: Path, seed: int) -> None:
    """Bits flipped, lines cut, values swapped for others of the wrong kind, anywhere."""
    rng = random.Random(seed)
    folder = build(tmp_path, "invalid", pace_s=0.5)
    prove(folder)
    for name in ("run.json", "verdict.json", "schedule.json"):
        data = json.loads((folder / name).read_text())
        for _ in range(6):
            data = _damaged(data, rng)
        (folder / name).write_text(json.dumps(data))
    for path in (folder / "history.jsonl", folder / "nodes" / "n3" / "trace.jsonl"):
        lines = path.read_text().splitlines()
        for _ in range(40):
            k = rng.randrange(len(lines))
            try:
                lines[k] = json.dumps(_damaged(json.loads(lines[k]), rng))
            except ValueError:
                lines[k] = lines[k][: rng.randrange(len(lines[k]) + 1)]
        path.write_text("\n".join(lines))
    page = render(folder)
    assert "</html>" in page
    assert "<h1>" in page


def _damaged(data: Any, rng: random.Random) -> Any:
    """Return `data` with one value somewhere in it replaced by one of another kind."""
    junk = rng.choice([None, -1, 1e300, 2**70, "", "x" * 50, [], {}, [[]], {"a": None}, True, "NaN", [None], -0.5])
    if isinstance(data, dict) and data and rng.random() < 0.85:
        key = rng.choice(list(data))
        return {**data, key: _damaged(data[key], rng)}
    if isinstance(data, list) and data and rng.random() < 0.85:
        k = rng.randrange(len(data))
        return [*data[:k], _damaged(data[k], rng), *data[k + 1 :]]
    return junk


def test_no_font_and_nothing_else_is_loaded(build: Build, tmp_path: Path) -> None:
    page = write_html(build(tmp_path, "invalid", pace_s=0.5)).read_text()
    style = page[page.index("<style>") : page.index("</style>")]
    assert "@font-face" not in style
    assert "url(" not in style.replace("url(#", "")
    for family in re.findall(r"font(?:-family)?:([^;}]*)", style):
        if "system-ui" in family or "mono" in family:
            assert family.strip().endswith(("sans-serif", "monospace")), family


@pytest.mark.browser
def test_the_page_works_where_the_fonts_are_missing(browser: Any, build: Build, tmp_path: Path) -> None:
    path = write_html(build(tmp_path, "invalid", pace_s=0.3))
    text = path.read_text().replace("system-ui", "NoSuchFont").replace("ui-monospace", "NoSuchFont")
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    bare = tmp_path / "bare.html"
    bare.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text))
    page.goto(bare.as_uri())
    page.wait_for_function("document.body.dataset.ready !== undefined", timeout=10_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1200
    page.close()


def test_the_report_failing_altogether_leaves_run_and_verdict(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build(tmp_path, "invalid", pace_s=0.5)
    before = digest(folder)
    (folder / "report.html").write_text("the old one")
    monkeypatch.setattr(html, "fault_rows", lambda ledger: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_html(folder)
    assert digest(folder) == before
    assert (folder / "report.html").read_text() == "the old one"
