"""Scenarios about clocks (thesis §6.4.1): Raft's safety does not depend on them, a lease does, within its bound."""

from __future__ import annotations

from capsize.simulator.scenarios.scenario import Play, scenario
from capsize.simulator.stage import Stage


def _leased(play: Play) -> Stage:
    """Return a stage on which n1 leads under a lease and has written x = 1."""
    stage = play(3, lease_reads=True, protect_leader=True, election_timeout_ms=(300, 600), clock_drift=0.1)
    stage.timeout("n1")
    stage.settle()
    stage.heartbeat("n1")
    stage.settle()
    stage.write("n1", "x", 1)
    stage.settle()
    stage.heartbeat("n1", again=False)
    stage.settle()
    return stage


def _overtaken(stage: Stage) -> str:
    """Cut n1 off, let time pass until another one leads and has written x = 2; return who."""
    stage.take()
    for _ in range(60):
        stage.pass_ms(25)
        stage.take(to="n1")
        stage.take(frm="n1")
        stage.settle("n2", "n3", but=lambda message: message.to == "n1")
        heir = next((name for name in ("n2", "n3") if stage.core(name).is_leader()), None)
        if heir is not None:
            write = stage.write(heir, "x", 2)
            stage.settle("n2", "n3", but=lambda message: message.to == "n1")
            stage.expect(write.outcome == "ok", f"{heir} did not commit")
            return heir
    stage.expect(False, "nobody took over")
    raise AssertionError


@scenario("S44")
def clock_that_runs_slow_under_a_lease(play: Play) -> None:
    """The leader's clock runs nine percent slow, within the bound that the lease allows for: cut off and overtaken, it
    must not read alone when the others have a new leader already.
    """
    stage = _leased(play)
    stage.world.set_clock("n1", speed=0.91)
    stage.heartbeat("n1", again=False)
    stage.settle()
    _overtaken(stage)
    read = stage.read("n1", "x")
    stage.take(frm="n1")
    stage.expect(read.outcome != "ok" or read.result == 2, f"the old leader read {read.result!r} under its lease")


@scenario("S44")
def clock_that_leaps(play: Play) -> None:
    """The leader's clock leaps ten seconds forwards, a follower's likewise: a lease ends early, an election comes
    early; nothing that was acknowledged is lost, and no read is stale.
    """
    stage = _leased(play)
    stage.world.set_clock("n1", leap_ms=10_000)
    read = stage.read("n1", "x")
    stage.settle()
    stage.expect(read.outcome != "ok" or read.result == 1, f"x reads {read.result!r}")
    stage.world.set_clock("n2", leap_ms=10_000)
    stage.settle()
    for _ in range(40):
        stage.pass_ms(50)
        stage.settle()
        if stage.world.leader is not None and stage.core(stage.world.leader).own_term_committed():
            break
    leader = stage.world.leader
    stage.expect(leader, "nobody leads after the clocks leapt")
    again = stage.read(str(leader), "x")
    stage.settle()
    stage.pass_ms(60)
    stage.settle()
    stage.expect(again.result == 1, f"x reads {again.result!r} at {leader}")
