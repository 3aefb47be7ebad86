"""What a run must have shown before it may be called valid."""

from __future__ import annotations

from typing import Any

import pytest

from capsize.checker.budget import Budget
from capsize.checker.health import Health, longest_gap_s, phase_times
from capsize.history import History
from capsize.verdict import Axis, Verdict

S = 1_000_000_000
Event = dict[str, Any]


def phase(name: str, at_s: float, **more: Any) -> Event:
    return nemesis("phase", at_s, {"phase": name, **more})


def nemesis(f: str, at_s: float, value: Event) -> Event:
    return {"time_ns": int(at_s * S), "process": "nemesis", "type": "info", "f": f, "value": value}


def fault(kind: str, phase: str, at_s: float, **more: Any) -> Event:
    return nemesis(kind, at_s, {"id": 1, "kind": kind, "phase": phase, "targets": ["n1"], "fault": {}} | more)


def op(process: int, f: str, at_s: float, outcome: str, *, key: int = 1, value: Any = None, result: Any = None,
       node: str = "n1", final: bool = False) -> list[Event]:  # fmt: skip
    head: Event = {"process": process, "f": f, "key": key, "value": value, "node": node}
    start = head | {"type": "invoke", "time_ns": int(at_s * S)} | ({"final": True} if final else {})
    return [start, head | {"type": outcome, "time_ns": int(at_s * S) + 1000, "result": result}]


LOAD = [phase("load", 0), *op(1, "write", 1, "ok", value=5), *op(1, "read", 2, "ok", result=5)]
LANDED = [
    fault("kill-leader", "intend", 3),
    fault("kill-leader", "inject", 3),
    fault("kill-leader", "probe", 3.1, landed=True),
    fault("kill-leader", "heal", 4),
    fault("kill-leader", "heal-probe", 4.1, landed=True),
]
FINAL = [
    phase("recover", 5),
    phase("final", 6),
    *op(1, "read", 6, "ok", result=5, final=True),
    *op(2, "read", 6.1, "ok", result=5, node="n2", final=True),
]
DONE = [phase("done", 7)]


def judged(*parts: list[Event], kinds: tuple[str, ...] = ("kill-leader",)) -> Verdict:
    events = [event for part in parts for event in part]
    return Health(kinds, ["n1", "n2"]).check(History.from_events(events), Budget())


def test_a_run_that_did_everything_is_valid() -> None:
    verdict = judged(LOAD, LANDED, FINAL, DONE)
    assert verdict.valid is True
    assert verdict.figures["faults"] == {"kill-leader": {"intended": 1, "landed": 1, "skipped": 0, "failed": 0}}
    assert verdict.figures["final_reads"] == {"asked": 2, "answered": 2}
    assert verdict.figures["recovery_s"] == pytest.approx(1.1, abs=0.01)


def coverage(*parts: list[Event], **settings: Any) -> str:
    verdict = judged(*parts, **settings)
    assert verdict.valid is not True
    finding = verdict.axes[Axis.COVERAGE]
    assert finding.valid == "unknown"
    return " · ".join(finding.because)


def test_a_chosen_fault_that_was_never_tried_is_missing() -> None:
    assert "partition never landed: it was never tried" in coverage(
        LOAD, LANDED, FINAL, DONE, kinds=("kill-leader", "partition")
    )


def test_a_fault_whose_probe_saw_nothing_is_missing() -> None:
    missed = [
        event if event["value"]["phase"] != "probe" else fault("kill-leader", "probe", 3.1, landed=False)
        for event in LANDED
    ]
    assert "a kill-leader on n1 did not land" in coverage(LOAD, missed, FINAL, DONE)


def test_what_the_probe_saw_of_a_fault_that_did_not_land_is_told() -> None:
    seen = {"n1": {"alive": True, "pid": 100, "state": None}}
    missed = [
        event if event["value"]["phase"] != "probe" else fault("kill-leader", "probe", 3.1, landed=False, detail=seen)
        for event in LANDED
    ]
    told = coverage(LOAD, missed, FINAL, DONE)
    assert "a kill-leader on n1 did not land: n1 alive: yes, pid: 100, state: unknown" in told


def test_why_faults_were_skipped_is_kept_also_where_others_of_their_kind_landed() -> None:
    skipped = [
        fault("kill-leader", "skip", 4 + number, detail={"reason": "no node is 'leader' now"}, id=2 + number)
        for number in range(2)
    ]
    figures = judged(LOAD, LANDED, skipped, FINAL, DONE).figures
    assert figures["faults"]["kill-leader"]["skipped"] == 2
    assert figures["skipped_because"] == {"kill-leader": ["no node is 'leader' now"]}


def test_a_fault_that_nobody_probed_is_not_said_to_have_been_probed() -> None:
    told = coverage(LOAD, LANDED[:2])
    assert "kill-leader never landed: it was struck, and the run ended before it was probed" in told


def test_a_skipped_fault_is_not_a_fault_that_landed() -> None:
    skipped = [fault("kill-leader", "skip", 3, detail={"reason": "no node is 'leader' now"})]
    assert "kill-leader never landed: no node is 'leader' now" in coverage(LOAD, skipped, FINAL, DONE)


