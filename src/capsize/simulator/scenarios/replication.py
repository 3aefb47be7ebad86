"""Scenarios about logs, commits and their messages (Raft paper §5.3, §5.4.2)."""

from __future__ import annotations

from typing import Any

from capsize.simulator.scenarios.scenario import Play, scenario
from capsize.simulator.stage import Stage


def led(play: Play, size: int = 3, **settings: Any) -> Stage:
    """Return a stage on which n1 leads term 1 and its no-op is committed everywhere."""
    stage = play(size, **settings)
    stage.elect("n1")
    stage.settle()
    stage.heartbeat("n1")
    stage.settle()
    return stage


@scenario("S20")
def write_through_five_servers(play: Play) -> None:
    """A client's write: appended and synced by the leader, sent with its prev, synced and acknowledged by the
    followers,
    committed by a majority, answered, and applied by all with the next heartbeat.
    """
    stage = led(play, 5)
    write = stage.write("n1", "x", 42)
    stage.expect(write.outcome is None, "the leader answered before anybody else had the entry")
    stage.settle("n1", "n2")
    stage.expect(write.outcome is None, "the leader answered with two of five copies")
    stage.settle("n1", "n3")
    stage.expect(write.outcome == "ok", "the leader did not answer with three of five copies")
    stage.settle()
    stage.heartbeat("n1")
    stage.settle()
    stage.expect({stage.core(name).machine.read("x") for name in stage.names} == {42}, "not everybody applied x = 42")


@scenario("S20")
def leader_dies_right_after_append(play: Play) -> None:
    """The leader appends and dies before anybody hears of it: the write is gone, and nobody was told that it was
    done.
    """
    stage = led(play, 5)
    write = stage.write("n1", "x", 42)
    stage.take(frm="n1")
    stage.kill("n1")
    stage.elect("n2")
    stage.settle()
    stage.start("n1")
    stage.heartbeat("n2")
    stage.settle()
    stage.expect(write.outcome == "info", f"the client was told {write.outcome}")
    stage.expect(stage.log("n1") == stage.log("n2"), "the old leader's tail was not overwritten")
    read = stage.read("n1", "x")
    stage.settle()
    stage.expect(read.result is None, f"x reads {read.result!r}")


@scenario("S20")
def leader_dies_after_one_follower_has_it(play: Play) -> None:
    """The same, but one follower has the entry and is elected: the write survives, although its client does not
    know.
    """
    stage = led(play, 5)
    write = stage.write("n1", "x", 42)
    stage.deliver("AE", "n1", "n2")
    stage.take()
    stage.kill("n1")
    stage.elect("n2")
    stage.settle()
    read = stage.read("n3", "x")
    stage.settle()
    stage.expect(read.result == 42, f"x reads {read.result!r}")
    stage.expect(write.outcome == "info", f"the client was told {write.outcome}")


@scenario("S22")
def prev_50_of_term_4_meets_term_3(play: Play) -> None:
    """A follower is asked to append after index 50 of term 4, and holds term 3 there: it refuses, naming term 3
    and where
    that begins, and cuts nothing; the leader backs up, and only then is the tail overwritten.
    """
    stage = led(play, 3)
    for name in ("n2", "n1"):
        stage.elect(name)
        stage.settle()
    while stage.core("n1").log.last_index < 49:
        stage.write("n1", "x", stage.core("n1").log.last_index)
        stage.settle()
    stage.heartbeat("n1")
    stage.settle()
    stage.write("n1", "x", "lost")
    stage.take(frm="n1")
    stage.elect("n2", "n3")  # term 4; its no-op is index 50
    stage.settle("n2", "n3")
    stage.take()
    stage.elect("n3", "n2")  # term 5; the next message to n1 follows index 50
    request = stage.deliver("AE", "n3", "n1")
    stage.expect((request.prev_index, request.prev_term) == (50, 4), f"prev is {request}")  # type: ignore[union-attr]
    stage.expect(stage.log("n1")[-1] == (50, 3), "the follower changed its log where it had to refuse")
    (reply,) = stage.waiting("AER", "n1", "n3")
    stage.expect(not reply.ok and reply.conflict_term == 3, f"the refusal says {reply}")  # type: ignore[union-attr]
    stage.settle()
    stage.heartbeat("n3")
    stage.settle()
    stage.expect(stage.log("n1") == stage.log("n3"), "the logs differ in the end")


@scenario("S20")
def follower_500_entries_behind(play: Play) -> None:
    """A follower missed 500 entries. The leader that knew where its log ended sends from there, in batches; to a new
    leader its first refusal says it.
    """
    for elected_since in (False, True):
        _catch_up(play, elected_since)


