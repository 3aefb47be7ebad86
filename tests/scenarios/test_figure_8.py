"""Figure 8 of the Raft paper on real nodes: partitions and failpoints bring about its steps (a) to (e)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capsize.config import RunConfig
from capsize.nemesis.partition import Partition
from capsize.nemesis.process import Kill
from capsize.scenario.scenario import Scenario
from capsize.verdict import Axis, Verdict

from .test_real_nodes import traced

AS_IN_THE_FIGURES = {"pre_vote": "off", "protect_leader": "off", "check_quorum": "off", "append_max": "1"}


def until(condition: Callable[[], object], what: str, within_s: float = 30.0) -> None:
    """Wait, bounded, until `condition` holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.05)


@contextmanager
def cluster(folder: Path, **options: str) -> Iterator[Scenario]:
    config = RunConfig(
        seed=8, workload="register", faults=(), nodes=5, backend="local", timeout_s=1.0,
        options={**AS_IN_THE_FIGURES, "election_timeout_ms": "300-600", **options},
    )  # fmt: skip
    play = Scenario(config, folder, repeat="pytest tests/scenarios/test_figure_8.py")
    play.open()
    try:
        yield play
    finally:
        play.close()


def last_indices(play: Scenario) -> set[int | None]:
    return {None if status is None else status.last_index for status in play.statuses().values()}


def figure_8(play: Scenario) -> tuple[Verdict, str, str]:
    """Play it; return the verdict, and who were S1 and S5."""
    s1 = play.leader().name
    play.client(s1).write("x", 1, within_s=10.0)
    until(lambda: len(last_indices(play)) == 1, "all hold the first write")
    s2, *rest = (name for name in play.names if name != s1)
    for name in rest:
        play.system.arm(play.node(name), "after_append", "crash")
    # (a) S1 leads and replicates entry 2 to S2 only
    apart = play.nemesis.strike(Partition((s1, s2), "isolate"))
    assert play.client(s1).invoke("write", "x", 2).outcome == "info"
    # (b) S1 crashes; S5 is elected by the other three, appends an entry of its own, and crashes before it sends it
    down = play.nemesis.strike(Kill(s1))
    until(lambda: any(not play.node(name).process().alive for name in rest), "S5 leads and dies")
    s5 = next(name for name in rest if not play.node(name).process().alive)
    for name in rest:
        if name != s5:
            play.system.arm(play.node(name), "after_append", "off")
    # (c) S1 is back; it (or S2, whose log is as good) leads and replicates entry 2 to a majority
    play.nemesis.heal(down)
    play.nemesis.heal(apart)
    leader = play.leader(within_s=30.0).name
    play.client(leader).write("y", 3, within_s=20.0)
    assert leader in (s1, s2), f"{leader} was elected without entry 2"
    # (d, e) S5 comes back with its own entry at that place
    play.cluster.restart(play.node(s5))
    until(lambda: len(last_indices(play)) == 1 and None not in last_indices(play), "all logs are of one length")
    return play.finish(), s1, s5


def test_an_entry_of_an_earlier_term_is_committed_by_one_of_the_new_term_and_overwrites_its_rival(
    tmp_path: Path,
) -> None:
    with cluster(tmp_path) as play:
        verdict, _, s5 = figure_8(play)
    assert verdict.axes[Axis.SAFETY].valid is True, verdict.axes
    assert [anomaly.name for anomaly in verdict.anomalies] == []
    events = traced(play.folder)
    assert any(event.node == s5 and event.ev == "truncate" for event in events), "S5's rival entry was not cut off"


@pytest.mark.parametrize("bug", ["commit.old_term"])
def test_counting_copies_of_an_earlier_term_is_found(bug: str, tmp_path: Path) -> None:
    """Section 5.4.2: the rule is broken although no client ever notices."""
    with cluster(tmp_path, mutant=bug) as play:
        verdict, _, _ = figure_8(play)
    assert "I7" in {str(anomaly.details.get("invariant")) for anomaly in verdict.anomalies}
