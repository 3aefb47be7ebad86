"""§5.1, §5.2, §5.4.1; thesis §9.6 (pre-vote), §4.2.3 (protected leaders), §6.2 (check quorum)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from capsize.raft.events import MessageReceived, Recovered, Tick, WriteFailed
from capsize.raft.messages import AppendEntries, RequestVote, TimeoutNow, VoteReply
from capsize.raft.settings import Settings

MS = 1_000_000


def vote_for(candidate: str, voter: str, term: int, last: tuple[int, int] = (0, 0)) -> MessageReceived:
    return MessageReceived(RequestVote("m", candidate, voter, term, *last))


def test_a_candidate_with_a_majority_leads_and_appends_a_no_op(bench):
    b = bench("n1", "n2", "n3")
    leader = b.elect("n1", "n2")
    assert leader.is_leader()
    assert leader.log.entry(1).kind == "noop"
    assert leader.commit_index == 1


def test_without_a_majority_nobody_leads(bench):
    b = bench()
    b.time_out("n1")
    b.settle("n1", "n2")
    assert not b.cores["n1"].is_leader()


def test_a_server_votes_once_in_a_term(bench):
    """§5.2; also after it was restarted (§5.1: votedFor is durable)."""
    b = bench("n1", "n2", "n3")
    b.step("n3", vote_for("n1", "n3", 1))
    b.step("n3", vote_for("n2", "n3", 1))
    assert [m.granted for m in b.take("RVR")] == [True, False]
    b.boot("n3")
    b.step("n3", vote_for("n2", "n3", 1))
    b.step("n3", vote_for("n1", "n3", 1))
    assert [m.granted for m in b.take("RVR")] == [False, True]


def test_a_vote_is_not_given_before_it_is_durable(bench):
    b = bench("n1", "n2", "n3", auto_persist=False)
    b.step("n3", vote_for("n1", "n3", 1))
    assert not b.take("RVR")
    b.persist("n3")
    assert [m.granted for m in b.take("RVR")] == [True]


def test_a_candidate_asks_for_votes_only_when_its_own_is_durable(bench):
    b = bench("n1", "n2", "n3", auto_persist=False)
    b.time_out("n1")
    assert not b.take("RV")
    b.persist("n1")
    assert [m.to for m in b.take("RV")] == ["n2", "n3"]


def test_a_vote_that_became_durable_after_its_term_is_not_sent(bench):
    b = bench("n1", "n2", "n3", auto_persist=False)
    b.step("n3", vote_for("n1", "n3", 1))
    b.step("n3", vote_for("n2", "n3", 2))
    b.persist("n3")
    assert [(m.to, m.term, m.granted) for m in b.take("RVR")] == [("n2", 2, True)]


@pytest.mark.parametrize(
    ("own", "candidate", "granted"),
    [
        ((1, 1, 1), (4, 1), True),  # longer
        ((1, 1, 1), (3, 1), True),  # equal
        ((1, 1, 1), (2, 1), False),  # shorter
        ((1, 1, 1), (1, 2), True),  # shorter, but of a later term
        ((1, 1, 2), (9, 1), False),  # longer, but of an earlier term
    ],
)
def test_a_vote_needs_a_log_at_least_as_up_to_date(bench, own, candidate, granted):
    """§5.4.1: the later last term wins, then the longer log."""
    b = bench("n1", "n2", "n3", recovered={"n3": Recovered(term=2, entries=bench.log_of(*own))})
    b.step("n3", vote_for("n1", "n3", 5, candidate))
    assert [m.granted for m in b.take("RVR")] == [granted]


def test_a_late_vote_of_an_earlier_term_does_not_count(bench):
    b = bench("n1", "n2", "n3")
    b.time_out("n1")
    b.wire.clear()
    b.time_out("n1")
    b.deliver(VoteReply("m", "n2", "n1", 1, True))
    assert b.cores["n1"].term == 2
    assert not b.cores["n1"].is_leader()


def test_a_vote_delivered_twice_counts_once(bench):
    b = bench()
    b.time_out("n1")
    vote = VoteReply("m", "n2", "n1", 1, True)
    b.deliver(vote, vote)
    assert not b.cores["n1"].is_leader()
    b.deliver(VoteReply("m2", "n3", "n1", 1, True))
    assert b.cores["n1"].is_leader()


def test_a_newer_term_deposes_a_leader(bench):
    b = bench("n1", "n2", "n3")
    leader = b.elect("n1")
    b.step("n1", vote_for("n2", "n1", leader.term + 1, (9, 9)))
    assert not leader.is_leader()


def test_election_timeouts_are_spread_over_their_range(bench):
    b = bench()
    low, high = bench.plain.election_timeout_ms
    deadlines = {core.deadline_ns // MS for core in b.cores.values()}
    assert len(deadlines) > 1
    assert all(low <= deadline <= high for deadline in deadlines)


def test_a_lone_server_leads_at_once(bench):
    b = bench("n1")
    b.step("n1", Tick())
    assert b.cores["n1"].is_leader()
    assert b.outcome(b.ask("n1", "put", "x", 1)) == "ok"


# -- thesis: pre-vote, protection, check quorum ------------------------------------------------------------------


def test_a_server_that_was_cut_off_does_not_raise_the_term(bench):
    """Thesis §9.6: the pre-vote fails, so the term stays, and the leader is left in peace."""
    b = bench("n1", "n2", "n3", settings=Settings(check_quorum=False))
    leader = b.elect("n1")
    b.settle()
    for _ in range(5):
        b.time_out("n3")
        b.settle("n1", "n2")
    assert b.cores["n3"].term == leader.term
    b.pass_time(100)
    assert leader.is_leader()


def test_a_pre_vote_is_refused_while_the_leader_is_heard(bench):
    b = bench("n1", "n2", "n3", settings=Settings())
    b.elect("n1")
    b.settle()
    b.cores["n3"].election_deadline_ns = b.now_ns
    b.step("n3", Tick())
    b.settle()
    assert b.cores["n1"].is_leader()
    assert b.cores["n3"].role == "P"


def test_a_vote_request_is_ignored_while_the_leader_is_heard_unless_the_leader_asked_for_it(bench):
    """Thesis §4.2.3 and §3.10."""
    b = bench("n1", "n2", "n3", settings=replace(bench.plain, protect_leader=True))
    leader = b.elect("n1")
    b.settle()
    request = RequestVote("m", "n3", "n2", leader.term + 1, 99, 99)
    b.deliver(request)
    assert not b.take("RVR")
    assert b.cores["n2"].term == leader.term
    b.deliver(request._replace(transfer=True))
    assert [m.granted for m in b.take("RVR")] == [True]


def test_a_leader_without_a_majority_steps_down(bench):
    """Thesis §6.2: so that clients find another one."""
    b = bench("n1", "n2", "n3", settings=replace(bench.plain, check_quorum=True))
    leader = b.elect("n1")
    b.settle()
    for _ in range(40):
        if not leader.is_leader():
            break
        b.time_out("n1")
        b.wire.clear()
    assert not leader.is_leader()
    assert b.now_ns < 2_000 * MS


def test_a_leader_whose_disk_stalls_hands_over(bench):
    b = bench("n1", "n2", "n3", settings=replace(bench.plain, disk_stall_ms=500))
    leader = b.elect("n1")
    b.settle()
    b.auto_persist = False
    rid = b.ask("n1", "put", "x", 1)
    for _ in range(30):
        if not leader.is_leader():
            break
        b.time_out("n1")
        for name in ("n2", "n3"):
            b.persist(name)
        handed_over = [m for m in b.wire if isinstance(m, TimeoutNow)]
        b.settle("n1", "n2", "n3") if leader.is_leader() else None
    assert not leader.is_leader()
    assert b.outcome(rid) == "info"
    assert handed_over
    b.auto_persist = True
    b.deliver(*handed_over)
    b.settle("n2", "n3")
    assert any(b.cores[name].is_leader() for name in ("n2", "n3"))


def test_a_server_whose_disk_stalls_does_not_campaign(bench):
    b = bench("n1", "n2", "n3", auto_persist=False)
    b.step("n1", vote_for("n2", "n1", 1))
    for _ in range(6):
        b.time_out("n1")
    assert b.cores["n1"].term <= 2
    assert not b.take("RV")


def test_a_failed_write_stops_the_server_and_nothing_leaves(bench):
    """After EIO nobody knows what the disk holds (Rebello et al., ATC 2020)."""
    b = bench("n1", "n2", "n3", auto_persist=False)
    b.step("n3", vote_for("n1", "n3", 1))
    b.step("n3", WriteFailed(1, "EIO"))
    assert "EIO" in b.stopped["n3"]
    assert not b.take("RVR")


def test_leadership_is_handed_over_without_a_gap_in_the_log(bench):
    """Thesis §3.10."""
    b = bench("n1", "n2", "n3", settings=Settings())
    b.elect("n1")
    b.settle()
    b.ask("n1", "put", "x", 1)
    rid = b.order("n1", "transfer", "n3")
    refused = b.ask("n1", "put", "x", 2)
    b.settle()
    assert b.cores["n3"].is_leader()
    assert b.outcome(rid) == "ok"
    assert b.outcome(refused) == "fail"
    assert b.cores["n3"].machine.read("x") == 1


def test_a_transfer_to_a_dead_server_is_given_up(bench):
    b = bench("n1", "n2", "n3")
    leader = b.elect("n1")
    b.settle()
    rid = b.order("n1", "transfer", "n3")
    b.pass_time(700, only=("n1", "n2"))
    assert leader.is_leader()
    assert b.outcome(rid) == "fail"
    later = b.ask("n1", "put", "x", 1)
    b.settle("n1", "n2")
    assert b.outcome(later) == "ok"


def test_a_leader_obeys_another_one_of_a_newer_term(bench):
    b = bench("n1", "n2", "n3")
    leader = b.elect("n1")
    b.deliver(AppendEntries("m", "n2", "n1", leader.term + 3, 0, 0, (), 0, 0))
    assert not leader.is_leader()
    assert leader.leader == "n2"
