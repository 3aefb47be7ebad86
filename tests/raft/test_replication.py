"""§5.3 and §5.4.2: AppendEntries on both sides, and when an entry is committed."""

from __future__ import annotations

from dataclasses import replace

from capsize.raft.events import MessageReceived, Persisted, Recovered
from capsize.raft.messages import AppendEntries, AppendReply

FOLLOWERS = ("n2", "n3", "n4", "n5")


def test_a_write_takes_the_six_steps_of_the_table(bench):
    """Append and fsync; AppendEntries with prev; check, append, fsync, ack; majority; reply; commit index; apply."""
    disk = Recovered(term=6, entries=bench.log_of(*[6] * 99))
    b = bench(recovered=dict.fromkeys(("n1", *FOLLOWERS), disk))
    leader = b.elect("n1")
    assert leader.term == 7
    assert leader.log.last == (100, 7)  # the no-op
    assert leader.commit_index == 100
    b.auto_persist = False
    for events in b.events.values():
        events.clear()

    rid = b.ask("n1", "put", "x", 42)  # 1: append (term 7, index 101); nothing leaves before the fsync
    assert leader.log.last == (101, 7)
    assert not b.wire
    b.persist("n1")
    sent = b.take("AE")  # 2: AppendEntries to everyone, with prev (100, 7)
    assert [message.to for message in sent] == list(FOLLOWERS)
    assert all((message.prev_index, message.prev_term) == (100, 7) for message in sent)
    assert [e.index for e in sent[0].entries] == [101]

    b.deliver(*sent)  # 3: check, append; the reply waits for the fsync
    assert all(b.cores[name].log.last == (101, 7) for name in FOLLOWERS)
    assert not b.wire
    for name in FOLLOWERS:
        b.persist(name)
    acks = b.take("AER")
    assert [(ack.ok, ack.index) for ack in acks] == [(True, 101)] * 4

    b.deliver(acks[0])
    assert leader.commit_index == 100  # two of five
    b.deliver(acks[1])  # 4: two acks and the leader: three of five
    assert leader.commit_index == leader.applied_index == 101
    assert b.outcome(rid) == "ok"  # 5
    assert b.replies[rid].meta == {"served_by": "n1", "term": 7, "log_index": 101}
    assert all(b.cores[name].applied_index == 100 for name in FOLLOWERS)

    b.deliver(*acks[2:])
    b.wire.clear()
    b.time_out("n1")  # 6: the next heartbeat carries commit index 101; followers apply
    beats = b.take("AE")
    assert {message.commit for message in beats} == {101}
    b.deliver(*beats)
    assert all(b.cores[name].machine.read("x") == 42 for name in FOLLOWERS)
    hashes = {core.machine.state_hash for core in b.cores.values()}
    assert len(hashes) == 1
    told = ["client_submit", "append", "persist", "commit", "apply", "client_reply"]
    assert b.traced("n1", *told) == told


def test_a_follower_with_another_term_at_prev_index_refuses_and_says_where_that_term_begins(bench):
    """prevIndex 50, prevTerm 4, but term 3 at 50: refuse with (3, its first index); the log stays (§5.3)."""
    log = bench.log_of(*[1] * 20, *[2] * 20, *[3] * 15)  # 41 … 55 have term 3
    b = bench("n1", "n2", "n3", recovered={"n2": Recovered(term=4, entries=log)})
    message = AppendEntries("m", "n1", "n2", 4, 50, 4, (b.entry(51, 4),), 0, 0)
    b.step("n2", MessageReceived(message))
    (reply,) = b.take("AER")
    assert (reply.ok, reply.conflict_term, reply.conflict_index) == (False, 3, 41)
    assert b.cores["n2"].log.last == (55, 3)


