"""Traces around changes of the members: batches, reads in between, and servers that come back as new ones."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from tracelang import judge


def broken(text: str, *only: str) -> dict[str, int]:
    figures: dict[str, int] = judge(text, *only).figures["broken"]
    return figures


def test_two_configurations_in_one_batch_are_two_steps_of_one_server_each() -> None:
    """A follower that lagged behind gets both at once, and takes them one after the other (thesis §4.1)."""
    text = """
        n5 recover cfg=n1,n2,n3
        n5 append 1.1:a term=1
        n5 append 2.1:cfg!n1,n2,n3,n4 3.1:b 4.1:cfg!n1,n2,n3,n4,n5
        n5 config index=2 cfg=n1,n2,n3,n4
        n5 config index=4 cfg=n1,n2,n3,n4,n5
        n5 send AER>n1 #a ok idx=4
    """
    assert not broken(text, "I18")
    assert broken(text.replace("        n5 config index=2 cfg=n1,n2,n3,n4\n", ""), "I18") == {"I18": 1}


def test_a_step_on_the_way_that_skips_a_server_is_still_reported() -> None:
    assert broken(
        """
        n5 recover cfg=n1,n2,n3
        n5 append 1.1:a term=1
        n5 append 2.1:cfg!n1,n2,n3,n4,n5 3.1:cfg!n1,n2,n3,n4
        n5 config index=2 cfg=n1,n2,n3,n4,n5
        n5 config index=3 cfg=n1,n2,n3,n4
        """,
        "I18",
    ) == {"I18": 1}


def test_a_read_may_be_confirmed_by_the_majority_of_the_configuration_that_came_in_between() -> None:
    text = """
        n1 recover cfg=n1,n2,n3,n4
        n1 become_leader term=1
        n1 append 1.1:a
        n1 commit 1
        n1 read_index rid=r index=1 round=3
        n1 append 2.1:cfg!n1,n2,n3,n4,n5
        n1 config index=2 cfg={cfg}
        n2 send AER>n1 #x ok idx=1 round=3 term=1
        n5 send AER>n1 #y ok idx=1 round=3 term=1
        n1 recv #x
        n1 recv #y
        n1 apply 1.1:a h=1
        n1 read_served rid=r index=1
    """
    assert not broken(text.format(cfg="n1,n2,n3,n4,n5"), "I19")  # n1, n2, n5 are three of five
    assert broken(text.format(cfg="n1,n2,n3,n4"), "I19") == {"I19": 1}  # n1, n2 are two of four


WIPED = """
    n2 recover cfg=n1,n2,n3
    n2 become_follower term=4 vote=n1
    n2 persist meta
    n2 send RVR>n1 #v granted term=4
    n2 append 1.4:a 2.4:b
    n2 persist log
    n2 send AER>n1 #x ok idx=2
    n2 commit 2
    n2 apply 1.4:a h=1
    n2 apply 2.4:b h=2
    n2 recover {word} term=0 vote=none cfg=n1,n3
    n2 append 1.4:a 2.4:b term=4
    n2 persist log
    n2 send AER>n1 #y ok idx=2
    n2 apply 1.4:a h=1
"""


def test_a_server_that_was_wiped_on_purpose_and_joined_again_owes_nothing_of_its_earlier_life() -> None:
    assert not broken(WIPED.format(word="reborn"), "I2", "I9", "I11", "I13")


def test_the_same_without_the_purpose_breaks_the_promises() -> None:
    """Only the reference Raft's word for it, which only the nemesis causes, forgives a lost log, term and vote."""
    assert set(broken(WIPED.format(word="x=1"), "I2", "I9", "I11", "I13")) == {"I9", "I13"}


def test_what_a_new_server_was_told_to_begin_with_is_no_configuration_of_its_log() -> None:
    text = """
        n1 recover {word} cfg=n2,n3,n4,n5
        n1 append 1.1:cfg!n1,n2,n3,n5 2.1:a term=3
        n1 config index=1 cfg=n1,n2,n3,n5
        n1 send AER>n2 #a ok idx=2
    """
    assert not broken(text.format(word="reborn"), "I18")
    assert broken(text.format(word="x=1"), "I18") == {"I18": 1}


def test_a_reborn_server_forgets_its_votes_but_the_others_do_not() -> None:
    text = """
        n2 send RVR>n1 #a granted term=4
        n3 send RVR>n1 #b granted term=4
        n2 recover reborn term=0
        n2 send RVR>n5 #c granted term=4
        n3 send RVR>n5 #d granted term=4
    """
    assert broken(text, "I2") == {"I2": 1}
