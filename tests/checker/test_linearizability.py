"""`check_linearizable`: which engine judges what, keys apart, budgets, and the shape of the verdict."""

from __future__ import annotations

import json
from typing import Any

from capsize.checker.budget import Budget
from capsize.checker.linearizability import Linearizability, check_linearizable
from capsize.checker.models import CasRegister, KeyValue, Register
from capsize.checker.watch import Watch
from capsize.history import History
from capsize.op import Operation
from capsize.verdict import Axis

from .scripts import history


def test_keys_are_judged_apart_and_the_illegal_one_is_named() -> None:
    good = [Operation(0, "write", "x", 1, 0, 10, "ok"), Operation(0, "read", "x", None, 20, 30, "ok", 1)]
    bad = [Operation(1, "write", "y", 1, 0, 10, "ok"), Operation(1, "read", "y", None, 20, 30, "ok", 2)]
    verdict = check_linearizable(History.of(good + bad), Register())
    assert verdict.valid is False
    assert [anomaly.key for anomaly in verdict.anomalies] == ["y"]
    assert verdict.figures["keys"] == 2


def test_an_empty_history_is_legal() -> None:
    assert check_linearizable(History.of([]), Register()).valid is True


def test_unique_values_are_judged_by_the_linear_engine_and_repeated_ones_by_the_frontier() -> None:
    unique = history("w:1 |--|\nr->1    |--|\n")
    repeated = history("w:1 |--|\nw:1    |--|\nr->1       |--|\n")
    assert check_linearizable(unique, CasRegister()).figures["engines"] == {"unique-values": 1}
    assert check_linearizable(repeated, CasRegister()).figures["engines"] == {"frontier": 1}


def test_a_model_of_ones_own_that_extends_a_register_is_not_taken_for_one() -> None:
    class Forgetful(Register):
        def step(self, state: Any, op: Operation) -> Any:
            return state  # whatever is read is fine

    verdict = check_linearizable(history("r->7 |--|\n"), Forgetful())
    assert verdict.valid is True
    assert verdict.figures["engines"] == {"general": 1}


def test_equal_times_are_concurrent() -> None:
    one = Operation(0, "write", None, 1, 0, 10, "ok")
    two = Operation(1, "read", None, None, 10, 20, "ok", None)
    assert check_linearizable(History.of([one, two]), Register()).valid is True


def test_the_budget_running_out_is_unknown_and_says_where() -> None:
    lines = [f"w:{n % 3}     |----------|" for n in range(9)] + [f"r->{n % 3}     |----------|" for n in range(9)]
    verdict = check_linearizable(history("\n".join(lines)), Register(), budget=Budget(steps=3))
    assert verdict.valid == "unknown"
    told = verdict.figures["unknown"][0]
    assert told["open"] == 18
    assert told["hint"]
    assert verdict.axes


def test_a_verdict_is_json_throughout() -> None:
    verdict = Linearizability(Register()).check(history("w:1 |--|\nw:1    |--|\nr->2       |--|\n"), Budget())
    assert verdict.valid is False
    json.dumps([dict(anomaly.details) for anomaly in verdict.anomalies])
    json.dumps(dict(verdict.figures))


def test_the_initial_value_may_be_any() -> None:
    text = "append:b |--|\nget->ab    |--|\n"
    assert check_linearizable(history(text), KeyValue("a")).valid is True
    assert check_linearizable(history(text), KeyValue()).valid is False


def test_a_watch_stops_at_the_first_anomaly() -> None:
    watch = Watch(Register(), every=4)
    events: list[dict[str, Any]] = []
    for number in range(40):
        asked = {"process": 0, "f": "write" if number % 2 == 0 else "read", "key": None}
        read = 99 if number == 21 else number - 1
        events.append({**asked, "type": "invoke", "time_ns": 20 * number, "value": number if number % 2 == 0 else None})
        answer = read if number % 2 else None
        events.append({**asked, "type": "ok", "time_ns": 20 * number + 10, "result": answer})
    heard = [number for number, event in enumerate(events) if watch.event(event) is not None]
    assert 43 <= heard[0] <= 60
    assert watch.verdict is not None
    assert watch.verdict.valid is False


def test_a_key_is_named_once_by_the_axis_and_not_again_by_the_anomaly() -> None:
    verdict = check_linearizable(history("w:1 |--|\nw:2      |--|\nr->1           |--|", key=7), Register())
    assert verdict.axes[Axis.SAFETY].because[0].startswith("key 7: ")
    assert not any(line.startswith("key 7") for line in verdict.anomalies[0].because)
