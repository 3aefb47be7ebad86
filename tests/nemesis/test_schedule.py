"""Schedules: the same from the same seed, one kind never moving another, read and written by people."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from itertools import islice, pairwise
from typing import Any

import pytest

from capsize.config import RunConfig, Tempo
from capsize.errors import UsageError
from capsize.nemesis.fault import Fault, fault_from_json
from capsize.nemesis.kinds import KINDS, choose
from capsize.nemesis.schedule import draw, parse
from capsize.plan import plan

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


ALL_SINCE_VERSION_1 = [
    "kill-leader", "kill", "pause-process", "partition", "isolate-leader", "halves", "one-way", "ring", "bridge",
    "pause-disk", "slow-disk", "full-disk", "dead-disk", "power-loss", "stop", "kill-all", "kill-in-order",
    "lose-quorum", "crash-loop", "rolling-restart", "remove-member", "shrink", "wipe-rejoin", "transfer-leader",
    "snapshot", "crash-after-append", "crash-before-reply", "crash-in-write", "power-loss-after-append",
]  # fmt: skip


@pytest.mark.parametrize(
    ("mix", "digest"),
    [
        ("overlap", "851e574a2ee4d550"),
        ("turns", "5dada92e55cc931e"),
        ("storm", "8fb36aa8f8198ae5"),
        ("bursts", "97321178ef98e2f0"),
    ],
)
def test_every_mix_is_the_same_byte_for_byte_on_every_machine(mix: str, digest: str) -> None:
    text = draw(11, choose(ALL_SINCE_VERSION_1), 60, tempo=Tempo(mix=mix, quiet_period=3)).to_text()
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest
    assert parse(text, where="schedule.json").to_text() == text


EVERYTHING = """
from itertools import islice
from capsize.config import RunConfig
from capsize.nemesis.kinds import KINDS
from capsize.nemesis.schedule import Tempo, draw
from capsize.plan import plan
for mix in ("overlap", "turns", "storm", "bursts"):
    print(draw(11, tuple(KINDS.values()), 60, tempo=Tempo(mix=mix, quorum="keep")).to_text())
for thread in range(3):
    print(*islice(plan(RunConfig(seed=5, faults=("kill",), nodes=5)).workload.requests(thread), 200))
"""


def test_the_hashes_of_a_process_move_neither_schedules_nor_requests() -> None:
    """Every kind in every mix, drawn in two processes whose sets and dictionaries hash otherwise."""
    drawn = [
        subprocess.run(
            [sys.executable, "-c", EVERYTHING],
            env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True, timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert drawn[0] == drawn[1]
    assert all(f'"kind": "{word}"' in drawn[0] for word in KINDS)


@pytest.mark.parametrize("mix", ["overlap", "storm", "bursts"])
def test_one_more_kind_moves_no_other_in_any_mix_but_turns(mix: str) -> None:
    alone = list(draw(7, choose(["partition"]), 30, tempo=Tempo(mix=mix)).steps)
    among = [step for step in draw(7, choose(list(KINDS)), 30, tempo=Tempo(mix=mix)).steps if step.kind == "partition"]
    assert alone == among


@pytest.mark.parametrize("words", [["kill"], [word for word in KINDS if "monotonic" not in KINDS[word].needs]])
def test_faults_shift_no_request(words: list[str]) -> None:
    """The requests of a run without any fault, and with these, are the same, thread by thread."""
    asked = [plan(RunConfig(seed=5, faults=tuple(faults), nodes=5)) for faults in (["none"], words)]
    for thread in range(3):
        first, second = (list(islice(made.workload.requests(thread), 200)) for made in asked)
        assert first == second


@pytest.mark.parametrize("mix", ["overlap", "turns", "storm", "bursts"])
@pytest.mark.parametrize("seconds", [2, 10, 30, 120])
def test_every_mix_lets_every_kind_strike_and_ends_all_before_the_load_does(mix: str, seconds: float) -> None:
    schedule = draw(3, USUAL, seconds, tempo=Tempo(mix=mix))
    assert {step.kind for step in schedule.steps} == {kind.word for kind in USUAL}
    assert all(step.at_s >= 0 and step.at_s + step.duration_s <= seconds + 1e-3 for step in schedule.steps)


@pytest.mark.parametrize("seed", range(10))
def test_in_turns_there_is_never_more_than_one_fault(seed: int) -> None:
    steps = draw(seed, USUAL, 60, tempo=Tempo(mix="turns")).steps
    assert len(steps) >= 9
    for before, after in pairwise(steps):
        assert before.at_s + before.duration_s <= after.at_s + 1e-9


def test_a_storm_overlaps_and_a_burst_strikes_within_a_second_and_is_quiet_then() -> None:
    storm = draw(1, choose(["kill", "partition", "pause-disk", "stop"]), 60, tempo=Tempo(mix="storm")).steps
    assert any(one.at_s < other.at_s < one.at_s + one.duration_s for one in storm for other in storm)
    bursts = draw(1, USUAL, 60, tempo=Tempo(mix="bursts", fault_interval=15)).steps
    rounds = {int((step.at_s - 1.5) // 15) for step in bursts}
    assert rounds == {0, 1, 2, 3}
    assert all((step.at_s - 1.5) % 15 <= 1.0 for step in bursts)


def test_quiet_periods_come_after_each_interval_and_nothing_lasts_into_them() -> None:
    steps = draw(2, USUAL, 60, tempo=Tempo(mix="storm", fault_interval=6, quiet_period=4)).steps
    assert len(steps) > 8
    for step in steps:
        assert step.at_s % 10 < 6
        assert step.at_s % 10 + step.duration_s <= 6.5


def test_lengths_intervals_and_the_quiet_start_are_as_asked_for() -> None:
    tempo = Tempo(fault_interval=3, fault_duration="0.5-1", quiet_start=10)
    steps = draw(2, choose(["kill"]), 60, tempo=tempo).steps
    assert min(step.at_s for step in steps) >= 10
    assert all(0.5 <= step.duration_s <= 1 for step in steps)
    assert 14 <= len(steps) <= 18


def test_quorum_aware_schedules_say_so_in_every_step_and_are_read_again() -> None:
    schedule = draw(2, USUAL, 30, tempo=Tempo(quorum="keep"))
    assert all(step.to_json()["quorum"] == "keep" for step in schedule.steps)
    assert parse(schedule.to_text(), where="schedule.json") == schedule


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"mix": "strom"}, "--mix: no mix is called 'strom'; did you mean 'storm'"),
        ({"quorum": "keeps"}, "--quorum: no quorum is called 'keeps'; did you mean 'keep'"),
        ({"fault_duration": "4-2"}, "--fault-duration: '4-2' is no length"),
        ({"fault_duration": "x"}, "--fault-duration: 'x' is no length"),
        ({"fault_interval": -1}, "--fault-interval: -1 is out of range"),
    ],
)
def test_a_tempo_that_is_none_is_told_with_its_flag(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as error:
        Tempo(**given)
    assert str(error.value).startswith(told)


def test_pause_is_short_for_pause_process() -> None:
    assert [kind.word for kind in choose(["kill", "pause", "pause-process"])] == ["kill", "pause-process"]