def _catch_up(play: Play, elected_since: bool) -> None:
    stage = led(play, 3)
    stage.kill("n3")
    for number in range(500):
        stage.write("n1", "x", number)
        stage.settle("n1", "n2")
    stage.take()
    leader = "n1"
    if elected_since:
        leader = "n2"
        stage.elect(leader, "n1")
        stage.settle("n1", "n2")
        stage.take()
    stage.start("n3")
    before = stage.world.network.delivered
    if elected_since:
        stage.heartbeat(leader)
        stage.deliver("AE", leader, "n3")
        refusals = stage.waiting("AER", "n3", leader)
        first = [reply.conflict_index for reply in refusals if not reply.ok]  # type: ignore[union-attr]
        stage.expect(first == [2], f"n3, whose log ends at 1, says that it lacks {first}")
    stage.heartbeat(leader)
    stage.settle()
    stage.heartbeat(leader)
    stage.settle()
    stage.expect(stage.log("n3") == stage.log("n1"), "n3 did not catch up")
    used = stage.world.network.delivered - before
    stage.expect(used < 40, f"it took {used} messages")
    stage.expect(stage.core("n3").machine.read("x") == 499, "n3 did not apply what it got")


@scenario("S27")
def figure_8(play: Play) -> None:
    """Figure 8 of the paper: an entry of an old term reaches a majority; a leader of a later term must not commit
    it by
    counting, because a rival without it can still win and overwrite it (§5.4.2).
    """
    stage = led(play, 5, append_entries_max=1)
    write = stage.write("n1", "x", 1)  # (a) index 2 of term 1, on n1 and n2
    stage.deliver("AE", "n1", "n2")
    stage.take()
    stage.kill("n1")
    stage.elect("n5", "n3", "n4")  # (b) n5 leads term 2 and has something else at index 2
    stage.take()
    stage.kill("n5")
    stage.start("n1")
    stage.elect("n1", "n2", "n3", "n4")  # (c) n1 leads term 3 and goes on replicating index 2
    for _ in range(12):
        if stage.core("n3").log.last_index >= 2:
            break
        for name in ("n2", "n3"):
            if stage.core(name).log.last_index < 2 or stage.waiting("AER", name, "n1"):
                stage.settle("n1", name, but=lambda message: _carries_own_term(message, 3))
        stage.heartbeat("n1")
    stage.expect(stage.log("n3")[-1] == (2, 1), f"n3 did not get the old entry: {stage.log('n3')}")
    stage.settle("n1", "n2", "n3", but=lambda message: _carries_own_term(message, 3))
    stage.expect(write.outcome != "ok", "n1 answered ok for an entry of an old term")
    stage.take()
    stage.kill("n1")
    stage.start("n5")
    stage.elect("n5", "n3", "n4")  # (d) n5 wins with the newer term at index 2, and overwrites
    stage.settle()
    stage.heartbeat("n5")
    stage.settle()


def _carries_own_term(message: object, term: int) -> bool:
    return any(entry.term == term for entry in getattr(message, "entries", ()))


@scenario("S25")
def probe_inside_the_matching_prefix(play: Play) -> None:
    """A deposed leader with an uncommitted tail gets an empty AppendEntries that ends inside the part that
    matches, and a
    high commit index: it commits no further than that message proves (§5.3, Figure 2, receiver's step 5).
    """
    stage = led(play, 5)
    for number in range(3):
        stage.write("n1", "x", f"lost {number}")
    stage.take()
    stage.elect("n2", "n3", "n4", "n5")
    stage.settle("n2", "n3", "n4", "n5")
    for number in range(2):
        stage.write("n2", "x", number)
        stage.settle("n2", "n3", "n4", "n5")
    stage.take(to="n1")
    stage.heartbeat("n2")
    stage.take("AE", "n2", "n1")  # the entries that would repair it stay away; the next heartbeat carries none
    stage.heartbeat("n2", again=False)
    probe = stage.deliver("AE", "n2", "n1")
    stage.expect(not probe.entries and probe.commit > probe.prev_index, f"no such probe: {probe}")  # type: ignore[union-attr]
    stage.expect(stage.commit("n1") <= probe.prev_index, f"n1 committed up to {stage.commit('n1')}")  # type: ignore[union-attr]
    stage.heartbeat("n2")
    stage.settle()


