"""Scenarios about links that are cut unevenly, messages that are slow, disks that stall (paper §5.2; thesis §9.6)."""

from __future__ import annotations

from capsize.simulator.scenarios.replication import led
from capsize.simulator.scenarios.scenario import Play, scenario


@scenario("S11")
def leader_that_nobody_hears(play: Play) -> None:
    """One direction fails: the leader hears everybody and nobody hears it. The others elect; it learns of that, follows
    at once, and what it appended meanwhile is not answered.
    """
    stage = led(play, 3)
    lost = stage.write("n1", "x", 1)
    stage.take(frm="n1")
    stage.elect("n2", "n3")
    stage.settle("n2", "n3")
    stage.expect(not stage.core("n1").is_leader() or stage.core("n1").term < stage.core("n2").term, "two of one term")
    stage.deliver("AE", "n2", "n1")
    stage.take(frm="n1")
    stage.expect(not stage.core("n1").is_leader(), "n1 goes on leading although it heard of a newer leader")
    kept = stage.write("n2", "x", 2)
    stage.settle("n2", "n3")
    stage.expect(kept.outcome == "ok", "two of three did not commit")
    stage.heartbeat("n2")
    stage.settle()
    stage.expect(lost.outcome in (None, "info"), f"a write that reached nobody was answered {lost.outcome}")
    stage.expect(stage.log("n1") == stage.log("n2"), "the logs differ in the end")


@scenario("S11")
def two_halves_and_a_bridge(play: Play) -> None:
    """Two pairs hear each other only through a fifth server. The old leader's side is two of five once the fifth
    follows the other side: it must commit nothing and read nothing, and takes over what the others wrote.
    """
    stage = led(play, 5)
    left, right, bridge = ("n1", "n2"), ("n4", "n5"), "n3"
    stage.world.network.cut(1, {**dict.fromkeys(left, frozenset(right)), **dict.fromkeys(right, frozenset(left))})
    first = stage.write("n1", "x", 1)
    stage.settle(*left, bridge)
    stage.expect(first.outcome == "ok", "a leader with the bridge has a majority")
    stage.heartbeat("n1")
    stage.settle(*left, bridge)
    stage.elect(bridge, *right)
    stage.settle(*right, bridge)
    second = stage.write(bridge, "x", 2)
    stage.settle(*right, bridge)
    stage.expect(second.outcome == "ok", "the other side with the bridge has a majority, too")
    stale, lost = stage.read("n1", "x"), stage.write("n1", "x", 3)
    stage.heartbeat("n1")
    stage.settle(*left)
    stage.expect(stale.outcome is None, f"two of five read {stale.result!r}")
    stage.expect(lost.outcome is None, f"two of five answered a write: {lost.outcome}")
    stage.world.network.heal()
    for _ in range(3):
        stage.heartbeat(bridge)
        stage.settle()
    stage.expect(stale.outcome != "ok" or stale.result == 2, f"x read {stale.result!r} after the second write")
    stage.expect(stage.log("n1") == stage.log(bridge), "the logs differ in the end")
    read = stage.read("n1", "x")
    stage.settle()
    stage.heartbeat(bridge)
    stage.settle()
    stage.expect(read.result == 2, f"x reads {read.result!r}")


@scenario("S11")
def every_server_sees_another_majority(play: Play) -> None:
    """Jepsen's ring: each of five servers hears itself and its two neighbours. By themselves they must find a leader
    that a majority hears, and what it says is done must be there when the ring is whole again.
    """
    stage = play(5, election_timeout_ms=(150, 300), heartbeat_ms=30, pre_vote=True, protect_leader=True)
    names = stage.names
    cuts: dict[str, frozenset[str]] = {}
    for place, name in enumerate(names):
        near = {names[(place + step) % len(names)] for step in (-1, 0, 1)}
        cuts[name] = frozenset(names) - near
    stage.world.network.cut(1, cuts)
    stage.flow()
    done: list[int] = []
    for number in range(12):
        asked = [stage.write(name, "x", 10 * number + place) for place, name in enumerate(names)]
        stage.pass_ms(250)
        done += [place for place, item in enumerate(asked) if item.outcome == "ok"]
    stage.expect(done, "no write succeeded although every server hears a majority")
    stage.world.network.heal()
    stage.pass_ms(2_000)
    reads = [stage.read(name, "x") for name in names]
    stage.pass_ms(1_500)
    stage.expect(len({item.result for item in reads if item.outcome == "ok"}) == 1, "servers read different values")


