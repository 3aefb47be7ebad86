"""The page in a real Chromium: every control, each verdict, by mouse and by keyboard, narrow and wide."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulated import first_run, keep

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Any]


def span(page: Any) -> float:
    found: float = page.evaluate("capsize.view.t1 - capsize.view.t0")
    return found


VERDICTS = {
    "valid": "valid", "invalid": "invalid", "unavailable": "invalid", "unknown": "unknown", "harness": "unknown"
}  # fmt: skip


@pytest.mark.parametrize("kind", VERDICTS)
def test_each_verdict_is_seen_without_scrolling_at_every_width(
    reports: dict[str, Path], open_page: OpenPage, kind: str
) -> None:
    page = open_page(reports[kind])
    for width, height in ((3840, 2160), (1400, 900), (360, 740)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.locator("h1").inner_text().lower() == VERDICTS[kind]
        assert page.locator("h1").bounding_box()["y"] < 200
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".axis").count() == 4


def test_a_sentence_leads_to_its_operation_and_back(reports: dict[str, Path], open_page: OpenPage) -> None:
    page = open_page(reports["invalid"])
    link = page.locator(".anomaly a.jump").first
    link.click()
    assert page.locator("#details h3").inner_text() == "write [lost] 90002"
    assert "log index\n993" in page.locator("#details").inner_text()
    assert page.locator("#board").bounding_box()["y"] < 900
    page.locator("#details button", has_text="Back to the argument").click()
    assert link.evaluate("node => node === document.activeElement")
    page.evaluate("history.back()")


def test_every_button_does_its_work(reports: dict[str, Path], open_page: OpenPage) -> None:
    page = open_page(reports["valid"])
    whole = span(page)
    page.click("#zoom-in")
    assert span(page) < whole * 0.6
    start = page.evaluate("capsize.view.t0")
    page.click("#right")
    assert page.evaluate("capsize.view.t0") > start
    page.click("#left")
    assert page.evaluate("capsize.view.t0") == pytest.approx(start)
    page.click("#zoom-out")
    page.click("#fit")
    assert span(page) == pytest.approx(whole)
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.click("#keys")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


def test_filters_hide_and_are_cleared(reports: dict[str, Path], open_page: OpenPage) -> None:
    page = open_page(reports["invalid"])
    everything = page.evaluate("capsize.view.shown")
    page.fill("[name=key]", "lost")
    assert page.evaluate("capsize.view.shown") == 3
    page.click("#clear")
    page.uncheck("[name=outcome][value=ok]")
    bad = page.evaluate("capsize.view.shown")
    assert 0 < bad < everything
    page.uncheck("[name=outcome][value=fail]")
    assert 0 < page.evaluate("capsize.view.shown") < bad
    page.click("#clear")
    page.uncheck("[name=node][value=n3]")
    assert 0 < page.evaluate("capsize.view.shown") < everything
    page.click("#clear")
    page.select_option("[name=f]", "cas")
    page.fill("[name=client]", "p3")
    assert 0 < page.evaluate("capsize.view.shown") < everything / 10
    page.click("#clear")
    assert page.evaluate("capsize.view.shown") == everything


def test_the_search_walks_through_what_it_finds(reports: dict[str, Path], open_page: OpenPage) -> None:
    page = open_page(reports["invalid"])
    page.fill("[name=search]", "90001")
    page.keyboard.press("Enter")
    assert page.locator("#found").inner_text() == "1 of 2"
    assert page.locator("#details h3").inner_text() == "write [lost] 90001"
    page.keyboard.press("Enter")
    assert page.locator("#details h3").inner_text() == "read [lost] → 90001"
    page.fill("[name=search]", "connection refused")
    assert "found; Enter" in page.locator("#found").inner_text()
    page.fill("[name=search]", "no such thing")
    assert page.locator("#found").inner_text() == "nothing found"


def test_the_keyboard_alone_reaches_everything(reports: dict[str, Path], open_page: OpenPage) -> None:
    page = open_page(reports["invalid"])
    page.keyboard.press("g")
    assert page.evaluate("document.activeElement.id") == "board"
    before = span(page)
    page.keyboard.press("+")
    assert span(page) < before
    page.keyboard.press("0")
    page.keyboard.press("n")
    first = page.evaluate("capsize.view.selected")
    page.keyboard.press("n")
    assert page.evaluate("capsize.view.selected") > first
    page.keyboard.press("p")
    assert page.evaluate("capsize.view.selected") == first
    page.keyboard.press("ArrowDown")
    assert page.evaluate("capsize.view.selected") != first
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    assert page.evaluate("capsize.view.selected") == -1
    page.keyboard.press("a")
    assert page.locator("#details").inner_text().count("lost-write") == 1
    assert "Operation" in page.locator("#said").inner_text()
    page.keyboard.press("b")
    assert page.evaluate("document.activeElement.id") == "anomaly-1"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "search"
    page.keyboard.type("t?")
    assert page.evaluate("document.documentElement.dataset.theme") is None
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()


def test_a_click_selects_a_drag_pans_and_the_wheel_zooms(reports: dict[str, Path], open_page: OpenPage) -> None:
    page = open_page(reports["invalid"], 1400, 1600)
    page.keyboard.press("a")
    box = page.locator("#board").bounding_box()
    assert page.evaluate("capsize.view.selected") >= 0
    start = page.evaluate("capsize.view.t0")
    page.mouse.move(box["x"] + 500, box["y"] + 120)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, box["y"] + 120, steps=3)
    page.mouse.up()
    assert page.evaluate("capsize.view.t0") > start
    before = span(page)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    page.wait_for_function(f"capsize.view.t1 - capsize.view.t0 < {before}", timeout=3000)
    page.goto(page.url.split("#")[0] + "#op-100")
    page.wait_for_function("capsize.view.selected >= 0", timeout=3000)


def test_nothing_hostile_runs_in_the_browser(build: Callable[..., Path], tmp_path: Path, open_page: OpenPage) -> None:
    from capsize.report.html import write_html

    folder = build(tmp_path, "invalid", pace_s=0.3)
    bad = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    lines = (folder / "history.jsonl").read_text().splitlines()
    event = json.loads(lines[30])
    lines[30] = json.dumps(event | {"key": bad, "value": bad, "error": bad})
    (folder / "history.jsonl").write_text("\n".join(lines))
    page = open_page(write_html(folder))
    page.fill("[name=search]", bad)
    page.keyboard.press("Enter")
    assert page.locator("img, script:not(:first-of-type):not(:last-of-type)").count() == 0


def test_an_empty_folder_gives_a_page_that_works(tmp_path: Path, open_page: OpenPage) -> None:
    from capsize.report.html import write_html

    page = open_page(write_html(tmp_path))
    page.click("#zoom-in")
    page.keyboard.press("g")
    for key in ("n", "p", "j", "a", "b", "ArrowDown", "Enter", "z"):
        page.keyboard.press(key)


def test_dark_light_and_print_are_drawn(reports: dict[str, Path], open_page: OpenPage) -> None:
    page = open_page(reports["invalid"], color_scheme="dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    page.emulate_media(media="print")
    assert page.locator("h1").is_visible()
    assert not page.locator("#filters").is_visible()


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1440, 900), (3840, 2160)])
def test_a_click_hits_what_it_points_at_at_every_width(
    reports: dict[str, Path], open_page: OpenPage, width: int, height: int
) -> None:
    page = open_page(reports["invalid"], width, height)
    page.keyboard.press("a")
    row = page.evaluate("capsize.view.selected")
    page.keyboard.press("z")
    page.keyboard.press("Escape")
    assert page.evaluate("capsize.view.selected") == -1
    page.evaluate("row => scrollBy(0, capsize.pointOf(row)[1] - innerHeight / 2)", row)
    at = page.evaluate("row => capsize.pointOf(row)", row)
    page.mouse.click(*at)
    assert page.evaluate("capsize.view.selected") == row
    board, stage = page.locator("#board").bounding_box(), page.locator("#stage").bounding_box()
    assert board["height"] <= stage["height"] + 3
    assert board["width"] <= stage["width"] + 3


def test_without_colours_outcomes_and_roles_differ_by_shape(reports: dict[str, Path], open_page: OpenPage) -> None:
    """Painted in one single colour, the bars of a change, a read, a failure and an unknown differ."""
    page = open_page(reports["invalid"])
    pictures = page.evaluate("capsize.shapes()")
    assert len(pictures) == 4
    assert len(set(pictures)) == 4
    roles = page.evaluate("capsize.roles()")
    assert len(set(roles)) == len(roles) == 4


def test_b_returns_to_the_argument_that_was_read_also_from_an_operation_of_none(
    build: Callable[..., Path], tmp_path: Path, open_page: OpenPage
) -> None:
    from capsize.report.html import write_html

    folder = build(tmp_path, "invalid")
    verdict = json.loads((folder / "verdict.json").read_text())
    verdict["anomalies"] = [one | {"name": name} for one in verdict["anomalies"] for name in ("lost-write", "other")]
    (folder / "verdict.json").write_text(json.dumps(verdict))
    page = open_page(write_html(folder))
    page.keyboard.press("a")
    page.keyboard.press("a")
    second = page.evaluate("capsize.view.anomaly")
    assert second == 1
    for _ in range(8):  # lane by lane, until an operation that belongs to no proof
        page.keyboard.press("ArrowUp")
        if "of the proof" not in page.locator("#details").inner_text():
            break
    assert "of the proof" not in page.locator("#details").inner_text()
    page.keyboard.press("b")
    assert page.evaluate("document.activeElement.id") == f"anomaly-{second + 1}"


@pytest.mark.parametrize("width", [360, 1280, 3840])
def test_the_pictures_of_an_argument_fit_the_page(tmp_path: Path, open_page: OpenPage, width: int) -> None:
    """The lanes of the nodes share the page's whole width; what the nodes say is never squeezed into a thin column."""
    from capsize.report.html import write_html

    keep(first_run("vote.cleared_on_stepdown", lambda anomaly: bool(anomaly.events)), tmp_path)
    page = open_page(write_html(tmp_path), width, 900)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    frame = page.locator(".talk .scroll").first.bounding_box()
    lanes = page.evaluate("""[...document.querySelector('svg.messages').querySelectorAll('.lane')]
        .map(lane => lane.getBoundingClientRect().left)""")
    if width >= 1280:
        assert lanes[-1] - lanes[0] > 0.45 * frame["width"]
        assert lanes[-1] < frame["x"] + frame["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    table = page.locator("table.moments").first
    cells = table.locator("tr:first-child td").all()
    assert cells[-1].inner_text() == "" or cells[-1].bounding_box()["width"] >= 120
    assert table.bounding_box()["width"] <= frame["width"] + 1
