"""Planted bugs: each has a name, one small override, and leaves the clean code alone."""

from __future__ import annotations

import inspect
import random
from pathlib import Path

import pytest

import capsize.raft
from capsize.cluster.adapter import make
from capsize.config import parse_options
from capsize.nemesis.kinds import choose
from capsize.raft.configuration import Configuration
from capsize.raft.core import Core
from capsize.raft.events import Recovered
from capsize.raft.mutants import UnknownMutant, catalogue, core_class, find, state_machine_class, storage_class
from capsize.raft.settings import Settings
from capsize.raft.state_machine import StateMachine
from capsize.raft.storage import DiskStorage

PACKAGE = Path(capsize.raft.__file__).parent


def test_what_a_bug_bites_with_are_options_that_a_run_takes() -> None:
    for bug in catalogue():
        words = bug.bites_with.split()
        for flag, value in zip(words[::2], words[1::2], strict=True):
            assert flag in ("--opt", "--faults", "--nodes"), bug.name
            if flag == "--opt":
                make("raft", parse_options([value, f"mutant={bug.name}"]))
            elif flag == "--faults":
                assert choose(value.split(","))
            else:
                assert value.isdigit()
    assert {bug.name: bug.bites_with for bug in catalogue()}["dedup.none"] == "--opt retries=1"


@pytest.mark.parametrize("mutant", catalogue(), ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_one_class_with_few_lines(mutant):
    assert mutant.deviation
    assert mutant.control or mutant.breaks
    assert mutant.place in ("core", "state machine", "storage")
    assert len(inspect.getsource(mutant.override).splitlines()) <= 30


def test_without_names_the_clean_classes_are_used():
    assert core_class([]) is Core
    assert storage_class([]) is DiskStorage
    assert state_machine_class([]) is StateMachine


def test_planted_bugs_combine():
    core = core_class(["quorum.minority", "read.leader_local", "dedup.none"])
    assert issubclass(core, Core)
    one = core("n1", Configuration(("n1",)), Settings(), Recovered(), rng=random.Random(1))
    assert one.quorum_size(5) == 2
    assert state_machine_class(["quorum.minority", "dedup.none"]) is not StateMachine


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(UnknownMutant, match=r"quorum\.minority"):
        find(["quorum.minorty"])


def test_the_clean_code_does_not_know_of_planted_bugs():
    for path in PACKAGE.glob("*.py"):
        if path.stem in ("mutants", "config", "node", "__main__") or path.stem.startswith("planted_"):
            continue
        assert "mutant" not in path.read_text().replace("(`mutants`)", "").replace("`mutants.core_class", ""), path


def test_a_minority_quorum_elects_two_leaders(bench):
    """`quorum.minority` does what its name says: two of five are enough."""
    b = bench(core=core_class(["quorum.minority"]))
    b.time_out("n1")
    b.settle("n1", "n2")
    b.time_out("n3")
    b.settle("n3", "n4")
    assert b.cores["n1"].is_leader()
    assert b.cores["n3"].is_leader()


def test_acknowledging_before_fsync_is_caught_by_a_power_loss(bench):
    b = bench("n1", "n2", "n3", core=core_class(["disk.ack_before_fsync"]))
    b.elect("n1")
    b.settle()
    b.auto_persist = False
    rid = b.ask("n1", "put", "x", 1)
    b.settle()
    assert b.outcome(rid) == "ok"
    for name in b.names:
        b.boot(name)
    assert all(core.log.last_index == 1 for core in b.cores.values())


def test_the_standard_library_is_all_that_the_package_needs():
    """It is copied to hosts that have nothing but Python 3."""
    import sys

    for path in PACKAGE.glob("*.py"):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]) and line[0] in "if" and not words[1].startswith("."):
                assert words[1].split(".")[0] in sys.stdlib_module_names, f"{path.name}: {line}"
