"""§8: clients at any server, definite and indefinite answers, one application for each request."""

from __future__ import annotations

from dataclasses import replace

import pytest

from capsize.raft.events import Undeliverable


@pytest.fixture
def led(bench):
    b = bench("n1", "n2", "n3")
    b.elect("n1")
    b.settle()
    b.time_out("n1")
    b.settle()
    return b


def test_a_follower_forwards_a_write_and_says_where_it_went(led):
    rid = led.ask("n2", "incr", "c", 5)
    led.settle()
    reply = led.replies[rid]
    assert (reply.outcome, reply.result) == ("ok", 5)
    assert reply.meta == {"served_by": "n2", "term": 1, "log_index": led.cores["n1"].log.last_index}


def test_a_retried_request_is_applied_once(led):
    """§8: the session table remembers the newest request of each client, and its result."""
    first = led.ask("n1", "incr", "c", 1, client="c7", seq=1)
    led.settle()
    again = led.ask("n2", "incr", "c", 1, client="c7", seq=1)
    led.settle()
    assert led.replies[first].result == led.replies[again].result == 1
    assert led.cores["n1"].machine.read("c") == 1
    assert led.replies[first].meta["log_index"] < led.replies[again].meta["log_index"]


def test_a_retry_at_the_next_leader_is_applied_once(led):
    led.ask("n1", "append", "l", [1], client="c7", seq=1)
    led.settle()
    led.elect("n2", "n3")
    rid = led.ask("n2", "append", "l", [1], client="c7", seq=1)
    led.settle("n2", "n3")
    assert led.outcome(rid) == "ok"
    assert led.cores["n2"].machine.read("l") == [1]


def test_a_request_older_than_the_clients_newest_is_not_applied(led):
    led.ask("n1", "put", "x", 2, client="c7", seq=2)
    led.settle()
    late = led.ask("n1", "put", "x", 1, client="c7", seq=1)
    led.settle()
    assert led.outcome(late) == "info"
    assert led.cores["n1"].machine.read("x") == 2


def test_without_a_known_leader_nothing_is_done(bench):
    b = bench("n1", "n2", "n3")
    assert b.outcome(b.ask("n1", "put", "x", 1)) == "fail"


def test_a_forward_that_never_left_is_a_definite_failure(led):
    rid = led.ask("n2", "put", "x", 1)
    (forward,) = led.take("FW")
    led.step("n2", Undeliverable(forward))
    assert led.outcome(rid) == "fail"


def test_a_forward_whose_answer_is_lost_is_unknown(led):
    rid = led.ask("n2", "put", "x", 1)
    led.deliver(*led.take("FW"))
    led.wire.clear()
    led.pass_time(led.settings.request_timeout_ms + 100, only=("n2",))
    assert led.outcome(rid) == "info"


def test_a_leader_that_loses_its_office_does_not_know(led):
    rid = led.ask("n1", "put", "x", 1)
    led.wire.clear()
    led.elect("n2", "n3")
    led.time_out("n2")
    led.settle()
    assert led.outcome(rid) == "info"


def test_a_forward_to_a_deposed_leader_is_refused_and_never_appended(led):
    rid = led.ask("n3", "put", "x", 1)
    (forward,) = led.take("FW")
    led.elect("n2", "n3")
    led.time_out("n2")
    led.settle()
    led.deliver(forward)
    led.settle()
    assert led.outcome(rid) == "fail"
    assert led.cores["n2"].machine.read("x") is None


def test_a_forward_delivered_twice_is_appended_once(led):
    led.ask("n2", "incr", "c", 1, client="", seq=0)  # no session: nothing else would catch it
    (forward,) = led.take("FW")
    led.deliver(forward, forward)
    led.settle()
    assert led.cores["n1"].machine.read("c") == 1


def test_the_second_copy_of_a_forward_is_not_refused_after_the_first_was_taken(led):
    """A definite failure would be a lie: the first copy may yet be committed."""
    rid = led.ask("n3", "put", "x", 1)
    (forward,) = led.take("FW")
    led.deliver(forward)
    led.wire.clear()
    led.elect("n2", "n3")
    led.time_out("n2")
    led.settle()
    led.deliver(forward)
    led.settle()
    assert led.outcome(rid) == "info"


def test_a_restarted_leader_does_not_refuse_what_it_may_have_taken(led):
    rid = led.ask("n3", "put", "x", 1)
    (forward,) = led.take("FW")
    led.deliver(forward)
    led.wire.clear()
    led.boot("n1")
    led.deliver(forward)
    led.settle()
    assert led.outcome(rid) == "info"


def test_a_leader_with_too_much_waiting_refuses_before_it_appends(bench):
    b = bench("n1", "n2", "n3", settings=replace(bench.plain, pending_max=3))
    b.elect("n1")
    b.settle()
    rids = [b.ask("n1", "put", "x", n) for n in range(5)]
    assert [b.outcome(rid) for rid in rids] == [None, None, None, "fail", "fail"]


def test_an_unknown_command_is_refused(led):
    assert led.outcome(led.ask("n1", "launch")) == "fail"
