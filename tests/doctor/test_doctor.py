"""The doctor names what is wrong with an adapter, and finds nothing wrong with a right one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest

from capsize.client import Client
from capsize.cluster.adapter import guard
from capsize.cluster.local_backend import LocalBackend
from capsize.cluster.node import Command, Node
from capsize.cluster.system import NodeStatus, System
from capsize.cluster.systems.raft import ReferenceRaft
from capsize.doctor import CHECKS, Examination, examine, leadership, operating
from capsize.doctor.coverage import coverage

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
    assert any(re.match(r"refused   (.*, )?pause-disk[,:]", line) for line in examination.coverage)


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
        (wrong.HasNoCas, "answers", "answers", "lacks = {'cas'}"),
        (wrong.SaysItHasNoCas, "answers", "answers", "lacks names cas"),
        (wrong.LetsGo, "kill", "kill", "still serves"),
        (wrong.ComesBack, "kill", "kill", "still serves"),
        (wrong.OnlySleeps, "kill", "kill", "command() must start the server itself"),  # "outlives", or "still serves"
        (wrong.LinksItElsewhere, "wipe", "wipe", "still has the write"),
        (wrong.ForgetsOnRestart, "restart", "restart", "is gone on"),
        (wrong.KeepsItElsewhere, "wipe", "wipe", "still has the write"),
        (wrong.NeverNew, "fresh", "left-over", "of an earlier one"),
        (wrong.NamesTheNext, "leader", "leader", "not the node that takes writes"),
        (wrong.GoesAround, "links", "links", "peer.reach(port, frm=node)"),
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


@pytest.mark.slow
def test_the_doctor_names_every_hook_of_an_operator_that_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operating, "DONE_S", 2.0)
    checks = {
        "transfer": "was asked to hand over to",
        "failpoints": "took a failpoint that does not exist",
        "replica": "before and after a write",
        "dump-log": "indexes do not grow one by one",
        "members": "says n1; expected n1, n2, n3",
        "snapshot": "after a snapshot and a restart a write is gone",
    }
    found = bad(examined(wrong.OperatesNothing, *checks))
    for check, word in checks.items():
        assert word in found.get(check, ""), found


def test_a_failover_longer_than_the_faults_of_a_campaign_is_a_note_that_says_what_to_ask_for() -> None:
    assert list(leadership.slow_failover(3.9)) == []
    (told,) = leadership.slow_failover(12.3)
    assert told.verdict == "note"
    assert "a new leader took 12.3 s, and the faults of a campaign last 2 to 4 s" in told.says
    assert "--fault-duration 13-25 " in told.says


def test_faults_that_need_a_hook_which_is_not_written_are_refused_with_its_name() -> None:
    class Plain(System):
        name = "plain"

        def install(self, node: Node) -> None: ...

        def command(self, node: Node) -> Command:
            return Command(("true",))

        def client(self, node: Node, process: int) -> Client:
            raise NotImplementedError

    class Tells(Plain):
        def status(self, node: Node) -> NodeStatus:
            raise NotImplementedError

    place = LocalBackend("coverage", disks=False)
    refused = "\n".join(coverage(Plain(), place))
    assert "evidence  L0 client histories only" in refused
    assert re.search(r"^refused   .*kill-leader.*: status\(\) is not written", refused, re.MULTILINE)
    told = "\n".join(coverage(Tells(), place))
    assert re.search(r"^refused   .*remove-member.*: members\(\), add_member\(\), ", told, re.MULTILINE)
    assert re.search(r"^refused   .*power-loss.*: local: ", refused, re.MULTILINE)
    possible = coverage(ReferenceRaft(), place)[1]
    assert "kill-leader" in possible
    assert "remove-member" in possible
