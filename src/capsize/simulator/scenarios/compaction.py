"""Scenarios about snapshots under load, and retries across them (Raft paper §7, §8; thesis §6.3)."""

from __future__ import annotations

from capsize.simulator.scenarios.replication import led
from capsize.simulator.scenarios.scenario import Play, scenario


@scenario("S61")
def snapshots_while_writes_go_on(play: Play) -> None:
    """Every few commands everybody snapshots, while a follower that was away is being sent one and more commands come:
    in the end all hold the same state, also after a restart.
    """
    stage = led(play, 3, snapshot_every=4, append_entries_max=2)
    stage.kill("n3")
    for number in range(10):
        stage.ask("n1", "append", "x", (number,))
        stage.settle("n1", "n2")
    stage.take()
    stage.start("n3")
    stage.heartbeat("n1")
    for number in range(10, 20):
        stage.ask("n1", "append", "x", (number,))
        for _ in range(4):  # a few messages only: the snapshot and the commands overlap
            waiting = stage.waiting()
            if waiting:
                stage.deliver_one(waiting[0])
    stage.settle()
    for _ in range(2):
        stage.heartbeat("n1")
        stage.settle()
    for name in stage.names:
        held = stage.core(name).machine.read("x")
        stage.expect(held == list(range(20)), f"{name} holds {held!r}")
        stage.expect(stage.core(name).log.base.index > 0, f"{name} took no snapshot")
    stage.take()
    stage.kill("n3")
    stage.start("n3")
    stage.heartbeat("n1")
    stage.settle()
    stage.expect(stage.core("n3").machine.read("x") == list(range(20)), "n3 lost state in a restart")


@scenario("S66")
def retry_at_a_leader_that_knows_it_from_a_snapshot(play: Play) -> None:
    """A command is applied and its answer lost; a server that got its effect only inside a snapshot becomes leader, and
    the client asks it again: the session came with the snapshot, so it is applied once.
    """
    stage = led(play, 3)
    stage.kill("n3")
    stage.ask("n1", "append", "x", (1,), session=("c", 1))
    stage.settle("n1", "n2")
    for number in range(4):
        stage.ask("n1", "put", "y", number)
        stage.settle("n1", "n2")
    stage.admin("n1", "snapshot")
    stage.take()
    stage.start("n3")
    for _ in range(3):
        stage.heartbeat("n1")
        stage.settle("n1", "n3")
    stage.expect(stage.core("n3").log.base.index > 1, "n3 was not sent a snapshot")
    stage.take()
    stage.kill("n1")
    stage.elect("n3", "n2")
    stage.settle("n2", "n3")
    again = stage.ask("n3", "append", "x", (1,), session=("c", 1))
    stage.settle("n2", "n3")
    stage.expect(again.outcome == "ok", f"the retry was answered {again.outcome}")
    read = stage.read("n3", "x")
    stage.settle("n2", "n3")
    stage.heartbeat("n3")
    stage.settle("n2", "n3")
    stage.expect(read.result == [1], f"x holds {read.result!r}: the command was applied again")
