"""Thesis §6.4: linearizable reads by ReadIndex, on any server; §6.4.1: leases."""

from __future__ import annotations

from dataclasses import replace

import pytest


@pytest.fixture
def led(bench):
    """Three servers, led by n1, with x = 1 committed everywhere."""
    b = bench("n1", "n2", "n3")
    b.elect("n1")
    b.ask("n1", "put", "x", 1)
    b.settle()
    b.time_out("n1")
    b.settle()
    return b


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_a_read_sees_what_was_committed(led, node):
    rid = led.ask(node, "get", "x")
    led.settle()
    assert led.replies[rid].outcome == "ok"
    assert led.replies[rid].result == 1
    assert led.replies[rid].meta["served_by"] == node


def test_a_read_writes_nothing_to_the_log(led):
    last = led.cores["n1"].log.last
    led.ask("n1", "get", "x")
    led.settle()
    assert led.cores["n1"].log.last == last


def test_a_minority_leader_does_not_answer_reads(led):
    rid = led.ask("n1", "get", "x")
    led.settle("n1")
    led.elect("n2", "n3")
    led.ask("n2", "put", "x", 2)
    led.settle("n2", "n3")
    for _ in range(5):
        led.time_out("n1")
        led.settle("n1")
    assert led.outcome(rid) is None
    led.time_out("n2")
    led.settle()
    assert led.outcome(rid) == "fail"


def test_an_answer_to_a_round_begun_before_the_read_confirms_nothing(led):
    """Step 3: late heartbeat replies must not confirm a read that came after the heartbeat was sent."""
    first = led.ask("n1", "get", "x")
    held = led.take("AE")
    led.deliver(*held)
    answers = led.take("AER")
    second = led.ask("n1", "get", "x")  # arrives after round 1 was answered, before the answers arrive
    led.wire.clear()
    led.deliver(*answers)
    assert led.outcome(first) == "ok"
    assert led.outcome(second) is None
    led.time_out("n1")
    led.settle()
    assert led.outcome(second) == "ok"


def test_a_new_leader_reads_only_after_it_committed_in_its_term(bench):
    """Step 1: before that its commit index may be old."""
    b = bench("n1", "n2", "n3")
    b.elect("n1")
    b.ask("n1", "put", "x", 1)
    b.settle()  # committed at n1; the others do not know
    b.auto_persist = False
    b.time_out("n2")
    b.persist("n2")
    b.deliver(*b.take("RV", to="n3"))
    b.persist("n3")
    b.deliver(*b.take("RVR"))
    assert b.cores["n2"].is_leader()
    rid = b.ask("n2", "get", "x")
    b.settle("n2", "n3")  # heartbeats are answered, but the no-op is not on the disk yet
    assert b.outcome(rid) is None
    for name in ("n2", "n3", "n2"):
        b.persist(name)
        b.settle("n2", "n3")
    assert b.replies[rid].result == 1


def test_a_read_waits_until_its_index_is_applied(bench):
    """Step 4."""
    b = bench("n1", "n2", "n3", settings=replace(bench.plain, apply_delay_ms=100))
    b.elect("n1")
    b.settle()
    b.pass_time(200)
    b.ask("n1", "put", "x", 7)
    b.settle()
    rid = b.ask("n1", "get", "x")
    b.settle()
    assert b.outcome(rid) is None
    b.pass_time(200)
    assert b.replies[rid].result == 7


def test_one_round_serves_every_read_that_waited_for_it(led):
    rids = [led.ask("n1", "get", "x") for _ in range(20)]
    led.settle()
    assert all(led.outcome(rid) == "ok" for rid in rids)
    assert led.cores["n1"].read_round <= 2


def test_a_read_on_a_server_that_knows_no_leader_is_refused(bench):
    b = bench("n1", "n2", "n3")
    rid = b.ask("n2", "get", "x")
    assert b.outcome(rid) == "fail"


def test_a_read_whose_leader_does_not_answer_fails_in_the_end(led):
    rid = led.ask("n2", "get", "x")
    led.wire.clear()
    led.pass_time(led.settings.request_timeout_ms + 100, only=("n2",))
    assert led.outcome(rid) == "fail"


def test_a_leader_with_a_lease_answers_without_a_round(bench):
    b = bench("n1", "n2", "n3", settings=replace(bench.plain, lease_reads=True, protect_leader=True))
    leader = b.elect("n1")
    b.settle()
    b.pass_time(100)
    rounds = leader.read_round
    rid = b.ask("n1", "get", "x")
    assert b.outcome(rid) == "ok"
    assert leader.read_round == rounds


def test_a_lease_ends_before_another_leader_can_be_elected(bench):
    """§6.4.1: counted from the beginning of the round, shortened by what clocks may drift."""
    b = bench("n1", "n2", "n3", settings=replace(bench.plain, lease_reads=True, protect_leader=True))
    leader = b.elect("n1")
    b.settle()
    b.pass_time(100)
    low = b.settings.election_timeout_ms[0]
    assert leader.lease_until_ns <= b.now_ns + low * 0.9 * 1_000_000
    b.now_ns += low * 1_000_000
    rid = b.ask("n1", "get", "x")
    assert b.outcome(rid) is None
