"""Triggers: read and written by people, waited for, and told when they never come."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from fake_cluster import FakeSystem, World, cluster_of

from capsize.clock import MonotonicClock
from capsize.config import RunConfig
from capsize.errors import Refused, UsageError
from capsize.nemesis.executor import Nemesis
from capsize.nemesis.holds import Holds
from capsize.nemesis.operator import Operator
from capsize.nemesis.schedule import parse
from capsize.nemesis.trigger import Trigger, trigger_from_json
from capsize.plan import plan

NODES = ["n1", "n2", "n3"]


@pytest.mark.parametrize("text", [
    '{"leader": "any"}', '{"leader": "n2", "delay_ms": 50.0}', '{"term": 5}',
    '{"log": "became (leader|follower)", "node": "n2"}',
    '{"injected": "split"}', '{"healed": "split", "delay_ms": 200.0}', '{"healed": "any", "within_s": 3.0}',
    '{"failpoint": "after_append", "node": "leader"}', '{"failpoint": "before_reply", "node": "n1", "nth": 3}',
])  # fmt: skip
def test_a_trigger_goes_through_json_unchanged(text: str) -> None:
    trigger = trigger_from_json(json.loads(text))
    assert trigger.to_json() == json.loads(text)
    assert trigger_from_json(trigger.to_json()) == trigger


def test_every_trigger_has_a_word() -> None:
    assert set(Trigger.known) == {"leader", "term", "log", "injected", "healed", "failpoint"}


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ('"leader"', "when is 'leader'"),
        ('{"leder": "any"}', "expected an object with one of leader, term"),
        ('{"leader": "any", "term": 3}', "expected an object with one of"),
        ('{"leader": "n9"}', "'n9'"),
        ('{"term": 0}', "term is 0; expected a whole number, 1 or more"),
        ('{"term": "5"}', "term is '5'"),
        ('{"log": "(", "node": "n1"}', "is no regular expression"),
        ('{"log": "x", "node": "n9"}', "'n9'"),
        ('{"leader": "any", "delay_ms": -1}', "delay_ms is -1"),
        ('{"leader": "any", "delayms": 1}', "did you mean 'delay_ms'"),
        ('{"failpoint": "after_append", "node": "leadr"}', "did you mean 'leader'"),
        ('{"healed": "nobody"}', "step 1 waits for the step 'nobody', and none is called that"),
        ('{"healed": 1}', "step 1 waits for the step '1'"),
    ],
)
def test_a_trigger_that_is_none_is_told_in_one_line(when: str, told: str) -> None:
    text = f'{{"steps": [{{"duration_s": 1, "when": {when}, "fault": {{"fault": "kill"}}}}]}}'
    with pytest.raises(UsageError) as error:
        parse(text, where="mine.json", nodes=NODES)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_steps_are_named_by_their_place_in_the_file_wherever_they_end_up() -> None:
    """The second step of the file strikes first; who waits for step 2 waits for that one."""
    text = json.dumps({"steps": [
        {"at_s": 9, "duration_s": 1, "fault": {"fault": "kill"}},
        {"at_s": 1, "duration_s": 1, "fault": {"fault": "pause-process"}},
        {"when": {"healed": 2}, "duration_s": 1, "fault": {"fault": "partition", "shape": "halves"}},
    ]})  # fmt: skip
    schedule = parse(text, where="mine.json", nodes=NODES)
    named = {step.name: step.fault.word for step in schedule.steps if step.name}
    assert named == {"2": "pause-process"}
    assert parse(schedule.to_text(), where="again", nodes=NODES) == schedule


def test_a_failpoint_s_fault_hits_the_node_of_the_failpoint_unless_it_says_otherwise() -> None:
    here = '{"duration_s": 1, "when": {"failpoint": "after_append", "node": "leader"}, "fault": {"fault": "kill"}}'
    there = here.replace('{"fault": "kill"}', '{"fault": "kill", "target": "n3"}')
    first, second = parse(f'{{"steps": [{here}, {there}]}}', where="x", nodes=NODES).steps
    assert (first.fault.target, second.fault.target) == ("leader", "n3")


def test_failpoints_and_hooks_the_system_does_not_have_are_refused_before_anything_is_started(tmp_path: Any) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"steps": [{"duration_s": 1, "when": {"failpoint": "after_apend"}, "fault": {"fault": "kill"}}]}')
    with pytest.raises(UsageError, match="did you mean 'after_append'"):
        plan(RunConfig(seed=1, schedule=str(path)))
    with pytest.raises(Refused, match="crash-after-append needs failpoints, arm, which the adapter of nats"):
        plan(RunConfig(seed=1, system="nats", faults=("crash-after-append",)))
    for system, why in (("nats", "JetStream itself decides"), ("pysyncobj", "PySyncObj changes its members only with")):
        lacking = "remove-member needs members, add_member, remove_member, which the adapter of"
        with pytest.raises(Refused, match=rf"{lacking} {system} does not have: {why} .* \(docs/systems.md\)"):
            plan(RunConfig(seed=1, system=system, faults=("remove-member",)))


class Stage:
    """A nemesis on three fake nodes; `say` sets what n2's log holds."""

    def __init__(self, *steps: str) -> None:
        self.world = World(3)
        cluster = cluster_of(self.world, FakeSystem())
        cluster.system.nodes = cluster.nodes
        cluster.start()
        self.log = b"began\n"
        for node in cluster.nodes:
            node.read_tail = (
                lambda source, offset, node=node: (  # type: ignore[method-assign,misc]
                    (self.log[offset:], len(self.log)) if node.name == "n2" else (b"", 0)
                )
            )
        self.lines: list[tuple[str, Mapping[str, Any]]] = []
        operator = Operator(cluster)
        self.nemesis = Nemesis(
            parse('{"steps": [' + ",".join(steps) + "]}", where="test", nodes=NODES),
            Holds(cluster.nodes, cluster.restart, operator),
            record=lambda word, value: self.lines.append((word, value)),
            leader=operator.leader,
            clock=MonotonicClock(),
        )

    def until(self, phase: str, count: int = 1) -> None:
        ends = time.monotonic() + 10
        while [v["phase"] for _, v in self.lines].count(phase) < count:
            assert time.monotonic() < ends, self.lines
            time.sleep(0.01)

    def line(self, phase: str) -> Mapping[str, Any]:
        return next(value for _, value in self.lines if value["phase"] == phase)


