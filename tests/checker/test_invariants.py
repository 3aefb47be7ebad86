"""Each invariant: a trace it holds in, one it is broken in, one it cannot judge. Sections are of the Raft paper."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from capsize.checker.invariants import INVARIANTS, Judge
from capsize.verdict import Axis

from .tracelang import judge, script


class Case(NamedTuple):
    """`word` stands in the because-sentence of the broken trace."""

    id: str
    holds: str
    broken: str
    silent: str
    word: str


CASES = [
    Case(
        "I1",  # §5.2
        "n1 become_leader term=1\nn2 become_leader term=2\nn1 become_leader term=3",
        "n1 become_leader term=1\nn1 become_follower term=2\nn2 become_leader term=1",
        "n1 recover\nn2 recover",
        "n2 became leader of term 1, which n1 already led",
    ),
    Case(
        "I2",  # §5.2: across a restart
        "n3 vote_granted term=1 vote=n1\nn3 send RVR>n1 #a granted\nn3 recover term=1 vote=n1\n"
        "n3 vote_granted term=2 vote=n2",
        "n3 vote_granted term=1 vote=n1\nn3 send RVR>n1 #a granted\nn3 recover term=1\nn3 vote_granted term=1 vote=n2",
        "n3 send RVR>n1 #a",
        "n3 voted for n2 in term 1, in which it had voted for n1",
    ),
    Case(
        "I3",  # §5.3
        "n1 become_leader term=2\nn1 append 1.2:a\nn1 append 2.2:b\nn1 become_follower term=3\nn1 truncate 1",
        "n1 become_leader term=2\nn1 append 1.2:a\nn1 append 2.2:b\nn1 truncate 1",
        "n1 become_leader term=2",
        "cut its log while it led term 2",
    ),
    Case(
        "I4",  # §5.3: the hash tells two entries of one (index, term) apart
        "n1 append 1.1:a\nn2 append 1.1:a\nn3 append 1.2:b",
        "n1 append 1.1:a\nn2 append 1.1:b",
        "n1 become_leader term=1",
        "index 1 of term 1 holds a on n1 and b on n2",
    ),
    Case(
        "I5",  # §5.4.1: a longer log of an older term is behind
        "n2 recover term=3 last=4.3\nn1 send RV>n2 #v term=4 last=4.3\nn2 recv #v\nn2 vote_granted term=4 vote=n1",
        "n2 recover term=3 last=4.3\nn1 send RV>n2 #v term=4 last=9.2\nn2 recv #v\nn2 vote_granted term=4 vote=n1",
        "n2 recover term=3 last=4.3\nn2 vote_granted term=4 vote=n1",
        "behind its own at index 4 of term 3",
    ),
    Case(
        "I6",  # §5.4.3
        "n1 append 1.1:a term=1\nn1 commit 1\nn2 append 1.1:a term=1\nn2 become_leader term=2",
        "n1 append 1.1:a term=1\nn1 commit 1\nn2 recover term=1\nn2 become_leader term=2",
        "n2 become_leader term=2",
        "its log ends at index 0; entry 1 of term 1 (a) had been committed in term 1 (n1)",
    ),
    Case(
        "I7",  # §5.4.2, Figure 8
        "n1 append 1.2:a term=2\nn1 become_leader term=4\nn1 append 2.4:b\nn1 commit 2",
        "n1 append 1.2:a term=2\nn1 become_leader term=4\nn1 commit 1",
        "n1 append 1.2:a term=2\nn1 commit 1",
        "n1, leader of term 4, committed up to index 1, an entry of term 2",
    ),
    Case(
        "I8",  # §5.4.3
        "n1 append 1.1:a\nn2 append 1.1:a\nn1 commit 1\nn2 commit 1",
        "n1 append 1.1:a\nn2 append 1.2:b term=2\nn1 commit 1\nn2 commit 1",
        "n1 append 1.1:a",
        "n2 committed entry 1 of term 2 (b); n1 had committed entry 1 of term 1 (a)",
    ),
    Case(
        "I9",  # Figure 2
        "n1 recover term=3\nn1 term_changed term=4\nn1 commit 2\nn1 commit 3\nn1 term_changed term=5 vote=none",
        "n1 recover term=3\nn1 term_changed term=4\nn1 term_changed term=3",
        "n1 recover term=3",
        "n1 went back from term 4 to term 3",
    ),
    Case(
        "I10",  # §5.4.3
        "n1 apply 1.1:a\nn2 apply 1.1:a",
        "n1 apply 1.1:a\nn2 apply 1.2:b",
        "n1 commit 1",
        "n2 applied entry 1 of term 2 (b); n1 had applied entry 1 of term 1 (a)",
    ),
    Case(
        "I11",  # Figure 2, lastApplied
        "n1 recover base=2.1 last=2.1\nn1 apply 3.1:a\nn1 apply 4.1:b",
        "n1 recover base=2.1 last=2.1\nn1 apply 3.1:a\nn1 apply 3.1:a",
        "n1 recover\nn1 commit 1",
        "n1 applied index 3 after index 3, again",
    ),
    Case(
        "I12",  # Figure 2
        "n1 recover\nn1 append 1.1:a\nn1 commit 1\nn1 apply 1.1:a",
        "n1 recover\nn1 append 1.1:a\nn1 apply 1.1:a",
        "n1 send RVR>n2 #a",
        "n1 has its applied index at 1 and its commit index at 0",
    ),
    Case(
        "I13",  # Figure 2, persistent state
        "n2 recover term=1\nn2 append 1.1:a\nn2 send AER>n1 #a ok idx=1\nn2 recover term=1 last=1.1",
        "n2 recover term=1\nn2 append 1.1:a\nn2 send AER>n1 #a ok idx=1\nn2 recover term=1",
        "n2 send RVR>n1 #a",
        "n2 restarted with a log that ends at index 0 after it had acknowledged entries up to index 1",
    ),
    Case(
        "I14",  # Figure 2, persistent state
        "n2 recover term=1\nn2 append 1.1:a\nn2 persist log\nn2 send AER>n1 #a ok idx=1",
        "n2 recover term=1\nn2 append 1.1:a\nn2 send AER>n1 #a ok idx=1",
        "n2 send RVR>n1 #b granted",
        "n2 acknowledged entries up to index 1 while its disk held them up to 0",
    ),
    Case(
        "I15",  # §5.3
        "n2 append 1.1:a 2.1:b\nn2 truncate 1\nn2 append 2.2:c term=2",
        "n2 append 1.1:a 2.1:b\nn2 truncate 1\nn2 append 2.1:b",
        "n2 append 1.1:a 2.1:b",
        "nothing was in conflict",
    ),
    Case(
        "I16",  # §5.3
        """
        n1 recover cfg=n1,n2,n3
        n1 become_leader term=1
        n1 append 1.1:a
        n1 persist log
        n2 recover
        n2 append 1.1:a term=1
        n2 persist log
        n2 send AER>n1 #a ok idx=1
        n1 recv #a
        n1 commit 1
        """,
        """
        n1 recover cfg=n1,n2,n3
        n1 become_leader term=1
        n1 append 1.1:a
        n1 persist log
        n2 recover
        n2 append 1.1:a term=1
        n2 send AER>n1 #a ok idx=1            -- before its disk had it
        n1 recv #a
        n1 commit 1
        """,
        "n2 commit 1",
        "committed index 1 with 1 of the 2 copies that a majority of 3 needs",
    ),
    Case(
        "I17",  # §2
        "n1 apply 1.1:a h=aa\nn2 apply 1.1:a h=aa",
        "n1 apply 1.1:a h=aa\nn2 apply 1.1:a h=bb",
        "n1 apply 1.1:a\nn2 apply 1.1:a",
        "after index 1 the state of n2 has hash bb, that of n1 had aa",
    ),
    Case(
        "I18",  # thesis §4.1
        """
        n1 recover cfg=n1,n2,n3
        n1 become_leader term=1
        n1 append 1.1:a
        n1 commit 1
        n1 append 2.1:cfg!n1,n2,n3,n4
        n1 config cfg=n1,n2,n3,n4
        """,
        """
        n1 recover cfg=n1,n2,n3
        n1 become_leader term=1
        n1 append 1.1:a
        n1 commit 1
        n1 append 2.1:cfg!n1,n2,n3,n4
        n1 config cfg=n1,n2,n3,n4
        n1 append 3.1:cfg!n1,n2,n3,n4,n5
        """,
        "n1 recover cfg=n1,n2,n3\nn1 append 1.1:a",
        "appended a configuration at index 3 while that of index 2 was not committed",
    ),
    Case(
        "I19",  # thesis §6.4
        "n1 become_leader term=2\nn1 append 1.2:a\nn1 commit 1\nn1 read_index rid=r index=1\nn1 apply 1.2:a\n"
        "n1 read_served rid=r index=1",
        "n1 append 1.1:a term=1\nn1 become_leader term=2\nn1 commit 1\nn1 read_index rid=r\nn1 apply 1.1:a\n"
        "n1 read_served rid=r index=1",
        "n1 become_leader term=2",
        "it had not committed in its own term",
    ),
    Case(
        "I20",  # §8
        "n1 apply 1.1:a/c1.7 h=aa\nn1 apply 2.1:a/c1.7 h=aa\nn1 apply 3.1:a/c1.8 h=cc",
        "n1 apply 1.1:a/c1.7 h=aa\nn1 apply 2.1:a/c1.7 h=bb",
        "n1 apply 1.1:a h=aa",
        "request 7 of client c1, applied at index 1, changed the state of n1 again at index 2",
    ),
    Case(
        "I21",  # §5.2: a doubled reply, a reply of an earlier term and a pre-vote's reply are no votes
        "n1 become_candidate term=2 cfg=n1,n2,n3\nn2 send RVR>n1 #a granted term=2\nn1 recv #a\n"
        "n1 become_leader term=2",
        "n1 become_candidate term=1 cfg=n1,n2,n3,n4,n5\nn2 send RVR>n1 #a granted term=1\n"
        "n3 send RVR>n1 #b granted term=2\nn4 send PVR>n1 #c granted term=2\nn1 become_candidate term=2\n"
        "n1 recv #a\nn1 recv #b\nn1 recv #b\nn1 recv #c\nn1 become_leader term=2",
        "n1 become_candidate term=2 cfg=n1,n2,n3\nn1 become_leader term=2",
        "n1 became leader of term 2 with the votes of n1, n3; a majority of 5 is 3",
    ),
    Case(
        "I22",  # Figure 2: n2 voted for n3 already; n1's request is refused by right, n4's is not
        "n2 recover term=2 vote=n3 last=4.2\nn1 send RV>n2 #v term=2 last=5.2\nn2 recv #v\nn2 send RVR>n1 #a\n"
        "n4 send RV>n2 #w term=3 last=4.2\nn2 recv #w\nn2 send RVR>n4 #b granted term=3 term=3\n"
        "n2 term_changed term=3 vote=n4\nn2 recv #w\nn2 send RVR>n4 #c granted\n"
        "n4 send RV>n2 #old term=1 last=4.2\nn2 recv #old\nn2 send RVR>n4 #d term=3",
        "n2 recover term=2 last=9.1\nn1 send RV>n2 #v term=3 last=4.2\nn2 recv #v\nn2 term_changed term=3\n"
        "n2 send RVR>n1 #a",
        "n2 recover term=2\nn2 send RVR>n1 #a",
        "n2 refused n1 its vote in term 3, in which it had voted for nobody else",
    ),
]


def test_every_invariant_has_its_cases() -> None:
    assert [case.id for case in CASES] == list(INVARIANTS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_an_invariant_that_holds_is_valid(case: Case) -> None:
    verdict = judge(case.holds, case.id)
    assert verdict.valid is True, verdict.anomalies
    assert verdict.figures["judged"][case.id] > 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_broken_invariant_is_an_anomaly_with_its_events_and_its_source(case: Case) -> None:
    """Fails for any rule that is replaced by one that is always satisfied."""
    verdict = judge(case.broken, case.id)
    assert verdict.valid is False
    (anomaly,) = verdict.anomalies
    assert case.word in anomaly.because[0]
    assert INVARIANTS[case.id].source in anomaly.because[0]
    assert anomaly.name == INVARIANTS[case.id].name
    assert anomaly.events
    assert all(event["node"] for event in anomaly.events)


def test_a_request_applied_twice_is_one_anomaly_however_many_nodes_applied_it() -> None:
    nodes = [f"n{n} apply 1.1:a/c1.7 h=aa\nn{n} apply 2.1:a/c1.7 h=bb\nn{n} apply 3.1:a/c1.7 h=cc" for n in (3, 1, 2)]
    verdict = judge("\n".join(nodes), "I20")
    assert verdict.valid is False
    first, second = verdict.anomalies
    assert "changed the state of n3 again at index 2, and that of n1 and n2 as well (I20" in first.because[0]
    assert "changed the state of n3 again at index 3, and that of n1 and n2 as well (I20" in second.because[0]
    assert first.details["also_on"] == ["n1", "n2"]
    assert verdict.figures["broken"]["I20"] == 6


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_an_invariant_without_evidence_is_unknown_and_says_what_it_needs(case: Case) -> None:
    verdict = judge(case.silent, case.id)
    assert verdict.valid == "unknown"
    assert verdict.axes[Axis.SAFETY].because
    assert INVARIANTS[case.id].needs in verdict.figures["not_judged"][case.id]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_rule_that_is_always_satisfied_lets_the_broken_trace_pass(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The anomaly comes from this rule and from no other part of the judge."""
    monkeypatch.setattr(INVARIANTS[case.id], "report", lambda *_, **__: None)
    assert judge(case.broken, case.id).valid is not False


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_rule_judges_its_trace_the_same_way_beside_the_others(case: Case) -> None:
    together = Judge()
    for event in script(case.holds):
        together.feed(event)
    assert case.id not in together.verdict().figures["broken"]
    assert together.verdict().figures["judged"][case.id] > 0


