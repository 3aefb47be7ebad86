"""Faults of links, clients, clocks, limits and files: what lands, what does not, who may be hit, what is given back."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fake_cluster import World, nodes_of

from capsize.clock import MonotonicClock
from capsize.errors import Declined, UsageError
from capsize.nemesis.clients import CutClients
from capsize.nemesis.clock import JumpClock, RateClock, SkewClock, StrobeClock
from capsize.nemesis.damage import FlipBit, TornTail, Truncate
from capsize.nemesis.executor import Nemesis
from capsize.nemesis.fault import Fault, Plan, Situation, Skip, fault_from_json
from capsize.nemesis.holds import Holds
from capsize.nemesis.partition import Flapping, Partition, Swizzle
from capsize.nemesis.place_kinds import PLACES
from capsize.nemesis.pressure import LimitCpu, LimitMemory
from capsize.nemesis.process import Kill
from capsize.nemesis.schedule import Schedule, Step
from capsize.nemesis.shaping import Shaping

Line = Mapping[str, Any]
ALL_AT_ONCE = [
    Shaping("leader", "in", delay_ms=40.0),
    Shaping("leader", "out", delay_ms=40.0, jitter_ms=20.0),
    Shaping("one", "both", loss=0.2),
    Shaping("one", "both", delay_ms=20.0, reorder=0.2),
    Shaping("minority", duplicate=0.2),
    Shaping("minority", corrupt=0.2),
    Shaping("all", rate_kbit=200.0),
    CutClients("leader"),
    SkewClock("all", 0.5),
    JumpClock("leader", 3600.0, True),
    StrobeClock("one"),
    RateClock("one", 0.5),
    LimitCpu("leader"),
    LimitMemory("one"),
    TornTail("all"),
    FlipBit("one"),
    Truncate("one"),
    Flapping("leader", cut_s=0.05, open_s=0.05),
    Swizzle("all", 10.0),
    Partition("all", "minority"),
    Partition("all", "random"),
]


def played(
    *steps: tuple[float, float, Fault], world: World, until: Callable[[list[Line]], bool] | None = None
) -> list[Line]:
    """Play faults, each at its time and for so long, and return what was recorded."""
    for name in world.names:
        world.alive[name] = True
    lines: list[Line] = []
    nemesis = Nemesis(
        Schedule(tuple(Step(at, lasts, fault.word, nth, fault) for nth, (at, lasts, fault) in enumerate(steps)), 7),
        Holds(nodes_of(world), lambda node: node.start(None)),  # type: ignore[attr-defined]
        record=lambda word, value: lines.append(value),
        leader=lambda: (world.leader(), 1),
        clock=MonotonicClock(),
    )
    nemesis.start()
    ends = time.monotonic() + 20

    def over(lines: list[Line]) -> bool:
        return sum(
            line["phase"] == "heal-probe" or (line["phase"] == "skip" and not line["targets"]) for line in lines
        ) >= len(steps)

    while time.monotonic() < ends and not (until or over)(lines):
        time.sleep(0.01)
    nemesis.stop(timeout_s=10)
    return lines


def phases(lines: list[Line]) -> list[str]:
    return [line["phase"] for line in lines]


def line(lines: list[Line], phase: str) -> Line:
    return next(found for found in lines if found["phase"] == phase)


def untouched(world: World) -> None:
    assert all(world.alive.values())
    assert not any([*world.shapes.values(), *world.drops.values(), world.shut])
    assert {damage.how for damage in world.damaged.values()} <= {"torn"}  # a node that runs has dealt with it
    assert all(abs(seen.offset_s) < 0.1 and seen.rate == 1 and not seen.steps for seen in world.clocks.values())
    assert all(limits.cpus is None and limits.memory_bytes is None for limits in world.limits.values())


@pytest.mark.parametrize("fault", ALL_AT_ONCE, ids=lambda fault: f"{fault.word}-{fault.target}")
def test_every_one_is_injected_probed_healed_and_leaves_nothing(fault: Fault) -> None:
    world = World(5)
    lines = played((0.0, 0.15, fault), world=world)
    assert phases(lines) == ["intend", "inject", "probe", "heal", "heal-probe"]
    assert line(lines, "probe")["landed"], line(lines, "probe")
    assert line(lines, "heal-probe")["landed"], line(lines, "heal-probe")
    untouched(world)


@pytest.mark.parametrize(
    "fault",
    [Shaping("leader", delay_ms=40.0), Shaping("one", loss=0.3), Shaping("one", duplicate=0.3),
     Shaping("one", delay_ms=9.0, reorder=0.5), Shaping("one", corrupt=0.3), Shaping("one", rate_kbit=100.0),
     Shaping("one", delay_ms=0.0, jitter_ms=30.0), CutClients("leader"), LimitCpu("one")],
    ids=lambda fault: str(fault),
)  # fmt: skip
def test_one_that_changes_nothing_has_not_landed(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("shaping.PROBE_WAIT_S", "clients.PROBE_WAIT_S", "pressure.PROBE_WAIT_S"):
        monkeypatch.setattr(f"capsize.nemesis.{place}", 0.1)
    world = World(3)
    world.bugs.add("leaky")
    assert line(played((0.0, 0.1, fault), world=world), "probe")["landed"] is False


def test_a_clock_of_a_process_that_has_not_loaded_the_library_has_not_landed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capsize.nemesis.clock.PROBE_WAIT_S", 0.1)
    world = World(3)
    world.bugs.add("static")
    assert line(played((0.0, 0.1, JumpClock("leader")), world=world), "probe")["landed"] is False


def test_everything_at_once_is_given_back_when_the_nemesis_stops() -> None:
    world = World(5)
    steps = [(0.01 * n, 30.0, fault) for n, fault in enumerate(ALL_AT_ONCE)]
    lines = played(*steps, world=world, until=lambda lines: sum(found["phase"] == "inject" for found in lines) >= 12)
    assert not [found for found in lines if found["phase"] == "error"]
    untouched(world)


# -- links -------------------------------------------------------------------------------------------------------
def test_directions_name_the_links_that_are_degraded() -> None:
    three = ["n1", "n2", "n3"]
    assert Shaping("n1", "in", loss=0.1).links(["n1"], three) == [("n1", "n2"), ("n1", "n3")]
    assert Shaping("n1", "out", loss=0.1).links(["n1"], three) == [("n2", "n1"), ("n3", "n1")]
    assert len(Shaping("n1", "both", loss=0.1).links(["n1"], three)) == 4


def test_of_two_faults_that_want_a_clock_at_the_same_moment_the_second_is_declined_and_takes_nothing() -> None:
    world, ordered = World(3), list[str]()
    conditions = Holds(nodes_of(world), lambda node: None).conditions
    assert conditions.take("clock", 1, ["n1"], lambda node: ordered.append(node.name)) == {}
    with pytest.raises(Declined, match="fault 1 came first to the clock of n1"):
        conditions.take("clock", 2, ["n2", "n1"], lambda node: ordered.append(node.name))
    assert ordered == ["n1"]
    assert conditions.in_charge("clock", "n2") is None
    assert conditions.in_charge("clock", "n1") == 1


def test_two_shapes_on_one_link_add_up_and_each_heal_takes_its_own_away() -> None:
    world = World(3)
    holds = Holds(nodes_of(world), lambda node: None)
    late, lossy = Shaping("n1", "in", delay_ms=30.0), Shaping("n1", "in", delay_ms=10.0, loss=0.5)
    late.inject(1, Plan(("n1",)), holds)
    lossy.inject(2, Plan(("n1",)), holds)
    assert (world.shapes["n1"]["n2"].delay_ms, world.shapes["n1"]["n2"].loss) == (40.0, 0.5)
    late.heal(1, Plan(("n1",)), holds)
    assert (world.shapes["n1"]["n2"].delay_ms, world.shapes["n1"]["n2"].loss) == (10.0, 0.5)
    lossy.heal(2, Plan(("n1",)), holds)
    assert not world.shapes["n1"]


def test_links_that_stay_cut_are_left_out_and_a_fault_all_of_whose_links_stay_cut_is_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("capsize.nemesis.shaping.PROBE_WAIT_S", 0.1)
    world = World(3)
    holds = Holds(nodes_of(world), lambda node: None)
    fault = Shaping("n1", "in", delay_ms=30.0)
    fault.inject(1, Plan(("n1",)), holds)
    holds.cut(2, {"n1": frozenset({"n2"})})
    probe = fault.probe(Plan(("n1",)), holds)
    assert probe.holds
    assert probe.seen["n2>n1"] == {"cut": "by another fault"}
    assert probe.seen["n3>n1"]["delay_ms"] == 30.0
    world = World(3)
    lines = played((0.0, 0.6, Shaping("n1", "in", delay_ms=30.0)), (0.01, 5.0, Partition("n1")), world=world,
                   until=lambda lines: "skip" in phases(lines) or phases(lines).count("heal-probe") > 0)  # fmt: skip
    told = [found for found in lines if found["fault"]["fault"] == "shape" and found["phase"] in ("probe", "skip")]
    assert told[0]["phase"] == "probe" or "nothing travelled" in told[0]["detail"]["reason"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fault": "shape", "loss": 1.5}, "loss of the fault shape is 1.5; expected 0 to 1"),
        ({"fault": "shape"}, "the fault shape changes nothing"),
        ({"fault": "shape", "loss": 0.1, "direction": "inn"}, "did you mean 'in'"),
        ({"fault": "clock-rate", "rate": 100}, "rate of the fault clock-rate is 100; expected 0.05 to 20"),
        ({"fault": "cpu-limit", "cpus": 0}, "cpus of the fault cpu-limit is 0"),
        ({"fault": "memory-limit", "headroom_mb": 0}, "headroom_mb"),
        ({"fault": "clock-strobe", "period_ms": 1}, "period_ms"),
    ],
)
def test_what_a_person_wrote_wrong_is_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fault_from_json(given)


# -- partitions --------------------------------------------------------------------------------------------------
def test_a_flapping_partition_opens_and_closes_while_it_lasts() -> None:
    world = World(3)
    lines = played((0.0, 0.5, Flapping("leader", cut_s=0.05, open_s=0.05)), world=world)
    assert line(lines, "heal")["detail"]["opened"] >= 2
    assert line(lines, "heal")["detail"]["seen_open"] >= 1


def test_a_swizzle_closes_one_by_one_and_opens_one_by_one_in_another_order() -> None:
    world = World(5)
    seen: list[tuple[str, ...]] = []
    holds = Holds(nodes_of(world), lambda node: None)
    cut = holds.cut

    def watched(fault: int, cuts: Any) -> dict[str, str]:
        seen.append(tuple(name for name in world.names if len(cuts.get(name, ())) == 4))
        return cut(fault, cuts)

    holds.cut = watched  # type: ignore[method-assign]
    fault = Swizzle(("n1", "n2", "n3"), 0.0)
    plan = fault.plan(Situation(tuple(world.names), "n1", 1), random.Random(4), holds)
    assert isinstance(plan, Plan)
    assert not fault.inject(1, plan, holds)
    assert [len(alone) for alone in seen] == [1, 2, 3]
    assert set(seen[0]) == {plan.targets[0]}
    assert not fault.heal(1, plan, holds)
    assert [len(alone) for alone in seen[3:]] == [2, 1]
    opened_first = set(seen[2]) - set(seen[3])
    assert opened_first != {plan.targets[-1]} or set(seen[4]) != {plan.targets[0]}
    assert not any(world.drops.values())


@pytest.mark.parametrize("seed", range(12))
def test_a_random_minority_leaves_a_majority_that_hears_itself(seed: int) -> None:
    world = World(5)
    holds = Holds(nodes_of(world), lambda node: None)
    plan = Partition("all", "minority").plan(Situation(tuple(world.names), None, None), random.Random(seed), holds)
    assert isinstance(plan, Plan)
    left = holds.remains(plan.cuts)
    assert left.quorum
    assert len(left.groups) == 2


# -- clocks and limits -------------------------------------------------------------------------------------------
def test_a_clock_that_one_fault_sets_is_not_set_by_another() -> None:
    world = World(3)
    lines = played((0.0, 0.6, JumpClock("n1", 60.0)), (0.1, 0.2, RateClock("n1", 2.0)), world=world)
    assert "has a clock that another fault sets" in line(lines, "skip")["detail"]["reason"]
    untouched(world)


def test_skewed_clocks_are_each_off_by_another_amount() -> None:
    world = World(3)
    holds = Holds(nodes_of(world), lambda node: None)
    SkewClock("all", 0.6).inject(1, Plan(("n1", "n2", "n3")), holds)
    assert [round(world.clocks[name].offset_s, 3) for name in world.names] == [0.6, 0.0, -0.6]


def test_a_limit_of_memory_leaves_a_limit_of_cpu_alone() -> None:
    world = World(3)
    holds = Holds(nodes_of(world), lambda node: None)
    plan = Plan(("n1",))
    LimitCpu("n1", 0.3).inject(1, plan, holds)
    LimitMemory("n1", 4.0).inject(2, plan, holds)
    assert (world.limits["n1"].cpus, world.limits["n1"].memory_bytes) == (0.3, 24 << 20)
    LimitCpu("n1", 0.3).heal(1, plan, holds)
    assert (world.limits["n1"].cpus, world.limits["n1"].memory_bytes) == (None, 24 << 20)


def test_a_node_that_ended_for_want_of_memory_is_started_when_it_gets_some() -> None:
    world = World(3)
    world.alive["n1"] = True
    holds = Holds(nodes_of(world), lambda node: node.start(None))  # type: ignore[arg-type]
    plan = Plan(("n1",))
    fault = LimitMemory("n1")
    fault.inject(1, plan, holds)
    world.alive["n1"] = False
    assert holds.may_have_ended("n1")
    assert not holds.excused("n1")
    assert not fault.heal(1, plan, holds)
    assert world.alive["n1"]


# -- files -------------------------------------------------------------------------------------------------------
def test_only_one_minority_may_lose_what_was_synced_in_a_run() -> None:
    world = World(5)
    for name in world.names:
        world.alive[name] = True
    holds = Holds(nodes_of(world), lambda node: node.start(None))  # type: ignore[arg-type]
    situation = Situation(tuple(world.names), "n1", 1)
    hit: set[str] = set()
    for seed in range(30):
        for fault in (FlipBit("one"), Truncate("minority"), FlipBit("leader"), FlipBit("minority")):
            plan = fault.plan(situation, random.Random(seed), holds)
            if isinstance(plan, Plan):
                hit.update(plan.targets)
            else:
                assert "may lose what was synced" in plan.reason
    assert len(hit) == 2
    assert hit == holds.spoilt
    other = next(name for name in world.names if name not in hit)
    assert isinstance(FlipBit((other,)).plan(situation, random.Random(1), holds), Skip)
    assert isinstance(TornTail((other,)).plan(situation, random.Random(1), holds), Plan)


def test_a_node_that_refuses_its_damaged_file_gets_it_back_and_one_that_runs_keeps_it() -> None:
    world = World(3)
    lines = played((0.0, 0.2, FlipBit(("n2",))), world=world)
    assert line(lines, "probe")["detail"]["n2"]["node"] == "refused to start"
    assert [order for order in world.orders if order.endswith("n2")] == [
        "kill n2", "damage-flip n2", "start n2", "repair n2", "start n2",
    ]  # fmt: skip
    world = World(3)
    world.refuses_damage.clear()
    lines = played((0.0, 0.2, TornTail(("n2",))), world=world)
    assert line(lines, "probe")["detail"]["n2"]["node"] == "started"
    assert "repair n2" not in world.orders


def test_a_node_with_a_lost_end_runs_cut_off_and_joins_only_with_its_data_put_back() -> None:
    world = World(3)
    cut_at: dict[str, bool] = {}

    def look(lines: list[Line]) -> bool:
        if "probe" in phases(lines) and "heal" not in phases(lines):
            others = {"n1", "n3"}
            alone = world.drops["n2"] == others and all("n2" in world.drops[name] for name in others)
            cut_at["running"] = alone or cut_at.get("running", False)  # the heal is told when it is done
        return phases(lines).count("heal-probe") > 0

    played((0.0, 0.3, Truncate(("n2",))), world=world, until=look)
    assert cut_at["running"]
    orders = [order for order in world.orders if order.split()[0] not in ("drop",) or order.endswith("n2")]
    assert orders.index("drop n2") < orders.index("start n2")
    assert orders.index("repair n2") < len(orders) - 1 - orders[::-1].index("drop n2")
    untouched(world)


def test_a_damaged_node_is_hit_by_no_other_fault_of_its_disk_and_not_killed_twice() -> None:
    world = World(3)
    lines = played((0.0, 4.0, FlipBit(("n2",))), (0.3, 0.1, TornTail(("n2",))), (0.3, 0.1, Kill(("n2",))), world=world)
    reasons = [found["detail"]["reason"] for found in lines if found["phase"] == "skip"]
    assert len(reasons) == 2
    untouched(world)


def test_a_kill_of_a_damaged_node_waits_until_the_damage_is_mended() -> None:
    world = World(3)
    seen = played((0.0, 0.6, FlipBit(("n2",))), (0.3, 0.1, Kill(("n2",))), world=world)
    phases = [(found["id"], found["phase"]) for found in seen]
    landed = {found["id"]: found["landed"] for found in seen if found["phase"] == "probe"}
    assert landed == {1: True, 2: True}
    assert phases.index((2, "intend")) > phases.index((1, "heal"))
    assert world.orders.index("repair n2") < len(world.orders) - 1 - world.orders[::-1].index("kill n2")
    untouched(world)


# -- words -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", PLACES, ids=lambda kind: kind.word)
def test_every_word_draws_faults_that_go_through_json(kind: Any) -> None:
    for fault in kind.examples():
        assert fault_from_json(fault.to_json()) == fault
    assert len({str(fault) for fault in kind.examples()}) > 1 or kind.word in ("minority", "random-cuts")
