"""The explainer: the smallest proof, a name that claims no more than was seen, and sentences that hold."""

from __future__ import annotations

import random
from typing import Any

import pytest

from capsize.checker.budget import Budget
from capsize.checker.explain import explain, explained
from capsize.checker.linearizability import check_linearizable
from capsize.checker.models import MODELS, Queue
from capsize.checker.outcome import Illegal
from capsize.checker.reduction import Item, closed, impossible, smallest_proof
from capsize.checker.surroundings import Surroundings, landed_faults, origin_ns
from capsize.checker.trace import NodeState, TraceEvent
from capsize.checker.wgl import decide_wgl
from capsize.history import History
from capsize.op import Operation, Value
from capsize.verdict import Anomaly, Axis

CAS = MODELS["cas-register"]()
MS = 1_000_000


def op(
    process: int, f: str, value: Value, call: int, ret: int, result: Value = None, outcome: str = "ok", **more: Any
) -> Operation:
    """One operation on key 3; times in milliseconds."""
    told: Any = outcome
    back = None if outcome == "info" else ret * MS
    return Operation(process, f, 3, value, call * MS, back, told, result, node=f"n{process}", **more)


def retold(*operations: Operation) -> Anomaly:
    """Judge, take the first anomaly, explain it."""
    history = History.of(operations)
    found = Anomaly("not-linearizable", ("engine",), tuple(history), key=3)
    return explain(found, history, CAS)


NOISE = [op(20 + k, "write", 100 + k, 1 + k, 3 + k) for k in range(3)] + [op(30, "read", None, 8, 9, 102)]


def test_a_write_nobody_saw_and_two_nodes_deny_is_lost() -> None:
    told = retold(
        *NOISE,
        op(1, "write", 17, 10, 12),
        op(2, "write", 18, 20, 22, meta={"term": 4, "log_index": 93, "served_by": "n2"}),
        op(3, "read", None, 30, 31, 17, meta={"term": 5, "log_index": 95, "served_by": "n3"}),
        op(4, "read", None, 40, 41, 17),
    )
    assert told.name == "lost-write"
    assert [item.value for item in told.operations] == [17, 18, None]
    text = " ".join(told.because)
    assert (
        "p2 on n2 was told at 0.022 s that 18 was written to key 3 (#5, served by n2 in term 4 at log index 93)."
        in text
    )
    assert "Nobody ever saw 18: 2 later answers showed something else." in text
    assert "acknowledged by n2 in term 4; the later answer came from n3 in term 5" in text


def test_nodes_that_are_behind_do_not_make_a_write_lost() -> None:
    told = retold(
        op(1, "write", 17, 10, 12),
        op(2, "write", 18, 20, 22, meta={"term": 1, "log_index": 93, "served_by": "n2"}),
        op(3, "read", None, 30, 31, 17, meta={"term": 1, "log_index": 92, "served_by": "n3"}),
        op(4, "read", None, 40, 41, 17, meta={"term": 1, "log_index": 91, "served_by": "n4"}),
    )
    assert told.name == "stale-read"


def test_most_nodes_denying_a_write_make_it_lost_where_answers_name_no_index() -> None:
    before = [op(1, "write", 17, 10, 12), op(2, "write", 18, 20, 22)]
    reads = [op(node, "read", None, 30 + node, 31 + node, 17) for node in (3, 4, 5)]
    assert retold(*before, *reads[:2]).name == "stale-read"
    assert retold(*before, *reads).name == "lost-write"


def test_one_old_answer_is_a_stale_read_while_others_see_the_new_value() -> None:
    told = retold(
        op(1, "write", 17, 10, 12),
        op(2, "write", 18, 20, 22, meta={"term": 5, "served_by": "n2"}),
        op(3, "read", None, 30, 31, 17, meta={"term": 4, "served_by": "n3"}),
        op(4, "read", None, 40, 41, 18),
    )
    assert told.name == "stale-read"
    assert "18 was seen on n4." in told.because
    assert "n3 answered in term 4, after n2 had answered in term 5." in told.because


def test_a_value_that_comes_back_is_told_by_who_had_seen_it_go() -> None:
    told = retold(
        op(1, "write", 17, 10, 30),
        op(2, "write", 18, 11, 0, outcome="info"),
        op(3, "read", None, 15, 16, 17),
        op(4, "read", None, 20, 21, 18),
        op(5, "read", None, 40, 41, 17),
    )
    assert told.name == "stale-read"
    assert any("18 had taken effect" in line for line in told.because)
    assert len(told.operations) == 5


