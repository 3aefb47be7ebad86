"""Thesis chapter 4: one server at a time, learners first, the newest configuration in the log counts."""

from __future__ import annotations

import pytest

from capsize.raft.configuration import Configuration
from capsize.raft.events import MessageReceived, Recovered
from capsize.raft.log import CONFIGURATION, Entry
from capsize.raft.messages import AppendEntries
from capsize.raft.settings import Settings


@pytest.fixture
def four(bench):
    """n1, n2, n3 vote, n1 leads; n4 runs, empty, and waits to be added."""
    b = bench("n1", "n2", "n3", "n4", voters=("n1", "n2", "n3"))
    b.elect("n1", "n2", "n3")
    b.settle()
    return b


def beat(b, *among):
    for _ in range(4):
        b.time_out("n1")
        b.settle(*among)


def add(b, node):
    learner = b.order("n1", "add_learner", node)
    beat(b)
    voter = b.order("n1", "add_voter", node)
    beat(b)
    return b.outcome(learner), b.outcome(voter)


def test_a_server_is_added_as_a_learner_and_then_votes(four):
    """Thesis §4.2.1."""
    four.ask("n1", "put", "x", 1)
    assert add(four, "n4") == ("ok", "ok")
    assert four.cores["n1"].configuration == Configuration(("n1", "n2", "n3", "n4"))
    assert four.cores["n4"].machine.read("x") == 1
    assert four.cores["n1"].quorum_size(4) == 3


def test_a_learner_does_not_count_towards_a_majority(four):
    four.order("n1", "add_learner", "n4")
    beat(four)
    rid = four.ask("n1", "put", "x", 1)
    beat(four, "n1", "n4")
    assert four.outcome(rid) is None


def test_a_server_that_has_not_caught_up_is_not_given_a_vote(four):
    rid = four.order("n1", "add_voter", "n4")
    assert four.outcome(rid) == "fail"


def test_a_second_change_waits_for_the_first(four):
    four.order("n1", "add_learner", "n4")
    second = four.order("n1", "remove", "n2")
    assert four.outcome(second) == "fail"
    beat(four)
    assert four.outcome(four.order("n1", "remove", "n2")) is None  # appended


def test_no_change_begins_before_the_leader_committed_in_its_term(bench):
    """The erratum to the thesis: two leaders' changes could otherwise have disjoint majorities."""
    b = bench("n1", "n2", "n3", "n4", voters=("n1", "n2", "n3"), auto_persist=False)
    b.time_out("n1")
    b.persist("n1")
    b.deliver(*b.take("RV", to="n2"))
    b.persist("n2")
    b.deliver(*b.take("RVR"))
    assert b.cores["n1"].is_leader()
    assert b.outcome(b.order("n1", "add_learner", "n4")) == "fail"


def test_a_configuration_that_is_cut_off_the_log_no_longer_counts(bench):
    four_voters = Configuration(("n1", "n2", "n3", "n4")).to_json()
    change = Entry(2, 1, CONFIGURATION, four_voters)
    log = (*bench.log_of(1), change)
    b = bench("n1", "n2", "n3", "n4", voters=("n1", "n2", "n3"), recovered={"n2": Recovered(term=1, entries=log)})
    assert len(b.cores["n2"].configuration.voters) == 4  # an uncommitted change counts after a restart, too
    b.step("n2", MessageReceived(AppendEntries("m", "n1", "n2", 2, 1, 1, (b.entry(2, 2),), 0, 0)))
    assert b.cores["n2"].configuration.voters == ("n1", "n2", "n3")


def test_a_removed_leader_goes_once_its_removal_is_committed(four):
    """Thesis §4.2.2; until then it leads without counting itself."""
    rid = four.order("n1", "remove", "n1")
    assert four.cores["n1"].is_leader()
    for _ in range(4):
        if not four.cores["n1"].is_leader():
            break
        four.time_out("n1")
        four.settle()
    four.settle()
    assert four.outcome(rid) == "ok"
    assert not four.cores["n1"].is_leader()
    four.elect("n2", "n3")
    assert four.cores["n2"].configuration.voters == ("n2", "n3")


def test_a_removed_server_that_does_not_know_it_disturbs_nobody(bench):
    """Thesis §4.2.3: the others hear their leader, and ignore its requests."""
    b = bench("n1", "n2", "n3", settings=Settings(pre_vote=False, check_quorum=False))
    leader = b.elect("n1")
    b.settle()
    b.order("n1", "remove", "n3")
    b.settle()
    term = leader.term
    b.pass_time(1000)
    assert b.cores["n3"].term > term
    assert leader.is_leader()
    assert b.cores["n2"].term == term


def test_the_last_voter_stays(bench):
    b = bench("n1")
    b.time_out("n1")
    assert b.outcome(b.order("n1", "remove", "n1")) == "fail"


def test_a_follower_does_not_change_the_membership(four):
    assert four.outcome(four.order("n2", "remove", "n3")) == "fail"


def test_the_configuration_travels_in_the_snapshot(four):
    add(four, "n4")
    four.order("n1", "snapshot")
    core = four.boot("n1")
    assert core.log.base.index > 0
    assert core.configuration.voters == ("n1", "n2", "n3", "n4")
