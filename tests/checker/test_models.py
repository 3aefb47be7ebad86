"""Each model step by step, how it is found by name or by a history's words, and how it speaks."""

from __future__ import annotations

from typing import Any

import pytest

from capsize.checker.budget import Budget
from capsize.checker.general import decide_general
from capsize.checker.linearizability import check_linearizable
from capsize.checker.models import MODELS, CasRegister, Inconsistent, Model, infer_model, model_named
from capsize.checker.outcome import Legal
from capsize.errors import UsageError
from capsize.history import History
from capsize.op import Operation, Value

from .scripts import history


def op(f: str, value: Value = None, result: Value = None, *, process: int = 0, pending: bool = False) -> Operation:
    return Operation(process, f, None, value, 0, None if pending else 1, "info" if pending else "ok", result)


STEPS: list[tuple[str, Any, Operation, Any]] = [
    ("register", None, op("read"), None),
    ("register", 3, op("write", 4), 4),
    ("register", 3, op("read", result=4), Inconsistent("read 4 but the value was 3")),
    ("register", 1, op("read", result=True), Inconsistent("read true but the value was 1")),
    ("register", 3, op("read", pending=True), 3),
    ("register", 3, op("cas", (3, 4), True), Inconsistent("a register has no operation 'cas'")),
    ("cas-register", 3, op("cas", (3, 4), True), 4),
    ("cas-register", 3, op("cas", (2, 4), True), Inconsistent("cas found 2 but the value was 3")),
    ("cas-register", 3, op("cas", (2, 4), False), 3),
    ("cas-register", 2, op("cas", (2, 4), False), Inconsistent("cas found that the value was not 2, but it was")),
    ("cas-register", 2, op("cas", (2, 4), pending=True), 4),
    ("cas-register", 2, op("cas", 7, True), Inconsistent("cas takes (old, new), not 7")),
    ("kv", None, op("get"), None),
    ("kv", "a", op("append", "b"), "ab"),
    ("kv", None, op("append", "b"), "b"),
    ("kv", (1,), op("append", 2), (1, 2)),
    ("kv", 4, op("append", "b"), Inconsistent("b cannot be appended to 4")),
    ("kv", None, op("incr", 2, 2), 2),
    ("kv", 2, op("incr", None, 4), Inconsistent("incr answered 4 but 2 + 1 is 3")),
    ("kv", 2, op("delete"), None),
    ("multi-register", (), op("txn", (("write", "x", 1), ("read", "x", None)), (("write", "x", 1), ("read", "x", 1))),
     (("x", 1),)),
    ("multi-register", (("x", 1),), op("txn", (("read", "x", None),), (("read", "x", 2),)),
     Inconsistent("read 2 of x but it was 1")),
    ("set", frozenset({1}), op("add", 2), frozenset({1, 2})),
    ("set", frozenset({1}), op("add", 1, True), Inconsistent("add 1 answered true")),
    ("set", frozenset({1, 2}), op("read", None, (2, 1)), frozenset({1, 2})),
    ("set", frozenset({1, 2}), op("read", None, (2, 3)), Inconsistent("read misses 1 and has 3 too many")),
    ("set", frozenset({1}), op("contains", 1, False), Inconsistent("contains 1 answered false")),
    ("counter", 3, op("decr", 2), 1),
    ("counter", 3, op("add", 2, 6), Inconsistent("add 2 answered 6 but the counter became 5")),
    ("counter", 3, op("read", None, 2), Inconsistent("read 2 but the counter was 3")),
    ("queue", (1, 2), op("dequeue", None, 1), (2,)),
    ("queue", (), op("dequeue"), ()),
    ("queue", (1, 2), op("dequeue", None, 2), Inconsistent("dequeued 2 but the head was 1")),
    ("queue", (1, 2), op("dequeue", pending=True), (2,)),
    ("mutex", False, op("acquire"), True),
    ("mutex", True, op("acquire"), Inconsistent("acquired while it was held")),
    ("mutex", False, op("release"), Inconsistent("released while nobody held it")),
    ("fenced-lock", (None, 4), op("acquire", None, 9, process=2), (2, 9)),
    ("fenced-lock", (None, 4), op("acquire", None, 4),
     Inconsistent("acquired with token 4, which is not larger than 4")),
    ("fenced-lock", (2, 4), op("release", process=3),
     Inconsistent("process 3 released it but process 2 held it (token 4)")),
    ("list", (1,), op("append", 2), (1, 2)),
    ("list", (1, 2), op("read", None, (2,)), Inconsistent("read [2] but the list was [1 2]")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "state", "operation", "following"), STEPS)
