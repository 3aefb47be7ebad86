"""Scenarios about reads and retried requests (Raft paper §8; thesis §6.3, §6.4)."""

from __future__ import annotations

from capsize.simulator.scenarios.replication import led
from capsize.simulator.scenarios.scenario import Play, scenario


@scenario("S40")
def reads_on_both_sides(play: Play) -> None:
    """A leader is cut off without noticing; the majority writes with another one. The old one must not answer a
    read.
    """
    stage = led(play, 3)
    stage.write("n1", "x", 1)
    stage.settle()
    stage.elect("n2", "n3")
    stage.take(to="n1")
    write = stage.write("n2", "x", 2)
    stage.settle("n2", "n3")
    stage.expect(write.outcome == "ok", "the majority did not commit")
    read = stage.read("n1", "x")
    stage.take(frm="n1")
    stage.expect(read.outcome is None, f"the old leader answered {read.result!r}")
    fresh = stage.read("n3", "x")
    stage.settle("n2", "n3")
    stage.expect(fresh.result == 2, f"the majority reads {fresh.result!r}")


@scenario("S41")
def read_before_the_new_leader_committed(play: Play) -> None:
    """A new leader holds a committed entry and does not know that it is committed: it must not serve a read yet."""
    stage = led(play, 3)
    write = stage.write("n1", "x", 1)
    stage.settle("n1", "n2")
    stage.expect(write.outcome == "ok", "the write was not committed")
    stage.take()
    stage.kill("n1")
    stage.freeze_disk("n3")
    stage.timeout("n2")
    stage.thaw_disk("n3")
    stage.settle("n2", "n3", but=lambda message: bool(getattr(message, "entries", ())))
    read = stage.read("n2", "x")
    stage.settle("n2", "n3", but=lambda message: bool(getattr(message, "entries", ())))
    stage.expect(read.outcome is None or read.result == 1, f"the new leader read {read.result!r}")
    stage.settle("n2", "n3")
    stage.heartbeat("n2")
    stage.settle("n2", "n3")
    stage.expect(read.result == 1, f"the read gave {read.result!r}")


@scenario("S42")
def late_acknowledgements_of_an_earlier_round(play: Play) -> None:
    """A heartbeat's acknowledgements are held while another leader commits; released, they must not confirm a
    read that
    came since (thesis §6.4).
    """
    stage = led(play, 3)
    stage.write("n1", "x", 1)
    stage.settle()
    stage.heartbeat("n1")
    stage.deliver("AE", "n1", "n2")
    stage.deliver("AE", "n1", "n3")
    late = [*stage.take("AER", "n2", "n1"), *stage.take("AER", "n3", "n1")]
    stage.elect("n2", "n3")
    stage.take(to="n1")
    write = stage.write("n2", "x", 2)
    stage.settle("n2", "n3")
    stage.expect(write.outcome == "ok", "the majority did not commit")
    read = stage.read("n1", "x")
    stage.take(frm="n1")
    for reply in late:
        stage.arrive(reply)
    stage.expect(read.outcome != "ok", f"the old leader answered {read.result!r}")


@scenario("S42")
def a_round_retried(play: Play) -> None:
    """A read's own round is answered late, a second read waits for the next: the first answers do not confirm it."""
    stage = led(play, 3)
    stage.write("n1", "x", 1)
    stage.settle()
    first = stage.read("n1", "x")
    stage.deliver("AE", "n1", "n2")
    stage.deliver("AE", "n1", "n3")
    late = [*stage.take("AER", "n2", "n1"), *stage.take("AER", "n3", "n1")]
    stage.elect("n2", "n3")
    stage.take(to="n1")
    stage.write("n2", "x", 2)
    stage.settle("n2", "n3")
    second = stage.read("n1", "x")
    stage.take(frm="n1")
    for reply in late:
        stage.arrive(reply)
    stage.take(frm="n1")
    stage.expect(first.outcome != "ok" or first.result == 1, f"the first read gave {first.result!r}")
    stage.expect(second.outcome != "ok", f"the second read was answered {second.result!r}")


