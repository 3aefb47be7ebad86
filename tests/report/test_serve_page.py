"""The served store in a real Chromium: search, sort, compare, follow, files; mouse and keyboard, narrow and wide."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from capsize.cluster.ledger import Owner

pytestmark = pytest.mark.browser
Visit = Callable[..., Any]


@pytest.fixture(scope="module")
def store(build: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from capsize.report.html import write_html

    root = tmp_path_factory.mktemp("pages") / "store"
    for seed, kind in enumerate(("valid", "invalid", "unknown"), 1):
        folder = build(root / "register" / f"20261123T10150{seed}Z-s{seed}", kind, pace_s=0.2, seed=seed)
        run = json.loads((folder / "run.json").read_text())
        run |= {"campaign": "20261123T101500Z-s1", "started_at": f"2026-11-23T10:15:0{seed}+00:00"}
        (folder / "run.json").write_text(json.dumps(run))
        write_html(folder)
    going = build(root / "kv" / "20261123T111500Z-s9", "valid", pace_s=0.1, seed=9)
    (going / "verdict.json").rename(going / ".verdict.json")
    (going / "capsize.log").write_text("2026-11-23 11:15:00 INFO capsize.runner cluster up\n")
    run = json.loads((going / "run.json").read_text()) | {"owner": str(Owner.this())}
    (going / "run.json").write_text(json.dumps(run))
    roll = {"version": 1, "planned": 3, "argv": ["capsize", "campaign"], "runs": [
        {"folder": f"register/20261123T10150{seed}Z-s{seed}", "exit_code": 0} for seed in (1, 2, 3)]}  # fmt: skip
    (root / "campaigns").mkdir()
    (root / "campaigns" / "20261123T101500Z-s1.json").write_text(json.dumps(roll))
    return root


@pytest.fixture(scope="module")
def url(store: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "capsize", "serve", "--store", str(store), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Visit]:
    """`visit(path)` opens a page; at the end no error and no request to anywhere else may have been seen."""
    contexts: list[Any] = []
    wrong: list[str] = []

    def visited(path: str, width: int = 1440, height: int = 900, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda sent: wrong.append(sent.url) if not sent.url.startswith((url, "data:")) else None,
        )
        page.goto(url.rstrip("/") + path)
        return page

    yield visited
    for context in contexts:
        context.close()
    assert wrong == []


def states(page: Any) -> list[str]:
    found: list[str] = page.locator("tr[data-state]").evaluate_all("rows => rows.map((row) => row.dataset.state)")
    return found


def test_typing_searches_and_ticking_filters(visit: Visit) -> None:
    page = visit("/")
    assert sorted(states(page)) == ["invalid", "running", "unknown", "valid"]
    page.keyboard.press("Tab")
    page.locator("#ask [name=q]").focus()
    page.keyboard.type("lost-write")
    page.wait_for_function("() => document.querySelectorAll('tr[data-state]').length === 1")
    assert states(page) == ["invalid"]
    assert page.evaluate("document.activeElement.name") == "q"
    assert "q=lost-write" in page.url
    page.fill("#ask [name=q]", "")
    page.check("#ask [name=state][value=unknown]")
    page.wait_for_function(
        "() => [...document.querySelectorAll('tr[data-state]')].map((row) => row.dataset.state).join() === 'unknown'"
    )
    page.reload()
    assert states(page) == ["unknown"]
    page.click("#all")
    page.select_option("#ask [name=fault]", "partition")
    page.fill("#ask [name=q]", "no such run")
    page.wait_for_function("() => document.body.textContent.includes('No run is like that')")


def test_a_heading_sorts_and_sorts_back(visit: Visit) -> None:
    page = visit("/")
    page.click("a.sort >> text=verdict")
    page.wait_for_function("() => document.querySelector('tr[data-state]').dataset.state === 'invalid'")
    assert states(page) == ["invalid", "unknown", "valid", "running"]
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("verdict")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('tr[data-state]').dataset.state === 'running'")
    assert states(page) == ["running", "valid", "unknown", "invalid"]


def test_the_list_works_without_its_script(visit: Visit) -> None:
    page = visit("/", java_script_enabled=False)
    page.fill("#ask [name=q]", "lost-write")
    page.click("#ask button[type=submit]")
    assert page.locator("tr[data-state]").count() == 1
    assert page.locator("tr[data-state]").get_attribute("data-state") == "invalid"


def test_two_ticked_runs_are_compared(visit: Visit) -> None:
    page = visit("/")
    assert page.locator("#compare").is_disabled()
    for seed in (1, 2):
        page.check(f"input[value='register/20261123T10150{seed}Z-s{seed}']")
    page.click("#compare")
    assert "INVALID" in page.locator("main").inner_text()
    assert "lost-write" in page.locator("#anomalies").inner_text()
    assert "config" not in page.locator("#setting table").first.inner_text()
    assert "✗ INVALID" in page.locator(".verdict h2").first.inner_text()
    with page.expect_navigation():
        page.click("text=Swap A and B")
    assert "✓ VALID" in page.locator(".verdict h2").first.inner_text()
    page.goto(page.url.split("?")[0])
    page.locator("select[name=run]").first.select_option("register/20261123T101503Z-s3")
    with page.expect_navigation():
        page.click("main button[type=submit]")
    assert page.locator("#axes").is_visible()


def test_a_run_leads_to_its_report_and_back(visit: Visit) -> None:
    page = visit("/run/register/20261123T101502Z-s2")
    assert "lost-write" in page.locator("main").inner_text()
    page.click("text=Open the report")
    page.wait_for_function("() => document.body.dataset.ready !== undefined")
    page.locator(".anomaly a.jump").first.click()
    assert page.locator("#details h3").inner_text() == "write [lost] 90002"
    page.fill("[name=search]", "90001")
    page.keyboard.press("Enter")
    assert page.locator("#found").inner_text() == "1 of 2"
    page.click("text=Files, logs, compare")
    page.click("text=nodes/n1/trace.jsonl")
    page.fill("[name=find]", '"ev": "commit"')
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.locator("ol.text li").count() > 0
    with page.expect_navigation():
        page.locator("ol.text a").first.click()
    assert '"ev": "commit"' in page.locator("ol.text li").first.inner_text()
    with page.expect_navigation():
        page.click("text=end")
    assert page.locator("ol.text li").count() > 1
    with page.expect_download() as saved:
        page.click("text=save")
    assert saved.value.suggested_filename == "trace.jsonl"


def test_a_report_cannot_reach_the_pages_around_it(visit: Visit, url: str) -> None:
    page = visit("/run/register/20261123T101501Z-s1/report.html")
    page.wait_for_function("() => document.body.dataset.ready !== undefined")
    assert page.evaluate("self.origin") == "null"
    assert page.evaluate("(() => { try { return localStorage.length; } catch { return 'refused'; } })()") == "refused"
    assert "All runs" in page.locator("body > p").first.inner_text()


def test_a_campaign_shows_its_runs_seed_by_seed(visit: Visit) -> None:
    page = visit("/campaigns")
    page.click("main table a")
    assert page.locator("table.grid a.state").count() == 3
    assert "lost-write in 1 of 3 runs" in page.locator("main").inner_text()
    page.click("text=list, filter and compare them")
    assert page.locator("tr[data-state]").count() == 3


def test_a_run_that_goes_on_is_followed_to_its_verdict(visit: Visit, store: Path) -> None:
    folder = store / "kv" / "20261123T111500Z-s9"
    page = visit("/")
    page.click("text=follow it live")
    assert page.locator("#state").inner_text() == "▸ running"
    before = int(page.locator("#ok").inner_text().replace(",", ""))
    assert "cluster up" in page.locator("#log").inner_text()
    with (folder / "history.jsonl").open("a") as file:
        ask = {"index": 0, "time_ns": 31_000_000_000, "process": 77777, "type": "invoke", "f": "read", "key": 1}
        file.write(json.dumps(ask) + "\n" + json.dumps(ask | {"type": "ok", "time_ns": 31_002_000_000}) + "\n")
        hit = {"id": 9, "phase": "inject", "fault": {}, "targets": ["n1"], "landed": True}
        file.write(json.dumps({"time_ns": 31_003_000_000, "process": "nemesis", "type": "info", "f": "slow-disk",
                               "value": hit}) + "\n")  # fmt: skip
    page.wait_for_function("() => document.getElementById('faults').textContent.includes('slow-disk')", timeout=8_000)
    assert int(page.locator("#ok").inner_text().replace(",", "")) == before + 1
    assert "slow-disk of n1 begins" in page.locator("#news").inner_text()
    assert page.locator("#over").is_hidden()
    (folder / ".verdict.json").rename(folder / "verdict.json")
    page.wait_for_function("() => !document.getElementById('over').hidden", timeout=8_000)
    assert page.locator("#state").inner_text() == "✓ valid"
    page.click("#over a")
    page.wait_for_function("() => document.body.dataset.ready !== undefined")


@pytest.mark.parametrize(
    "path", ["/", "/campaigns", "/campaign/20261123T101500Z-s1", "/run/register/20261123T101502Z-s2", "/compare",
             "/compare?run=register/20261123T101501Z-s1&run=register/20261123T101502Z-s2",
             "/run/register/20261123T101502Z-s2/live", "/run/register/20261123T101502Z-s2/files/history.jsonl"],
)  # fmt: skip
def test_every_page_fits_every_width_and_both_themes(visit: Visit, path: str) -> None:
    page = visit(path)
    for width, height in ((360, 740), (1440, 900), (3840, 2160)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
