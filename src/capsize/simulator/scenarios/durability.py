"""Scenarios about disks, restarts and snapshots (Raft paper Figure 2, §7; thesis §3.8)."""

from __future__ import annotations

from pathlib import Path

from capsize.simulator.scenarios.replication import led
from capsize.simulator.scenarios.scenario import Play, scenario
from capsize.simulator.stage import Stage


@scenario("S51")
def power_loss_of_all_right_after_the_answer(play: Play) -> None:
    """A write is answered and the power goes everywhere: it is still there."""
    stage = led(play, 3)
    write = stage.write("n1", "x", 1)
    stage.settle()
    stage.expect(write.outcome == "ok", "the write was not committed")
    stage.take()
    stage.lose_power(*stage.names)
    stage.start(*stage.names)
    stage.elect("n3")
    stage.settle()
    read = stage.read("n3", "x")
    stage.settle()
    stage.expect(read.result == 1, f"x reads {read.result!r}")


@scenario("S51")
def followers_disks_are_stuck(play: Play) -> None:
    """Two of three disks are stuck: their servers acknowledge nothing, and nothing is committed."""
    stage = led(play, 3)
    for name in ("n2", "n3"):
        stage.freeze_disk(name)
    write = stage.write("n1", "x", 1)
    stage.settle()
    stage.expect(write.outcome is None, "a write was answered with one durable copy of three")
    stage.lose_power("n2", "n3")
    stage.start("n2", "n3")
    stage.heartbeat("n1")
    stage.settle()
    stage.expect(write.outcome == "ok", "the write was not committed in the end")


@scenario("S51")
def leaders_own_disk_is_stuck(play: Play) -> None:
    """The leader sends in parallel with its own write, which is stuck: its own copy does not count."""
    stage = led(play, 3, parallel_append=True)
    stage.freeze_disk("n1")
    write = stage.write("n1", "x", 1)
    stage.take("AE", "n1", "n3")
    stage.settle("n1", "n2")
    stage.expect(write.outcome is None, "the leader counted a copy that its disk does not have")
    stage.lose_power("n1")
    stage.start("n1")
    stage.elect("n3", "n1")
    stage.settle()


@scenario("S52")
def leader_loses_power_with_an_entry_on_its_way(play: Play) -> None:
    """A leader sends an entry in parallel with its own write, loses power and boots: it must not use that place
    in that
    term again for something else.
    """
    stage = led(play, 3, parallel_append=True)
    stage.freeze_disk("n1")
    stage.write("n1", "x", "first")
    stage.deliver("AE", "n1", "n2")
    stage.take()
    stage.lose_power("n1")
    stage.start("n1")
    stage.write("n1", "x", "second")
    stage.settle("n1", "n3")
    stage.take()
    stage.elect("n1", "n2", "n3") if stage.core("n2").log.last_index <= stage.core(
        "n1"
    ).log.last_index else stage.elect("n2")
    stage.settle()


@scenario("S64")
def restart_command_restart(play: Play) -> None:
    """Restart, one command, restart (MIT's SnapshotInit): nothing is applied twice, nothing is lost."""
    stage = led(play, 3)
    for number in range(3):
        stage.ask("n1", "append", "x", (number,))
        stage.settle()
    for name in stage.names:
        stage.admin(name, "snapshot")
    for number in range(3, 5):
        stage.take()
        stage.kill(*stage.names)
        stage.start(*stage.names)
        stage.elect("n1")
        stage.settle()
        stage.ask("n1", "append", "x", (number,))
        stage.settle()
        stage.heartbeat("n1")
        stage.settle()
    read = stage.read("n2", "x")
    stage.settle()
    stage.expect(read.result == [0, 1, 2, 3, 4], f"x reads {read.result!r}")


