"""What the logs of stopped nodes prove: terms that fall, and logs that do not match where they must."""

from __future__ import annotations

import pytest

from capsize.checker.dumped import Entry, judge_logs
from capsize.verdict import Verdict


def judged(*logs: str) -> Verdict:
    """Judge logs written as "term+digest" words, e.g. "1a 1b 2c"; an entry's index is its place, from 1."""
    held: dict[str, list[Entry]] = {}
    for number, log in enumerate(logs, start=1):
        words = enumerate(log.split(), start=1)
        held[f"n{number}"] = [{"index": index, "term": int(word[0]), "digest": word[1:]} for index, word in words]
    return judge_logs(held)


@pytest.mark.parametrize(
    "logs",
    [
        ("1a 1b 2c", "1a 1b 2c"),
        ("1a 1b 2c", "1a 1b"),  # one is behind
        ("1a 1b 1c", "1a 1b 2d"),  # the ends differ: not committed
        ("1a 1b 1c 1x", "1a 2d 3e"),
    ],
)
def test_logs_that_raft_may_leave_are_right(logs: tuple[str, ...]) -> None:
    verdict = judged(*logs)
    assert verdict.valid is True
    assert not verdict.anomalies


def test_a_term_that_falls_is_told_with_both_entries() -> None:
    verdict = judged("1a 3b 3c 1d")
    (anomaly,) = verdict.anomalies
    assert verdict.valid is False
    assert anomaly.name == "term-fell-in-log"
    assert "entry 3 of term 3, and behind it entry 4 of term 1" in anomaly.because[0]


@pytest.mark.parametrize("logs", [("1a 1b 2c", "1a 1x 2c"), ("1a 1b 3c", "1a 2b 3c"), ("1a 1b", "1a 1c")])
def test_logs_that_differ_below_an_entry_they_share_do_not_match(logs: tuple[str, ...]) -> None:
    assert [anomaly.name for anomaly in judged(*logs).anomalies] == ["logs-do-not-match"]


def test_without_logs_there_is_nothing_to_say() -> None:
    assert dict(judged("", "").axes) == {}
