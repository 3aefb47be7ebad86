"""What a Raft may do without being accused, and deviations that only show in how events hang together."""

from __future__ import annotations

import time

from capsize.checker.invariants import Judge, RaftInvariants

from .tracelang import judge, script


def broken(text: str, *only: str) -> dict[str, int]:
    return judge(text, *only).figures["broken"]


def test_a_late_message_of_an_older_leader_may_cut_a_copy_of_an_entry_committed_since() -> None:
    """Figure 8, continued: n2 is outside the majority by which n1 committed index 1 in term 4."""
    assert not broken("""
        n2 append 1.2:a term=2
        n1 append 1.2:a term=4
        n1 commit 1
        n2 truncate 0 term=3
        n2 append 1.3:b
    """)


def test_a_leader_of_a_later_term_may_not_cut_a_committed_entry() -> None:
    assert broken(
        """
        n2 append 1.2:a term=2
        n1 append 1.2:a term=4
        n1 commit 1
        n2 truncate 0 term=5
        n2 append 1.5:b
    """,
        "I15",
    ) == {"I15": 1}


def test_a_cut_below_the_own_commit_index_is_reported() -> None:
    assert "I15" in broken("n1 append 1.1:a 2.1:b\nn1 commit 2\nn1 truncate 1\nn1 append 2.2:c term=2")


def test_a_cut_after_which_nothing_comes_is_reported() -> None:
    """A delayed heartbeat that ends inside the log is no conflict (§5.3)."""
    assert "I15" in broken("n1 append 1.1:a 2.1:b\nn1 truncate 1\nn1 send AER>n2 #a ok idx=1")


def test_a_term_that_nobody_was_told_of_may_be_forgotten() -> None:
    assert not broken("n1 recover term=1\nn1 become_candidate term=2\nn1 recover term=1", "I9", "I13")


def test_a_term_on_the_disk_may_not_be_forgotten() -> None:
    assert broken("n1 recover term=1\nn1 become_candidate term=2\nn1 persist meta\nn1 recover term=1", "I9") == {
        "I9": 1
    }


def test_a_term_that_was_told_may_not_be_forgotten() -> None:
    assert broken("n1 recover term=1\nn1 term_changed term=2\nn1 send RVR>n2 #a\nn1 recover term=1", "I13") == {
        "I13": 1
    }


def test_a_vote_that_was_told_may_not_be_forgotten() -> None:
    assert broken("n1 recover\nn1 vote_granted term=1 vote=n2\nn1 send RVR>n2 #a granted\nn1 recover term=1", "I13")


def test_an_acknowledged_entry_may_go_when_a_later_leader_overwrote_it() -> None:
    assert not broken("""
        n2 recover term=1
        n2 append 1.1:a 2.1:b
        n2 persist log
        n2 send AER>n1 #a ok idx=2
        n2 truncate 1 term=2
        n2 append 2.2:c
        n2 persist log
        n2 recover term=2 last=2.2
    """)


def test_a_power_loss_brings_unsynced_truncations_back() -> None:
    """The recovered log is what the disk held; its entries are known from before the truncation."""
    verdict = judge("""
        n1 append 1.1:a 2.1:b term=1
        n1 commit 2
        n2 append 1.1:a 2.1:b term=1
        n2 persist log
        n2 truncate 1 term=2
        n2 append 2.2:c
        n2 recover term=1 last=2.1
        n2 commit 2
    """)
    assert not verdict.figures["broken"].get("I8")


def test_the_voter_may_restart_between_vote_and_reply() -> None:
    assert not broken(
        "n2 recover\nn2 vote_granted term=1 vote=n1\nn2 persist meta\nn2 recover term=1 vote=n1\n"
        "n2 send RVR>n1 #a granted"
    )


def test_a_vote_cleared_within_its_term_is_reported() -> None:
    """Stepping down does not give the vote back (§5.2); the second vote need not happen to be seen."""
    assert broken("n1 recover\nn1 become_candidate term=2\nn1 become_follower vote=none", "I9") == {"I9": 1}


COMMIT = """
    n1 recover cfg=n1,n2,n3
    n2 recover
    n1 become_leader term=3
    n1 append 1.3:a
    n1 persist log
    n2 term_changed term=3
    n2 persist meta
    n2 append 1.3:a
    n2 persist log
"""


def test_an_acknowledgement_of_an_older_term_does_not_count() -> None:
    assert "I16" in broken(COMMIT + "n2 send AER>n1 #a ok idx=1 term=1\nn1 recv #a\nn1 commit 1")


def test_an_acknowledgement_from_before_the_election_does_not_count() -> None:
    assert "I16" in broken(
        COMMIT + "n2 send AER>n1 #a ok idx=1\nn1 recv #a\nn1 become_follower\nn1 become_leader\nn1 commit 1", "I16"
    )


def test_an_acknowledgement_that_has_not_arrived_does_not_count() -> None:
    assert "I16" in broken(COMMIT + "n2 send AER>n1 #a ok idx=1\nn3 send AER>n1 #b ok idx=0\nn1 recv #b\nn1 commit 1")


