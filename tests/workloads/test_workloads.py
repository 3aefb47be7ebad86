"""Requests are pure functions of the seed; values are never reused; keys are short-lived and shared."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import pytest

from capsize.op import Invocation
from capsize.workloads import WORKLOADS, Workload
from capsize.workloads.workload import LIVE_KEYS

BOTH = sorted(WORKLOADS)


def asked(workload: Workload, count: int = 300) -> list[list[Invocation]]:
    return [list(islice(workload.requests(thread), count)) for thread in range(workload.threads)]


@pytest.mark.parametrize("word", BOTH)
def test_the_same_seed_asks_the_same(word: str) -> None:
    assert asked(WORKLOADS[word](7, 10)) == asked(WORKLOADS[word](7, 10))
    assert asked(WORKLOADS[word](7, 10)) != asked(WORKLOADS[word](8, 10))


def written(op: Invocation) -> list[Any]:
    if op.f in ("write", "put", "append"):
        return [op.value]
    return [op.value[1]] if op.f == "cas" and isinstance(op.value, tuple) else []


@pytest.mark.parametrize("word", BOTH)
def test_no_value_is_ever_written_twice(word: str) -> None:
    values = [value for ops in asked(WORKLOADS[word](7, 10)) for op in ops for value in written(op)]
    assert len(values) == len(set(values)) > 500


@pytest.mark.parametrize("word", BOTH)
def test_every_key_sees_some_hundred_operations_and_several_live_at_once(word: str) -> None:
    # Threads in step, as an undisturbed run has them.
    ops = [op for turn in zip(*asked(WORKLOADS[word](7, 10), 600), strict=True) for op in turn]
    per_key = Counter(op.key for op in ops)
    assert all(80 <= count <= 250 for count in per_key.values())
    for start in range(0, len(ops) - 100, 500):
        assert 2 <= len({op.key for op in ops[start : start + 100]}) <= 2 * LIVE_KEYS


def test_a_register_is_read_written_and_compared() -> None:
    counts = Counter(op.f for ops in asked(WORKLOADS["register"](7, 10)) for op in ops)
    total = sum(counts.values())
    assert set(counts) == {"read", "write", "cas"}
    assert all(share / total > 0.1 for share in counts.values())


def test_a_cas_expects_what_its_own_thread_wrote_before() -> None:
    for ops in asked(WORKLOADS["register"](7, 10)):
        mine: set[Any] = set()
        for op in ops:
            if op.f == "cas":
                assert isinstance(op.value, tuple)
                assert (op.key, op.value[0]) in mine
            mine.update((op.key, value) for value in written(op))


def test_a_map_is_asked_for_everything_it_can() -> None:
    ops = [op for ops in asked(WORKLOADS["kv"](7, 10), 800) for op in ops]
    assert {op.f for op in ops} == {"get", "put", "delete", "cas", "append", "incr"}
    kinds: dict[Any, set[str]] = {}
    for op in ops:
        kinds.setdefault(op.key, set()).add(op.f)
    for fs in kinds.values():
        assert len([group for group in ({"append"}, {"incr"}, {"put", "cas", "delete"}) if fs & group]) <= 1


@pytest.mark.parametrize("word", BOTH)
def test_final_reads_ask_for_every_key_and_change_nothing(word: str) -> None:
    workload = WORKLOADS[word](7, 10)
    reads = workload.final_reads([1, 2, 3])
    assert [op.key for op in reads] == [1, 2, 3]
    assert {op.f for op in reads} <= workload.reads


@pytest.mark.parametrize("word", BOTH)
def test_a_workload_is_judged_by_a_checker_of_its_model(word: str) -> None:
    (checker,) = WORKLOADS[word](7, 10).checkers()
    assert checker.name == "linearizability"