@scenario("S60")
def follower_needs_a_snapshot(play: Play) -> None:
    """A follower missed entries that were compacted away since: it gets the snapshot, then the rest."""
    stage = led(play, 3)
    stage.kill("n3")
    for number in range(6):
        stage.ask("n1", "append", "x", (number,))
        stage.settle("n1", "n2")
    stage.admin("n1", "snapshot")
    stage.ask("n1", "append", "x", (6,))
    stage.settle("n1", "n2")
    stage.take()
    stage.start("n3")
    for _ in range(3):
        stage.heartbeat("n1")
        stage.settle()
    stage.expect(stage.core("n3").machine.read("x") == list(range(7)), "n3 does not hold the state")
    stage.kill("n3")
    stage.start("n3")
    stage.heartbeat("n1")
    stage.settle()
    stage.expect(stage.core("n3").machine.read("x") == list(range(7)), "n3 does not hold the state after a restart")


@scenario("S62")
def old_snapshot_arrives_late(play: Play) -> None:
    """A snapshot that was delayed arrives after the follower went on: nothing is undone."""
    stage = led(play, 3)
    stage.kill("n3")
    for number in range(4):
        stage.ask("n1", "append", "x", (number,))
        stage.settle("n1", "n2")
    stage.admin("n1", "snapshot")
    stage.take()
    stage.start("n3")
    stage.heartbeat("n1")
    for _ in range(4):
        if stage.waiting("IS", "n1", "n3"):
            break
        stage.deliver("AE", "n1", "n3")
        stage.settle("n1", "n3", but=lambda message: type(message).__name__ == "InstallSnapshot")
    late = stage.deliver("IS", "n1", "n3")
    stage.settle()
    for number in range(4, 7):
        stage.ask("n1", "append", "x", (number,))
        stage.settle()
    stage.heartbeat("n1")
    stage.settle()
    before = stage.commit("n3")
    stage.arrive(late)
    stage.settle()
    stage.expect(stage.commit("n3") >= before, "an old snapshot took commits back")
    stage.expect(stage.core("n3").machine.read("x") == list(range(7)), "an old snapshot took the state back")


@scenario("S65")
def snapshot_at_the_conflict(play: Play) -> None:
    """A deposed leader's conflicting entry sits exactly at the last index of the new leader's snapshot."""
    stage = led(play, 3)
    stage.write("n1", "x", "lost")
    stage.take()
    stage.elect("n2", "n3")
    stage.settle("n2", "n3")
    stage.heartbeat("n2")
    stage.settle("n2", "n3")
    stage.admin("n2", "snapshot")
    stage.take()
    for _ in range(4):
        stage.heartbeat("n2")
        stage.settle()
    kept = stage.write("n2", "x", "kept")
    stage.settle()
    stage.heartbeat("n2")
    stage.settle()
    stage.expect(kept.outcome == "ok", "the write was not committed")
    read = stage.read("n1", "x")
    stage.settle()
    stage.expect(read.result == "kept", f"x reads {read.result!r} on the deposed leader")


@scenario("S65")
def first_entries_arrive_after_compaction(play: Play) -> None:
    """The very first AppendEntries is doubled and arrives again after the follower compacted its log past it."""
    stage = play(3)
    stage.elect("n1")
    stage.settle("n1", "n2")
    stage.write("n1", "x", 0)
    stage.heartbeat("n1")
    stage.settle("n1", "n2")
    stage.take()
    stage.heartbeat("n1")
    copies = []
    for _ in range(4):
        for message in stage.waiting("AE", "n1", "n3"):
            copies.append(message)
        stage.settle("n1", "n3")
        stage.heartbeat("n1")
    for number in range(1, 4):
        stage.write("n1", "x", number)
        stage.settle()
    stage.heartbeat("n1")
    stage.settle()
    for name in stage.names:
        stage.admin(name, "snapshot")
    stage.write("n1", "x", 4)
    stage.settle()
    for message in copies:
        stage.arrive(message)
    stage.settle()
    stage.expect(stage.core("n3").log.last_index == stage.core("n1").log.last_index, "n3 lost or gained entries")
    stage.heartbeat("n1")
    stage.settle()


