"""Shrinking a schedule, with a system that fails by rule instead of a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from capsize.errors import UsageError
from capsize.nemesis.process import Kill
from capsize.nemesis.schedule import Schedule, Step, parse
from capsize.nemesis.trigger import After
from capsize.shrink import Candidate, Memory, Shrinker, Tally, resolved, seen_at_s


def schedule_of(count: int) -> Candidate:
    steps = tuple(Step(10.0 + 2 * nth, 1.0, "kill", nth, Kill("one")) for nth in range(count))
    return Candidate(Schedule(steps, seed=1), time_limit_s=60.0)


class FailsWith:
    """A system whose anomaly needs these faults, and this much load."""

    def __init__(self, *needed: int, load_s: float = 0.0) -> None:
        self.needed, self.load_s, self.runs = set(needed), load_s, 0

    def __call__(self, candidate: Candidate) -> bool:
        self.runs += 1
        there = {step.nth for step in candidate.schedule.steps}
        return self.needed <= there and candidate.time_limit_s >= self.load_s


@pytest.mark.parametrize("needed", [(0,), (9,), (2, 7), (0, 5, 9), ()])
def test_only_the_faults_that_are_needed_are_left(needed: tuple[int, ...]) -> None:
    small, tally = Shrinker(FailsWith(*needed)).smallest(schedule_of(10))

    assert tuple(step.nth for step in small.schedule.steps) == needed
    assert tally.came_back >= 1


def test_the_load_ends_soon_after_the_last_fault_when_that_still_fails() -> None:
    small, _ = Shrinker(FailsWith(3)).smallest(schedule_of(10))

    assert small.schedule.steps[0].at_s == 1.0
    assert small.time_limit_s < 6


def test_a_load_that_is_needed_is_kept() -> None:
    small, _ = Shrinker(FailsWith(3, load_s=50)).smallest(schedule_of(10))

    assert small.time_limit_s == 60.0


def test_an_anomaly_that_does_not_come_back_is_not_shrunk_but_told() -> None:
    with pytest.raises(UsageError, match="came back in 0 of 3 replays"):
        Shrinker(lambda candidate: False).smallest(schedule_of(4))


def test_k_of_n_decides_and_stops_trying_as_soon_as_it_is_sure() -> None:
    answers = iter([False, True, False, True])
    shrinker = Shrinker(lambda candidate: next(answers), k=2, n=4)

    assert shrinker.tally(schedule_of(1)) == Tally(came_back=2, tries=4)


def test_an_interrupted_shrinking_goes_on_without_repeating_a_try(tmp_path: Path) -> None:
    whole = FailsWith(2, 7)
    expected, _ = Shrinker(whole).smallest(schedule_of(10))

    class Stopped(Exception):
        pass

    first = FailsWith(2, 7)

    def interrupted(candidate: Candidate) -> bool:
        if first.runs == 6:
            raise Stopped
        return first(candidate)

    with pytest.raises(Stopped):
        Shrinker(interrupted, memory=Memory(tmp_path / "shrink.json")).smallest(schedule_of(10))
    second = FailsWith(2, 7)
    small, _ = Shrinker(second, memory=Memory(tmp_path / "shrink.json")).smallest(schedule_of(10))

    assert small == expected
    assert first.runs + second.runs == whole.runs


def test_a_share_that_cannot_be_met_is_refused() -> None:
    with pytest.raises(UsageError, match="4/3 cannot be met"):
        Shrinker(FailsWith(1), k=4, n=3)


def test_symbols_are_replaced_by_the_nodes_that_were_hit_and_skipped_faults_left_out(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text(
        '{"capsize":"history","version":1}\n'
        '{"index":0,"process":"nemesis","f":"kill","value":{"id":1,"phase":"intend","targets":["n3"]}}\n'
        '{"index":1,"process":"nemesis","f":"kill","value":{"id":2,"phase":"skip","targets":[]}}\n'
    )

    assert [step.fault for step in resolved(schedule_of(2).schedule, history).steps] == [Kill(("n3",))]


def test_what_came_after_the_anomaly_goes_first_and_the_whole_is_not_tried_then() -> None:
    """The run of ten faults was invalid at 15 s: the last six had not struck yet."""
    fails = FailsWith(2)
    small, _ = Shrinker(fails).smallest(schedule_of(10), seen_at_s=15.0)

    assert [step.nth for step in small.schedule.steps] == [2]
    whole = FailsWith(2)
    Shrinker(whole).smallest(schedule_of(10))
    assert fails.runs < whole.runs


def test_an_anomaly_that_does_not_come_back_so_early_is_sought_in_the_whole() -> None:
    small, _ = Shrinker(FailsWith(8)).smallest(schedule_of(10), seen_at_s=15.0)

    assert [step.nth for step in small.schedule.steps] == [8]


def test_a_fault_that_waits_for_another_goes_with_it() -> None:
    text = """{"steps": [
      {"at_s": 1, "duration_s": 1, "name": "a", "fault": {"fault": "kill"}},
      {"when": {"healed": "a"}, "duration_s": 1, "name": "b", "fault": {"fault": "pause-process"}},
      {"when": {"injected": "b"}, "duration_s": 1, "fault": {"fault": "kill", "target": "n2"}},
      {"at_s": 5, "duration_s": 1, "fault": {"fault": "kill", "target": "n3"}}]}"""
    schedule = parse(text, where="test")
    tried: list[set[str]] = []

    def attempt(candidate: Candidate) -> bool:
        names = {step.name for step in candidate.schedule.steps}
        tried.append(names)
        waits = [step.when for step in candidate.schedule.steps]
        assert all(not isinstance(when, After) or when.step in names for when in waits)
        return any(step.fault.target == "n3" for step in candidate.schedule.steps)

    small, _ = Shrinker(attempt).smallest(Candidate(schedule, 30.0))
    assert [step.fault.target for step in small.schedule.steps] == ["n3"]


def test_tries_of_other_code_or_options_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "shrink.json"
    Shrinker(FailsWith(1), memory=Memory(path, about={"commit": "a"})).smallest(schedule_of(4))
    same, other = Memory(path, about={"commit": "a"}), Memory(path, about={"commit": "b"})

    assert same.count > 0
    assert not same.forgot
    assert other.count == 0
    assert other.forgot


def test_when_the_anomaly_was_complete_is_read_from_the_verdict(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"origin_ns": 5000000000}')
    (tmp_path / "verdict.json").write_text(
        '{"anomalies": [{"operations": [{"call_ns": 1, "return_ns": 9000000000}, {"call_ns": 9500000000}]},'
        ' {"events": [{"mono": 6000000000}, {"mono": 12500000000}]}]}'
    )
    assert seen_at_s(tmp_path) == 7.5
    (tmp_path / "verdict.json").write_text('{"anomalies": []}')
    assert seen_at_s(tmp_path) is None


def test_a_failpoint_is_aimed_at_the_node_that_reached_it_and_one_nobody_reached_is_left_out(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    lines = [(1, "intend", "n1"), (1, "probe", "n4"), (2, "intend", "n2"), (2, "skip", "n2")]
    history.write_text('{"capsize":"history","version":1}\n' + "".join(
        f'{{"index":{n},"process":"nemesis","f":"kill","value":{{"id":{id},"phase":"{phase}","targets":["{node}"]}}}}\n'
        for n, (id, phase, node) in enumerate(lines)
    ))  # fmt: skip
    line = '{"duration_s": 1, "when": {"failpoint": "after_append", "node": "leader"}, "fault": {"fault": "kill"}}'
    schedule = parse(f'{{"steps": [{line}, {line}]}}', where="test")
    (step,) = resolved(schedule, history).steps

    assert step.to_json()["when"] == {"failpoint": "after_append", "node": "n4"}
    assert step.fault.target == ("n4",)


def test_how_often_the_smallest_one_fails_is_told_of_all_n_tries() -> None:
    answers = iter([True, True, False, False, False, False, True])

    def attempt(candidate: Candidate) -> bool:
        return next(answers) if len(candidate.schedule.steps) == 1 else False

    alone = Candidate(Schedule((Step(1.0, 1.0, "kill", 0, Kill("one")),), seed=1), time_limit_s=4.0)
    small, tally = Shrinker(attempt, k=1, n=4).smallest(alone)

    assert small == alone
    assert tally == Tally(came_back=2, tries=4)