def kill(when: str, target: str = "n3", duration_s: float = 0.1) -> str:
    return json.dumps({
        "duration_s": duration_s, "when": json.loads(when), "fault": {"fault": "kill", "target": target}
    })  # fmt: skip


def test_a_fault_waits_until_another_node_becomes_leader() -> None:
    stage = Stage(kill('{"leader": "any"}'))
    stage.nemesis.start()
    time.sleep(0.3)
    assert not stage.lines
    stage.world.alive["n1"] = False  # the fake's leader is the first that is well
    stage.until("probe")
    assert stage.line("intend")["detail"]["trigger"]["leader"] == "n2"
    stage.nemesis.stop()


def test_a_fault_waits_for_a_new_line_of_the_log_and_tells_it() -> None:
    stage = Stage(kill('{"log": "snapshot at [0-9]+", "node": "n2"}'))
    stage.log = b"snapshot at 1 is old\n"
    stage.nemesis.start()
    time.sleep(0.2)
    stage.log += b"snapshot at "
    time.sleep(0.1)
    assert not stage.lines
    stage.log += b"77\n"
    stage.until("probe")
    assert stage.line("intend")["detail"]["trigger"] == {"node": "n2", "line": "snapshot at 77"}
    stage.nemesis.stop()


def test_a_fault_strikes_so_long_after_another_was_healed() -> None:
    first = json.dumps({"at_s": 0, "duration_s": 0.2, "name": "first", "fault": {"fault": "kill", "target": "n2"}})
    stage = Stage(first, kill('{"healed": "first", "delay_ms": 200}'))
    stage.nemesis.start()
    stage.until("heal-probe", 2)
    phases = [(value["id"], value["phase"]) for _, value in stage.lines]
    assert phases.index((2, "intend")) > phases.index((1, "heal-probe")) or phases.index((1, "intend")) > phases.index(
        (2, "heal-probe")
    )
    stage.nemesis.stop()


