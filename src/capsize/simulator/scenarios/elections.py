"""Scenarios about votes and terms (Raft paper §5.2, §5.4.1)."""

from __future__ import annotations

from capsize.simulator.scenarios.scenario import Play, scenario


@scenario("S01")
def first_election(play: Play) -> None:
    """Three servers start; one times out, wins, and everybody follows it in the same term, which then stays."""
    stage = play(3)
    stage.elect("n1")
    stage.settle()
    for _ in range(3):
        stage.heartbeat("n1")
        stage.settle()
    stage.expect({stage.core(name).term for name in stage.names} == {1}, "the term did not stay at 1")
    stage.expect({stage.core(name).leader for name in stage.names} == {"n1"}, "not everybody follows n1")


@scenario("S02")
def isolated_leader_returns(play: Play) -> None:
    """A leader is cut off, another one is elected; the first comes back, follows, and its unreplicated write is
    gone.
    """
    stage = play(3)
    stage.elect("n1")
    stage.settle()
    lost = stage.write("n1", "x", 1)
    stage.take(frm="n1")
    stage.elect("n2", "n3")
    stage.settle("n2", "n3")
    kept = stage.write("n2", "x", 2)
    stage.settle("n2", "n3")
    stage.expect(kept.outcome == "ok", "the majority did not commit")
    stage.heartbeat("n2")
    stage.settle()
    stage.expect(not stage.core("n1").is_leader(), "n1 still believes that it leads")
    stage.expect(stage.log("n1") == stage.log("n2"), "the logs differ after the return")
    stage.expect(lost.outcome in (None, "info"), f"a write that was overwritten was answered {lost.outcome}")
    read = stage.read("n1", "x")
    stage.settle()
    stage.expect(read.result == 2, f"x reads {read.result!r}")


@scenario("S03")
def no_quorum_no_leader(play: Play) -> None:
    """Three of five servers are down: nobody can be elected; when one returns, somebody can."""
    stage = play(5)
    stage.kill("n3", "n4", "n5")
    for _ in range(3):
        for name in ("n1", "n2"):
            stage.timeout(name)
            stage.settle("n1", "n2")
            stage.expect(stage.world.leader is None, f"{stage.world.leader} leads with two of five servers")
    stage.start("n3")
    stage.elect("n1", "n2", "n3")


@scenario("S04")
def split_vote(play: Play) -> None:
    """Two candidates split four votes: neither leads; in the next term one of them wins."""
    stage = play(4)
    stage.timeout("n1")
    stage.timeout("n2")
    for candidate, voter in (("n1", "n3"), ("n2", "n4"), ("n1", "n2"), ("n2", "n1"), ("n1", "n4"), ("n2", "n3")):
        stage.deliver("RV", candidate, voter)
    stage.settle()
    stage.expect(stage.world.leader is None, f"{stage.world.leader} leads with two of four votes")
    stage.elect("n1")


@scenario("S05")
def stale_vote_reply(play: Play) -> None:
    """A candidate times out twice; a vote of the first term arrives in the second, which somebody else wins."""
    stage = play(3)
    stage.timeout("n1")
    stage.deliver("RV", "n1", "n2")
    (late,) = stage.take("RVR", "n2", "n1")
    stage.take("RV", "n1")
    stage.timeout("n1")
    stage.take("RV", "n1")
    stage.arrive(late)
    stage.elect("n2", "n3")
    stage.expect(not stage.core("n1").is_leader(), "n1 took a vote of term 1 for one of term 2")


@scenario("S06")
def doubled_vote_reply(play: Play) -> None:
    """The network doubles one vote: a candidate of five with two votes does not lead."""
    stage = play(5)
    stage.timeout("n1")
    stage.deliver("RV", "n1", "n2")
    reply = stage.deliver("RVR", "n2", "n1")
    stage.arrive(reply)
    stage.arrive(reply)
    stage.take("RV", "n1")
    stage.elect("n3", "n4", "n5")