def test_two_values_read_after_both_were_written_are_one_stale_read_too_many() -> None:
    told = retold(
        op(1, "write", 17, 10, 20, meta={"term": 4, "log_index": 342, "served_by": "n1"}),
        op(2, "write", 18, 15, 22, meta={"term": 4, "log_index": 347, "served_by": "n2"}),
        op(3, "read", None, 30, 35, 17, meta={"term": 4, "log_index": 345, "served_by": "n3"}),
        op(4, "read", None, 31, 33, 18, meta={"term": 4, "log_index": 347, "served_by": "n4"}),
    )
    assert told.name == "stale-read"
    assert told.because[0] == "p3 found 17 and p4 found 18, though both had been written before."
    assert "n3 answered from log index 345; the write stood at 347." in told.because
    assert not any("n4 answered from" in line for line in told.because)


def test_a_value_of_a_refused_write_is_a_dirty_read() -> None:
    told = retold(op(1, "write", 17, 1, 2, outcome="fail", error="not the leader"), op(2, "read", None, 5, 6, 17))
    assert told.name == "dirty-read"
    assert len(told.operations) == 2
    assert "answered fail (not the leader)" in told.because[2]


def test_a_value_nobody_wrote_is_garbage_and_one_from_the_future_is_early() -> None:
    assert retold(op(1, "write", 17, 1, 2), op(2, "read", None, 5, 6, 99)).name == "garbage-read"
    assert retold(op(1, "write", 17, 8, 9), op(2, "read", None, 5, 6, 17)).name == "future-read"


def test_two_compare_and_set_of_one_value_are_a_lost_update() -> None:
    told = retold(op(1, "write", 17, 1, 2), op(2, "cas", (17, 18), 5, 6, True), op(3, "cas", (17, 19), 5, 7, True))
    assert told.name == "lost-update"
    assert len(told.operations) == 3


def test_a_possible_history_is_never_explained() -> None:
    near_miss = [op(1, "write", 17, 10, 12), op(2, "write", 18, 20, 32), op(3, "read", None, 30, 31, 17)]
    told = retold(*near_miss)
    assert told.because == ("engine",)
    assert smallest_proof(near_miss, near_miss, CAS) is None


def test_the_proof_may_not_leave_out_a_writer_of_what_it_reads() -> None:
    everything = list(
        History.of(
            [
                op(1, "write", 17, 1, 2),
                op(2, "write", 18, 3, 4),
                op(4, "write", 17, 5, 6),
                op(3, "read", None, 7, 8, 17),
            ]
        )
    )
    some = [Item(item, item) for item in everything if item.process != 4]
    assert impossible([item.shown for item in some], CAS)
    assert not closed(some, everything)
    assert smallest_proof([item.shown for item in some], everything, CAS) is None


def test_other_models_are_argued_plainly_from_a_witness_the_oracle_shrank() -> None:
    def ask(process: int, f: str, value: Value, call: int, result: Value = None) -> Operation:
        return Operation(process, f, None, value, call * MS, (call + 1) * MS, "ok", result, node="n1")

    class AnotherQueue(Queue):
        """A model that nothing is known of."""

    queue = AnotherQueue()
    history = History.of([
        ask(1, "enqueue", 1, 1), ask(2, "enqueue", 2, 3), ask(1, "enqueue", 9, 5), ask(3, "dequeue", None, 7, 2),
        ask(4, "dequeue", None, 9, 1),
    ])  # fmt: skip
    told = explain(Anomaly("not-linearizable", (), tuple(history)), history, queue)
    assert told.name == "not-linearizable"
    assert told.details["proven_by"] == "wgl"
    assert any("p3 on n1 took 2 out at 0.008 s" in line for line in told.because)
    assert len(told.operations) == 4  # cut at the end; nothing else may be left out