def test_a_trigger_that_never_comes_leaves_the_fault_skipped_and_says_which() -> None:
    stage = Stage(kill('{"term": 9, "within_s": 0.2}'))
    stage.nemesis.start()
    stage.until("skip")
    assert stage.line("skip")["detail"]["reason"] == "its trigger did not come: the term reaches 9"
    assert stage.line("skip")["when"] == {"term": 9, "within_s": 0.2}
    stage.nemesis.stop()
    assert not any(order.startswith("kill") for order in stage.world.orders)


def test_the_end_of_the_load_ends_the_waiting() -> None:
    stage = Stage(kill('{"term": 9}'))
    stage.nemesis.start()
    time.sleep(0.1)
    began = time.monotonic()
    stage.nemesis.stop()
    assert time.monotonic() - began < 2
    assert [value["phase"] for _, value in stage.lines] == ["skip"]


class Failing(FakeSystem):
    """Has one failpoint; a node that reaches it is killed, or stopped, by `reach`."""

    armed: dict[str, str]

    def __init__(self) -> None:
        super().__init__()
        self.armed = {}

    def failpoints(self) -> Mapping[str, str]:
        return {"after_append": "there"}

    def arm(self, node: Any, failpoint: str, action: str) -> None:
        self.armed[node.name] = action


def test_the_ambush_follows_the_leader_and_catches_it_at_the_failpoint() -> None:
    stage = Stage(kill('{"failpoint": "after_append", "node": "leader"}', target="leader"))
    system = Failing()
    stage.nemesis._stage.holds.operator.system = system
    stage.nemesis.start()
    ends = time.monotonic() + 5
    while system.armed.get("n1") != "crash" and time.monotonic() < ends:
        time.sleep(0.01)
    stage.world.stopped["n1"] = True  # n1 leads no more: n2 does
    while system.armed.get("n2") != "crash" and time.monotonic() < ends:
        time.sleep(0.01)
    assert system.armed == {"n1": "off", "n2": "crash"}
    stage.world.alive["n2"] = False
    stage.until("heal-probe")
    assert stage.line("probe")["targets"] == ["n2"]
    assert stage.line("probe")["landed"] is True
    assert stage.world.alive["n2"]
    stage.nemesis.stop()


@pytest.mark.parametrize(("code", "landed"), [(-9, True), (1, False)])
def test_a_node_that_ends_by_itself_while_armed_did_not_die_of_the_failpoint(code: int, landed: bool) -> None:
    stage = Stage(kill('{"failpoint": "after_append", "node": "n2"}', target="n2"))
    system = Failing()
    stage.nemesis._stage.holds.operator.system = system
    node = stage.nemesis._stage.holds.node("n2")
    seen = node.process
    node.process = lambda: replace(seen(), code=None if seen().alive else code)  # type: ignore[method-assign]
    stage.nemesis.start()
    ends = time.monotonic() + 5
    while system.armed.get("n2") != "crash" and time.monotonic() < ends:
        time.sleep(0.01)
    stage.world.alive["n2"] = False
    stage.until("heal-probe")
    assert stage.line("probe")["landed"] is landed
    stage.nemesis.stop()


def test_a_leader_that_is_taken_down_first_is_followed_by_the_next_one() -> None:
    stage = Stage(
        kill('{"failpoint": "after_append", "node": "leader"}', target="leader"),
        json.dumps({"at_s": 0.3, "duration_s": 2, "fault": {"fault": "kill", "target": "n1"}}),
    )
    system = Failing()
    stage.nemesis._stage.holds.operator.system = system
    stage.nemesis.start()
    ends = time.monotonic() + 5
    while system.armed.get("n2") != "crash" and time.monotonic() < ends:
        time.sleep(0.01)
    stage.world.alive["n2"] = False
    ends = time.monotonic() + 5
    while not [v for _, v in stage.lines if v["phase"] == "probe" and "when" in v] and time.monotonic() < ends:
        time.sleep(0.01)
    (probe,) = [value for _, value in stage.lines if value["phase"] == "probe" and "when" in value]
    assert (probe["targets"], probe["landed"]) == (["n2"], True)
    stage.nemesis.stop()