@scenario("S25")
def acknowledgement_reaches_no_further_than_its_message(play: Play) -> None:
    """The same probe, answered: the follower acknowledges what the message proved, not the end of its own log."""
    stage = led(play, 3)
    for number in range(3):
        stage.write("n1", "x", f"lost {number}")
    stage.take()
    stage.elect("n2", "n3")
    stage.take()
    for number in range(2):
        stage.write("n2", "x", number)
    stage.take()
    stage.heartbeat("n2")
    stage.take("AE", "n2", "n3")
    stage.settle("n1", "n2", but=lambda message: bool(getattr(message, "entries", ())))
    stage.take()
    stage.heartbeat("n2", again=False)
    stage.take("AE", "n2", "n3")
    stage.settle("n1", "n2", but=lambda message: bool(getattr(message, "entries", ())))
    stage.expect(stage.commit("n2") <= 1, f"n2 committed up to {stage.commit('n2')} without a second copy")
    stage.take()
    stage.heartbeat("n2")
    stage.settle()


def _three_uncommitted_on_two_of_five(play: Play) -> Stage:
    stage = led(play, 5)
    for number in range(3):
        stage.write("n1", "x", f"lost {number}")
        stage.deliver("AE", "n1", "n2", newest=True)
        if number < 2:
            stage.settle("n1", "n2")
    return stage


def _led_again(stage: Stage) -> None:
    """n3 leads term 2 and overwrites everybody; n1 leads term 3 and writes one entry that n4 alone acknowledges."""
    stage.take()
    stage.elect("n3", "n4", "n5")
    stage.settle()
    stage.heartbeat("n3")
    stage.settle()
    stage.elect("n1")
    stage.take()
    stage.write("n1", "y", 1)
    stage.take()


@scenario("S26")
def counts_of_an_earlier_leadership(play: Play) -> None:
    """A leader had three entries acknowledged, lost office and those entries, and leads again: the old counts are
    void.
    """
    stage = _three_uncommitted_on_two_of_five(play)
    stage.settle("n1", "n2")
    _led_again(stage)
    stage.heartbeat("n1")
    stage.settle("n1", "n4")
    stage.expect(
        stage.commit("n1") < stage.core("n1").log.last_index, "n1 committed its new entry with two copies of five"
    )
    stage.take()
    stage.heartbeat("n1")
    stage.settle()


@scenario("S26")
def acknowledgement_of_an_earlier_leadership(play: Play) -> None:
    """The same, but one old acknowledgement is late and arrives in the new leadership: it does not count."""
    stage = _three_uncommitted_on_two_of_five(play)
    (late,) = stage.take("AER", "n2", "n1")
    _led_again(stage)
    stage.arrive(late)
    stage.take()
    stage.heartbeat("n1")
    stage.settle("n1", "n4")
    stage.expect(
        stage.commit("n1") < stage.core("n1").log.last_index, "n1 committed its new entry with two copies of five"
    )
    stage.take()
    stage.heartbeat("n1")
    stage.settle()


@scenario("S23")
def late_heartbeat_cuts_nothing(play: Play) -> None:
    """An empty AppendEntries arrives after later entries were acknowledged and committed: the log stays (§5.3)."""
    stage = led(play, 3)
    stage.heartbeat("n1")
    (late,) = stage.take("AE", "n1", "n2")
    write = stage.write("n1", "x", 1)
    stage.take("AE", "n1", "n3")
    stage.settle("n1", "n2")
    stage.expect(write.outcome == "ok", "the write was not committed by n1 and n2")
    stage.take()
    stage.arrive(late)
    stage.expect(stage.log("n2")[-1] == (2, 1), f"n2 cut an acknowledged entry: {stage.log('n2')}")
    stage.take()
    stage.kill("n1")
    stage.elect("n2", "n3")
    stage.settle("n2", "n3")
    read = stage.read("n2", "x")
    stage.settle("n2", "n3")
    stage.expect(read.result == 1, f"x reads {read.result!r}")


@scenario("S23")
def doubled_entries_cut_nothing(play: Play) -> None:
    """An AppendEntries with one entry arrives again after two more were appended."""
    stage = led(play, 3, append_entries_max=1)
    stage.write("n1", "x", 0)
    copy = stage.deliver("AE", "n1", "n2")
    stage.settle()
    for number in (1, 2):
        stage.write("n1", "x", number)
        stage.settle()
    stage.arrive(copy)
    stage.expect(stage.log("n2") == stage.log("n1"), f"n2 cut its log: {stage.log('n2')}")
    stage.settle()


@scenario("S24")
def late_refusal(play: Play) -> None:
    """A refusal arrives long after the follower caught up: the leader may send again, nobody cuts anything."""
    stage = led(play, 3)
    stage.kill("n3")
    for number in range(5):
        stage.write("n1", "x", number)
        stage.settle("n1", "n2")
    stage.take()
    stage.start("n3")
    stage.heartbeat("n1")
    stage.deliver("AE", "n1", "n3")
    (refusal,) = stage.waiting("AER", "n3", "n1")
    stage.settle()
    stage.heartbeat("n1")
    stage.settle()
    stage.arrive(refusal)
    stage.heartbeat("n1")
    stage.settle()
    stage.expect(stage.log("n3") == stage.log("n1"), "the logs differ")