@scenario("S30")
def read_on_a_slow_follower(play: Play) -> None:
    """A follower knows the read index and has not applied it yet: the read waits."""
    stage = play(3, apply_delay_ms=1000)
    stage.elect("n1")
    stage.settle()
    stage.pass_ms(1001)
    stage.heartbeat("n1")
    stage.settle()
    stage.pass_ms(1001)
    write = stage.write("n1", "x", 1)
    stage.settle()
    stage.pass_ms(1001)
    stage.expect(write.outcome == "ok", "the leader did not apply the write")
    stage.heartbeat("n1")
    stage.settle()
    read = stage.read("n2", "x")
    stage.settle()
    stage.expect(read.outcome is None, f"n2 answered {read.result!r} before it had applied the write")
    stage.pass_ms(1001)
    stage.expect(read.result == 1, f"n2 reads {read.result!r}")


@scenario("S43")
def read_under_an_old_lease(play: Play) -> None:
    """With lease reads: a leader is paused for longer than its lease, another one writes; back, it must not read
    alone.
    """
    stage = play(3, lease_reads=True, protect_leader=True, election_timeout_ms=(300, 600))
    stage.timeout("n1")
    stage.settle()
    stage.heartbeat("n1")
    stage.settle()
    stage.write("n1", "x", 1)
    stage.settle()
    first = stage.read("n1", "x")
    stage.settle()
    stage.expect(first.result == 1, f"x reads {first.result!r}")
    stage.world.pause("n1")
    stage.pass_ms(400)
    stage.settle()
    for _ in range(20):
        stage.take(to="n1")
        stage.settle("n2", "n3")
        if stage.world.leader in ("n2", "n3") and stage.core(str(stage.world.leader)).term > 1:
            break
        stage.pass_ms(50)
    leader = next((name for name in ("n2", "n3") if stage.core(name).is_leader()), None)
    stage.expect(leader, "nobody took over")
    stage.write(str(leader), "x", 2)
    stage.settle("n2", "n3")
    stage.take(to="n1")
    stage.world.resume("n1")
    read = stage.read("n1", "x")
    stage.expect(read.outcome is None or read.result == 2, f"the paused leader read {read.result!r}")


@scenario("S45")
def retry_at_the_next_leader(play: Play) -> None:
    """A command is committed, its answer is lost, the leader dies; the client asks the next one again: applied
    once.
    """
    stage = led(play, 3)
    first = stage.ask("n1", "incr", "x", 1, session=("client", 1))
    stage.settle()
    first.reply = None  # the answer never reached the client
    stage.kill("n1")
    stage.elect("n2", "n3")
    stage.settle("n2", "n3")
    again = stage.ask("n2", "incr", "x", 1, session=("client", 1))
    stage.settle("n2", "n3")
    stage.expect(again.outcome == "ok", "the retry was not answered")
    read = stage.read("n2", "x")
    stage.settle("n2", "n3")
    stage.expect(read.result == 1, f"x reads {read.result!r} after one increment, asked twice")


@scenario("S46")
def retry_after_everybody_restarted_from_snapshots(play: Play) -> None:
    """The same, with snapshots taken and all servers restarted in between: sessions are part of the snapshot."""
    stage = led(play, 3)
    first = stage.ask("n1", "incr", "x", 1, session=("client", 1))
    stage.settle()
    first.reply = None
    stage.heartbeat("n1")
    stage.settle()
    for name in stage.names:
        stage.admin(name, "snapshot")
    stage.settle()
    stage.take()
    stage.kill(*stage.names)
    stage.start(*stage.names)
    stage.elect("n2")
    stage.settle()
    again = stage.ask("n2", "incr", "x", 1, session=("client", 1))
    stage.settle()
    stage.expect(again.outcome == "ok", "the retry was not answered")
    read = stage.read("n2", "x")
    stage.settle()
    stage.expect(read.result == 1, f"x reads {read.result!r} after one increment, asked twice")