def test_a_fault_that_lay_in_wait_and_was_skipped_counts_as_skipped_only() -> None:
    armed = [
        fault("crash-after-append", "intend", 3, detail={"armed": "after_append"}),
        fault("crash-after-append", "skip", 4, detail={"reason": "n1 did not reach after_append in time"}),
    ]
    verdict = judged(LOAD, armed, FINAL, DONE, kinds=("crash-after-append",))
    counts = verdict.figures["faults"]["crash-after-append"]
    assert counts == {"intended": 0, "landed": 0, "skipped": 1, "failed": 0}
    assert verdict.axes[Axis.COVERAGE].valid == "unknown"


def test_operations_must_succeed_and_reads_must_see_writes() -> None:
    nothing = [phase("load", 0), *[event for n in range(30) for event in op(1, "write", n / 10, "fail", value=n)]]
    told = coverage(nothing, LANDED, [phase("recover", 5), phase("final", 6)], DONE)
    assert "no operation succeeded" in told
    assert "none of 30 write operations succeeded" in told
    blind = [phase("load", 0), *op(1, "write", 1, "ok", value=5), *op(1, "read", 2, "ok")]
    final = [phase("recover", 5), phase("final", 6), *op(1, "read", 6, "ok", final=True),
             *op(2, "read", 6, "ok", node="n2", final=True)]  # fmt: skip
    assert "no read saw a written value" in coverage(blind, LANDED, final, DONE)


def test_every_key_must_be_read_on_every_node_in_the_end() -> None:
    partly = [*FINAL[:-2], *op(2, "read", 6.1, "fail", node="n2", final=True)]
    assert "1 of 1 keys were not read on n2 in the end" in coverage(LOAD, LANDED, partly, DONE)
    assert "there were no final reads" in coverage(LOAD, LANDED, [phase("recover", 5)], DONE)


def test_an_interrupted_run_says_so() -> None:
    assert "interrupted (SIGINT)" in coverage(LOAD, LANDED, [phase("interrupted", 5, by="SIGINT")], DONE)


def test_final_reads_that_an_interrupt_cut_short_accuse_nobody() -> None:
    cut = [phase("recover", 5), phase("final", 6), phase("interrupted", 6.1, by="SIGINT")]
    finding = judged(LOAD, LANDED, cut, DONE).axes[Axis.LIVENESS]
    assert finding.valid == "unknown"
    assert finding.because == ("the run was interrupted before a final read was answered",)


def test_an_ordinary_read_after_recovery_is_no_final_read() -> None:
    plain = [
        phase("recover", 5),
        phase("final", 6),
        *op(1, "read", 6, "ok", result=5),
        *op(2, "read", 6, "ok", node="n2"),
    ]
    assert "were not read on n1" in coverage(LOAD, LANDED, plain, DONE)


def test_a_system_that_never_answers_again_is_invalid_not_unknown() -> None:
    dead = [phase("recover", 5), phase("not-recovered", 35, within_s=30), phase("final", 35),
            *op(1, "read", 36, "fail", final=True), *op(2, "read", 36, "fail", node="n2", final=True)]  # fmt: skip
    verdict = judged(LOAD, LANDED, dead, DONE)
    assert verdict.valid is False
    assert "within 30 s" in verdict.axes[Axis.LIVENESS].because[0]


def test_a_process_that_ended_by_itself_leaves_liveness_unknown() -> None:
    crash = [nemesis("crash", 5, {"node": "n2", "code": 70})]
    verdict = judged(LOAD, LANDED, FINAL, crash, DONE)
    assert verdict.valid == "unknown"
    assert verdict.axes[Axis.LIVENESS].because == ("the process of n2 ended by itself (see its node.log)",)


def test_a_fault_that_failed_half_way_is_a_harness_finding() -> None:
    error = [
        fault("kill-leader", "error", 3.2, detail={"error": "the fault failed half-way", "n1": "the host is gone"})
    ]
    verdict = judged(LOAD, LANDED, error, FINAL, DONE)
    assert verdict.valid == "unknown"
    assert verdict.axes[Axis.HARNESS].valid is False
    assert "n1: the host is gone" in verdict.axes[Axis.HARNESS].because[0]


def test_a_recording_that_ends_before_the_run_is_unknown() -> None:
    verdict = judged(LOAD, LANDED, FINAL)
    assert verdict.axes[Axis.HARNESS].valid == "unknown"
    assert verdict.valid == "unknown"


def test_an_empty_history_proves_nothing() -> None:
    assert "no operation was recorded" in coverage([])


def test_health_says_nothing_about_safety() -> None:
    assert Axis.SAFETY not in judged(LOAD, LANDED, FINAL, DONE).axes


def test_the_rate_of_asking_is_that_of_the_load_alone() -> None:
    asked = [event for number in range(20) for event in op(1, "write", 0.2 * number, "ok", value=number)]
    events = [phase("load", 0), *asked, *FINAL, *DONE]
    figures = Health((), ["n1", "n2"], rate=100.0).check(History.from_events(events), Budget()).figures
    assert figures["rate"] == {"wanted": 100.0, "asked": 4.0}
    assert judged(asked).figures["rate"] == {"wanted": None, "asked": None}


def test_the_longest_silence_of_the_load_is_measured_between_its_ends() -> None:
    history = History.from_events([*LOAD, *op(1, "read", 4.5, "ok", result=5), *FINAL, *DONE])
    assert longest_gap_s(history, phase_times(history)) == pytest.approx(2.5, abs=0.01)