@scenario("S07")
def voter_loses_power(play: Play) -> None:
    """A server votes, loses power at once, boots, and is asked by another candidate of the same term."""
    stage = play(3)
    stage.timeout("n1")
    stage.timeout("n2")
    stage.deliver("RV", "n1", "n3")
    stage.lose_power("n3")
    stage.start("n3")
    stage.deliver("RV", "n2", "n3")
    stage.settle()


@scenario("S07")
def voter_is_killed(play: Play) -> None:
    """The same with SIGKILL instead of a power loss."""
    stage = play(3)
    stage.timeout("n1")
    stage.timeout("n2")
    stage.deliver("RV", "n1", "n3")
    stage.kill("n3")
    stage.start("n3")
    stage.deliver("RV", "n2", "n3")
    stage.settle()


@scenario("S07")
def vote_waits_for_the_disk(play: Play) -> None:
    """A voter's disk is stuck: no vote leaves; the candidate's own stuck disk keeps its requests back likewise."""
    stage = play(3)
    stage.freeze_disk("n3")
    stage.timeout("n1")
    stage.deliver("RV", "n1", "n3")
    stage.expect(not stage.waiting("RVR", "n3"), "n3 answered before its disk had the vote")
    stage.lose_power("n3")
    stage.start("n3")
    stage.freeze_disk("n2")
    stage.timeout("n2")
    stage.expect(not stage.waiting("RV", "n2"), "n2 asked for votes before its disk had its own")
    stage.thaw_disk("n2")
    stage.settle()


@scenario("S08")
def late_request_after_stepping_down(play: Play) -> None:
    """A candidate steps down for the leader of its own term; a rival's delayed request of that term must not get
    its vote.
    """
    stage = play(5)
    for name in ("n1", "n2", "n3"):
        stage.timeout(name)
    (late,) = stage.take("RV", "n3", "n1")
    stage.take("RV", "n3")
    stage.take("RV", "n1")
    for voter in ("n4", "n5"):
        stage.deliver("RV", "n2", voter)
        stage.deliver("RVR", voter, "n2")
    stage.deliver("AE", "n2", "n1")
    stage.arrive(late)
    stage.settle()


@scenario("S08")
def leader_hands_over_and_is_asked_again(play: Play) -> None:
    """A leader that hears of no newer term keeps its vote; so does one that was told to step down."""
    stage = play(3)
    stage.timeout("n2")
    (late,) = stage.take("RV", "n2", "n1")
    stage.take("RV", "n2")
    stage.elect("n1", "n3")
    stage.arrive(late)
    stage.settle()
    stage.expect(stage.core("n1").vote == "n1", "n1 no longer knows its vote")


@scenario("S08")
def candidate_again_with_an_old_vote(play: Play) -> None:
    """A server that voted for another campaigns in the next term: its vote there is its own."""
    stage = play(3)
    stage.timeout("n2")
    stage.deliver("RV", "n2", "n1")
    stage.take()
    stage.timeout("n1")
    stage.take("RV", "n1")
    stage.timeout("n2")
    stage.deliver("RV", "n2", "n1")
    stage.settle()


@scenario("S04")
def two_candidates_ask_one_voter(play: Play) -> None:
    """Two candidates of one term ask the same voter: the first one gets its vote."""
    stage = play(3)
    stage.timeout("n1")
    stage.timeout("n2")
    stage.deliver("RV", "n1", "n3")
    stage.deliver("RV", "n2", "n3")
    stage.settle("n1", "n3")
    stage.settle("n2", "n3")


@scenario("S09")
def shorter_log_of_the_same_term(play: Play) -> None:
    """A follower lacks the last committed entry; its last term is as new as the others', its log is shorter: no
    vote.
    """
    stage = play(3)
    stage.elect("n1")
    stage.settle()
    stage.write("n1", "x", 1)
    stage.settle("n1", "n2")
    stage.kill("n1")
    stage.timeout("n3")
    stage.settle("n2", "n3")
    stage.expect(not stage.core("n3").is_leader(), "n3 leads without the committed entry")
    stage.elect("n2", "n3")


