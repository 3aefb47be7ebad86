"""What nodes say of themselves is recorded when it changes, twice, and when an index shrinks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from capsize.cluster.system import NodeStatus
from capsize.crashes import Crashes
from capsize.observer import Observer
from capsize.recorder import Recorder


class Lines:
    def __init__(self) -> None:
        self.lines: list[tuple[str, Mapping[str, Any]]] = []

    def nemesis(self, word: str, value: Mapping[str, Any]) -> None:
        self.lines.append((word, value))


def heard(*rounds: NodeStatus) -> list[tuple[str, Mapping[str, Any]]]:
    recorder = Lines()
    observer = Observer(None, cast(Crashes, None), cast(Recorder, recorder))
    for status in rounds:
        observer.hear({status.node: status, "n9": None})
    return recorder.lines


def test_a_change_is_recorded_with_its_confirmation_and_then_no_more() -> None:
    lines = heard(*[NodeStatus("n1", role="leader", term=2, commit_index=index) for index in (5, 6, 7, 8)])
    assert [(word, value.get("seen"), value.get("commit_index")) for word, value in lines] == [
        ("status", 1, 5), ("leader", None, None), ("status", 2, 6),
    ]  # fmt: skip


def test_a_term_that_lags_is_recorded_as_one() -> None:
    lines = heard(NodeStatus("n1", role="follower", term=0, term_lags=True))
    assert lines == [("status", {"node": "n1", "role": "follower", "term": 0, "term_lags": True, "seen": 1})]


def test_an_index_that_shrank_is_recorded_with_what_it_was() -> None:
    lines = heard(*[NodeStatus("n1", role="follower", term=2, commit_index=index) for index in (5, 6, 700, 9)])
    assert lines[-1] == (
        "status",
        {"node": "n1", "role": "follower", "term": 2, "commit_index": 9, "seen": 1, "before": {"commit_index": 700}},
    )