@scenario("S21")
def rivals_with_long_tails(play: Play) -> None:
    """Two leaders in turn gather twenty entries each that nobody gets; the third overwrites both (MIT's Backup
    test).
    """
    stage = led(play, 5, append_entries_max=3)
    for number in range(20):
        stage.write("n1", "x", f"first {number}")
    stage.take()
    stage.elect("n2", "n3", "n4", "n5")
    stage.take()
    for number in range(20):
        stage.write("n2", "x", f"second {number}")
    stage.take()
    stage.elect("n3", "n4", "n5")
    stage.settle("n3", "n4", "n5")
    stage.write("n3", "x", "kept")
    stage.settle("n3", "n4", "n5")
    for _ in range(3):
        stage.heartbeat("n3")
        stage.settle()
    for name in ("n1", "n2"):
        stage.expect(stage.log(name) == stage.log("n3"), f"{name} still differs: {stage.log(name)}")


@scenario("S21")
def tail_longer_than_the_batch(play: Play) -> None:
    """A follower's conflicting tail is longer than what overwrites it: none of it may stay behind."""
    stage = led(play, 3, append_entries_max=1)
    for number in range(4):
        stage.write("n1", "x", f"lost {number}")
    stage.take()
    stage.elect("n2", "n3")
    stage.settle("n2", "n3")
    stage.take()
    stage.heartbeat("n2")
    for _ in range(4):
        if stage.log("n1")[1:2] == [(2, 2)]:
            break
        stage.deliver("AE", "n2", "n1")
        if stage.waiting("AER", "n1", "n2"):
            stage.deliver("AER", "n1", "n2")
    stage.expect(stage.log("n1") == [(1, 1), (2, 2)], f"n1 keeps a stale tail: {stage.log('n1')}")
    stage.take()
    stage.elect("n3", "n1")
    stage.settle()


@scenario("S29")
def leader_steps_down_with_commands_waiting(play: Play) -> None:
    """A leader learns of a newer term while commands wait: it appends nothing more, and answers "not known"."""
    stage = led(play, 3)
    waiting = stage.write("n1", "x", 1)
    stage.take()
    stage.timeout("n2")
    stage.deliver("RV", "n2", "n1")
    late = stage.write("n1", "x", 2)
    stage.expect(stage.core("n1").log.last_index == 2, "n1 appended after it stepped down")
    stage.expect(late.outcome == "fail", f"a command that was not taken was answered {late.outcome}")
    stage.expect(waiting.outcome == "info", f"a command in the log was answered {waiting.outcome}")
    stage.settle()


@scenario("S29")
def pending_write_of_a_deposed_leader(play: Play) -> None:
    """An isolated leader's command waits at index 2; another leader commits something else there: that is no
    answer.
    """
    stage = led(play, 3)
    waiting = stage.write("n1", "x", "lost")
    stage.take()
    stage.elect("n2", "n3")
    stage.settle("n2", "n3")
    kept = stage.write("n2", "x", "kept")
    stage.settle("n2", "n3")
    stage.expect(kept.outcome == "ok", "the majority did not commit")
    for _ in range(2):
        stage.heartbeat("n2")
        stage.settle()
    stage.expect(waiting.outcome == "info", f"the overwritten command was answered {waiting.outcome}")
    read = stage.read("n2", "x")
    stage.settle()
    stage.expect(read.result == "kept", f"x reads {read.result!r}")


@scenario("S29")
def deposed_leaders_command_that_survives(play: Play) -> None:
    """A leader hands an entry to one follower and is deposed by it: the entry is committed, and its client was
    not told
    that it failed.
    """
    stage = led(play, 3)
    waiting = stage.write("n1", "x", 1)
    stage.deliver("AE", "n1", "n2")
    stage.take()
    stage.elect("n2", "n1", "n3")
    stage.expect(waiting.outcome != "fail", "a command that may still happen was called failed")
    stage.settle()
    read = stage.read("n2", "x")
    stage.settle()
    stage.expect(read.result == 1, f"x reads {read.result!r}")


@scenario("S03")
def even_cluster_needs_three_of_four(play: Play) -> None:
    """In a cluster of four, two copies are no majority."""
    stage = led(play, 4)
    write = stage.write("n1", "x", 1)
    stage.settle("n1", "n2")
    stage.expect(write.outcome is None, "two of four copies were taken for a majority")
    stage.settle("n1", "n3")
    stage.expect(write.outcome == "ok", "three of four copies were not enough")