def test_a_leader_skips_a_whole_conflicting_term_at_once(bench):
    """§5.3, the end: one refusal for each conflicting term, not for each entry."""
    shared = (1, 1, 1)
    b = bench(
        "n1",
        "n2",
        "n3",
        recovered={
            "n1": Recovered(term=5, entries=bench.log_of(*shared, 5, 5)),
            "n2": Recovered(term=4, entries=bench.log_of(*shared, *[2] * 200, *[4] * 100)),
            "n3": Recovered(term=5, entries=bench.log_of(*shared, 5, 5)),
        },
    )
    b.elect("n1", "n3")
    b.time_out("n1")
    b.settle()
    refusals = [e for e in b.events["n2"] if e["ev"] == "send" and e["msg"].get("ok") is False]
    assert 1 <= len(refusals) <= 3
    assert b.cores["n2"].log.last == b.cores["n1"].log.last
    assert b.traced("n2", "truncate") == ["truncate"]


def test_a_follower_500_entries_behind_is_brought_up_in_batches(bench):
    terms = [3] * 600
    b = bench(
        "n1",
        "n2",
        "n3",
        settings=replace(bench.plain, append_entries_max=100),
        recovered={
            "n1": Recovered(term=3, entries=bench.log_of(*terms)),
            "n2": Recovered(term=3, entries=bench.log_of(*terms[:100])),
            "n3": Recovered(term=3, entries=bench.log_of(*terms)),
        },
    )
    b.elect("n1")
    b.time_out("n1")
    b.settle()
    assert b.cores["n2"].applied_index == 601
    sent = [event["msg"] for event in b.events["n1"] if event["ev"] == "send" and event["msg"]["to"] == "n2"]
    carried = [message["n"] for message in sent if message["type"] == "AE"]
    assert sum(carried) <= 501 + 100  # one batch may be spent on finding the place
    assert max(carried) == 100


def test_an_old_append_entries_does_not_cut_the_log(bench):
    """§5.3: truncate only where an entry differs; a delayed message carries a prefix of what is there."""
    b = bench("n1", "n2", "n3")
    b.elect("n1")
    b.ask("n1", "put", "x", 1)
    (early,) = b.take("AE", to="n2")
    b.deliver(early)
    b.settle()
    b.ask("n1", "put", "x", 2)
    b.settle()
    before = b.cores["n2"].log.last
    b.deliver(early, early._replace(entries=()))
    assert b.cores["n2"].log.last == before
    assert not b.traced("n2", "truncate")


def test_uncommitted_entries_of_a_deposed_leader_are_overwritten(bench):
    """§5.3: followers' logs become the leader's; nobody was told of the entries that go."""
    b = bench("n1", "n2", "n3")
    b.elect("n1")
    lost = [b.ask("n1", "put", "x", value) for value in (1, 2, 3)]
    b.wire.clear()
    b.elect("n2", "n3")
    kept = b.ask("n2", "put", "x", 9)
    b.settle("n2", "n3")
    assert b.outcome(kept) == "ok"
    for _ in range(6):
        b.time_out("n2")
        b.settle()
    assert b.cores["n1"].log.last == b.cores["n2"].log.last
    assert b.cores["n1"].machine.read("x") == 9
    assert [b.outcome(rid) for rid in lost] == ["info"] * 3


def test_entries_of_earlier_terms_are_not_committed_by_counting(bench):
    """Figure 8 (c): a majority holds an entry of term 2, the leader of term 4 must not commit it (§5.4.2)."""
    b = bench(
        recovered={
            "n1": Recovered(term=3, entries=bench.log_of(1, 2)),
            "n2": Recovered(term=3, entries=bench.log_of(1, 2)),
            "n3": Recovered(term=3, entries=bench.log_of(1)),
            "n4": Recovered(term=3, entries=bench.log_of(1)),
            "n5": Recovered(term=3, entries=bench.log_of(1, 3)),
        },
        settings=replace(bench.plain, append_entries_max=1),
    )
    leader = b.elect("n1", "n2", "n3")
    while leader.commit_index == 0 and b.wire:
        b.settle()
    # As soon as anything was committed, the no-op of term 4 was: index 3, never index 2 alone.
    commits = [e["st"]["commit"] for e in b.events["n1"] if e["ev"] == "commit"]
    assert commits == [] or commits[0] == 3