def test_a_step_is_the_next_state_or_the_reason(name: str, state: Any, operation: Operation, following: Any) -> None:
    assert MODELS[name]().step(state, operation) == following


@pytest.mark.parametrize("name", MODELS)
def test_every_model_refuses_an_operation_it_does_not_know(name: str) -> None:
    model = MODELS[name]()
    assert isinstance(model.step(model.init(), op("jump", 1)), Inconsistent)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_describes_its_first_state(name: str) -> None:
    model = MODELS[name]()
    assert model.describe_state(model.init())


def test_operations_are_described_in_the_words_of_the_field() -> None:
    model = CasRegister()
    operations = (op("write", 3), op("read"), op("cas", (1, 2), False), op("write", 1, pending=True))
    assert [model.describe(one) for one in operations] == [
        "write 3",
        "read -> nil",
        "cas [1 2] -> false",
        "write 1 -> ?",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("w:1 |--|\nr->1 |--|", "register"),
        ("c:1,2 |--|", "cas-register"),
        ("append:x |--|\nget->x |--|", "kv"),
        ("append:x |--|\nread->[x] |--|", "list"),
        ("add:1 |--|\nread->[1] |--|", "set"),
        ("add:1 |--|\nread->1 |--|", "counter"),
        ("acquire |--|", "mutex"),
        ("acquire->3 |--|", "fenced-lock"),
        ("enqueue:1 |--|", "queue"),
        ("jump:1 |--|", None),
    ],
)
def test_the_model_is_guessed_from_words_and_answers(text: str, name: str | None) -> None:
    assert infer_model(history(text)) == name


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="no model is called 'registre'; did you mean 'register'"):
        model_named("registre")


def test_keys_are_judged_apart_but_not_those_of_a_multi_register() -> None:
    one, two = (Operation(n, "write", key, n, 2 * n, 2 * n + 1, "ok") for n, key in enumerate("xy"))
    both = History.of([one, two])
    assert [key for key, _ in model_named("register").partition(both)] == ["x", "y"]
    assert [key for key, _ in model_named("multi-register").partition(both)] == [None]


class Account(Model[int]):
    """The example of docs/models.md."""

    name = "account"
    words = frozenset({"deposit", "withdraw", "balance"})
    anonymous = True

    def init(self) -> int:
        return 0

    def step(self, state: int, op: Operation) -> int | Inconsistent:
        if op.f == "balance":
            if op.outcome == "ok" and op.result != state:
                return Inconsistent(f"told {op.result} but it was {state}")
            return state
        amount = op.value if isinstance(op.value, int) else 0
        if op.f == "deposit":
            return state + amount
        return state - amount if state >= amount else Inconsistent(f"withdrew {amount} of {state}")

    def observes(self, op: Operation) -> bool:
        return op.f == "balance"


def test_a_model_of_ones_own_is_judged_like_any_other() -> None:
    text = """
    deposit:5      |--|
    withdraw:5         |--------|
    withdraw:{}        |--------|
    balance->0                     |--|
    """
    assert check_linearizable(history(text.format(0)), Account()).valid is True
    verdict = check_linearizable(history(text.format(3)), Account())
    assert verdict.valid is False
    assert isinstance(decide_general(history(text.format(0)), Account(), Budget()), Legal)