def test_an_acknowledgement_of_another_entry_at_the_index_does_not_count() -> None:
    """The follower acknowledged its own last index; what it holds there is an older leader's (§5.3)."""
    assert "I16" in broken(
        """
        n1 recover cfg=n1,n2,n3
        n2 recover last=1.2 term=3
        n1 become_leader term=3
        n1 append 1.3:a
        n1 persist log
        n2 send AER>n1 #a ok idx=1
        n1 recv #a
        n1 commit 1
    """
    )


def test_the_leaders_own_copy_counts_only_when_durable() -> None:
    assert "I16" in broken("""
        n1 recover cfg=n1
        n1 become_leader term=1
        n1 append 1.1:a
        n1 commit 1
    """)


def test_a_read_tied_to_a_round_that_had_begun_is_reported() -> None:
    """Thesis §6.4: the acknowledgements must answer messages sent after the read came."""
    text = """
        n1 recover cfg=n1,n2,n3
        n1 become_leader term=1
        n1 append 1.1:a
        n1 commit 1
        n1 send AE>n2 #h round=4
        n1 read_index rid=r index=1 round={round}
    """
    assert not broken(text.format(round=5), "I19")
    assert broken(text.format(round=4), "I19") == {"I19": 1}


def test_a_read_confirmed_by_a_minority_is_reported() -> None:
    text = """
        n1 recover cfg=n1,n2,n3
        n1 become_leader term=1
        n1 append 1.1:a
        n1 commit 1
        n1 read_index rid=r index=1 round=5
        n2 send AER>n1 #a ok idx=1 round={answered} term=1
        n1 recv #a
        n1 apply 1.1:a
        n1 read_served rid=r index=1
    """
    assert not broken(text.format(answered=5), "I19")
    assert broken(text.format(answered=4), "I19") == {"I19": 1}


def test_a_configuration_falls_back_when_its_entry_is_cut_off() -> None:
    text = """
        n1 recover cfg=n1,n2,n3
        n1 append 1.1:a term=1
        n1 append 2.1:cfg!n1,n2,n3,n4
        n1 config cfg=n1,n2,n3,n4
        n1 truncate 1 term=2
        n1 append 2.2:b
        {after}
        n1 send AER>n2 #a ok idx=2
    """
    assert not broken(text.format(after="n1 config cfg=n1,n2,n3"), "I18")
    assert broken(text.format(after=""), "I18") == {"I18": 1}


def test_a_configuration_before_the_leaders_own_term_is_committed_is_reported() -> None:
    """Ongaro's correction of 2015 to the thesis, §4.1."""
    assert "I18" in broken("""
        n1 recover cfg=n1,n2,n3,n4
        n1 append 1.1:a term=1
        n1 commit 1
        n1 become_leader term=2
        n1 append 2.2:cfg!n1,n2,n3
    """)


def test_a_trace_without_fsync_events_is_judged_as_far_as_it_goes() -> None:
    verdict = judge("n1 become_leader term=1\nn1 append 1.1:a\nn1 commit 1\nn2 append 1.1:a term=1\nn2 commit 1")
    assert verdict.valid is True
    assert "I8" in verdict.figures["judged"]
    assert "persist" in verdict.figures["not_judged"]["I14"]


def test_recorded_traces_are_put_in_order_before_they_are_judged() -> None:
    """The follower's file is given first; its receipt still comes after the sending."""
    events = script(COMMIT + "n2 send AER>n1 #a ok idx=1\nn1 recv #a\nn1 commit 1")
    traces = [[event for event in events if event.node == node] for node in ("n2", "n1")]
    verdict = RaftInvariants(traces).check(None, None)
    assert verdict.valid is True
    assert verdict.figures["judged"]["I16"] == 1


def test_nothing_at_all_is_unknown() -> None:
    assert RaftInvariants([]).check().valid == "unknown"


def test_a_hundred_thousand_events_take_seconds() -> None:
    """Linear: ten times the events, about ten times the time. The bound is generous; it is measured at about 1 s."""
    judge = Judge()
    began = time.process_time()
    for event in script("\n".join(many_writes(9_000))):
        judge.feed(event)
    assert judge.events > 100_000
    assert not judge.broken
    assert time.process_time() - began < 20


def many_writes(writes: int) -> list[str]:
    """Return a healthy three-node trace of so many writes."""
    lines = [f"n{node} recover cfg=n1,n2,n3" for node in (1, 2, 3)] + ["n1 become_leader term=1"]
    lines += ["n2 term_changed term=1", "n2 persist meta"]
    for index in range(1, writes + 1):
        lines += [f"n1 append {index}.1:p{index}", "n1 persist log", f"n1 send AE>n2 #m{index} n=1 prev={index - 1}.1"]
        lines += [f"n2 recv #m{index}", f"n2 append {index}.1:p{index}", "n2 persist log"]
        lines += [f"n2 send AER>n1 #a{index} ok idx={index}", f"n1 recv #a{index}"]
        lines += [f"n1 commit {index}", f"n1 apply {index}.1:p{index} h={index:x}"]
        lines += [f"n2 commit {index}", f"n2 apply {index}.1:p{index} h={index:x}"]
    return lines
