"""Measures what reports say about planted bugs: is the witness small, impossible by itself, and true of the run?

    python bench/witnesses.py [--seeds 3] [--only name,…] [--seconds 20]

Every planted bug in random simulated runs, for at most --seconds each. Prints a table for docs/results.md; anything
that an anomaly says and that the history or the traces contradict is listed in the last column.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "report"))
from simulated import keep, keep_stage, simulated
from truth import broken_rule, problems

from capsize.raft.mutants import catalogue
from capsize.simulator.scenarios import SCENARIOS, play
from capsize.simulator.subject import subject


def row(bug: str, seeds: int, seconds: float, scenarios: list[str]) -> str:
    """Return the line of one bug."""
    names, sizes, wrong, rules, runs = Counter[str](), list[int](), Counter[str](), 0, 0
    end = time.monotonic() + seconds
    told = []
    for name in scenarios:
        for stage in play(SCENARIOS[name], subject([bug]), record=True).stages:
            told.append((keep_stage(stage, Path(tempfile.mkdtemp())), stage.history(), stage.world.recorded or ()))
    for seed in range(seeds):
        if time.monotonic() > end:
            break
        outcome = simulated([bug], seed)
        told.append((keep(outcome, Path(tempfile.mkdtemp())), outcome.history, outcome.recorded or ()))
    for verdict, history, recorded in told:
        runs += 1
        for anomaly in verdict["anomalies"]:
            if anomaly["operations"]:
                names[anomaly["name"]] += 1
                sizes.append(len(anomaly["operations"]))
                wrong.update(problems(anomaly, history, recorded))
            elif "invariant" in anomaly["details"]:
                rules += 1
                wrong.update(f"{anomaly['details']['invariant']}: {one}" for one in broken_rule(anomaly, recorded))
    kinds = ", ".join(f"{name} {count}" for name, count in names.most_common()) or "–"
    said = "; ".join(f"{one} ({count})" for one, count in wrong.most_common(4)) or "none"
    return f"| `{bug}` | {runs} | {kinds} | {max(sizes, default='–')} | {rules} | {said} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--only", default="")
    parser.add_argument("--scenarios", default="", help="directed scenarios that are played as well")
    chosen = parser.parse_args()
    wanted = [name for name in chosen.only.split(",") if name] or [one.name for one in catalogue()]
    print("| planted bug | runs | anomalies of clients | largest witness | broken rules shown | untrue |")
    print("|---|---|---|---|---|---|")
    for bug in wanted:
        scenarios = [name for name in chosen.scenarios.split(",") if name]
        print(row(bug, chosen.seeds, chosen.seconds, scenarios), flush=True)


if __name__ == "__main__":
    main()
