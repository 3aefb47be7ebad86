"""Requests are pure functions of the seed; values are never reused; keys are short-lived and shared."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import pytest

from capsize.checker.models import MODELS
from capsize.client import Client
from capsize.errors import DefiniteError
from capsize.op import Invocation, Outcome, Reply, Value
from capsize.workloads import WORKLOADS, Workload
from capsize.workloads.workload import LIVE_KEYS

EVERY = sorted(WORKLOADS)
UNIQUE = sorted(set(WORKLOADS) - {"counter", "lock"})
"""Those that write values."""


def asked(workload: Workload, count: int = 300) -> list[list[Invocation]]:
    return [list(islice(workload.requests(thread), count)) for thread in range(workload.threads)]


@pytest.mark.parametrize("word", EVERY)
def test_the_same_seed_asks_the_same(word: str) -> None:
    assert asked(WORKLOADS[word](7, 10)) == asked(WORKLOADS[word](7, 10))
    assert asked(WORKLOADS[word](7, 10)) != asked(WORKLOADS[word](8, 10))


def test_a_system_that_lacks_cas_is_asked_for_writes_instead_and_for_the_same_otherwise() -> None:
    whole, without = WORKLOADS["register"](7, 4), WORKLOADS["register"](7, 4)
    without.lacks = frozenset({"cas"})
    for mine, theirs in zip(asked(without), asked(whole), strict=True):
        assert {op.f for op in mine} == {"read", "write"}
        assert [op for op in theirs if op.f != "cas"] == [
            op for op, other in zip(mine, theirs, strict=True) if other.f != "cas"
        ]
        instead = [(op.key, op.value) for op, other in zip(mine, theirs, strict=True) if other.f == "cas"]
        assert instead == [(op.key, written(op)[0]) for op in theirs if op.f == "cas"]


@pytest.mark.parametrize("word", EVERY)
def test_every_workload_says_what_it_cannot_do_without(word: str) -> None:
    workload = WORKLOADS[word](7, 10)
    built_on_a_map = type(workload).on_map is not Workload.on_map
    words = {op.f for thread in asked(workload) for op in thread}
    assert workload.needs == ({"read", "cas"} if built_on_a_map else words - ({"cas"} if word == "register" else set()))


def written(op: Invocation) -> list[Any]:
    if op.f in ("write", "put", "append", "add", "enqueue"):
        return [op.value]
    return [op.value[1]] if op.f == "cas" and isinstance(op.value, tuple) else []


@pytest.mark.parametrize("word", UNIQUE)
def test_no_value_is_ever_written_twice(word: str) -> None:
    values = [value for ops in asked(WORKLOADS[word](7, 10)) for op in ops for value in written(op)]
    assert len(values) == len(set(values)) > 500


@pytest.mark.parametrize("word", EVERY)
def test_every_key_sees_some_hundred_operations_and_several_live_at_once(word: str) -> None:
    # Threads in step, as an undisturbed run has them.
    ops = [op for turn in zip(*asked(WORKLOADS[word](7, 10), 600), strict=True) for op in turn]
    per_key = Counter(op.key for op in ops)
    twice = 2 if word == "lock" else 1  # a release for each acquire
    assert all(80 <= count / twice <= 250 for count in per_key.values())
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


@pytest.mark.parametrize("word", EVERY)
def test_final_reads_ask_for_every_key_and_change_nothing(word: str) -> None:
    workload = WORKLOADS[word](7, 10)
    reads = workload.final_reads([1, 2, 3])
    assert [op.key for op in reads] == [1, 2, 3]
    assert {op.f for op in reads} <= workload.reads


@pytest.mark.parametrize("word", EVERY)
def test_a_workload_is_judged_by_a_checker_and_named_after_a_model(word: str) -> None:
    workload = WORKLOADS[word](7, 10)
    (checker,) = workload.checkers()
    own = {"set": "set", "queue": "queue", "lock": "mutual-exclusion"}
    assert checker.name == own.get(word, "linearizability")
    assert workload.model in MODELS
    asked_for = {op.f for ops in asked(workload) for op in ops}
    assert asked_for <= MODELS[workload.model].words | {"read"}


def test_a_lock_is_given_back_after_it_was_asked_for() -> None:
    for ops in asked(WORKLOADS["lock"](7, 4)):
        for acquire, release in zip(ops[::2], ops[1::2], strict=True):
            assert (acquire.f, release.f, acquire.key) == ("acquire", "release", release.key)


class Map(Client):
    """One linearizable register map for all clients; `cuts` connections when a cas has been carried out."""

    def __init__(self, held: dict[Value, Value], cuts: list[int]) -> None:
        self.held, self.cuts = held, cuts

    def invoke(self, op: Invocation) -> Reply:
        if op.f == "read":
            return Reply(self.held.get(op.key))
        assert op.f == "cas"
        assert isinstance(op.value, tuple)
        if self.held.get(op.key) != op.value[0]:
            return Reply(False)
        self.held[op.key] = op.value[1]
        if self.cuts and self.cuts.pop():
            raise ConnectionResetError("cut")
        return Reply(True)


def outcome(client: Client, f: str, key: Value = 0, value: Value = None) -> tuple[Outcome, Value]:
    try:
        return "ok", client.invoke(Invocation(f, key, value)).result
    except DefiniteError as error:
        return "fail", str(error)
    except ConnectionError:
        return "info", None


def test_a_set_a_queue_and_a_lock_are_built_of_read_and_cas() -> None:
    held: dict[Value, Value] = {}
    one, other = (WORKLOADS["set"](7, 2).on_map(Map(held, []), process) for process in (0, 1))
    assert [outcome(one, "add", "s", 1), outcome(other, "add", "s", 2)] == [("ok", None)] * 2
    assert outcome(one, "read", "s") == ("ok", (1, 2))
    one, other = (WORKLOADS["queue"](7, 2).on_map(Map(held, []), process) for process in (0, 1))
    assert [outcome(one, "enqueue", "q", 3), outcome(one, "enqueue", "q", 4)] == [("ok", None)] * 2
    assert [outcome(other, "dequeue", "q") for _ in range(3)] == [("ok", 3), ("ok", 4), ("ok", None)]
    assert outcome(one, "read", "q") == ("ok", ())
    one, other = (WORKLOADS["lock"](7, 2).on_map(Map(held, []), process) for process in (0, 1))
    assert outcome(one, "acquire", "l") == ("ok", 1)
    assert outcome(other, "acquire", "l") == ("fail", "it is held by process 0")
    assert outcome(other, "release", "l") == ("fail", "this process does not hold it")
    assert outcome(one, "release", "l") == ("ok", None)
    assert outcome(other, "acquire", "l") == ("ok", 2)
    assert outcome(one, "read", "l") == ("ok", 2)


def test_a_cas_whose_answer_was_lost_leaves_the_operation_unknown_and_is_not_tried_again() -> None:
    held: dict[Value, Value] = {}
    client = WORKLOADS["set"](7, 2).on_map(Map(held, [1]), 0)
    assert outcome(client, "add", "s", 1) == ("info", None)
    assert held == {"s": (1,)}


def test_others_who_are_always_quicker_leave_nothing_done() -> None:
    class Never(Map):
        def invoke(self, op: Invocation) -> Reply:
            return Reply(None) if op.f == "read" else Reply(False)

    told = outcome(WORKLOADS["queue"](7, 2).on_map(Never({}, []), 0), "enqueue", "q", 1)
    assert told == ("fail", "another client was quicker 8 times; nothing was written")
