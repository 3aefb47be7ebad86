"""A history judged while it grows: the first answer that nothing explains is found, and nothing right is stopped."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest

from capsize.checker.budget import Budget
from capsize.checker.checker import Checker
from capsize.checker.fifo import FifoQueue
from capsize.checker.grow_only import GrowOnlySet
from capsize.checker.linearizability import Linearizability
from capsize.checker.models import MODELS, MultiRegister, Register
from capsize.checker.mutual_exclusion import MutualExclusion
from capsize.checker.watch import Watch
from capsize.op import Operation
from capsize.workloads import WORKLOADS

from .random_containers import random_history, well_formed

Event = dict[str, Any]
CONTAINERS: dict[str, Checker] = {"set": GrowOnlySet(), "queue": FifoQueue(), "lock": MutualExclusion()}


def asked(process: int, f: str, key: Any = None, value: Any = None, *, at: int) -> Event:
    return {"process": process, "type": "invoke", "f": f, "key": key, "value": value, "time_ns": at}


def told(process: int, f: str, key: Any = None, result: Any = None, *, at: int, kind: str = "ok") -> Event:
    return {"process": process, "type": kind, "f": f, "key": key, "result": result, "time_ns": at}


def events_of(operations: Iterable[Operation]) -> list[Event]:
    events: list[tuple[int, Event]] = []
    for op in operations:
        events.append((2 * op.call, asked(op.process, op.f, op.key, op.value, at=2 * op.call)))
        if op.ret is not None:
            events.append(
                (2 * op.ret + 1, told(op.process, op.f, op.key, op.result, at=2 * op.ret + 1, kind=op.outcome))
            )
    return [event for _, event in sorted(events, key=lambda pair: pair[0])]


def test_the_first_answer_that_nothing_explains_is_named_among_many_keys() -> None:
    watch = Watch(Register(), every=1_000)
    events: list[Event] = []
    for number in range(60):
        key, at = number % 3, 20 * number
        events += [asked(0, "write", key, number, at=at), told(0, "write", key, at=at + 5)]
        read = 3 if number == 30 else number
        events += [asked(1, "read", key, at=at + 6), told(1, "read", key, read, at=at + 9)]
    for event in events:
        assert watch.event(event) is None
    assert watch.judge() is not None
    assert watch.event_at == told(1, "read", 0, 3, at=20 * 30 + 9)
    assert watch.row_at == 61
    assert watch.judge() is watch.verdict is watch.event(events[0])


def test_an_open_write_may_have_taken_effect() -> None:
    watch = Watch(Register(), every=1)
    events = [asked(0, "write", None, 1, at=1), asked(1, "read", at=2), told(1, "read", None, 1, at=3)]
    assert [watch.event(event) for event in events] == [None] * 3
    assert watch.event(told(0, "write", at=4, kind="fail")) is not None  # it never did


def test_a_model_that_cannot_be_split_by_key_is_watched_whole() -> None:
    assert not Watch(MultiRegister()).by_key
    assert Watch(Register()).by_key


def test_a_key_on_which_the_budget_ran_out_is_given_up_and_counted() -> None:
    watch = Watch(MODELS["counter"](), budget=Budget(steps=3), every=1)
    for process in range(12):
        watch.event(asked(process, "incr", 1, 1 + process % 2, at=process))
    watch.event(asked(50, "read", 1, at=30))
    watch.event(told(50, "read", 1, 17, at=31))
    watch.event(asked(51, "read", 1, at=40))
    watch.event(told(51, "read", 1, 99, at=41))
    assert watch.verdict is None
    assert watch.hard == 1


@pytest.mark.parametrize("kind", CONTAINERS)
def test_no_prefix_of_a_right_history_is_called_wrong(kind: str) -> None:
    dice, right, wrong = random.Random(11), 0, 0
    for number in range(300):
        history = random_history(kind, dice, infos=number % 2 == 0)
        if kind == "lock" and not well_formed(history):
            continue
        watch = Watch(CONTAINERS[kind], every=1)
        for event in events_of(history):
            watch.event(event)
        valid = CONTAINERS[kind].check(history, Budget()).valid
        assert (watch.judge() is None) == (valid is not False), list(history)
        right, wrong = right + (valid is True), wrong + (valid is False)
    assert right > 20
    assert wrong


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_can_be_watched_key_by_key(name: str) -> None:
    checkers = WORKLOADS[name](7, 10).checkers()
    assert checkers
    for checker in checkers:
        assert Watch(checker).by_key
        assert isinstance(checker, Linearizability | GrowOnlySet | FifoQueue | MutualExclusion)
