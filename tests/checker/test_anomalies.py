"""The anomalies of every model: each recognised in a small history, none in its near miss, and never in a legal one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from capsize.checker.anomalies import counters, registers, returning, transactions
from capsize.checker.anomalies.case import Case, short
from capsize.checker.budget import Budget
from capsize.checker.cells import judged_in_cells, told_in_cells
from capsize.checker.explain import PATTERNS, RENAMED, explain
from capsize.checker.general import decide_general
from capsize.checker.growing import proven_growing
from capsize.checker.linearizability import check_linearizable
from capsize.checker.models import MODELS, Model
from capsize.checker.models.model import typed
from capsize.checker.outcome import Exhausted, Illegal, Legal
from capsize.checker.projection import matched, projected
from capsize.checker.reduction import Item, impossible
from capsize.checker.shrinking import shrunk
from capsize.checker.surroundings import Surroundings
from capsize.history import History
from capsize.op import Operation
from capsize.verdict import Anomaly

from .random_histories import DRAW, draw, mutate
from .scripts import history

BUDGET = Budget(steps=100_000)

CASES = [
    # model, name, operations in the witness, what a sentence says, the anomaly, its near miss
    (
        "set",
        "lost-element",
        2,
        "was told that 7 was added",
        "add:7 |--|\nread->[]     |--|",
        "add:7 |----|\nread->[]  |--|",
    ),
    (
        "set",
        "stale-read",
        2,
        "7 was seen all the same",
        "add:7 |--|\nread->[]     |--|\nread->[7]       |--|",
        "add:7 |----|\nread->[]  |--|\nread->[7]       |--|",
    ),
    (
        "set",
        "stale-read",
        3,
        "which had been removed",
        "add:7 |--|\nremove:7     |--|\nread->[7]        |--|",
        "add:7 |--|\nremove:7     |--|\nread->[7]        |--|\nadd:7            |-|...",
    ),
    ("set", "duplicate-element", 2, "more than once", "add:7 |--|\nread->[7,7]   |--|", "add:7 |--|\nread->[7]   |--|"),
    (
        "set",
        "garbage-read",
        1,
        "nobody ever asked to be added",
        "add:7 |--|\nread->[7,8]   |--|",
        "add:7 |--|\nread->[7]   |--|",
    ),
    (
        "set",
        "diverged-reads",
        4,
        "found 7 without 8",
        "add:7 |-----|\nadd:8 |-----|\nread->[7] |--|\nread->[8] |--|",
        "add:7 |-----|\nadd:8 |-----|\nread->[7] |--|\nread->[7,8] |--|",
    ),
    (
        "list",
        "lost-element",
        2,
        "and none did",
        "append:7 |--|\nappend:8      |--|\nread->[8]           |--|",
        "append:7 |--|\nappend:8 |--|\nread->[8,7]         |--|",
    ),
    (
        "list",
        "diverged-reads",
        4,
        "at place 1 one shows",
        "append:7 |-----|\nappend:8 |-----|\nread->[7,8]      |--|\nread->[8,7]      |--|",
        "append:7 |-----|\nappend:8 |-----|\nread->[7,8]      |--|\nread->[7]     |--|",
    ),
    (
        "list",
        "out-of-order",
        3,
        "found 8 before 7",
        "append:7 |--|\nappend:8      |--|\nread->[8,7]           |--|",
        "append:7 |--|\nappend:8   |--|\nread->[8,7]           |--|",
    ),
    (
        "list",
        "duplicate-element",
        2,
        "one append was applied again",
        "append:7 |--|\nread->[7,7]           |--|",
        "append:7 |--|\nappend:7 |--|...\nread->[7,7]           |--|",
    ),
    (
        "list",
        "stale-read",
        3,
        "had found",
        "append:7 |------------|...\nread->[7]   |--|\nread->[]        |--|",
        "append:7 |------------|...\nread->[7]   |--|\nread->[]       |--|",
    ),
    (
        "kv",
        "lost-element",
        2,
        "x2; is missing",
        "append:x1; |--|\nappend:x2;      |--|\nget->x1;              |--|",
        "append:x1; |--|\nappend:x2;      |--|\nput:x1; |----------|\nget->x1;                |--|",
    ),
    (
        "kv",
        "duplicate-element",
        2,
        "2 times",
        "append:x1; |--|\nget->x1;x1;    |--|",
        "append:x1; |--|\nget->x1;    |--|",
    ),
    (
        "queue",
        "dequeued-twice",
        3,
        "both took 7 out",
        "enqueue:7 |--|\ndequeue->7     |--|\ndequeue->7       |--|",
        "enqueue:7 |--|\nenqueue:7 |--|...\ndequeue->7     |--|\ndequeue->7       |--|",
    ),
    (
        "queue",
        "out-of-order",
        4,
        "before 7, which had been put in first",
        "enqueue:7 |--|\nenqueue:8      |--|\ndequeue->8         |--|\ndequeue->7               |--|",
        "enqueue:7 |--|\nenqueue:8      |--|\ndequeue->8         |--|\ndequeue->7         |--|",
    ),
    (
        "queue",
        "lost-element",
        3,
        "nobody ever took it out",
        "enqueue:7 |--|\nenqueue:8      |--|\ndequeue->8         |--|",
        "enqueue:7 |--|\nenqueue:8      |--|\ndequeue     |--|...\ndequeue->8         |--|",
    ),
    (
        "queue",
        "stale-read",
        3,
        "found the queue empty",
        "enqueue:7 |--|\ndequeue->nil      |--|\ndequeue->7            |--|",
        "enqueue:7 |--|\ndequeue->nil      |--|\ndequeue->7        |--|",
    ),
    ("queue", "garbage-read", 1, "nobody ever asked to be enqueued", "dequeue->7 |--|", "dequeue->nil |--|"),
    (
        "counter",
        "lost-increment",
        3,
        "less than was acknowledged",
        "add:1 |--|\nadd:1      |--|\nread->1          |--|",
        "add:1 |--|\nadd:1      |--|\nread->1      |--|",
    ),
    (
        "counter",
        "double-increment",
        2,
        "more than was ever asked for",
        "add:1 |--|\nread->2     |--|",
        "add:1 |--|\nadd:1    |--|...\nread->2     |--|",
    ),
    (
        "counter",
        "stale-read",
        2,
        "went backwards",
        "add:1 |--|\nadd:1 |--|\nread->2     |--|\nread->1           |--|",
        "add:1 |--|\nadd:1 |--|\nread->2     |--|\ndecr           |--|\nread->1           |--|",
    ),
    (
        "kv",
        "lost-increment",
        3,
        "less than was acknowledged",
        "incr:9->9 |--|\nincr:8         |--|\nincr:2             |--|...\nget->11            |--|",
        "incr:9->9 |--|\nincr:8         |--|...\nincr:2             |--|...\nget->11            |--|",
    ),
    (
        "kv",
        "double-increment",
        3,
        "more than was ever asked for",
        "incr:9->9 |--|\nincr:8      |--|...\nget->18         |--|",
        "incr:9->9 |--|\nincr:8      |--|...\nget->17         |--|",
    ),
    (
        "kv",
        "stale-read",
        2,
        "went backwards",
        "incr:9->9 |--|\nincr:8->17    |--|\nget->9            |--|",
        "incr:9->9 |--|\nincr:8->17    |--|\nget->9          |--|",
    ),
    (
        "mutex",
        "two-holders",
        2,
        "held the lock at once",
        "acquire |--|\nacquire      |--|",
        "acquire |--|\nrelease |---|...\nacquire      |--|",
    ),
    (
        "mutex",
        "released-unheld",
        1,
        "which nobody can have held",
        "release |--|",
        "acquire |--|...\nrelease |--|",
    ),
    (
        "mutex",
        "two-holders",
        4,
        "the two must take turns",
        "acquire |--|\nrelease     |---------|...\nacquire        |--|\nacquire            |--|",
        "acquire |--|\nrelease     |---------|...\nacquire        |--|\nrelease    |---|...\nacquire            |--|",
    ),
    (
        "register",
        "stale-read",
        3,
        "had been written 2 times",
        "w:1 |--|\nw:1    |--|\nw:2         |--|\nr->1             |--|",
        "w:1 |--|\nw:1    |------|\nw:2         |--|\nr->1             |--|",
    ),
    (
        "register",
        "stale-read",
        4,
        "neither can have been written meanwhile",
        "w:1 |--|\nw:2 |--|\nw:1    |-|\nw:2   |-|\nr->1             |--|\nr->2             |--|",
        "w:1 |--|\nw:2 |--|\nw:1    |-|\nw:2   |-|\nr->1             |--|"
        "\nw:2    |-------------|\nr->2             |--|",
    ),
]


def explained(drawn: History, model: Model[object]) -> Anomaly:
    """Judge, and explain the first anomaly."""
    verdict = check_linearizable(drawn, model, budget=BUDGET)
    assert verdict.valid is False
    return explain(verdict.anomalies[0], drawn, model)


def case_of(drawn: History, proof: tuple[Item, ...] = ()) -> Case:
    everything = tuple(drawn)
    numbers = {(op.process, op.call): int(row) for op, row in zip(everything, drawn.columns.row, strict=True)}
    return Case(None, proof, everything, numbers, Surroundings())


@pytest.mark.parametrize(("model", "name", "size", "says", "text", "_"), CASES)
def test_an_anomaly_has_its_name_its_few_operations_and_its_reason(
    model: str, name: str, size: int, says: str, text: str, _: str
) -> None:
    told = explained(history(text), MODELS[model]())
    assert (told.name, len(told.operations)) == (name, size), told.because
    assert any(says in line for line in told.because), told.because
    assert impossible(told.operations, MODELS[model]())


@pytest.mark.parametrize(("model", "name", "_size", "_says", "_text", "near"), CASES)
def test_its_near_miss_is_legal_and_nothing_is_found_in_it(
    model: str, name: str, _size: int, _says: str, _text: str, near: str
) -> None:
    drawn = history(near)
    assert check_linearizable(drawn, MODELS[model](), budget=BUDGET).valid is True
    everything = Anomaly(RENAMED, ("engine",), tuple(drawn))
    assert explain(everything, drawn, MODELS[model]()) is everything


def lock(process: int, f: str, call: int, ret: int, token: int | None = None) -> Operation:
    return Operation(process, f, None, None, call, ret, "ok", token)


FIRST = lock(1, "acquire", 0, 1, 5)
FREED = lock(1, "release", 2, 3)
FENCED = [
    ("stale-token", "with token 4", [FIRST, FREED, lock(2, "acquire", 4, 5, 4)]),
    ("duplicate-token", "the same token, 5", [FIRST, FREED, lock(2, "acquire", 4, 5, 5)]),
    ("two-holders", "p1 and p2 held the lock", [FIRST, lock(2, "acquire", 2, 3, 6), lock(1, "release", 4, 5)]),
    ("two-holders", "which it held already", [FIRST, lock(1, "acquire", 2, 3, 6)]),
    ("released-unheld", "which it had never asked for", [FIRST, lock(2, "release", 2, 3)]),
]


@pytest.mark.parametrize(("name", "says", "operations"), FENCED)
def test_a_fenced_lock_is_told_by_holder_and_token(name: str, says: str, operations: list[Operation]) -> None:
    told = explained(History.of(operations), MODELS["fenced-lock"]())
    assert told.name == name
    assert any(says in line for line in told.because), told.because
    assert len(told.operations) <= 2


def test_a_token_of_a_grant_that_may_have_come_first_is_not_stale() -> None:
    operations = [
        lock(1, "acquire", 0, 9, 5),
        lock(1, "release", 10, 11),
        lock(2, "acquire", 0, 8, 4),
        lock(2, "release", 8, 9),
    ]
    assert check_linearizable(History.of(operations), MODELS["fenced-lock"]()).valid is True


def test_a_transaction_that_saw_half_of_another_one_is_a_fractured_read() -> None:
    def txn(process: int, call: int, ret: int, *parts: tuple[str, str, int | None]) -> Operation:
        return Operation(process, "txn", None, parts, call, ret, "ok", parts)

    operations = [
        txn(1, 0, 1, ("write", "x", 1), ("write", "y", 1)),
        txn(2, 2, 9, ("write", "x", 2), ("write", "y", 2)),
        txn(3, 3, 8, ("read", "x", 2), ("read", "y", 1)),
    ]
    told = explained(History.of(operations), MODELS["multi-register"]())
    assert told.name == "fractured-read"
    assert "but not 2 in y, which one transaction had written together" in told.because[0]
    whole = [*operations[:2], txn(3, 3, 8, ("read", "x", 2), ("read", "y", 2))]
    assert check_linearizable(History.of(whole), MODELS["multi-register"]()).valid is True


@pytest.mark.parametrize("name", DRAW)
def test_no_pattern_and_no_reduction_finds_anything_in_a_legal_history(name: str) -> None:
    model, legal = MODELS[name](), 0
    for number in range(150):
        dice = random.Random(f"anomalies/{name}/{number}")
        unique = name in ("register", "cas-register", "kv") and dice.random() < 0.4
        operations = draw(
            name, dice, count=dice.randrange(2, 25), clients=dice.randrange(1, 6), pending=dice.choice([0, 0.1, 0.3]),
            unique=unique,
        )  # fmt: skip
        if dice.random() < 0.3:
            operations = mutate(operations, dice)
        drawn = History.of(operations)
        if not isinstance(decide_general(drawn, model, BUDGET), Legal):
            continue
        legal += 1
        case = case_of(drawn)
        found = [pattern(case, model) for pattern in PATTERNS]
        found += [returning.find(case, model, case.happened), transactions.find(case, model, case.happened)]
        for one in found:
            assert one is None or not impossible([item.judged for item in one.items], one.judge), one
        until = dice.choice([None, *[op.ret for op in drawn if op.ret is not None]])
        assert shrunk(tuple(drawn), model, until) is None
        assert projected(tuple(drawn), model, until) is None
        assert proven_growing(tuple(drawn), model, until) is None
        if all(op.f in ("read", "get", "write", "put", "cas", "delete") for op in drawn):
            told = registers.argue(case_of(drawn, tuple(Item(op, op) for op in case.happened)))
            assert told is None or name not in ("register", "cas-register", "kv"), told
    assert legal > 80


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("name", DRAW)
def test_every_illegal_history_is_proven_by_few_operations_that_are_impossible_by_themselves(
    name: str, unique: bool
) -> None:
    model, illegal = MODELS[name](), 0
    for number in range(60):
        dice = random.Random(f"proven/{name}/{number}")
        operations = draw(name, dice, count=dice.randrange(3, 50), clients=4, pending=0.1, unique=unique)
        if name == "mutex":
            operations.pop(dice.randrange(len(operations)))
        drawn = History.of(mutate(operations, dice))
        if not isinstance(decide_general(drawn, model, BUDGET), Illegal):
            continue
        illegal += 1
        told = explained(drawn, model)
        assert told.details.get("proven_by") == "wgl", [model.describe(op) for op in drawn]
        assert impossible(told.operations, model), [model.describe(op) for op in told.operations]
        numbered = {(op.process, op.call): op for op in drawn}
        assert all(numbered[op.process, op.call] == op for op in told.operations)
        assert len(told.operations) <= 12 or counts(told, name), [model.describe(op) for op in told.operations]
    assert illegal > 4


def test_a_key_of_a_map_that_is_only_counted_is_told_as_a_counter_and_a_legal_one_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(DRAW, "kv", lambda dice: dice.choice([("get", None), ("incr", 2), ("incr", None)]))
    model, names, legal = MODELS["kv"](), set[str](), 0
    for number in range(200):
        dice = random.Random(f"counted/{number}")
        operations = draw("kv", dice, count=dice.randrange(3, 30), clients=4, pending=0.15)
        operations = [
            replace(op, result=None) if op.f == "incr" and dice.random() < 0.4 else op
            for op in (mutate(operations, dice) if number % 3 else operations)
        ]
        drawn = History.of(operations)
        judged = decide_general(drawn, model, BUDGET)
        if isinstance(judged, Legal):
            legal += 1
            found = counters.find(case_of(drawn), model)
            assert found is None or not impossible([item.judged for item in found.items], found.judge), found
        elif isinstance(judged, Illegal):
            told = explained(drawn, model)
            names.add(told.name)
            assert told.details.get("proven_by") == "wgl", [model.describe(op) for op in drawn]
            assert impossible(told.operations, model), [model.describe(op) for op in told.operations]
    assert legal > 50
    assert names >= {"lost-increment", "double-increment", "stale-read"}


def counts(told: Anomaly, name: str) -> bool:
    """Return whether the proof has to count everything (docs/report.md, "How small a proof gets")."""
    if name == "counter":
        return True
    puts = [typed(op.value) for op in told.operations if op.f in ("enqueue", "append")]
    return name in ("queue", "list") and len(set(puts)) < len(puts)


@pytest.mark.parametrize("name", DRAW)
def test_what_is_said_in_cells_allows_all_that_the_model_allows(name: str) -> None:
    model, compared = MODELS[name](), 0
    for number in range(150):
        dice = random.Random(f"cells/{name}/{number}")
        operations = draw(name, dice, count=dice.randrange(2, 14), clients=3, pending=0.2)
        if dice.random() < 0.5:
            operations = mutate(operations, dice)
        happened = [op for op in History.of(operations) if op.outcome != "fail"]
        told = told_in_cells(model, happened)
        if told is None:
            continue
        whole = decide_general(History.of(happened), model, BUDGET)
        judged, cells = judged_in_cells(happened, told.steps, told.initial)
        said = decide_general(History.of(judged), cells, BUDGET)
        if isinstance(whole, Exhausted) or isinstance(said, Exhausted):
            continue
        compared += 1
        assert isinstance(said, Legal) or isinstance(whole, Illegal), [model.describe(op) for op in happened]
    assert compared > (100 if name not in ("queue", "list") else -1)


def test_a_window_forgets_what_came_before_it_and_is_small_however_long_the_history() -> None:
    operations: list[Operation] = []
    for number in range(3_000):
        f, value = ("acquire", None) if number % 2 == 0 else ("release", None)
        operations.append(Operation(number % 3, f, None, value, 3 * number, 3 * number + 1, "ok"))
    operations.append(Operation(9, "release", None, None, 9_100, 9_101, "ok"))
    told = explained(History.of(operations), MODELS["mutex"]())
    assert told.name == "released-unheld"
    assert len(told.operations) == 2


def test_a_lost_append_is_told_in_two_operations_however_many_were_appended() -> None:
    operations = [Operation(number, "append", "x", (number,), 2 * number, 2 * number + 1, "ok") for number in range(33)]
    operations.append(Operation(99, "get", "x", None, 100, 101, "ok", None))
    told = explained(History.of(operations), MODELS["kv"]())
    assert (told.name, len(told.operations)) == ("lost-element", 2)


def test_items_that_repeat_are_told_without_the_appends_that_do_not_matter() -> None:
    operations = [Operation(at, "append", None, at % 2, 2 * at, 2 * at + 1, "ok") for at in range(30)]
    whole = tuple(number % 2 for number in range(30))
    operations.append(Operation(98, "read", None, None, 100, 101, "ok", whole))
    operations.append(Operation(99, "read", None, None, 102, 103, "ok", whole[:-2]))
    told = explained(History.of(operations), MODELS["list"]())
    assert (told.name, len(told.operations)) == ("stale-read", 2)
    assert "whatever else was appended" in " ".join(told.because)


def one_by_one(words: Sequence[tuple[str, Any, Any]]) -> History:
    """Return what was done (f, value, result), each before the next."""
    return History.of([
        Operation(number, f, None, value, 2 * number, 2 * number + 1, "ok", result)
        for number, (f, value, result) in enumerate(words)
    ])  # fmt: skip


def test_a_queue_that_was_found_empty_begins_anew_there() -> None:
    words = [("enqueue", 1, None), ("dequeue", None, 1)] * 20
    words += [("dequeue", None, None), ("enqueue", 1, None), ("enqueue", 2, None), ("dequeue", None, 2)]
    told = explained(one_by_one(words), MODELS["queue"]())
    assert told.details["proven_by"] == "wgl"
    assert len(told.operations) <= 4


def test_a_queue_that_was_never_empty_is_told_without_what_came_and_went() -> None:
    words = [("enqueue", 1, None), ("enqueue", 1, None)] + [("dequeue", None, 1), ("enqueue", 1, None)] * 20
    words += [("enqueue", 2, None), ("dequeue", None, 2)]
    told = explained(one_by_one(words), MODELS["queue"]())
    assert told.details["proven_by"] == "wgl"
    assert len(told.operations) <= 4
    assert any("left out: in every order" in line for line in told.because), told.because


@pytest.mark.parametrize("pending", [0, 0.1])
def test_a_legal_queue_stays_legal_without_what_is_said_to_belong_to_one_another(pending: float) -> None:
    tried = 0
    for number in range(150):
        dice = random.Random(f"matched/{number}")
        clients = dice.randrange(1, 5)
        operations = draw("queue", dice, count=dice.randrange(4, 30), clients=clients, pending=pending)
        if number % 2:
            operations = mutate(operations, dice)
        drawn = History.of(operations)
        if not isinstance(decide_general(drawn, MODELS["queue"](), BUDGET), Legal):
            continue
        items = [Item(op, op) for op in sorted(drawn, key=lambda op: op.call) if op.outcome != "fail"]
        for block in matched(items):
            tried += 1
            out = {item.shown.identity for item in block}
            rest = [item.judged for item in items if item.shown.identity not in out]
            assert not impossible(rest, MODELS["queue"]()), [op.identity for op in rest]
    assert tried > 100


def test_a_long_value_is_told_by_its_two_ends() -> None:
    assert short("x" * 300).count("…") == 1
    assert len(short(tuple(range(5_000)))) < 120
    assert short("short") == "short"


def test_histories_without_times_are_told_without_them() -> None:
    drawn = history("w:1 |--|\nw:2      |--|\nr->1           |--|")
    paired = replace(drawn[2], result=1)
    told = explained(History.of([drawn[0], drawn[1], paired]), MODELS["register"]())
    assert any("0.000 s" in line for line in told.because)
    untimed = History.of(drawn)
    untimed.timed = False
    told = explained(untimed, MODELS["register"]())
    assert told.because
    assert not any(" s" in line.replace("stale", "") and "0.000" in line for line in told.because)
