"""The text on stdout: verdict first, the command that repeats the run last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from capsize.report.text import render
from capsize.verdict import Anomaly, Axis, Finding, Validity, Verdict

REPEAT = "capsize run --system raft --workload register --seed 7"
HEALTH: dict[str, Any] = {
    "operations": 4812,
    "faults": {"kill-leader": {"intended": 5, "landed": 5, "skipped": 0, "failed": 0},
               "partition": {"intended": 4, "landed": 4, "skipped": 0, "failed": 0}},
}  # fmt: skip


def verdict(safety: Validity, *anomalies: Anomaly, coverage: Finding | None = None, **health: Any) -> Verdict:
    reasons = tuple(reason for anomaly in anomalies for reason in anomaly.because)
    axes = {Axis.SAFETY: Finding(safety, reasons), Axis.COVERAGE: coverage or Finding(True)}
    return Verdict("run", axes, anomalies, {"health": HEALTH | health})


def text(of: Verdict, report: Path | None = Path("store/register/x/report.html")) -> str:
    return render(of, workload="register", seed=7, report=report, repeat=REPEAT)


def test_a_valid_run_is_three_lines() -> None:
    assert text(verdict(True)).splitlines() == [
        "VALID    register · seed 7 · 4,812 operations · faults landed 9/9",
        "  report  store/register/x/report.html",
        f"  repeat  {REPEAT}",
    ]


def test_a_rate_that_was_not_reached_is_a_note_and_no_reason() -> None:
    told = text(verdict(True, rate={"wanted": 100_000.0, "asked": 1044.5})).splitlines()
    assert told[0].startswith("VALID")
    assert told[1].startswith("  note    1,044 of the 100,000 operations a second of --rate were asked")
    for enough in ({"wanted": 200.0, "asked": 146.0}, {"wanted": None, "asked": 5.0}, {"wanted": 9.0, "asked": None}):
        assert "note" not in text(verdict(True, rate=enough))


def test_why_faults_were_skipped_is_a_note_where_others_of_their_kind_landed() -> None:
    faults = {
        "kill-leader": {"intended": 4, "landed": 4, "skipped": 2, "failed": 0},
        "partition": {"intended": 0, "landed": 0, "skipped": 1, "failed": 0},
    }
    why = {"kill-leader": ["no node is 'leader' now", "no quorum to spare"], "partition": ["no node is 'leader' now"]}
    told = text(verdict(True, faults=faults, skipped_because=why)).splitlines()
    assert told[1] == (
        "  note    kill-leader: 2 skipped: no node is 'leader' now (and 1 other reason, in the report)"
    )
    assert not any("partition" in line for line in told[1:]), "that it never landed is a reason of its own"


def test_an_anomaly_is_told_with_its_key_and_its_reasons_once() -> None:
    lost = Anomaly(
        "lost-write", ("p1 was told 18 was written at 12.377 s; no read after 12.402 s sees it", "so"), key=3
    )
    assert text(verdict(False, lost)).splitlines() == [
        "INVALID  register · seed 7 · 1 anomaly in 4,812 operations · faults landed 9/9",
        "  lost-write  key 3: p1 was told 18 was written at 12.377 s; no read after 12.402 s sees it",
        "      so",
        "  report  store/register/x/report.html",
        f"  repeat  {REPEAT}",
    ]


def test_what_the_nodes_events_show_is_told_with_its_second() -> None:
    late = Anomaly("unsafe-read", ("n3 let it be served",), details={"at_s": 1.25})
    early = Anomaly("two-leaders", ("n1 and n2 led",), details={"at_s": -0.024})
    told = text(verdict(False, late, early)).splitlines()
    assert told[1] == "  unsafe-read at 1.250 s: n3 let it be served"
    assert told[2] == "  two-leaders 0.024 s before the load: n1 and n2 led"


def test_what_is_missing_for_valid_is_told() -> None:
    missing = Finding("unknown", ("partition never landed: no node is 'leader' now",))
    told = text(verdict(True, coverage=missing), report=None).splitlines()
    assert told[0].startswith("UNKNOWN  register")
    assert told[1] == "  coverage unknown: partition never landed: no node is 'leader' now"
    assert told[-1] == f"  repeat  {REPEAT}"


def test_many_anomalies_are_counted_and_the_first_shown() -> None:
    many = [Anomaly("stale-read", (f"reason {number}",), key=number) for number in range(12)]
    told = text(verdict(False, *many))
    assert "12 anomalies in" in told
    assert "… and 7 more, in the report" in told


def test_skipped_faults_are_not_counted_as_intended() -> None:
    faults = {"kill-leader": {"intended": 2, "landed": 1, "skipped": 1, "failed": 0}}
    assert "faults landed 1/2, 1 skipped" in text(verdict(True, faults=faults))
    assert "no faults" in text(verdict(True, faults={}))