def test_a_follower_does_not_commit_beyond_what_the_message_proves(bench):
    """§5.3, Figure 2: min(leaderCommit, index of last new entry); a stale tail may lie behind it."""
    b = bench("n1", "n2", "n3", recovered={"n2": Recovered(term=2, entries=bench.log_of(1, 1, 2, 2))})
    b.step("n2", MessageReceived(AppendEntries("m", "n1", "n2", 3, 2, 1, (), 4, 0)))
    assert b.cores["n2"].commit_index == 2
    (reply,) = b.take("AER")
    assert (reply.index, reply.accepted) == (2, 2)  # nor does it acknowledge its own tail


def test_an_acknowledgement_of_an_earlier_term_counts_for_nothing(bench):
    b = bench("n1", "n2", "n3")
    leader = b.elect("n1")
    b.ask("n1", "put", "x", 1)
    b.wire.clear()
    late = AppendReply("m", "n2", "n1", leader.term - 1, True, leader.log.last_index, leader.log.last_index, None, 0, 0)
    b.deliver(late)
    assert leader.commit_index < leader.log.last_index


def test_a_follower_whose_disk_stalls_answers_heartbeats_but_acknowledges_nothing_new(bench):
    b = bench("n1", "n2", "n3")
    leader = b.elect("n1")
    b.settle()
    b.auto_persist = False
    held = leader.progress["n2"].match_index
    b.ask("n1", "put", "x", 1)
    b.persist("n1")
    b.settle("n1", "n2")
    b.time_out("n1")
    b.settle("n1", "n2")
    assert leader.progress["n2"].match_index == held
    assert leader.progress["n2"].next_index == leader.log.last_index + 1  # it has the entry, in memory
    b.persist("n2")
    b.settle("n1", "n2")
    assert leader.progress["n2"].match_index == leader.log.last_index


def test_a_write_reported_late_does_not_make_other_entries_durable(bench):
    """The ABA of asynchronous writes: an entry is overwritten while the old one is on its way to the disk."""
    b = bench("n1", "n2", "n3", auto_persist=False)
    follower = b.cores["n2"]
    b.step("n2", MessageReceived(AppendEntries("m1", "n1", "n2", 1, 0, 0, b.log_of(1, 1), 0, 0)))
    first = b.writes["n2"][-1].write
    b.step("n2", MessageReceived(AppendEntries("m2", "n3", "n2", 2, 1, 1, (b.entry(2, 2),), 0, 0)))
    b.step("n2", Persisted(first))
    assert follower.durable_index == 1
    b.persist("n2")
    assert follower.durable_index == 2


def test_a_committed_entry_is_never_cut(bench):
    """Going on could only do harm: the server stops itself."""
    b = bench("n1", "n2", "n3")
    b.step("n2", MessageReceived(AppendEntries("m1", "n1", "n2", 1, 0, 0, b.log_of(1, 1), 2, 0)))
    b.step("n2", MessageReceived(AppendEntries("m2", "n3", "n2", 2, 1, 1, (b.entry(2, 2),), 2, 0)))
    assert "committed" in b.stopped["n2"]
    assert b.cores["n2"].log.last == (2, 1)


def test_a_lost_append_entries_is_sent_again(bench):
    b = bench("n1", "n2", "n3")
    leader = b.elect("n1")
    b.settle()
    rid = b.ask("n1", "put", "x", 1)
    b.wire.clear()  # all lost
    for _ in range(6):
        b.time_out("n1")
        b.settle()
    assert b.outcome(rid) == "ok"
    assert leader.commit_index == leader.log.last_index
