"""Schedules go both ways: what is drawn here real nodes can follow, and what they followed is played here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from capsize.cli.simulate import simulate as command
from capsize.errors import UsageError
from capsize.nemesis.kinds import choose
from capsize.nemesis.schedule import draw as draw_real
from capsize.nemesis.schedule import parse
from capsize.simulator.run import Plan, simulate
from capsize.simulator.schedule import WEATHER, WORDS, Nemesis, Step, draw, load, to_text
from capsize.simulator.world import World

NODES = ["n1", "n2", "n3", "n4", "n5"]
SHARED = tuple(dict.fromkeys(word for word in WORDS if word != WEATHER))


@pytest.mark.parametrize("seed", range(5))
def test_real_nodes_can_follow_what_is_drawn_here(seed: int) -> None:
    steps = draw(seed, faults=30, words=SHARED)
    real = parse(to_text(steps, seed), where="drawn", nodes=NODES)
    assert [(step.at_s, step.duration_s, step.fault.word, step.fault.target) for step in real.steps] == [
        (step.at_ms / 1000, step.duration_ms / 1000, step.word, step.target)
        for step in sorted(steps, key=lambda step: (step.at_ms, step.word))
    ]


@pytest.mark.parametrize("seed", range(5))
def test_what_real_nodes_followed_is_played_here(seed: int, tmp_path: Path) -> None:
    words = [*SHARED, "kill-leader", "isolate-leader", "halves", "one-way", "ring", "bridge", "minority", "random-cuts"]
    kinds = choose([word for word in words if word != "partition"] + ["partition"])
    path = tmp_path / "schedule.json"
    path.write_text(draw_real(seed, kinds, 10.0).to_text())
    steps = load(path, NODES)
    assert {step.word for step in steps} == set(SHARED)
    outcome = simulate(Plan(seed, operations=120).following(steps))
    assert outcome.schedule == tuple(steps)
    assert outcome.alarms == ()


def test_a_schedule_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    steps = draw(3, faults=30)
    path.write_text(to_text(steps, 3))
    assert sorted(map(str, load(path, NODES))) == sorted(map(str, steps))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "no schedule"),
        ("{", "no schedule"),
        ({"at_s": 1, "duration_s": 1, "fault": {"fault": "full-disk"}}, "the simulator knows no full-disk; it knows"),
        ({"at_s": 1, "duration_s": 1, "fault": {"fault": "kill", "target": "n9"}}, "n9"),
        ({"at_s": 1, "duration_s": 1, "fault": {"fault": "weather", "fog": 1}}, "weather has the shares"),
        ({"at_s": 1, "duration_s": 1, "fault": {"fault": "kill"}, "quorum": "keep"}, "kill at 1 s has quorum keep"),
        ({"at_s": 1, "duration_s": 1, "fault": {"fault": "slow-disk", "stall_ms": 9}}, "slow-disk at 1 s has stall_ms"),
        ({"at_s": 1, "duration_s": 1, "fault": {"fault": "kill"}, "when": {"term": 3}}, "waits for a trigger"),
    ],
)
def test_what_cannot_be_played_is_refused_by_name(content: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    path.write_text(content if isinstance(content, str) else json.dumps({"version": 1, "seed": 1, "steps": [content]}))
    with pytest.raises(UsageError, match=said):
        load(path, NODES)


def test_real_nodes_refuse_the_weather_and_say_what_they_have_instead() -> None:
    steps = [Step(0, 500, WEATHER, "all", {"loss": 0.2})]
    with pytest.raises(UsageError, match=r"weather is the simulator's; .*'shape'.* weather=rough"):
        parse(to_text(steps, 1), where="drawn", nodes=NODES)


def played(*steps: Step, seconds: float = 2.0, nodes: int = 3) -> World:
    world = World(NODES[:nodes], seed=1)
    world.start()
    world.run_until(lambda: world.leader is not None)
    world.run_for(200)
    Nemesis(world, steps).begin()
    world.run_for(seconds * 1000)
    return world


def test_a_dead_disk_ends_the_process_and_is_mounted_anew() -> None:
    world = played(Step(0, 900, "dead-disk", "leader"), seconds=0.1)
    leader = str(world.leader)
    world.request(leader, "c", 1, "put", "x", 1, lambda reply: None)
    world.run_for(500)
    assert leader not in world.up
    assert world.crashes == []
    world.run_for(1_500)
    assert len(world.up) == 3


def test_a_removed_member_is_taken_in_again() -> None:
    step = Step(0, 800, "remove-member", "follower")
    during, after = played(step, seconds=0.5, nodes=5), played(step, seconds=4.0, nodes=5)
    assert len(during.core(str(during.leader)).configuration.voters) == 4
    assert len(after.core(str(after.leader)).configuration.voters) == 5


def test_the_command_tells_what_was_found_and_saves_the_schedule(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "schedule.json"
    assert command(runs=2, seed=3, nodes=3, operations=60, save_schedule=path) == 0
    assert "no alarm in 2 simulated runs (seeds 3 to 4): 144 operations" in capsys.readouterr().out
    assert command(runs=1, seed=4, nodes=3, operations=60, schedule=path, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["found"] == []
    assert command(runs=1, seed=4, nodes=3, operations=200, mutant=["quorum.minority"]) == 1
    assert "INVALID  seed 4: I" in capsys.readouterr().out
    with pytest.raises(UsageError, match="--mutant"):
        command(mutant=["quorum.minorty"])
