"""Scenarios about changing the cluster (thesis chapter 4, and its correction of 2015)."""

from __future__ import annotations

from capsize.simulator.scenarios.scenario import Play, scenario
from capsize.simulator.stage import Stage


def _grown(play: Play) -> Stage:
    """n1 leads four of five; n5 is a learner that has caught up."""
    stage = play(4, spare=1)
    stage.elect("n1", "n2", "n3", "n4")
    stage.settle()
    stage.admin("n1", "add_learner", "n5")
    for _ in range(3):
        stage.settle()
        stage.heartbeat("n1")
    stage.settle()
    return stage


@scenario("S70")
def one_server_joins_and_one_leaves(play: Play) -> None:
    """A learner is added, catches up, becomes a voter; then another server is removed."""
    stage = _grown(play)
    stage.admin("n1", "add_voter", "n5")
    stage.settle()
    stage.heartbeat("n1")
    stage.settle()
    stage.expect(set(stage.core("n5").configuration.voters) == set(stage.names), "n5 is no voter")
    stage.admin("n1", "remove", "n2")
    stage.settle()
    stage.heartbeat("n1")
    stage.settle()
    stage.expect("n2" not in stage.core("n1").configuration.voters, "n2 is still a voter")
    write = stage.write("n1", "x", 1)
    stage.settle()
    stage.expect(write.outcome == "ok", "the new configuration does not commit")


@scenario("S70")
def changes_by_two_leaders(play: Play) -> None:
    """A leader appends a change that nobody gets; the next one wants another change from the same configuration: not
    before it has committed an entry of its own term (the correction of 2015).
    """
    stage = _grown(play)
    stage.admin("n1", "add_voter", "n5")
    stage.take()
    stage.elect("n2", "n3", "n4")
    stage.take()
    stage.admin("n2", "remove", "n1")
    stage.heartbeat("n2")
    stage.settle("n2", "n3")
    stage.take()
    stage.elect("n1", "n4", "n5") if stage.core("n4").log.last.term <= stage.core("n1").log.last.term else None
    stage.settle()


@scenario("S70")
def two_changes_at_once(play: Play) -> None:
    """A second change is asked for while the first is not committed: refused."""
    stage = _grown(play)
    stage.admin("n1", "add_voter", "n5")
    stage.admin("n1", "remove", "n4")
    entries = [
        entry for entry in stage.core("n1").log.between(1, stage.core("n1").log.last_index) if entry.kind == "cfg"
    ]
    stage.expect(len(entries) <= 2, "the leader appended a second change while the first was not committed")
    stage.settle()


@scenario("S70")
def change_that_is_overwritten(play: Play) -> None:
    """A change that only the old leader has is overwritten: everybody goes back to the configuration before it."""
    stage = _grown(play)
    stage.admin("n1", "remove", "n4")
    stage.take()
    stage.expect("n4" not in stage.core("n1").configuration.voters, "a configuration counts as soon as it is appended")
    stage.elect("n2", "n3", "n4")
    stage.settle()
    stage.heartbeat("n2")
    stage.settle()
    stage.expect("n4" in stage.core("n1").configuration.voters, "n1 keeps a configuration that was cut off its log")
    write = stage.write("n2", "x", 1)
    stage.settle()
    stage.expect(write.outcome == "ok", "nothing is committed any more")


@scenario("S70")
def restart_with_an_uncommitted_change(play: Play) -> None:
    """A server restarts with a change in its log that is not committed: the newest in the log counts all the same."""
    stage = _grown(play)
    stage.admin("n1", "remove", "n4")
    stage.take()
    stage.kill("n1")
    stage.start("n1")
    stage.expect("n4" not in stage.core("n1").configuration.voters, "n1 forgot the configuration in its log")
    stage.timeout("n1")
    stage.settle("n1", "n2", "n3")
    stage.heartbeat("n1") if stage.core("n1").is_leader() else None
    stage.settle()


@scenario("S70")
def learners_do_not_count(play: Play) -> None:
    """A learner's copy and a learner's vote make no majority."""
    stage = _grown(play)
    write = stage.write("n1", "x", 1)
    stage.settle("n1", "n2", "n5")
    stage.expect(write.outcome is None, "a learner's copy was counted")
    stage.settle()


@scenario("S70")
def snapshot_while_a_change_is_not_committed(play: Play) -> None:
    """A snapshot is taken while a change is in the log, which is then overwritten: the snapshot holds the
    configuration
    that was committed, and after a restart that is the one in force.
    """
    stage = _grown(play)
    stage.write("n1", "x", 1)
    stage.settle()
    stage.admin("n1", "remove", "n4")
    stage.admin("n1", "snapshot")
    stage.take()
    stage.elect("n2", "n3", "n4")
    stage.settle()
    stage.heartbeat("n2")
    stage.settle()
    stage.kill("n1")
    stage.start("n1")
    voters = stage.core("n1").configuration.voters
    stage.expect("n4" in voters, f"n1 restarted with the voters {', '.join(voters)}")
    stage.heartbeat("n2")
    stage.settle()


@scenario("S70")
def learner_without_the_log_stays_a_learner(play: Play) -> None:
    """A learner that has nothing of the log yet is not made a voter (thesis §4.2.1)."""
    stage = play(4, spare=1, append_entries_max=1)
    stage.elect("n1", "n2", "n3", "n4")
    stage.settle()
    for number in range(5):
        stage.write("n1", "x", number)
        stage.settle("n1", "n2", "n3", "n4")
    stage.admin("n1", "add_learner", "n5")
    stage.settle("n1", "n2", "n3", "n4")
    stage.admin("n1", "add_voter", "n5")
    stage.expect("n5" not in stage.core("n1").configuration.voters, "a server votes before it holds the log")
    stage.take(to="n5")
    for _ in range(12):
        stage.heartbeat("n1")
        stage.settle()
    stage.admin("n1", "add_voter", "n5")
    stage.settle()
    stage.expect("n5" in stage.core("n1").configuration.voters, "a learner that caught up was not made a voter")
