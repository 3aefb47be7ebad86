"""Replicas that are equally far must be alike; those that are not, or said nothing, prove nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from capsize.checker.budget import Budget
from capsize.checker.replicas import Replicas
from capsize.cluster.cluster import Cluster
from capsize.history import History
from capsize.recorder import Recorder
from capsize.replicas import compare
from capsize.verdict import Verdict


def judged(**states: tuple[int, str]) -> Verdict:
    value = {"states": {name: list(state) for name, state in states.items()}}
    line = {"index": 0, "time_ns": 1, "process": "nemesis", "type": "info", "f": "replicas", "value": value}
    return Replicas().check(History.from_events([line]), Budget())


def test_equal_states_at_the_same_point_are_as_it_should_be() -> None:
    assert judged(n1=(7, "a"), n2=(7, "a")).valid is True


def test_different_states_at_the_same_point_have_diverged() -> None:
    verdict = judged(n1=(7, "a"), n2=(7, "b"), n3=(7, "a"))
    assert verdict.valid is False
    (anomaly,) = verdict.anomalies
    assert anomaly.name == "diverged-replicas"
    assert "n1, n3: a; n2: b" in anomaly.because[0]


def test_replicas_at_different_points_prove_nothing() -> None:
    assert judged(n1=(7, "a"), n2=(8, "b")).valid is True


def test_without_digests_there_is_nothing_to_say() -> None:
    verdict = Replicas().check(History.from_events([]), Budget())
    assert dict(verdict.axes) == {}


def recorded(
    replica: Callable[[str, int | None], tuple[int, str]], *, within_s: float = 0.5
) -> list[Mapping[str, Any]]:
    def at_once(action: Callable[[Any], Any]) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        for name in ("n1", "n2"):
            try:
                answers[name] = action(SimpleNamespace(name=name))
            except LookupError as error:
                answers[name] = error
        return answers

    def ask(node: Any, at: int | None) -> tuple[int, str]:
        return replica(node.name, at)

    def nemesis(word: str, value: Mapping[str, Any]) -> None:
        assert word == "replicas"
        lines.append(value)

    system = SimpleNamespace(capabilities=lambda: {"replica"}, replica=ask)
    lines: list[Mapping[str, Any]] = []
    recorder = SimpleNamespace(nemesis=nemesis)
    cluster = cast(Cluster, SimpleNamespace(system=system, at_once=at_once))
    compare(cluster, cast(Recorder, recorder), interrupted=threading.Event(), within_s=within_s)
    return lines


def test_a_replica_that_lags_is_asked_again_for_where_the_other_one_is() -> None:
    behind = [5, 6]

    def replica(name: str, at: int | None) -> tuple[int, str]:
        if name == "n1":
            return 9, "x"
        if behind:
            return behind.pop(0), "older"
        return (at or 0), "x"

    assert recorded(replica, within_s=5.0) == [{"states": {"n1": [9, "x"], "n2": [9, "x"]}}]


def test_a_difference_that_stays_is_recorded_and_so_is_who_did_not_answer() -> None:
    assert recorded(lambda name, at: (9, name)) == [{"states": {"n1": [9, "n1"], "n2": [9, "n2"]}}]

    def refusing(name: str, at: int | None) -> tuple[int, str]:
        if name == "n2":
            raise LookupError("gone")
        return 9, "x"

    assert recorded(refusing) == [{"states": {"n1": [9, "x"]}, "failed": {"n2": "gone"}}]
