"""§7: snapshots, compaction, InstallSnapshot; sessions and configuration inside."""

from __future__ import annotations

from dataclasses import replace

from capsize.raft.events import MessageReceived, Recovered
from capsize.raft.messages import AppendEntries, InstallSnapshot


def busy(bench, *, every=10, writes=25, **more):
    """Return three servers; n3 was cut off while the others wrote and took snapshots."""
    b = bench("n1", "n2", "n3", settings=replace(bench.plain, snapshot_every=every, **more))
    b.elect("n1")
    b.settle()
    for n in range(writes):
        b.ask("n1", "incr", "n", 1, client=f"c{n % 3}", seq=n + 1)
        b.settle("n1", "n2")
    return b


def catch_up(b):
    for _ in range(8):
        b.time_out("n1")
        b.settle()


def test_the_log_behind_a_snapshot_goes_once_the_snapshot_is_durable(bench):
    b = bench("n1", settings=replace(bench.plain, snapshot_every=5))
    b.time_out("n1")
    b.auto_persist = False
    for n in range(6):
        b.ask("n1", "incr", "n", 1, seq=n + 1)
    base = b.cores["n1"].log.base.index
    kinds = []
    while b.writes["n1"]:
        kinds += [type(write).__name__ for write in b.writes["n1"]]
        assert b.cores["n1"].log.base.index == base or "SaveSnapshot" in kinds
        b.persist("n1")
    assert b.cores["n1"].log.base.index > base


def test_a_follower_too_far_behind_gets_the_snapshot(bench):
    b = busy(bench)
    assert b.cores["n1"].log.base.index > b.cores["n3"].log.last_index
    catch_up(b)
    assert "snapshot_installed" in b.traced("n3")
    assert b.cores["n3"].machine.read("n") == 25
    assert b.cores["n3"].machine.state_hash == b.cores["n1"].machine.state_hash
    assert b.cores["n3"].log.last == b.cores["n1"].log.last


def test_sessions_travel_in_the_snapshot(bench):
    """A retry after the snapshot was installed is still applied once (thesis §6.3)."""
    b = busy(bench)
    catch_up(b)
    b.elect("n3", "n2")
    rid = b.ask("n3", "incr", "n", 1, client="c0", seq=25)
    b.settle("n2", "n3")
    assert b.outcome(rid) == "ok"
    assert b.cores["n3"].machine.read("n") == 25


def test_a_snapshot_is_acknowledged_only_when_it_is_durable(bench):
    b = busy(bench)
    b.auto_persist = False
    for _ in range(8):
        b.time_out("n1")
        b.settle("n1", "n3")
        b.persist("n1")
    assert b.cores["n1"].progress["n3"].match_index < b.cores["n1"].log.base.index
    b.persist("n3")
    b.settle("n1", "n3")
    assert b.cores["n1"].progress["n3"].match_index >= b.cores["n1"].log.base.index


def test_a_server_starts_again_from_its_snapshot_and_the_log_behind_it(bench):
    b = busy(bench)
    before = b.cores["n1"].machine.state_hash
    core = b.boot("n1")
    assert core.applied_index == core.log.base.index > 0
    b.elect("n1", "n2")
    b.settle("n1", "n2")
    b.time_out("n1")
    b.settle("n1", "n2")
    assert core.machine.state_hash == before


def test_an_old_snapshot_changes_nothing(bench):
    b = busy(bench)
    catch_up(b)
    follower = b.cores["n3"]
    before = (follower.machine.state_hash, follower.commit_index, follower.log.last)
    old = InstallSnapshot("m", "n1", "n3", follower.term, 3, 1, "never looked at", 0)
    b.step("n3", MessageReceived(old))
    assert (follower.machine.state_hash, follower.commit_index, follower.log.last) == before


def test_installing_drops_a_log_that_contradicts_the_snapshot_and_keeps_one_that_agrees(bench):
    """§7, the last paragraph."""
    b = busy(bench, every=10)
    snapshot = b.cores["n1"].snapshot
    for terms, kept in ((1, 5), (9, 0)):
        log = b.log_of(*[terms] * (snapshot.base.index + 5))
        c = bench("n3", "n1", "n2", recovered={"n3": Recovered(term=9, entries=log)})
        message = InstallSnapshot("m", "n1", "n3", 9, *snapshot.base, snapshot.data, 0)
        c.step("n3", MessageReceived(message))
        assert len(c.cores["n3"].log) == kept
        assert c.cores["n3"].applied_index == snapshot.base.index
        assert c.boot("n3").log.base == snapshot.base  # and so it is on the disk


def test_an_append_entries_that_reaches_into_the_snapshot_is_taken_from_its_edge(bench):
    b = busy(bench)
    follower = b.cores["n2"]
    base, last = follower.log.base, follower.log.last_index
    entries = (b.entry(base.index, base.term), *follower.log.between(base.index + 1, last))
    early = AppendEntries("m", "n1", "n2", follower.term, base.index - 1, base.term, entries, last, 0)
    b.step("n2", MessageReceived(early))
    assert follower.log.last_index == last
    assert not b.traced("n2", "truncate")


def test_taking_snapshots_at_different_times_leaves_equal_states(bench):
    b = busy(bench, every=7, writes=40)
    catch_up(b)
    assert len({core.machine.state_hash for core in b.cores.values()}) == 1