def test_faults_that_landed_are_named_and_others_are_not() -> None:
    operations = [op(1, "write", 17, 10, 12), op(2, "write", 18, 20, 22), op(3, "read", None, 30, 31, 17)]
    events: list[dict[str, Any]] = []
    for item in operations:
        about = {"process": item.process, "f": item.f, "key": 3, "value": item.value, "node": item.node}
        events.append({**about, "type": "invoke", "time_ns": item.call_ns})
        events.append({**about, "type": "ok", "time_ns": item.return_ns, "result": item.result})
    for number, landed in ((1, True), (2, False)):
        about = {"process": "nemesis", "type": "info", "f": f"partition-{number}"}
        for phase, when in (("inject", 15), ("probe", 16), ("heal", 60)):
            value: dict[str, Any] = {"id": number, "phase": phase, "targets": ["n2"]}
            events.append(
                {**about, "time_ns": when * MS, "value": value | ({"landed": landed} if phase == "probe" else {})}
            )
    history = History.from_events(sorted(events, key=lambda event: event["time_ns"]))
    assert [fault.name for fault in landed_faults(history.faults)] == ["partition-1"]
    told = explain(Anomaly("not-linearizable", (), tuple(history), key=3), history, CAS)
    assert told.because[-1] == "Active meanwhile: partition-1 of n2 (from 0.015 s until 0.060 s)."


def test_the_nodes_own_events_say_where_the_entry_was_and_how_it_went() -> None:
    base = 10**12

    def event(node: str, ev: str, ms: int, entry: tuple[int, int] | None = None, term: int = 4, **x: Any) -> TraceEvent:
        e = [{"i": entry[0], "t": entry[1], "k": "cmd"}] if entry else []
        return TraceEvent(node, 1, ms, ev, NodeState(term=term, last=(92, 4)), {}, e, None, x, base + ms * MS, 0)

    traces = [
        event("n2", "append", 20, (93, 4)), event("n2", "apply", 21, (93, 4)), event("n1", "apply", 11, (92, 4)),
        event("n3", "become_leader", 25, term=5), event("n2", "truncate", 50, to=92), event("n3", "apply", 28, (93, 5)),
    ]  # fmt: skip
    history = History.of(
        [
            op(1, "write", 17, 10, 12, meta={"term": 4, "log_index": 92, "served_by": "n2"}),
            op(2, "write", 18, 20, 22, meta={"term": 4, "log_index": 93, "served_by": "n2"}),
            op(3, "read", None, 30, 31, 17, meta={"term": 5, "log_index": 93, "served_by": "n3"}),
        ]
    )
    placed = origin_ns(history, traces)
    assert placed is not None
    assert abs(placed[0] - base) <= placed[1] + MS
    told = explain(
        Anomaly("not-linearizable", (), tuple(history), key=3), history, CAS, Surroundings.of(history, traces)
    )
    text = " ".join(told.because)
    assert told.name == "lost-write"
    assert "entry 93 of term 4 was on n2 when it was acknowledged" in text
    assert "n3 became leader of term 5 at" in text
    assert "its last entry 92 of term 4" in text
    assert "cut its log back to index 92" in text
    assert "applied another entry 93, of term 5" in text


def test_a_node_that_came_back_without_an_entry_is_named_and_one_that_had_cut_it_before_is_not() -> None:
    def event(node: str, ev: str, ms: int, last: int, **x: Any) -> TraceEvent:
        e = [{"i": 93, "t": 4, "k": "cmd"}] if ev == "append" else []
        return TraceEvent(node, 1, ms, ev, NodeState(term=4, last=(last, 4)), {}, e, None, x, ms * MS, 0)

    traces = [
        event("n3", "append", 15, 93), event("n3", "truncate", 18, 92, to=92), event("n2", "append", 20, 93),
        event("n1", "append", 21, 93), event("n2", "recover", 26, 92), event("n1", "recover", 27, 93),
    ]  # fmt: skip
    meta = {"term": 4, "log_index": 93, "served_by": "n2"}
    history = History.of([op(2, "incr", 5, 20, 22, 5, meta=meta), op(3, "get", None, 30, 31, None)])
    around = Surroundings.of(history, traces, origin=0)
    told = explain(Anomaly("not-linearizable", (), tuple(history), key=3), history, MODELS["kv"](), around)
    assert told.name == "stale-read"
    assert told.because[-2:] == (
        "By the nodes' own account, entry 93 of term 4 was on n1 and n2 when it was acknowledged.",
        "n2 at 0.026 s came back with a log that ends at index 92: entry 93 was gone there.",
    )


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_explained_is_impossible_and_so_is_the_history(seed: int) -> None:
    dice = random.Random(seed)
    operations: list[Operation] = []
    free = dict.fromkeys(range(4), 0)
    for number in range(dice.randrange(4, 11)):
        process = dice.randrange(4)
        call = free[process] + dice.randrange(1, 4)
        ret = call + dice.randrange(1, 9)
        free[process] = ret
        f = dice.choice(["read", "read", "write", "cas"])
        seen: Value = dice.choice([None, 0, 1, 2, 3])
        value: Value = (
            None if f == "read" else dice.randrange(4) if f == "write" else (dice.choice([None, 0, 1, 2]), number)
        )
        result: Value = seen if f == "read" else dice.random() < 0.5 if f == "cas" else None
        outcome = dice.choice(["ok", "ok", "ok", "fail", "info"])
        operations.append(op(process if outcome != "info" else 50 + number, f, value, call, ret, result, outcome))
    history = History.of(operations)
    truly = decide_wgl(history, CAS, Budget())
    proof = smallest_proof(list(history), list(history), CAS)
    if proof is None:
        return
    assert isinstance(truly, Illegal)
    assert isinstance(decide_wgl(History.of([item.judged for item in proof]), CAS, Budget()), Illegal)
    told = explain(Anomaly("not-linearizable", (), tuple(history), key=3), history, CAS)
    assert told.because
    assert len(told.operations) <= 12