KILL_N2 = json.dumps({"at_s": 1.0, "duration_s": 0.3, "fault": {"fault": "kill", "target": "n2"}})


def test_a_node_that_another_fault_takes_down_first_was_not_caught() -> None:
    stage = Stage(kill('{"failpoint": "after_append", "node": "n2", "within_s": 2.5}', target="n2"), KILL_N2)
    stage.nemesis._stage.holds.operator.system = Failing()
    stage.nemesis.start()
    stage.until("skip")
    assert "taken down by another fault" in stage.line("skip")["detail"]["reason"]
    assert [value for _, value in stage.lines if value["phase"] == "probe" and "when" in value] == []
    stage.nemesis.stop()
    assert stage.world.alive["n2"]


def test_a_node_that_another_fault_took_down_first_is_armed_again_when_it_is_back() -> None:
    stage = Stage(kill('{"failpoint": "after_append", "node": "n2"}', target="n2"), KILL_N2)
    system = Failing()
    stage.nemesis._stage.holds.operator.system = system
    stage.nemesis.start()
    stage.until("heal-probe")
    system.armed.clear()
    ends = time.monotonic() + 5
    while system.armed.get("n2") != "crash" and time.monotonic() < ends:
        time.sleep(0.01)
    stage.world.alive["n2"] = False
    stage.until("heal-probe", 2)
    stage.nemesis.stop()
    mine = [(value["phase"], value.get("landed")) for _, value in stage.lines if "when" in value]
    assert [phase for phase, _ in mine] == ["intend", "inject", "probe", "heal", "heal-probe"]
    assert ("probe", True) in mine
    assert stage.world.alive["n2"]


def test_a_node_that_says_it_died_at_the_place_was_caught_although_it_is_being_removed() -> None:
    """A member that is being removed still runs: when it dies at the failpoint, that is no crash of its own."""
    stage = Stage(kill('{"failpoint": "after_append", "node": "n2"}', target="n2"))
    system, holds = Failing(), stage.nemesis._stage.holds
    holds.operator.system = system
    stage.nemesis.start()
    ends = time.monotonic() + 5
    while "n2" not in system.armed and time.monotonic() < ends:
        time.sleep(0.01)
    holds._held["out"]["n2"].add(99)
    stage.log += b"WARNING failpoint after_append: kill\n"
    stage.world.alive["n2"] = False
    stage.until("probe")
    assert stage.line("probe")["landed"] is True
    stage.nemesis.stop()
    assert [v for _, v in stage.lines if v["phase"] == "skip"] == []


def test_an_ambush_waits_for_a_node_that_is_down_and_neither_starts_nor_arms_it() -> None:
    """A process that ended by itself is a finding; the ambush must not raise it before anybody has seen it."""
    stage = Stage(kill('{"failpoint": "after_append", "node": "n2", "within_s": 0.5}', target="n2"))
    system = Failing()
    stage.nemesis._stage.holds.operator.system = system
    stage.world.alive["n2"] = False
    stage.nemesis.start()
    stage.until("skip")
    assert stage.line("skip")["detail"]["reason"] == "n2 is down"
    assert system.armed == {}
    assert not stage.world.alive["n2"]
    stage.nemesis.stop()


def test_a_kill_of_somebody_else_strikes_while_the_node_stands_at_the_place() -> None:
    stage = Stage(kill('{"failpoint": "after_append", "node": "n1"}', target="n3"))
    system = Failing()
    stage.nemesis._stage.holds.operator.system = system
    stage.nemesis.start()
    ends = time.monotonic() + 5
    while "n1" not in system.armed and time.monotonic() < ends:
        time.sleep(0.01)
    assert system.armed == {"n1": "pause"}
    stage.world.stopped["n1"] = True
    stage.until("heal-probe")
    assert stage.line("probe")["targets"] == ["n3"]
    assert stage.line("probe")["landed"] is True
    assert not stage.world.stopped["n1"]
    stage.nemesis.stop()


def test_threads_of_triggers_end_with_the_nemesis() -> None:
    stage = Stage(kill('{"leader": "any"}'), kill('{"log": "never", "node": "any"}'))
    stage.nemesis.start()
    time.sleep(0.1)
    stage.nemesis.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("(kill)")]
