"""The linear engine for unique values: each rule by an example to judge by eye, and what happens without it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from capsize.checker import unique_kernel
from capsize.checker.budget import Budget
from capsize.checker.encoding import encode, slotted
from capsize.checker.models import CasRegister, KeyValue
from capsize.checker.outcome import Legal
from capsize.checker.unique import ILLEGAL, NOT_UNIQUE, UNPLACED, VALID, UniqueAnswer, judge_unique
from capsize.checker.wgl import decide_wgl
from capsize.history import History

from .random_histories import draw, mutate
from .scripts import history


def judged(text: str, *, compiled: bool = False) -> UniqueAnswer:
    encoded = encode(history(text), None)
    assert encoded is not None
    return judge_unique(slotted(encoded[0]), compiled=compiled)


def rule(text: str) -> str:
    answer = judged(text)
    assert answer.status == (ILLEGAL,)
    return answer.contradictions[0].rule


def test_a_read_may_see_a_write_that_is_still_open() -> None:
    assert judged("""
        w:1     |-----------|
        r->1        |--|
    """).status == (VALID,)


def test_a_value_that_nobody_wrote_cannot_be_read() -> None:
    assert (
        rule("""
        w:1     |--|
        r->2         |--|
    """)
        == "never-written"
    )


def test_a_stale_read_names_the_two_zones() -> None:
    answer = judged("""
        w:1     |--|
        w:2         |--|
        r->2             |--|
        r->1                  |--|
    """)
    found = answer.contradictions[0]
    assert found.rule in ("zones-overlap", "zone-inside")
    assert len(found.zones) == 2
    assert found.operations


def test_a_read_before_its_write_was_called_is_out_of_order() -> None:
    assert (
        rule("""
        r->1    |--|
        w:1          |--|
    """)
        == "order"
    )


def test_two_cas_cannot_both_take_a_value_that_was_written_once() -> None:
    assert (
        rule("""
        w:1     |--|
        c:1,2        |-----|
        c:1,3        |-----|
    """)
        == "two-cas"
    )


def test_cas_that_form_a_circle_have_no_head() -> None:
    assert (
        rule("""
        c:2,1   |-----|
        c:1,2   |-----|
    """)
        == "cycle"
    )


def test_a_pending_write_counts_only_when_it_was_seen() -> None:
    seen = """
        w:1     |--|
        w:2         |--|...
        r->2             |--|
        r->1                  |--|
    """
    assert judged(seen).status == (ILLEGAL,)
    assert judged(seen.replace("r->2", "r->1")).status == (VALID,)


def test_a_value_written_twice_and_read_is_for_another_engine() -> None:
    assert judged("""
        w:1     |--|
        w:1          |--|
        r->1              |--|
    """).status == (NOT_UNIQUE,)


def test_a_failed_cas_without_a_moment_of_another_value_is_never_called_legal() -> None:
    assert judged("""
        w:1     |--|
        c:1,2!       |--|
        r->1              |--|
    """).status == (UNPLACED,)


def test_two_reads_that_disagree_on_what_an_item_was_appended_to_are_illegal() -> None:
    from capsize.checker.linearizability import check_linearizable

    verdict = check_linearizable(
        history("""
        append:x;    |-----|
        append:y;    |-----|
        get->x;y;            |--|
        get->y;x;                 |--|
    """),
        KeyValue(),
    )
    assert verdict.valid is False


def disagreements(count: int, *, compiled: bool = False) -> int:
    """How many random histories of unique values are judged otherwise than by Wing, Gong and Lowe."""
    wrong = 0
    for number in range(count):
        dice = random.Random(f"unique/{number}")
        operations = draw(
            "cas-register", dice, count=dice.randrange(2, 12), clients=4, pending=dice.choice([0, 0.3]), unique=True
        )
        if number % 3:
            operations = mutate(operations, dice)
        drawn = History.of(operations)
        encoded = encode(drawn, None)
        if encoded is None or not len(encoded[0]):
            continue
        status = judge_unique(slotted(encoded[0]), compiled=compiled).status[0]
        legal = isinstance(decide_wgl(drawn, CasRegister(), Budget()), Legal)
        wrong += (status == VALID and not legal) or (status == ILLEGAL and legal)
    return wrong


def test_it_agrees_with_the_oracle() -> None:
    assert disagreements(600) == 0


def test_the_compiled_form_agrees_with_the_oracle() -> None:
    assert disagreements(200, compiled=True) == 0


@pytest.mark.parametrize(
    ("helper", "broken"),
    [
        ("returns_too_early", lambda returned, latest_call: False),
        ("zones_overlap", lambda end, start: False),
        ("lies_inside", lambda end, latest: False),
        ("lies_inside", lambda end, latest: True),
    ],
    ids=["rule 4", "rule 5, overlap", "rule 5, inside", "rule 5, too strict"],
)
def test_it_is_shown_wrong_when_a_rule_is_broken(
    monkeypatch: pytest.MonkeyPatch, helper: str, broken: Callable[..., bool]
) -> None:
    monkeypatch.setattr(unique_kernel, helper, broken)
    assert disagreements(600) > 0
