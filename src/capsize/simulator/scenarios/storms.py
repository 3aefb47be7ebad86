"""Scenarios in which time runs by itself: Figure 8 over and over, rolling upgrades, what holds after a storm."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from capsize.simulator.network import CALM, Weather
from capsize.simulator.scenarios.scenario import Play, scenario
from capsize.simulator.stage import Asked, Stage

LIVELY: dict[str, Any] = {"election_timeout_ms": (150, 300), "heartbeat_ms": 30, "request_timeout_ms": 1_000}


def leader_of(stage: Stage, *, within_ms: float = 3_000) -> str:
    """Let time pass until somebody leads; return who. Raises Unmet when nobody does in time."""
    stage.world.run_until(lambda: stage.world.leader is not None, limit_ms=within_ms)
    stage.expect(stage.world.leader, f"nobody leads after {within_ms:g} ms")
    return str(stage.world.leader)


def converges(stage: Stage) -> None:
    """Heal, let time pass, and expect every server to serve a write and to hold all that was acknowledged."""
    stage.world.network.heal()
    stage.world.network.weather = CALM
    stage.start(*(name for name in stage.names if name not in stage.world.up))
    stage.world.run_until(lambda: _agree(stage), limit_ms=10_000)
    stage.expect(_agree(stage), "the servers do not agree ten seconds after everything was healed")
    for place, name in enumerate(stage.names):
        write = stage.write(name, f"last-{place}", place)
        stage.world.run_until(lambda write=write: write.outcome is not None, limit_ms=2_000)  # type: ignore[misc]
        stage.expect(write.outcome == "ok", f"a write at {name} was answered {write.outcome}")
    stage.world.run_until(lambda: _agree(stage), limit_ms=2_000)
    states = {name: stage.core(name).machine.state_hash for name in stage.names}
    stage.expect(len(set(states.values())) == 1, f"the servers hold different states: {states}")


def _agree(stage: Stage) -> bool:
    cores = [node.core for node in stage.world.nodes.values()]
    live = [core for core in cores if core is not None]
    return (
        len(live) == len(cores)
        and stage.world.leader is not None
        and len({(core.term, core.leader, core.commit_index, core.applied_index) for core in live}) == 1
    )


def all_read_what_was_told(stage: Stage, told: dict[str, list[int]]) -> None:
    """Every server must show every value whose append was answered ok."""
    for name in stage.names:
        for key, values in told.items():
            read = stage.read(name, key)
            stage.world.run_until(lambda read=read: read.outcome is not None, limit_ms=2_000)  # type: ignore[misc]
            held = read.result or []
            missing = [value for value in values if value not in held]
            stage.expect(read.outcome == "ok" and not missing, f"{name} lacks {missing} of {key}: {held}")


@scenario("S28")
def figure_8_at_random(play: Play) -> None:
    """MIT's Figure 8 test, unreliable: ask whoever leads, kill it soon, keep three of five alive, over a network that
    reorders by up to 400 ms. What was answered is still there in the end, on every server (paper §5.4.2).
    """
    stage = play(5, **LIVELY)
    stage.flow()
    rng = random.Random(8)
    stage.world.network.weather = Weather(loss=0.1, doubled=0.05, late=0.3)
    asked: list[tuple[int, Asked]] = []
    for number in range(60):
        leader = stage.world.leader
        if leader is not None:
            asked.append((number, stage.ask(leader, "append", "x", (number,))))
        stage.pass_ms(rng.choice((5, 15, 40, 250)))
        leader = stage.world.leader
        if leader is not None and len(stage.world.up) > 3 and rng.random() < 0.5:
            stage.kill(leader)
        down = [name for name in stage.names if name not in stage.world.up]
        if down and (len(stage.world.up) <= 3 or rng.random() < 0.3):
            stage.start(rng.choice(down))
    converges(stage)
    all_read_what_was_told(stage, {"x": [number for number, item in asked if item.outcome == "ok"]})


@scenario("S80")
def rolling_upgrade(play: Play) -> None:
    """One server after the other is stopped and started with another version's habits (no pre-vote, batches of one,
    entries sent in parallel, snapshots), while clients write: mixed clusters agree, and nothing is lost.
    """
    stage = play(3, **LIVELY)
    stage.flow()
    told: list[int] = []
    newer = replace(
        stage.world.settings, pre_vote=True, check_quorum=True, append_entries_max=1, parallel_append=True,
        snapshot_every=10, protect_leader=True,
    )  # fmt: skip
    number = 0
    for name in ("", *stage.names):
        if name:
            stage.kill(name)
            stage.pass_ms(300)
            stage.world.upgrade(name, newer)
            stage.start(name)
        for _ in range(8):
            leader = leader_of(stage)
            number += 1
            asked = stage.ask(leader, "append", "x", (number,))
            stage.pass_ms(60)
            told += [number] if asked.outcome == "ok" else []
    stage.expect(len(told) > number // 2, f"only {len(told)} of {number} writes were answered")
    converges(stage)
    all_read_what_was_told(stage, {"x": told})


@scenario("S90")
def everything_holds_after_a_storm(play: Play) -> None:
    """Partitions, kills, power losses and rough weather for a while; then calm: the cluster converges, every server
    serves, and each one shows every write that was ever answered.
    """
    stage = play(5, **LIVELY, snapshot_every=15, append_entries_max=3, pre_vote=True, check_quorum=True)
    stage.flow()
    rng = random.Random(90)
    asked: list[tuple[str, int, Asked]] = []
    for number in range(60):
        for name in rng.sample(stage.world.up, min(2, len(stage.world.up))):
            key = f"x{number // 2}"  # few requests a key, so that judging them is quick
            value = 10 * number + int(name[1:])
            asked.append((key, value, stage.ask(name, "append", key, (value,))))
        stage.pass_ms(rng.choice((10, 30, 90)))
        strike = rng.random()
        if strike < 0.12 and len(stage.world.up) > 3:
            victim = rng.choice(stage.world.up)
            (stage.lose_power if rng.random() < 0.5 else stage.kill)(victim)
        elif strike < 0.24:
            inside = rng.sample(stage.names, 2)
            stage.world.network.isolate(inside, stage.names)
        elif strike < 0.36:
            stage.world.network.heal()
        elif strike < 0.5:
            stage.world.network.weather = rng.choice((CALM, Weather(loss=0.1, doubled=0.1, late=0.2)))
        elif strike < 0.8:
            stage.start(*(name for name in stage.names if name not in stage.world.up))
    converges(stage)
    told: dict[str, list[int]] = {}
    for key, value, item in asked:
        if item.outcome == "ok":
            told.setdefault(key, []).append(value)
    stage.expect(sum(map(len, told.values())) > 20, f"hardly anything succeeded: {told}")
    all_read_what_was_told(stage, told)