@scenario("S09")
def longer_log_of_an_older_term(play: Play) -> None:
    """A deposed leader has the longest log, of an older term: nobody who holds the newer one votes for it."""
    stage = play(3)
    stage.elect("n1")
    stage.settle()
    for number in range(4):
        stage.write("n1", "x", number)
    stage.take()
    stage.elect("n2", "n3")
    stage.settle("n2", "n3")
    for _ in range(2):
        stage.take("AE")
        stage.timeout("n1")
        stage.settle()
    stage.expect(not stage.core("n1").is_leader(), "n1 leads without the committed entry")


@scenario("S10")
def isolated_server_returns_with_pre_vote(play: Play) -> None:
    """With pre-vote, a server that timed out often while alone does not force a new term on its return (thesis
    §9.6).
    """
    stage = play(3, pre_vote=True)
    stage.elect("n1", "n2")
    stage.settle("n1", "n2")
    for _ in range(5):
        stage.timeout("n3")
        stage.take(frm="n3")
    stage.expect(stage.core("n3").term <= 1, f"n3 alone reached term {stage.core('n3').term}")
    stage.heartbeat("n1")
    stage.settle()
    stage.expect(stage.core("n1").is_leader(), "the leader was disturbed")


@scenario("S13")
def leadership_is_handed_over(play: Play) -> None:
    """A leader hands over to a server that is behind: it brings it up to date first, then tells it to campaign."""
    stage = play(3)
    stage.elect("n1")
    stage.settle()
    stage.write("n1", "x", 1)
    stage.settle("n1", "n2")
    stage.admin("n1", "transfer", "n3")
    stage.pass_ms(200)
    stage.heartbeat("n1")
    stage.settle()
    stage.expect(stage.core("n3").is_leader(), "n3 does not lead")
    read = stage.read("n3", "x")
    stage.settle()
    stage.expect(read.result == 1, f"x reads {read.result!r} after the transfer")


@scenario("S50")
def everybody_restarts(play: Play) -> None:
    """All servers are killed and boot again: terms go on from where they were, and nothing that was told is lost."""
    stage = play(3)
    stage.elect("n1")
    stage.settle()
    stage.write("n1", "x", 1)
    stage.settle()
    term = stage.core("n1").term
    stage.take()
    stage.kill(*stage.names)
    stage.start(*stage.names)
    stage.expect(all(stage.core(name).term >= term for name in stage.names), "a server forgot its term")
    stage.elect("n2")
    stage.settle()
    read = stage.read("n2", "x")
    stage.settle()
    stage.expect(read.result == 1, f"x reads {read.result!r} after the restart")


@scenario("S10")
def late_pre_vote_replies(play: Play) -> None:
    """Two pre-votes let a candidate of five start its election; the other two arrive in it, and are no votes."""
    stage = play(5, pre_vote=True)
    stage.timeout("n1")
    for voter in ("n2", "n3", "n4", "n5"):
        stage.deliver("PV", "n1", voter)
    for voter in ("n2", "n3"):
        stage.deliver("PVR", voter, "n1")
    stage.take("RV", "n1")
    for voter in ("n4", "n5"):
        stage.deliver("PVR", voter, "n1")
    stage.expect(not stage.core("n1").is_leader(), "n1 leads without a single vote of another server")
    stage.elect("n3", "n4", "n5")


@scenario("S09")
def newer_term_beats_longer_log(play: Play) -> None:
    """One of two servers has the longer log, the other the newer last term: the second one is electable (§5.4.1)."""
    stage = play(3)
    stage.elect("n1")
    stage.settle()
    for number in range(4):
        stage.write("n1", "x", number)
    stage.take()
    stage.elect("n2", "n3")
    stage.take("AE", to="n1")
    stage.settle("n2", "n3")
    stage.take()
    stage.kill("n2", "n3")
    stage.start("n2")
    stage.elect("n2", "n1")
    stage.settle("n1", "n2")