@scenario("S12")
def slow_votes(play: Play) -> None:
    """Votes take longer than an election timeout, both ways: candidates' terms go by, and a vote that arrives late
    elects nobody in a later term. When the network is quick again somebody wins, once.
    """
    stage = play(3)
    for _ in range(3):
        stage.timeout("n1")
        stage.timeout("n2")
    requests = stage.take("RV")
    for request in requests:
        stage.arrive(request)
    leaders = [name for name in stage.names if stage.core(name).is_leader()]
    stage.expect(not leaders, f"{leaders} lead before any vote came back")
    for reply in stage.take("RVR"):
        stage.arrive(reply)
    leading = [(stage.core(name).term, name) for name in stage.names if stage.core(name).is_leader()]
    stage.expect(len({term for term, _ in leading}) == len(leading), f"two leaders of one term: {leading}")
    stage.settle()
    if stage.world.leader is None:
        stage.elect("n3")
    leader = str(stage.world.leader)
    stage.heartbeat(leader)
    stage.settle()
    stage.expect({stage.core(name).leader for name in stage.names} == {leader}, "not everybody follows one leader")


@scenario("S57")
def leader_whose_disk_stalls(play: Play) -> None:
    """A leader's disk hangs: it cannot commit, says so to nobody, and steps down after a while; another leads, and when
    the disk goes on the first one follows.
    """
    stage = led(play, 3, disk_stall_ms=1_000, parallel_append=True)
    stage.freeze_disk("n1")
    write = stage.write("n1", "x", 1)
    stage.pass_ms(1_100)
    stage.heartbeat("n1", again=False)
    stage.expect(not stage.core("n1").is_leader(), "n1 leads on although its disk has hung for more than a second")
    stage.settle("n2", "n3")
    if not any(stage.core(name).is_leader() for name in ("n2", "n3")):
        stage.settle()
    heir = next((name for name in ("n2", "n3") if stage.core(name).is_leader()), None)
    stage.expect(heir, "nobody took over")
    kept = stage.write(str(heir), "y", 2)
    stage.settle()
    stage.expect(kept.outcome == "ok", "the others did not go on")
    stage.thaw_disk("n1")
    for _ in range(2):
        stage.heartbeat(str(heir))
        stage.settle()
    stage.expect(stage.log("n1") == stage.log(str(heir)), "the logs differ after the disk went on")
    stage.expect(write.outcome in (None, "info", "ok"), f"the write was answered {write.outcome}")


@scenario("S57")
def follower_whose_disk_stalls(play: Play) -> None:
    """A follower's disk hangs: it stays in touch and acknowledges nothing new; the others commit without it; it catches
    up when the disk goes on.
    """
    stage = led(play, 3, disk_stall_ms=1_000)
    stage.freeze_disk("n3")
    writes = [stage.write("n1", "x", number) for number in range(3)]
    stage.settle()
    stage.pass_ms(1_100)
    stage.heartbeat("n1")
    stage.settle()
    stage.expect(all(item.outcome == "ok" for item in writes), "two of three did not commit")
    acknowledged = stage.core("n1").progress["n3"].match_index
    stage.expect(acknowledged < stage.commit("n1"), "n3 acknowledged what its disk does not hold")
    stage.expect(stage.core("n3").leader == "n1", "n3 lost touch")
    stage.thaw_disk("n3")
    for _ in range(2):
        stage.heartbeat("n1")
        stage.settle()
    stage.expect(stage.core("n3").durable_index == stage.core("n1").log.last_index, "n3 did not catch up")