def test_a_disk_that_forgot_what_it_held_is_noticed_without_any_promise() -> None:
    """A lone server acknowledges nothing to anybody; its disk had the entry all the same."""
    told = "n1 recover\nn1 append 1.1:a 2.1:b\nn1 persist log\nn1 recover last=1.1"
    (anomaly,) = judge(told, "I13").anomalies
    assert "its disk had held it up to index 2" in anomaly.because[0]
    assert judge(told.replace("n1 persist log", "n1 persist log\nn1 truncate 1"), "I13").valid is True


def test_a_server_that_acknowledged_nothing_is_made_no_voter() -> None:
    """Thesis §4.2.1."""
    start = (
        "n1 recover cfg=n1,n2\nn1 become_leader term=1\nn1 append 1.1:a\nn2 send AER>n1 #a ok idx=1 term=1\n"
        "n1 recv #a\nn1 commit 1\n"
    )
    promoted = "n1 append 2.1:cfg!n1,n2,n3\nn1 config cfg=n1,n2,n3"
    (anomaly,) = judge(start + promoted, "I18").anomalies
    assert "made n3 a voter, which had acknowledged nothing" in anomaly.because[0]
    caught_up = "n3 send AER>n1 #b ok idx=1 term=1\nn1 recv #b\n"
    assert judge(start + caught_up + promoted, "I18").valid is True


def test_a_read_is_not_confirmed_without_having_been_taken_on() -> None:
    """Thesis §6.4: its index is taken, then a round begins; a leader that says when it does so must always do so."""
    told = (
        "n1 become_leader term=2\nn1 read_index rid=r1 origin=n2 index=5 round=2\nn1 send RIR>n2 #a ok idx=5 rid=r1\n"
        "n1 send RIR>n2 #b ok idx=5 rid=r2"
    )
    (anomaly,) = judge(told, "I19").anomalies
    assert "confirmed read r2 of n2, for which it had taken no index" in anomaly.because[0]
    silent = "n1 become_leader term=2\nn1 send RIR>n2 #b ok idx=5 rid=r2"
    assert judge(silent, "I19").anomalies == ()
