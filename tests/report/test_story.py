"""The story of one entry, against the steps that the article's table tells, and against an overwritten tail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from capsize.checker.trace import TraceEvent, parse_trace
from capsize.cli.trace import trace
from capsize.errors import UsageError
from capsize.report.diagram import as_html, as_svg, phase_rows, summary
from capsize.report.story import Story, as_json, as_text, commands, tell
from capsize.simulator.scenarios import SCENARIOS, play
from capsize.simulator.stage import Stage
from capsize.simulator.subject import CLEAN


def events_of(scenario: str) -> list[TraceEvent]:
    played = play(SCENARIOS[scenario], CLEAN, record=True)
    return [event for stage in played.stages for event in stage.world.recorded or ()]


def story_of(scenario: str, index: int | None = None) -> Story:
    events = events_of(scenario)
    story = tell(events, commands(events)[-1][0] if index is None else index)
    assert story is not None
    return story


def order(story: Story, *wanted: tuple[str, str]) -> list[int]:
    """Return where these (node, words) stand; each must be there."""
    return [
        next(place for place, step in enumerate(story.steps) if step.node == node and words in step.text)
        for node, words in wanted
    ]


def test_a_write_through_five_servers_goes_as_the_article_tells_it() -> None:
    story = story_of("write_through_five_servers")
    places = order(
        story,
        ("n1", "a client asks for put 'x'"),
        ("n1", "appends (term 1, index 2"),
        ("n1", "its disk holds the log up to index 2"),
        ("n1", "sends AppendEntries to n2: prev (index 1, term 1), 1 entry"),
        ("n2", "looks for index 1 of term 1"),
        ("n2", "the log fits: appends index 2"),
        ("n2", "its disk holds"),
        ("n2", "acknowledges its log up to index 2"),
        ("n1", "counts n2's copy"),
        ("n1", "counts n3's copy"),
        ("n1", "has 3 of 5 copies, a majority"),
        ("n1", "answers the client: ok"),
        ("n1", "sends AppendEntries to n2: prev (index 2, term 1), no entries, commit 2"),
        ("n2", "learns that index 2 is committed"),
        ("n2", "applies index 2"),
    )
    assert places == sorted(places)
    assert sum(step.kind == "apply" for step in story.steps) == 5


def test_a_follower_with_another_term_at_prev_refuses_and_is_overwritten() -> None:
    story = story_of("prev_50_of_term_4_meets_term_3", 50)
    places = order(
        story,
        ("n1", "looks for index 50 of term 4"),
        ("n1", "refuses at index 50: its log holds term 3 there"),
        ("n3", "learns that n1 refused, and backs up"),
        ("n3", "sends AppendEntries to n1: prev (index 49, term 3), 2 entries"),
        ("n1", "cuts its log behind index 49"),
        ("n1", "the log fits: appends index 50 of term 4"),
    )
    assert places == sorted(places)


def test_a_write_that_nobody_else_got_is_told_as_not_committed() -> None:
    events = events_of("leader_dies_right_after_append")
    story = tell(events, 2, 1)
    assert story is not None
    assert not story.committed
    assert "not committed" in as_text(story)


def test_earlier_entries_on_their_way_are_no_part_of_it() -> None:
    """An AppendEntries with the entry before, which arrives as it should, is no probe of a log that does not fit."""
    stage = Stage(3, record=True)
    stage.elect("n1")
    stage.settle()
    stage.world.nodes["n1"].disk_ms = (5.0, 5.0)
    stage.write("n1", "x", 1)
    stage.write("n1", "y", 2)  # appended while the disk is busy with x, which leaves first
    stage.pass_ms(20)
    stage.settle()
    events = stage.world.recorded or []
    story = tell(events, 3)
    assert story is not None
    append = next(place for place, event in enumerate(events) if event.ev == "append" and event.e[0]["i"] == 3)
    assert [
        event
        for event in events[append:]
        if event.ev == "send" and event.msg.get("n") == 1 and event.msg["prev"] == [1, 1]
    ]
    assert not [step for step in story.steps if step.phase in ("back-up", "catch-up")]
    assert not [step for step in story.steps if "prev (index 1, term 1)" in step.text and "1 entry" in step.text]


def test_a_forwarded_write_goes_to_the_leader_and_its_outcome_back() -> None:
    stage = Stage(3, record=True)
    stage.elect("n1")
    stage.settle()
    stage.heartbeat("n1")
    stage.settle()
    stage.write("n2", "x", 42)
    stage.settle()
    story = tell(stage.world.recorded or [], 2)
    assert story is not None
    places = order(
        story,
        ("n2", "a client asks for put 'x' = 42"),
        ("n2", "forwards the request to n1"),
        ("n1", "gets the request"),
        ("n1", "appends (term 1, index 2, put 'x' = 42"),
        ("n1", "sends the outcome to n2"),
        ("n2", "hears the outcome from n1"),
        ("n2", "answers the client: ok"),
    )
    assert places == sorted(places)
    rows = {row["phase"]: row["nodes"] for row in phase_rows(story)}
    assert rows["check"] == "n2, n3"  # the leader, which counts, is no follower


def test_a_follower_that_missed_entries_gets_them_batch_after_batch() -> None:
    events = events_of("follower_500_entries_behind")
    story = tell(events, 501, 1)
    assert story is not None
    caught_up = [step for step in story.steps if step.phase == "catch-up" and step.node == "n3"]
    assert [step.text for step in caught_up if step.kind == "append"] == [
        f"the log fits: appends 128 up to index {index}" for index in (129, 257, 385)
    ]
    refused = order(
        story,
        ("n3", "refuses at index 501: its log ends before index 2"),
        ("n2", "learns that n3 refused, and backs up"),
        ("n3", "appends index 501 of term 1"),
    )
    assert refused == sorted(refused)


def test_the_json_carries_every_step() -> None:
    story = story_of("write_through_five_servers")
    told = json.loads(json.dumps(as_json(story)))
    assert told["committed"] is True
    assert len(told["steps"]) == len(story.steps)


def test_the_diagram_has_a_lane_for_every_node_and_an_arrow_for_every_message_that_arrived() -> None:
    story = story_of("write_through_five_servers")
    svg = as_svg(story)
    assert all(f">{name}" in svg for name in story.nodes)
    assert svg.count("marker-end") == sum(step.kind == "recv" for step in story.steps)
    assert svg.count('class="step ') == as_html(story).count("<li ") == len(story.steps)


def test_the_page_has_the_articles_steps_in_their_order_with_what_happened_here() -> None:
    story = story_of("write_through_five_servers")
    rows = phase_rows(story)
    assert [row["phase"] for row in rows] == ["ask", "append", "send", "check", "commit", "reply", "learn"]
    begins = [row["first"] for row in rows]
    assert begins == sorted(begins, key=lambda number: int(str(number)))
    assert "committed 0.0" in summary(story)
    assert "applied on 5 of 5 servers" in summary(story)
    overwritten = story_of("prev_50_of_term_4_meets_term_3", 50)
    assert "the log of n1 was overwritten on the way" in summary(overwritten)
    back_up = [step.text for step in overwritten.steps if step.phase == "back-up"]
    assert any("refuses at index 50" in text for text in back_up)
    assert any("cuts its log behind index 49" in text for text in back_up)
    lost = tell(events_of("leader_dies_right_after_append"), 2, 1)
    assert lost is not None
    assert "nobody was told that it was done" in summary(lost)


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
def test_the_page_in_a_browser(width: int, scheme: Any, tmp_path: Path, browser: Any) -> None:
    """Fits its width, shows steps in both places, goes from step to step by keyboard and by click, logs no error."""
    page_file = tmp_path / "story.html"
    page_file.write_text(as_html(story_of("prev_50_of_term_4_meets_term_3", 50)), encoding="utf-8")
    page = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.focus("#w1")
    for key in ("ArrowDown", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.id") == "w2"
    assert page.get_attribute("rect.row[data-step='2']", "class") == "row here"
    page.keyboard.press("End")
    last = page.evaluate("document.activeElement.id")
    assert last == f"w{page.locator('#steps li').count()}"
    page.locator("#s1 .number").click()
    assert page.evaluate("document.activeElement.id") == "w1"
    assert problems == []


def test_the_command_tells_a_scenarios_story(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "story.html"
    assert trace(scenario="write_through_five_servers", html=page) == 0
    assert "Entry 2 of term 1, appended by n1: committed" in capsys.readouterr().out
    assert "<svg" in page.read_text(encoding="utf-8")


def test_an_index_that_nobody_wrote_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no leader appended an entry at index 77"):
        trace(scenario="first_election", index=77)


def test_what_was_sent_again_and_again_to_a_dead_server_is_one_step(tmp_path: Path) -> None:
    """A leader sends the entry to a follower that is down every few milliseconds; all of it would bury the tale."""
    lines = [
        {"ev": "append", "mono": 1_000_000, "st": {"role": "L", "term": 1, "cfg": ["n1", "n2"]},
         "e": [{"i": 5, "t": 1, "h": "ab"}]},
    ]  # fmt: skip
    probe = {"type": "AE", "from": "n1", "to": "n2", "term": 1, "prev": [3, 1], "n": 2}
    for number in range(40):
        message = {**probe, "id": f"m{number}", "commit": 3}
        lines.append({"ev": "send", "mono": 2_000_000 + number * 3_000_000, "msg": message})
    events = list(parse_trace(json.dumps({"node": "n1", "lc": n, **line}).encode() for n, line in enumerate(lines)))
    story = tell(events, 5)
    assert story is not None
    (probes,) = [step for step in story.steps if step.to == "n2"]
    assert probes.text.endswith("; and 39 more like it within 117 ms, none seen to arrive")


def test_a_run_of_several_hosts_has_its_times_on_one_clock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ahead = {"n1": 0, "n2": 10**15, "n3": 10**12}
    for where, clocks in (("one", dict.fromkeys(ahead, 0)), ("several", ahead)):
        for node, extra in clocks.items():
            path = tmp_path / where / "nodes" / node / "trace.jsonl"
            path.parent.mkdir(parents=True)
            mine = [event.to_json() for event in events_of("figure_8") if event.node == node]
            path.write_text("".join(json.dumps(line | {"mono": line["mono"] + extra}) + "\n" for line in mine))
        (tmp_path / where / "run.json").write_text("{}")
    assert trace(tmp_path / "one") == 0
    one = capsys.readouterr().out
    assert trace(tmp_path / "several") == 0
    several = capsys.readouterr().out
    assert "The times are those of the nodes’ one clock." in one
    assert "The hosts' clocks were put on one by the messages between them" in several
    times = [[float(line.split()[1]) for line in text.splitlines()[3:-2]] for text in (one, several)]
    assert max(abs(a - b) for a, b in zip(*times, strict=True)) < 50