@scenario("S56")
def disk_error_stops_the_server(play: Play) -> None:
    """A write fails with an I/O error: the server stops rather than promise anything; the others go on."""
    stage = led(play, 3)
    stage.freeze_disk("n3")
    write = stage.write("n1", "x", 1)
    stage.deliver("AE", "n1", "n3")
    stage.world.nodes["n3"].disk.frozen = False
    stage.world.nodes["n3"].disk.begin_flush()
    stage.world.fail_disk("n3")
    stage.expect("n3" not in stage.world.up, "n3 goes on after its disk failed")
    stage.settle("n1", "n2")
    stage.expect(write.outcome == "ok", "the others did not commit")
    stage.start("n3")
    stage.heartbeat("n1")
    stage.settle()
    stage.expect(stage.log("n3") == stage.log("n1"), "n3 did not catch up after its disk came back")


@scenario("S63")
def power_loss_at_every_point_of_a_snapshot(play: Play) -> None:
    """The power goes after each of the writes that a snapshot takes: the server boots with everything it had."""
    for kept in range(4):
        stage = led(play, 3)
        for number in range(4):
            stage.write("n1", "x", number)
            stage.settle()
        stage.heartbeat("n1")
        stage.settle()
        stage.freeze_disk("n3")
        stage.admin("n3", "snapshot")
        stage.lose_power_after("n3", kept)
        stage.start("n3")
        stage.expect(
            stage.core("n3").log.last_index == 5, f"n3 boots with a log up to {stage.core('n3').log.last_index}"
        )
        stage.heartbeat("n1")
        stage.settle()
        stage.expect(stage.core("n3").machine.read("x") == 3, "n3 lost what was committed")


@scenario("S53")
def power_loss_at_every_point_of_an_overwrite(play: Play) -> None:
    """The power goes after each of the writes by which a conflicting tail is replaced."""
    for kept in range(4):
        stage = led(play, 3)
        for number in range(3):
            stage.write("n1", "x", f"lost {number}")
        stage.take()
        stage.elect("n2", "n3")
        stage.settle("n2", "n3")
        stage.write("n2", "x", "kept")
        stage.settle("n2", "n3")
        stage.take()
        stage.freeze_disk("n1")
        stage.heartbeat("n2")
        stage.deliver("AE", "n2", "n1")
        stage.lose_power_after("n1", kept)
        stage.start("n1")
        for _ in range(2):
            stage.heartbeat("n2")
            stage.settle()
        stage.expect(stage.log("n1") == stage.log("n2"), f"the logs differ after {kept} writes")


def _damaged(play: Play, *, records: int) -> tuple[Stage, Path]:
    """Three servers on real files; n3 holds `records` commands that all have, and is down. Return n3's last
    segment.
    """
    stage = play(3, files=True)
    stage.elect("n1")
    stage.settle()
    for number in range(records):
        stage.ask("n1", "append", "x", (number,))
        stage.settle()
    stage.heartbeat("n1")
    stage.settle()
    stage.take()
    stage.kill("n3")
    segments = sorted(stage.directory("n3").glob("log/*.seg"))
    stage.expect(segments, "n3 has no segments of a log")
    return stage, segments[-1]


@scenario("S54")
def torn_record_then_two_restarts(play: Play) -> None:
    """The last record on a disk is torn; the server boots, appends, and boots again: what it appended is still
    there.
    """
    stage, segment = _damaged(play, records=3)
    with segment.open("ab") as file:
        file.write(b"\x00\x00\x01\x00torn")
    stage.start("n3")
    for number in (3, 4):
        stage.ask("n1", "append", "x", (number,))
        stage.settle()
    stage.heartbeat("n1")
    stage.settle()
    before = stage.core("n3").log.last_index
    stage.take()
    stage.kill("n3")
    stage.start("n3")
    stage.expect(
        stage.core("n3").log.last_index >= before, f"n3 boots with a log up to {stage.core('n3').log.last_index}"
    )
    stage.heartbeat("n1")
    stage.settle()


@scenario("S55")
def damage_in_the_middle_of_a_log(play: Play) -> None:
    """A bit flips in the middle of a log: the server must not boot as if it had never had what follows."""
    stage, segment = _damaged(play, records=6)
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 0x10
    segment.write_bytes(bytes(content))
    stage.damaged.add("n3")
    stage.start("n3")
    stage.expect("n3" not in stage.world.up, "n3 boots from a log that is damaged in its middle")
