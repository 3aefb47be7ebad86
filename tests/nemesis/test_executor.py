"""What is recorded of a fault, that it is healed whatever happened, and when it is skipped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fake_cluster import World, nodes_of

from capsize.clock import MonotonicClock
from capsize.errors import Declined
from capsize.nemesis.disk import DeadDisk, FullDisk, PauseDisk, PowerLoss, SlowDisk
from capsize.nemesis.executor import Nemesis
from capsize.nemesis.fault import Fault
from capsize.nemesis.holds import Holds
from capsize.nemesis.partition import Partition
from capsize.nemesis.process import Kill, PauseProcess
from capsize.nemesis.restarts import CrashLoop, KillInOrder, Stop
from capsize.nemesis.schedule import Schedule, Step
from capsize.nemesis.strike import ASKED


class Stage:
    """A nemesis on a world of three, whose lines are kept."""

    def __init__(self, *faults: Fault, at_s: float = 0.0, duration_s: float = 0.15, world: World | None = None) -> None:
        self.world = world or World(3)
        for name in self.world.names:
            self.world.alive[name] = True
        self.lines: list[tuple[str, Mapping[str, Any]]] = []
        steps = [Step(at_s, duration_s, fault.word, number, fault) for number, fault in enumerate(faults)]
        self.nemesis = Nemesis(
            Schedule(tuple(steps), 7),
            Holds(nodes_of(self.world), self.restart),
            record=lambda word, value: self.lines.append((word, value)),
            leader=lambda: (self.world.leader(), 1),
            clock=MonotonicClock(),
        )

    def restart(self, node: Any) -> None:
        node.start(None)

    def play(self, *, until: Callable[[], bool] | None = None) -> list[str]:
        self.nemesis.start()
        ends = time.monotonic() + 10
        while time.monotonic() < ends and not (until or self.done)():
            time.sleep(0.01)
        self.nemesis.stop(timeout_s=5)
        return self.phases()

    def done(self) -> bool:
        return [value["phase"] for _, value in self.lines if value["phase"] in ("heal-probe", "skip")] != []

    def phases(self) -> list[str]:
        return [value["phase"] for _, value in self.lines]

    def line(self, phase: str) -> Mapping[str, Any]:
        return next(value for _, value in self.lines if value["phase"] == phase)


@pytest.mark.parametrize("fault", [
    Kill("leader"), PauseProcess("leader"), Partition("leader", "isolate"), PauseDisk("leader"), Kill(("n1", "n3")),
    SlowDisk("leader"), FullDisk("leader"), DeadDisk("leader"), PowerLoss("leader"), PowerLoss(("n1", "n3")),
    Stop("leader"), CrashLoop(("n1", "n3"), every_s=0.03), KillInOrder(("n1", "n3"), "forward", 0.01),
])  # fmt: skip
def test_every_fault_is_intended_injected_probed_healed_and_probed_again(fault: Fault) -> None:
    stage = Stage(fault)
    assert stage.play() == ["intend", "inject", "probe", "heal", "heal-probe"]
    assert stage.line("probe")["landed"] is True
    assert stage.line("heal-probe")["landed"] is True
    assert stage.line("intend")["fault"] == fault.to_json()
    assert stage.line("intend")["targets"] == (["n1"] if fault.target == "leader" else ["n1", "n3"])
    world = stage.world
    assert all(world.alive.values())
    assert not any([*world.stopped.values(), *world.frozen.values(), *world.drops.values(), *world.disk.values()])


def test_the_intent_is_recorded_before_anything_is_done() -> None:
    stage = Stage(Kill("leader"))
    orders_at_intent: list[int] = []
    record = stage.nemesis._stage.record

    def note(word: str, value: Mapping[str, Any]) -> None:
        if value["phase"] == "intend":
            orders_at_intent.append(len(stage.world.orders))
        record(word, value)

    stage.nemesis._stage.record = note
    stage.play()
    assert orders_at_intent == [0]


def test_a_fault_that_needs_a_leader_is_skipped_when_there_is_none() -> None:
    stage = Stage(Kill("leader"))
    for name in ("n1", "n2"):
        stage.world.frozen[name] = True
    assert stage.play() == ["skip"]
    assert stage.line("skip")["landed"] is False
    assert not stage.world.orders


def test_a_fault_waits_for_a_leader_as_long_as_it_would_have_lasted() -> None:
    stage = Stage(Kill("leader"), duration_s=2.0)
    for name in ("n1", "n2"):
        stage.world.frozen[name] = True
    threading.Timer(0.3, lambda: stage.world.frozen.update(n1=False, n2=False)).start()
    assert stage.play(until=lambda: "probe" in stage.phases())[:3] == ["intend", "inject", "probe"]


def test_a_partition_that_drops_nothing_has_not_landed() -> None:
    stage = Stage(Partition("leader", "isolate"))
    stage.world.bugs.add("leaky")
    stage.play()
    assert stage.line("probe")["landed"] is False
    assert stage.line("probe")["detail"]["still_open"]


def test_a_fault_that_fails_half_way_is_told_and_healed_where_it_can_be() -> None:
    stage = Stage(Partition("all", "halves"))
    stage.world.gone.add("n3")
    phases = stage.play()
    assert phases.index("error") > phases.index("inject")
    assert stage.line("probe")["landed"] is False
    assert "n3" in stage.line("error")["detail"]
    assert not stage.world.drops["n1"]
    assert not stage.world.drops["n2"]


def test_stopping_heals_what_is_active_and_begins_nothing_more() -> None:
    stage = Stage(PauseDisk("leader"), Kill("one"), duration_s=60.0)
    stage.nemesis.schedule = Schedule(
        (stage.nemesis.schedule.steps[0], Step(30.0, 1.0, "kill", 0, Kill("one"))), 7
    )  # fmt: skip
    began = time.monotonic()
    stage.play(until=lambda: "probe" in stage.phases())
    assert time.monotonic() - began < 5
    assert not any(stage.world.frozen.values())
    assert not any(word == "kill" for word, _ in stage.lines)


def test_a_node_whose_disk_is_paused_is_not_killed_but_skipped() -> None:
    """SIGKILL does not end a process that hangs in a frozen disk: the fault could not land."""
    stage = Stage(PauseDisk(("n2",)), Kill(("n2",)), duration_s=0.5)
    stage.nemesis.schedule = Schedule(
        (Step(0.0, 1.0, "pause-disk", 0, PauseDisk(("n2",))), Step(0.3, 0.2, "kill", 0, Kill(("n2",)))), 7
    )
    stage.play(until=lambda: "skip" in stage.phases())
    assert "cannot be killed" in stage.line("skip")["detail"]["reason"]


def test_overlapping_partitions_are_each_probed_and_the_last_one_opens_the_link() -> None:
    stage = Stage()
    stage.nemesis.schedule = Schedule(
        (
            Step(0.0, 0.4, "a", 0, Partition(("n1",), "isolate")),
            Step(0.1, 0.1, "b", 0, Partition(("n1", "n2"), "isolate")),
        ),
        7,
    )
    stage.play(until=lambda: stage.phases().count("heal-probe") == 2)
    assert all(value["landed"] for _, value in stage.lines if value["phase"] in ("probe", "heal-probe"))
    assert not any(stage.world.drops.values())


def test_a_nemesis_line_that_cannot_be_written_keeps_no_fault_from_being_healed() -> None:
    stage = Stage(PauseDisk("leader"))

    def broken(word: str, value: Mapping[str, Any]) -> None:
        stage.lines.append((word, value))
        if value["phase"] == "probe":
            raise OSError("disk full")

    stage.nemesis._stage.record = broken
    stage.play()
    assert not any(stage.world.frozen.values())


def test_a_node_without_power_is_not_started_by_the_heal_of_a_kill() -> None:
    stage = Stage()
    stage.nemesis.schedule = Schedule(
        (Step(0.0, 0.3, "kill", 0, Kill(("n2",))), Step(0.1, 0.6, "power-loss", 0, PowerLoss(("n2",)))), 7
    )
    stage.play(until=lambda: stage.phases().count("heal-probe") == 2)
    orders = [order for order in stage.world.orders if order.endswith("n2")]
    assert orders == ["kill n2", "power-off n2", "power-on n2", "start n2"]
    assert all(value["landed"] for _, value in stage.lines if value["phase"] in ("probe", "heal-probe"))


def test_one_disk_is_hit_by_one_fault_at_a_time() -> None:
    stage = Stage()
    stage.nemesis.schedule = Schedule(
        (Step(0.0, 0.5, "full-disk", 0, FullDisk(("n2",))), Step(0.1, 0.2, "power-loss", 0, PowerLoss(("n2",)))), 7
    )
    stage.play(until=lambda: "heal-probe" in stage.phases())
    assert "is full already" in stage.line("skip")["detail"]["reason"]


def test_a_crash_loop_kills_and_starts_in_turn_and_leaves_the_node_running() -> None:
    stage = Stage(CrashLoop(("n2",), every_s=0.05), duration_s=0.6)
    stage.play(until=lambda: "heal-probe" in stage.phases())
    orders = [order for order in stage.world.orders if order.endswith("n2")]
    assert orders[:5] == ["kill n2", "start n2", "kill n2", "start n2", "kill n2"]
    assert orders[-1] == "start n2"
    assert stage.line("heal")["detail"]["kills"]["n2"] == orders.count("kill n2") >= 3
    assert stage.world.alive["n2"]


def test_a_crash_loop_does_not_start_a_node_that_another_fault_keeps_down() -> None:
    stage = Stage()
    stage.nemesis.schedule = Schedule(
        (
            Step(0.0, 0.8, "crash-loop", 0, CrashLoop(("n2",), every_s=0.05)),
            Step(0.2, 0.8, "power-loss", 0, PowerLoss(("n2",))),
        ),
        7,
    )
    stage.play(until=lambda: stage.phases().count("heal-probe") == 2)
    orders = [order for order in stage.world.orders if order.endswith("n2")]
    dark = orders[orders.index("power-off n2") : orders.index("power-on n2")]
    assert "start n2" not in dark
    assert stage.world.alive["n2"]


def test_a_process_that_ignores_sigterm_is_killed_and_that_is_told() -> None:
    stage = Stage(Stop(("n2",), grace_s=0.1))
    stubborn = stage.nemesis._stage.holds.node("n2")
    stubborn.signal = lambda number: stage.world.orders.append("ignored")  # type: ignore[method-assign]
    stage.play()
    assert stage.line("probe")["detail"]["ended_by"] == {"n2": "SIGKILL, 0.1 s after SIGTERM"}
    assert stage.world.orders[:2] == ["ignored", "kill n2"]


def test_two_steps_that_keep_the_quorum_never_take_it_together() -> None:
    """Both strike at the same moment; each alone could take one of three nodes."""
    stage = Stage()
    stage.nemesis.schedule = Schedule(
        tuple(Step(0.0, 0.4, f"kill-{n}", n, Kill("one"), quorum="keep") for n in range(4)), 7
    )
    most = 0
    record = stage.nemesis._stage.record

    def count(word: str, value: Mapping[str, Any]) -> None:
        nonlocal most
        most = max(most, sum(not alive for alive in stage.world.alive.values()))
        record(word, value)

    stage.nemesis._stage.record = count
    stage.play(until=lambda: len([p for p in stage.phases() if p in ("heal-probe", "skip")]) == 4)
    assert most == 1
    assert stage.phases().count("probe") >= 2  # the one that came second waited for the first


def test_a_quorum_that_another_fault_took_is_lost_on_purpose_once_it_is_back() -> None:
    stage = Stage()
    stage.nemesis.schedule = Schedule(
        (Step(0.0, 0.4, "kill-all", 0, Kill("all")), Step(0.1, 0.2, "lose-quorum", 0, Kill("lose-quorum"))), 7
    )
    stage.play(until=lambda: stage.phases().count("heal-probe") == 2 or "skip" in stage.phases())
    landed = [(word, value["landed"]) for word, value in stage.lines if value["phase"] == "probe"]
    assert landed == [("kill-all", True), ("lose-quorum", True)]
    order = [(word, value["phase"]) for word, value in stage.lines]
    assert order.index(("lose-quorum", "intend")) > order.index(("kill-all", "heal"))


def test_a_system_that_declines_leaves_the_fault_skipped_and_nothing_to_explain() -> None:
    asked: list[int] = []

    class Polite(Kill):
        def inject(self, number: int, plan: Any, holds: Any) -> dict[str, str]:
            asked.append(number)
            raise Declined("not now")

    stage = Stage(Polite("leader"))
    phases = stage.play(until=lambda: "skip" in stage.phases())
    assert len(asked) == ASKED
    assert phases.count("skip") == 1
    assert stage.line("skip")["detail"]["reason"] == "not now"
    assert not {"error", "inject", "probe"} & {*phases}


def test_a_system_that_declines_at_first_is_asked_again() -> None:
    asked: list[int] = []

    class Busy(Kill):
        def inject(self, number: int, plan: Any, holds: Any) -> Any:
            asked.append(number)
            if len(asked) == 1:
                raise Declined("another change is under way")
            return super().inject(number, plan, holds)

    stage = Stage(Busy("leader"))
    phases = stage.play(until=lambda: "heal-probe" in stage.phases()[stage.phases().index("probe") :]
                        if "probe" in stage.phases() else False)  # fmt: skip
    assert len(asked) == 2
    assert phases == ["intend", "intend", "inject", "probe", "heal", "heal-probe"]
    assert stage.line("probe")["landed"] is True
    assert stage.lines[1][1]["detail"]["declined"] == "another change is under way"


def test_only_one_fault_changes_the_members_at_a_time_and_the_other_waits_for_it() -> None:
    class Claiming(Kill):
        claims = "members"

    stage = Stage()
    stage.nemesis.schedule = Schedule(
        (Step(0.0, 0.3, "a", 0, Claiming(("n2",))), Step(0.05, 0.1, "b", 0, Claiming(("n3",)))), 7
    )
    stage.play(until=lambda: stage.phases().count("heal-probe") == 2)
    order = [(word, value["phase"]) for word, value in stage.lines]
    first, second = ("a", "b") if order[0][0] == "a" else ("b", "a")
    assert order.index((second, "intend")) > order.index((first, "heal-probe"))


def test_a_fault_whose_target_is_down_for_a_moment_waits_for_it() -> None:
    """A kill holds n2 for 0.4 s; the pause comes meanwhile, and lands once n2 runs again."""
    stage = Stage()
    stage.nemesis.schedule = Schedule(
        (Step(0.0, 0.4, "kill", 0, Kill(("n2",))), Step(0.1, 0.2, "pause-process", 0, PauseProcess(("n2",)))), 7
    )
    stage.play(until=lambda: stage.phases().count("heal-probe") == 2 or "skip" in stage.phases())
    landed = [(word, value["landed"]) for word, value in stage.lines if value["phase"] == "probe"]
    assert landed == [("kill", True), ("pause-process", True)]
    healed = [(word, value["phase"]) for word, value in stage.lines]
    assert healed.index(("pause-process", "intend")) > healed.index(("kill", "heal"))


def test_a_fault_whose_target_stays_down_is_skipped_and_touches_nothing() -> None:
    stage = Stage()
    stage.nemesis.schedule = Schedule(
        (Step(0.0, 60.0, "kill", 0, Kill(("n2",))), Step(0.1, 0.2, "pause-process", 0, PauseProcess(("n2",)))), 7
    )
    stage.play(until=lambda: "skip" in stage.phases())
    assert "is down: nothing to pause" in stage.line("skip")["detail"]["reason"]
    assert "pause-process" not in [word for word, value in stage.lines if value["phase"] == "intend"]
