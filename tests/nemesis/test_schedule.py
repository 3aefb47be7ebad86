"""Schedules: the same from the same seed, one kind never moving another, read and written by people."""

from __future__ import annotations

import hashlib
import json

import pytest

from capsize.errors import UsageError
from capsize.nemesis.fault import Fault, fault_from_json
from capsize.nemesis.kinds import KINDS, choose
from capsize.nemesis.schedule import draw, parse

USUAL = choose(["kill-leader", "partition", "pause-disk"])


def test_the_same_seed_gives_the_same_schedule_byte_for_byte() -> None:
    assert draw(7, USUAL, 30).to_text() == draw(7, USUAL, 30).to_text()
    assert draw(7, USUAL, 30).to_text() != draw(8, USUAL, 30).to_text()
    # Fixed once, so that another machine or Python version that draws otherwise is noticed.
    assert hashlib.sha256(draw(7, USUAL, 30).to_text().encode()).hexdigest()[:16] == "6d45b6b02fe2a8a9"


def test_one_more_kind_moves_no_other() -> None:
    alone = list(draw(7, choose(["partition"]), 30).steps)
    among = [step for step in draw(7, choose(list(KINDS)), 30).steps if step.kind == "partition"]
    assert alone == among


@pytest.mark.parametrize("seed", range(40))
def test_every_kind_strikes_within_twenty_seconds_and_ends_before_the_load(seed: int) -> None:
    schedule = draw(seed, USUAL, 20)
    assert {step.kind for step in schedule.steps} == {kind.word for kind in USUAL}
    assert len(schedule.steps) >= 3
    assert all(step.at_s >= 0 and step.at_s + step.duration_s <= 20 for step in schedule.steps)


@pytest.mark.parametrize("seconds", [1, 2, 5, 10, 30, 300])
def test_every_length_of_run_gets_every_kind(seconds: int) -> None:
    schedule = draw(3, USUAL, seconds)
    assert {step.kind for step in schedule.steps} == {kind.word for kind in USUAL}
    assert all(step.at_s + step.duration_s <= seconds + 1e-3 for step in schedule.steps)


def test_thirty_seconds_get_about_nine_faults() -> None:
    counts = [len(draw(seed, USUAL, 30).steps) for seed in range(50)]
    assert 8 <= sum(counts) / len(counts) <= 10.5


def test_partitions_isolate_the_leader_and_split_in_halves_in_turn() -> None:
    shapes = [step.fault.to_json()["shape"] for step in draw(7, choose(["partition"]), 60).steps]
    assert set(shapes[::2]) == {"isolate"}
    assert set(shapes[1::2]) == {"halves"}


def test_a_schedule_goes_through_json_unchanged() -> None:
    schedule = draw(7, choose(list(KINDS)), 30)
    assert parse(schedule.to_text(), where="schedule.json") == schedule


def test_every_fault_goes_through_json_unchanged() -> None:
    for kind in KINDS.values():
        for fault in kind.examples():
            assert fault_from_json(json.loads(json.dumps(fault.to_json()))) == fault


def test_a_person_may_leave_out_what_can_be_counted() -> None:
    text = '{"steps": [{"at_s": 5, "duration_s": 1, "fault": {"fault": "kill", "target": ["n1", "n2"]}}]}'
    (step,) = parse(text, where="mine.json", nodes=["n1", "n2", "n3"]).steps
    assert (step.kind, step.nth, step.fault.target) == ("kill", 0, ("n1", "n2"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "mine.json: not JSON"),
        ("[]", "mine.json: expected an object with the key 'steps'"),
        ('{"steps": [7]}', "step 1: 7 is no object"),
        ('{"steps": [{"at_s": -1, "duration_s": 1, "fault": {"fault": "kill"}}]}', "step 1: at_s is -1"),
        ('{"steps": [{"at_s": 1, "duration_s": true, "fault": {"fault": "kill"}}]}', "duration_s is True"),
        ('{"steps": [{"at_s": 1, "duration_s": 1}]}', "a fault is an object"),
        ('{"steps": [{"at_s": 1, "duration_s": 1, "fault": {"fault": "kil"}}]}', "did you mean 'kill'"),
        ('{"steps": [{"at_s": 1, "duration_s": 1, "fault": {"fault": "kill", "targt": "n1"}}]}', "'target'"),
        ('{"steps": [{"at_s": 1, "duration_s": 1, "fault": {"fault": "kill", "target": 3}}]}', "target of kill is 3"),
        ('{"steps": [{"at_s": 1, "duration_s": 1, "fault": {"fault": "kill", "target": "n9"}}]}', "'n9'"),
        ('{"steps": [{"at_s": 1, "duration_s": 1, "fault": {"fault": "partition", "shape": "halfs"}}]}', "'halves'"),
    ],
)
def test_a_schedule_that_is_none_is_told_in_one_line(text: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(text, where="mine.json", nodes=["n1", "n2", "n3"])
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_fault_word_gets_its_nearest() -> None:
    with pytest.raises(UsageError, match=r"--faults: no fault is called 'partitoin'; did you mean 'partition'"):
        choose(["kill-leader", "partitoin"])
    with pytest.raises(UsageError, match="'none' stands alone"):
        choose(["none", "kill"])
    assert choose(["none"]) == ()
    assert [kind.word for kind in choose(["kill", " kill ", ""])] == ["kill"]


def test_every_fault_can_be_asked_for_on_the_command_line() -> None:
    assert set(Fault.known) == {fault.word for kind in KINDS.values() for fault in kind.examples()}
