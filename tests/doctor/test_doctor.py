"""The doctor names what is wrong with an adapter, and finds nothing wrong with a right one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from capsize.cluster.adapter import guard
from capsize.cluster.local_backend import LocalBackend
from capsize.cluster.systems.raft import ReferenceRaft
from capsize.doctor import CHECKS, Examination, examine

from . import wrong


def examined(adapter: type[ReferenceRaft], *only: str) -> Examination:
    return examine(lambda: guard(adapter()), lambda label: LocalBackend(label, disks=False), only=only)


def bad(examination: Examination) -> dict[str, str]:
    told: dict[str, str] = {}
    for finding in examination.findings:
        if finding.verdict == "bad":
            told[finding.check] = f"{told.get(finding.check, '')} {finding.says}"
    return told


@pytest.fixture
def nothing_stays() -> Iterator[None]:
    yield
    shutil.rmtree(wrong.NeverNew.place, ignore_errors=True)


@pytest.mark.slow
def test_a_right_adapter_is_healthy() -> None:
    examination = examined(ReferenceRaft)
    assert bad(examination) == {}
    assert {finding.check for finding in examination.findings} >= CHECKS.keys() - {"lost-answers"}
    assert examination.coverage[0].startswith("evidence  L3")
    assert any(line.startswith("refused   pause-disk") for line in examination.coverage)


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_stays")
@pytest.mark.parametrize(
    ("adapter", "check", "named", "word"),
    [
        (wrong.RefusedIsInfo, "refused", "refused", "told as info"),
        (wrong.AsksAnotherNode, "refused", "refused", "not pinned"),
        (wrong.TimeoutIsFail, "lost-answers", "timeout", "told as fail"),
        (wrong.LostAnswerIsFail, "lost-answers", "lost-answer", "told as fail"),
        (wrong.RetriesInSecret, "lost-answers", "retries", "hidden retries"),
        (wrong.NeverGivesUp, "lost-answers", "timeout", "came back after"),
        (wrong.Remembers, "cache", "cache", "cache"),
        (wrong.ReadsText, "answers", "answers", "as they went"),
        (wrong.LetsGo, "kill", "kill", "still serves"),
        (wrong.ForgetsOnRestart, "restart", "restart", "is gone on"),
        (wrong.KeepsItElsewhere, "wipe", "wipe", "still has the write"),
        (wrong.NeverNew, "fresh", "left-over", "of an earlier one"),
        (wrong.NamesTheNext, "leader", "leader", "not the node that takes writes"),
        (wrong.TermsStandStill, "leader", "leader", "terms must grow"),
        (wrong.LogsNothing, "logs", "logs", "nothing was collected"),
        (wrong.NamesNoTrace, "logs", "logs", "traces()"),
        (wrong.CannotStart, "answers", "start", "no such option: --peers"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_doctor_names_what_is_wrong(adapter: type[ReferenceRaft], check: str, named: str, word: str) -> None:
    found = bad(examined(adapter, check))
    assert named in found, found
    assert word in found[named]