def test_the_engines_own_witness_is_enough_to_start_from() -> None:
    history = History.of([
        *NOISE, op(1, "write", 17, 10, 12), op(2, "cas", (17, 18), 20, 22, True), op(3, "read", None, 30, 31, 17),
    ])  # fmt: skip
    told = explained(check_linearizable(history, CAS), history, CAS)
    assert [anomaly.name for anomaly in told.anomalies] == ["stale-read"]
    assert len(told.anomalies[0].operations) == 3
    assert told.axes[Axis.SAFETY].because == (
        "stale-read on key 3: p3 read 17 (0.031 s, n3), though 18 had replaced it.",
    )
    assert told.axes[Axis.SAFETY].valid is False


def test_of_two_answers_that_cannot_both_be_right_the_one_from_an_older_log_is_accused() -> None:
    """25 and 22 were written at once. By the log 22 came last: who read 25 after that was told the past."""
    told = retold(
        op(4, "write", 25, 10, 22, meta={"term": 1, "log_index": 13, "served_by": "n5"}),
        op(1, "write", 22, 18, 28, meta={"term": 1, "log_index": 15, "served_by": "n2"}),
        op(5, "read", None, 29, 30, 25, meta={"term": 1, "log_index": 13, "served_by": "n1"}),
        op(7, "read", None, 40, 41, 22, meta={"term": 1, "log_index": 18, "served_by": "n3"}),
    )
    assert told.name == "stale-read"
    text = " ".join(told.because)
    assert told.because[0].startswith("p5 read 25 (0.030 s, n1, term 1, index 13), though 22 had replaced it")
    assert "In the log 25 stood at index 13 and 22 at index 15." in text
    assert "n1 answered from log index 13; the write stood at 15." in text
    assert "Nor can 25 have come last: p7 on n7 read 22 of key 3" in text


def test_without_log_indices_two_answers_that_cannot_both_be_right_accuse_the_later_one() -> None:
    told = retold(
        op(4, "write", 25, 10, 22), op(1, "write", 22, 18, 28), op(5, "read", None, 29, 30, 25),
        op(7, "read", None, 40, 41, 22)
    )  # fmt: skip
    assert told.because[0].startswith("p7 read 22")


def test_a_key_that_was_deleted_is_told_as_deleted() -> None:
    deleted = op(2, "delete", None, 20, 22, meta={"term": 4, "log_index": 93, "served_by": "n2"})
    read = op(3, "get", None, 30, 31, 17, meta={"term": 5, "log_index": 95, "served_by": "n3"})
    history = History.of([op(1, "put", 17, 10, 12), deleted, read])
    found = Anomaly("not-linearizable", ("engine",), tuple(history), key=3)
    told = explain(found, history, MODELS["kv"]())
    assert told.name == "lost-write"
    assert told.because[0] == (
        "p2 was told that the key was deleted (0.022 s, n2, term 4, index 93); nobody ever found it gone."
    )
    text = " ".join(told.because)
    assert "p2 on n2 was told at 0.022 s that key 3 was deleted (#1, served by n2 in term 4 at log index 93)." in text
    assert "17 is from #0, and it had been deleted." in text


def test_a_counter_that_was_deleted_and_came_back_is_told_as_deleted() -> None:
    history = History.of([op(1, "incr", 5, 10, 12, 5), op(2, "delete", None, 20, 22), op(3, "get", None, 30, 31, 5)])
    found = Anomaly("not-linearizable", ("engine",), tuple(history), key=3)
    told = explain(found, history, MODELS["kv"]())
    assert told.name == "stale-read"
    assert told.because[0].endswith("though p2 had deleted it.")
