"""How many complete runs the simulator carries out and judges in a minute.

    python bench/simulator.py [--runs 200] [--jobs 2]

A run is five nodes, 300 client operations, ten faults, 20 virtual seconds with recovery and final reads on every node,
judged by every Raft invariant, linearizability and health. The seeds are 0, 1, 2 …; each job is a process.
Printed: runs a minute, seconds of processor time a run, and what the runs were made of.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

from capsize.simulator.run import Plan, simulate


def measured(seed: int) -> dict[str, float]:
    """Carry out one run; return its figures."""
    began, cpu = time.perf_counter(), time.process_time()
    outcome = simulate(Plan.varied(seed, nodes=5))
    health = outcome.verdict.figures["health"]
    return {
        "wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu,
        "valid": outcome.verdict.valid is True, "events": outcome.events,
        **{key: health[key] for key in ("operations", "landed", "virtual_s", "messages")},
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with ProcessPoolExecutor(asked.jobs) as pool:
        list(pool.map(measured, range(-asked.jobs, 0)))  # imports and compiled code
        began = time.perf_counter()
        rows = list(pool.map(measured, range(asked.runs)))
        wall_s = time.perf_counter() - began
    mean = {key: statistics.fmean(row[key] for row in rows) for key in rows[0]}
    result = {
        "runs": asked.runs, "jobs": asked.jobs, "runs_a_minute": 60 * asked.runs / wall_s, "cpu_s_a_run": mean["cpu_s"],
        "load": os.getloadavg()[0], "valid": sum(row["valid"] for row in rows), "mean": mean,
    }  # fmt: skip
    if asked.json:
        print(json.dumps(result))
        return
    print(f"{result['runs_a_minute']:.0f} runs a minute with {asked.jobs} processes ({asked.runs} in {wall_s:.1f} s)")
    print(f"{mean['cpu_s']:.2f} s of processor time a run; load of the machine {result['load']:.1f}")
    print(
        f"a run: {mean['operations']:.0f} operations, {mean['landed']:.1f} faults landed, {mean['virtual_s']:.1f} "
        f"virtual s, {mean['messages']:,.0f} messages, {mean['events']:,.0f} events judged; "
        f"{result['valid']} of {asked.runs} valid"
    )


if __name__ == "__main__":
    main()
