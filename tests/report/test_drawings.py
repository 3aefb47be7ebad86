"""What is drawn of an anomaly: how far its operations can be ordered, the ring of reasons, the messages around it."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from capsize.checker.models import MODELS
from capsize.checker.models.model import Inconsistent
from capsize.op import Operation, Outcome, Value
from capsize.report.cycle import OVER, READ, START, TIME, shortest_cycle
from capsize.report.meaning import MEANINGS, meaning_of
from capsize.report.message_picture import as_svg
from capsize.report.messages import Mark, Said, around_operations, before_a_breach, in_order
from capsize.report.moments import events_between
from capsize.report.orders import orders_of

MODEL = MODELS["cas-register"]()


def op(
    process: int, f: str, value: Value, result: Value, call: int, ret: int | None, outcome: Outcome = "ok"
) -> Operation:
    return Operation(process, f, "k", value, call, ret, outcome, result, call, ret, f"n{process}")


def named(operations: Sequence[Operation]) -> list[str]:
    return [f"#{place}" for place in range(len(operations))]


STALE = [op(1, "write", 1, None, 0, 1), op(2, "write", 2, None, 2, 3), op(3, "read", None, 1, 4, 5)]


# -- orders ------------------------------------------------------------------------------------------------------------


def test_the_longest_order_ends_where_the_stale_read_cannot_follow() -> None:
    found = orders_of(STALE, MODEL)
    assert found is not None
    longest = found.found[found.longest]
    assert longest.places == (0, 1)
    assert longest.states == ("1", "2")
    assert longest.refused == ((2, "read 1 but the value was 2"),)
    assert found.of == (0, 0, -1)


def test_each_operation_has_the_longest_order_that_holds_it() -> None:
    # Two reads at once see the two orders of two writes at once: each fits, both do not.
    both = [
        op(1, "write", 1, None, 0, 3), op(2, "write", 2, None, 1, 4),
        op(3, "read", None, 1, 5, 7), op(4, "read", None, 2, 6, 8),
    ]  # fmt: skip
    found = orders_of(both, MODEL)
    assert found is not None
    assert {found.found[found.of[2]].places[-1], found.found[found.of[3]].places[-1]} == {2, 3}
    assert found.of[2] != found.of[3]


def test_of_two_longest_orders_the_one_that_the_log_has_is_shown_first() -> None:
    told = [
        replace(one, meta={"term": 1, "log_index": index})
        for one, index in [
            (op(1, "write", 1, None, 0, 3), 13), (op(2, "write", 2, None, 1, 4), 15),
            (op(3, "read", None, 1, 5, 6), 13), (op(4, "read", None, 2, 7, 8), 18),
        ]
    ]  # fmt: skip
    found = orders_of(told, MODEL)
    assert found is not None
    assert found.found[found.longest].places == (0, 1)  # nothing goes on after the stale read that must come next
    assert found.found[found.longest].refused[0][0] == 2


def test_operations_that_can_be_ordered_have_no_picture() -> None:
    assert orders_of([STALE[0], STALE[1], op(3, "read", None, 2, 4, 5)], MODEL) is None
    assert orders_of([], MODEL) is None


def test_a_compare_and_set_whose_old_value_is_not_shown_counts_as_a_write() -> None:
    found = orders_of([op(1, "cas", (7, 1), True, 0, 1), *STALE[1:]], MODEL)
    assert found is not None
    assert found.as_writes == (0,)
    assert found.found[found.longest].places == (0, 1)


def test_what_accumulates_is_not_drawn() -> None:
    assert orders_of([op(1, "incr", 1, 5, 0, 1)], MODELS["kv"]()) is None


@pytest.mark.parametrize("seed", range(60))
def test_every_order_is_one_that_the_model_and_time_allow(seed: int) -> None:
    rng = random.Random(seed)
    operations: list[Operation] = []
    for process in range(rng.randint(2, 6)):
        call = rng.randint(0, 8)
        ret = call + rng.randint(1, 6)
        value = rng.randint(0, 2)
        write = rng.random() < 0.5
        operations.append(
            op(process, "write" if write else "read", value if write else None, None if write else value,
               call * 10 + process, ret * 10 + process)
        )  # fmt: skip
    found = orders_of(operations, MODEL)
    possible = any(_allowed(order, operations) for order in itertools.permutations(range(len(operations))))
    assert (found is None) == possible
    longest = 0
    for size in range(1, len(operations) + 1):
        for order in itertools.permutations(range(len(operations)), size):
            if _allowed(order, operations):
                longest = size
    if found is not None:
        assert len(found.found[found.longest].places) == longest
        for order in found.found:
            assert _allowed(order.places, operations)
            for place, _ in order.refused:
                assert not _allowed((*order.places, place), operations)


def _allowed(order: Sequence[int], operations: Sequence[Operation]) -> bool:
    state: Any = MODEL.init()
    for number, place in enumerate(order):
        missing = [other for k, other in enumerate(operations) if k not in order[: number + 1]]
        if any(other.ret is not None and other.ret < operations[place].call for other in missing):
            return False
        state = MODEL.step(state, operations[place])
        if isinstance(state, Inconsistent):
            return False
    return True


# -- the ring ----------------------------------------------------------------------------------------------------------


def test_a_stale_read_is_a_ring_of_two() -> None:
    ring = shortest_cycle(STALE, named(STALE))
    assert [(arrow.before, arrow.after, arrow.kind) for arrow in ring] == [(1, 2, TIME), (2, 1, OVER)]
    assert ring[1].why == "#1 replaced the value of #0, which #2 still found"


def test_reads_that_disagree_about_two_writes_are_a_ring() -> None:
    clash = [
        op(1, "write", 1, None, 0, 9), op(2, "write", 2, None, 1, 10),
        op(3, "read", None, 1, 20, 21), op(4, "read", None, 2, 22, 23), op(5, "read", None, 1, 24, 25),
    ]  # fmt: skip
    ring = shortest_cycle(clash, named(clash))
    assert ring
    assert {arrow.kind for arrow in ring} <= {TIME, READ, OVER}
    assert [arrow.after for arrow in ring] == [*[arrow.before for arrow in ring[1:]], ring[0].before]


def test_possible_histories_have_no_ring() -> None:
    fine = [STALE[0], STALE[1], op(3, "read", None, 2, 4, 5), op(4, "read", None, 2, 6, 7)]
    assert shortest_cycle(fine, named(fine)) == []
    overlap = [op(1, "write", 1, None, 0, 9), op(2, "write", 2, None, 1, 8), op(3, "read", None, 1, 10, 11)]
    assert shortest_cycle(overlap, named(overlap)) == []


def test_a_read_of_the_initial_value_after_a_write_is_a_ring() -> None:
    late = [op(1, "write", 1, None, 0, 1), op(2, "read", None, None, 2, 3)]
    ring = shortest_cycle(late, named(late))
    assert [(arrow.before, arrow.after) for arrow in ring] == [(0, 1), (1, 0)]
    assert "initial value" in ring[1].why


@pytest.mark.parametrize("seed", range(120))
def test_a_ring_is_found_only_where_no_order_exists(seed: int) -> None:
    """Values written once each: whatever the ring says, the slow oracle must say it too."""
    rng = random.Random(seed)
    operations: list[Operation] = []
    for process in range(rng.randint(2, 6)):
        call, write = rng.randint(0, 8), rng.random() < 0.5
        ret = call + rng.randint(1, 5)
        read = rng.choice([None, *range(6)])
        operations.append(
            op(process, "write" if write else "read", process if write else None, None if write else read,
               call * 10 + process, ret * 10 + process)
        )  # fmt: skip
    ring = shortest_cycle(operations, named(operations))
    possible = any(_allowed(order, operations) for order in itertools.permutations(range(len(operations))))
    assert not (ring and possible)
    graph: nx.DiGraph[int] = nx.DiGraph([(arrow.before, arrow.after) for arrow in ring])
    assert not ring or nx.is_strongly_connected(graph)
    assert START not in {arrow.after for arrow in ring}


def test_a_transaction_that_saw_half_of_another_one_is_a_ring() -> None:
    both = (("write", "x", 1), ("write", "y", 1))
    torn = [
        op(1, "txn", both, both, 0, 9),
        op(2, "txn", (("read", "x", None), ("read", "y", None)), (("read", "x", 1), ("read", "y", None)), 1, 8),
    ]  # fmt: skip
    ring = shortest_cycle(torn, named(torn))
    assert [(arrow.before, arrow.after, arrow.kind) for arrow in ring] == [(0, 1, READ), (1, 0, OVER)]
    assert "in y" in ring[1].why
    whole = [torn[0], op(2, "txn", torn[1].value, (("read", "x", 1), ("read", "y", 1)), 1, 8)]
    assert shortest_cycle(whole, named(whole)) == []


def test_write_skew_over_three_transactions_is_a_ring() -> None:
    def txn(process: int, write: str, read: str, call: int, ret: int) -> Operation:
        return op(process, "txn", (("read", read, None), ("write", write, process)),
                  (("read", read, None), ("write", write, process)), call, ret)  # fmt: skip

    skew = [txn(1, "x", "y", 0, 9), txn(2, "y", "x", 1, 8)]
    ring = shortest_cycle(skew, named(skew))
    assert sorted((arrow.before, arrow.after, arrow.kind) for arrow in ring) == [(0, 1, OVER), (1, 0, OVER)]


# -- messages ----------------------------------------------------------------------------------------------------------


def trace(folder: Path, node: str, events: Sequence[dict[str, Any]]) -> list[Path]:
    path = folder / node / "trace.jsonl"
    path.parent.mkdir(parents=True)
    lines = [json.dumps({"v": 1, "node": node, "inc": 1, "lc": n, **event}) for n, event in enumerate(events)]
    path.write_text("\n".join(lines) + "\n")
    return [path]


def append(index: int, *, sender: str = "n1", to: str = "n2", name: str) -> dict[str, Any]:
    return {"type": "AE", "id": name, "from": sender, "to": to, "term": 1, "prev": [index - 1, 1], "n": 1, "commit": 0}


def test_a_window_of_a_large_trace_is_found_exactly(tmp_path: Path) -> None:
    events = [{"mono": 1_000_000 + 7 * k, "ev": "commit", "pad": "x" * (k % 90)} for k in range(60_000)]
    files = {"n1": trace(tmp_path, "n1", events)}
    middle = 1_000_000 + 7 * 31_000
    for start, end in ((0, 1_000_000), (middle, middle + 140), (1_419_993, 9_999_999), (0, 5)):
        expected = [event["mono"] for event in events if start <= event["mono"] <= end]
        assert [event["mono"] for event in events_between(files, start, end)] == expected


def test_broken_lines_in_a_trace_are_stepped_over(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    good = json.dumps({"mono": 50, "ev": "commit"})
    path.write_bytes(b"{\n\xff\xfe\n" + good.encode() + b'\n{"mono": 51\n' + b'{"mono": 52, "ev": 7}\n')
    assert [event["mono"] for event in events_between({"n1": [path]}, 0, 100)] == [50]
    assert events_between({"n1": [tmp_path / "missing"]}, 0, 100) == []


def test_an_arrow_for_what_arrived_and_a_cross_for_what_did_not(tmp_path: Path) -> None:
    files = {
        "n1": trace(tmp_path, "n1", [
            {"mono": 100, "ev": "append", "e": [{"i": 5, "t": 1}]},
            {"mono": 110, "ev": "send", "msg": append(5, name="a")},
            {"mono": 111, "ev": "send", "msg": append(5, to="n3", name="b")},
            {"mono": 112, "ev": "send", "msg": append(900, to="n3", name="else")},
        ]),
        "n2": trace(tmp_path, "n2", [{"mono": 150, "ev": "recv", "msg": append(5, name="a")}]),
        "n3": trace(tmp_path, "n3", [{"mono": 10, "ev": "recover"}]),
    }  # fmt: skip
    said = [Said(90, "n1", "p1 asks"), Said(200, "n1", "p1 is told")]
    picture = around_operations(files, 0, ["n1", "n2", "n3"], said, [(5, 1)])
    assert picture is not None
    assert [mark.kind for mark in picture.marks] == ["turn", "client", "append", "send", "send", "recv", "client"]
    svg = as_svg(picture, "x")
    assert svg.count("marker-end") == 1
    assert svg.count("not seen to arrive") == 1
    assert "900" not in svg


def test_no_row_of_the_picture_is_empty(tmp_path: Path) -> None:
    """What arrives while its sending is not shown is told; what is sent and arrives after the breach is left out."""
    accused = {"node": "n1", "inc": 1, "lc": 2, "mono": 200_000_120, "ev": "commit", "st": {"commit": 5}}
    files = {
        "n1": trace(tmp_path, "n1", [
            {"mono": 200_000_100, "ev": "recv", "msg": {**append(5, name="early"), "from": "n2", "to": "n1"}},
            {"mono": 200_000_120, "ev": "commit", "st": {"commit": 5}},
            {"mono": 206_000_000, "ev": "send", "msg": append(6, name="late")},
        ]),
        "n2": trace(tmp_path, "n2", [
            {"mono": 100, "ev": "send", "msg": {**append(5, name="early"), "from": "n2", "to": "n1"}},
            {"mono": 207_000_000, "ev": "recv", "msg": append(6, name="late")},
        ]),
    }  # fmt: skip
    picture = before_a_breach(files, 0, ["n1", "n2"], [accused])
    assert picture is not None
    assert [mark.kind for mark in picture.marks] == ["recv", "commit"]
    assert "gets AppendEntries 5" in as_svg(picture, "x")


def test_what_the_accused_node_did_is_drawn_up_to_the_breach(tmp_path: Path) -> None:
    accused = {"node": "n1", "inc": 1, "lc": 2, "mono": 120, "ev": "commit", "st": {"commit": 5}}
    files = {
        "n1": trace(tmp_path, "n1", [
            {"mono": 100, "ev": "append", "e": [{"i": 5, "t": 1}]},
            {"mono": 110, "ev": "send", "msg": append(5, name="a")},
            {"mono": 120, "ev": "commit", "st": {"commit": 5}},
            {"mono": 90_000_000, "ev": "become_leader", "st": {"term": 9}},
        ]),
        "n2": trace(tmp_path, "n2", [{"mono": 115, "ev": "apply", "e": [{"i": 4}]}]),
    }  # fmt: skip
    picture = before_a_breach(files, 0, ["n1", "n2"], [accused])
    assert picture is not None
    assert [mark.text for mark in picture.marks if mark.accused] == ["commits up to 5"]
    assert {mark.node for mark in picture.marks} == {"n1"}
    assert "term 9" not in as_svg(picture, "x")


def test_of_one_instant_causes_stand_above_what_they_allowed() -> None:
    """A node stamps all that it did in one turn alike; two nodes may even share the instant."""
    commit = Mark(5, "n2", "commit", "commits up to 1", place=(1, 9))
    apply = Mark(5, "n2", "apply", "applies 1", place=(1, 10))
    answers = [Mark(5, "n2", "recv", f"has up to 1 ({node})", message=f"{node}.7", place=(1, 7)) for node in ("n4",)]
    late = Mark(5, "n2", "recv", "has up to 1 (n5)", message="n5.7", place=(1, 8))
    sent = Mark(5, "n5", "send", "has up to 1", message="n5.7", to="n2", place=(1, 3))
    before = Mark(4, "n4", "send", "has up to 1", message="n4.7", to="n2", place=(1, 3))
    told = in_order([commit, apply, sent, before, late, *answers])
    assert told[0] is before
    assert [mark for mark in told if mark.node == "n2"] == [*answers, late, commit, apply]
    assert told.index(sent) < told.index(late)


def test_a_long_exchange_is_cut_to_what_tells_most_and_says_so(tmp_path: Path) -> None:
    sent = [{"mono": 100 + k, "ev": "send", "msg": append(5, name=f"m{k}")} for k in range(200)]
    got = [{"mono": 100_000 + k, "ev": "recv", "msg": append(5, name=f"m{k}")} for k in range(200)]
    files = {"n1": trace(tmp_path, "n1", sent), "n2": trace(tmp_path, "n2", got)}
    said = [Said(90, "n1", "p1 asks"), Said(300, "n1", "p1 is told")]
    picture = around_operations(files, 0, ["n1", "n2"], said, [(5, 1)])
    assert picture is not None
    assert picture.left_out > 150
    assert sum(mark.kind == "client" for mark in picture.marks) == 2
    svg = as_svg(picture, "x")
    assert svg.count("marker-end") == sum(mark.kind == "send" for mark in picture.marks)


# -- names -------------------------------------------------------------------------------------------------------------


def test_every_rule_and_every_name_of_the_checkers_has_a_meaning() -> None:
    from capsize.checker.invariants import INVARIANTS

    for rule in INVARIANTS.values():
        found = meaning_of(rule.name, {"invariant": rule.id})
        assert found.rule == rule.id
        assert found.source == rule.source
        assert found.sentence.endswith("."), rule.name
    root = Path(__file__).resolve().parents[2] / "docs" / "report.md"
    documented = re.findall(r"^\| ([a-z]+-[a-z-]+) \|", root.read_text(), re.M)
    assert len(documented) > 5
    for name in documented:
        assert name in MEANINGS, name
    assert meaning_of("no-such-name", None).word == ""
