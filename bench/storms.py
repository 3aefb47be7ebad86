"""Long proofs on real clusters of the reference Raft, repeated as often as asked; figures go to docs/results.md.

    python bench/storms.py power-loss [--runs 20]      a majority loses its power, with fsync and without
    python bench/storms.py storms [--runs 50]          schedules of random overlapping faults, all kinds, on clean code
    python bench/storms.py table                       write what was measured so far

Every run is a run of its own in the store (`--store`), with the command that repeats it; rows are kept in
STORE/storms.jsonl as they come, and a run that has its row is not repeated: an interrupted measurement goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import platform
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from capsize.cluster.cleanup import cleanup
from capsize.config import RunConfig, Tempo, parse_options
from capsize.errors import CapsizeError
from capsize.nemesis.kinds import KINDS
from capsize.origin import origin
from capsize.plan import plan, refuse_impossible
from capsize.runner import open_real, run
from capsize.seed import stream
from capsize.store import RUN, read_json

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results.md"
HEADINGS = {
    "power-loss": "## Power loss of a majority, with fsync and without",
    "storms": "## Storms: random overlapping faults on the clean reference Raft",
}
RECOVERY_BOUND_S = 30.0
"""The bound of a run itself: beyond it the liveness axis is false."""
SOON_S = 10.0
KINDS_OF_A_STORM = 6


def power_loss(seed: int, arguments: argparse.Namespace) -> list[RunConfig]:
    """Two losses of power of a majority in nine seconds of load; the same seed with fsync on and off."""
    path = arguments.store / "power-loss.json"
    arguments.store.mkdir(parents=True, exist_ok=True)
    fault = {"fault": "power-loss", "target": "majority"}
    steps = [{"at_s": at_s, "duration_s": 1.0, "nth": nth, "fault": fault} for nth, at_s in enumerate((3.0, 6.0))]
    path.write_text(json.dumps({"version": 1, "seed": 0, "steps": steps}))
    base = RunConfig(seed=seed, schedule=str(path), time_limit_s=9.0, backend=arguments.backend)
    return [replace(base, name=f"power-loss-{fsync}", options={"fsync": fsync}) for fsync in ("on", "off")]


def storms(seed: int, arguments: argparse.Namespace) -> list[RunConfig]:
    """Six kinds of all that this place can do, drawn from the seed, each at random moments of 14 seconds."""
    tempo = Tempo(mix="storm", fault_interval=7.0, fault_duration="1-3", quiet_start=1.0)
    options = parse_options(arguments.opt)
    config = RunConfig(
        seed=seed, time_limit_s=14.0, backend=arguments.backend, name="storms", tempo=tempo, options=options
    )
    able = possible(arguments.backend)
    chosen: list[str] = []
    for word in stream(seed, "storm").sample(able, len(able)):
        with contextlib.suppress(CapsizeError):  # some kinds do not go together
            plan(replace(config, faults=(*chosen, word)))
            chosen.append(word)
        if len(chosen) == KINDS_OF_A_STORM:
            break
    return [replace(config, faults=tuple(chosen))]


@functools.cache
def possible(backend: str) -> list[str]:
    """Return every fault word that this place, and the reference Raft on it, can do."""
    from capsize.cluster.choose import choose_backend

    place, _ = choose_backend(backend, "storms-possible")
    try:
        words: list[str] = []
        for word in KINDS:
            try:
                refuse_impossible(plan(RunConfig(seed=1, faults=(word,), backend=backend)), place)
            except CapsizeError as error:
                sys.stderr.write(f"left out: {error}\n")
            else:
                words.append(word)
        return words
    finally:
        place.destroy()


def carry_out(what: str, config: RunConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """Carry out one run; return its row."""
    began = time.monotonic()
    row: dict[str, Any] = {"what": what, "name": config.name, "seed": config.seed, "faults": list(config.faults)}
    try:
        finished = run(config, arguments.store, argv=sys.argv, open_place=open_real)
    except CapsizeError as error:
        return row | {"error": str(error), "repeat": config.command()}
    verdict = finished.verdict
    label = str(read_json(finished.folder / RUN)["label"])
    health: Mapping[str, Any] = verdict.figures.get("health", {})
    return row | {
        "valid": verdict.valid,
        "axes": {axis.value: finding.valid for axis, finding in verdict.axes.items()},
        "because": {axis: list(finding.because) for axis, finding in verdict.axes.items() if finding.valid is not True},
        "anomalies": sorted({anomaly.name for anomaly in verdict.anomalies}),
        "by_clients": any(anomaly.operations for anomaly in verdict.anomalies),
        "by_traces": any(anomaly.events and not anomaly.operations for anomaly in verdict.anomalies),
        "operations": health.get("operations"),
        "recovery_s": health.get("recovery_s"),
        "counts": health.get("faults"),
        "left_behind": cleanup([label], force=True),
        "folder": str(finished.folder),
        "repeat": config.command(),
        "options": dict(config.options),
        "took_s": round(time.monotonic() - began, 1),
    }


def measure(
    what: str, configs: Callable[[int, argparse.Namespace], list[RunConfig]], arguments: argparse.Namespace
) -> None:
    """Carry out all runs that have no row yet."""
    kept = rows(arguments.store)
    done = {(row["what"], row["name"], row["seed"]) for row in kept if "error" not in row}
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        for config in configs(seed, arguments):
            if (what, config.name, seed) in done:
                continue
            row = carry_out(what, config, arguments)
            with (arguments.store / "storms.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            told = row.get("error") or f"{row['axes']} {row['because'] or ''} {row['anomalies'] or ''}"
            print(
                f"{config.name} {seed}: {told} recovery {row.get('recovery_s')} left {row.get('left_behind')}",
                flush=True,
            )


def rows(store: Path) -> list[dict[str, Any]]:
    """Return the rows kept so far; of one run the last."""
    path = store / "storms.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return list({(row["what"], row["name"], row["seed"]): row for row in found}.values())


def power_loss_table(found: list[dict[str, Any]]) -> list[str]:
    """Return the section on the loss of power."""
    lines = [
        "Five nodes on docker, each data directory an ext4 of its own; 9 s of load, 200 operations a second; three",
        "of the five nodes, drawn from the seed, lose their power twice (what was not synced is gone), the order",
        "confirmed step by step. *By clients*: the history alone proves it; *by traces*: the nodes' own events do.",
        "",
        "| | runs | power lost, both times | no acknowledged write lost | caught | by clients | by traces |",
        "|---|---|---|---|---|---|---|",
    ]
    for fsync in ("on", "off"):
        mine = [row for row in found if row["name"] == f"power-loss-{fsync}" and "error" not in row]
        landed = sum(row["counts"].get("power-loss", {}).get("landed") == 2 for row in mine)
        kept = sum(row["axes"].get("safety") is True for row in mine)
        caught = sum(row["axes"].get("safety") is False for row in mine)
        clients, traces = sum(row["by_clients"] for row in mine), sum(row["by_traces"] for row in mine)
        lines.append(f"| fsync {fsync} | {len(mine)} | {landed} | {kept} | {caught} | {clients} | {traces} |")
    return lines


def storms_table(found: list[dict[str, Any]]) -> list[str]:
    """Return the section on storms."""
    mine = [row for row in found if row["what"] == "storms" and "error" not in row]
    errors = [row for row in found if row["what"] == "storms" and "error" in row]
    recovery = sorted(row["recovery_s"] for row in mine if row["recovery_s"] is not None)
    counts: dict[str, dict[str, int]] = {}
    for row in mine:
        for kind, by in row["counts"].items():
            total = counts.setdefault(kind, {"runs": 0, "intended": 0, "landed": 0, "skipped": 0, "failed": 0})
            total["runs"] += 1
            for word, count in by.items():
                total[word] = total.get(word, 0) + count
    struck = sum(total["landed"] for total in counts.values())
    late = [row for row in mine if row["recovery_s"] is None or row["recovery_s"] > RECOVERY_BOUND_S]
    soon = sum(row["recovery_s"] is not None and row["recovery_s"] <= SOON_S for row in mine)
    valid = [row["valid"] for row in mine]
    accused = sum(row["axes"].get("safety") is False for row in mine)
    harness = sum(row["axes"].get("harness") is False for row in mine)
    left = sum(bool(row["left_behind"]) for row in mine)
    why = unknown_because(mine)
    times = f"; median {statistics.median(recovery):.1f} s, longest {recovery[-1]:.1f} s" if recovery else ""
    lines = [
        f"Five nodes on docker; each run {KINDS_OF_A_STORM} of {len(counts)} kinds of fault, drawn from its seed, at",
        "random moments of 14 s of load, 1 to 3 s long, overlapping as chance has it.",
        "",
        f"- {len(mine)} runs, {sum(row['operations'] for row in mine):,} operations, {struck:,} faults landed"
        + (f"; {len(errors)} could not run" if errors else "")
        + ".",
        f"- False anomalies: {accused}.",
        f"- Answered again on every node within {RECOVERY_BOUND_S:g} s of the heal: {len(mine) - len(late)} of "
        f"{len(mine)}, within {SOON_S:g} s {soon}{times}.",
        f"- Something left behind (containers, networks, mounts, loop devices, processes): {left} of {len(mine)}.",
        f"- Valid {valid.count(True)}, unknown {valid.count('unknown')}, invalid {valid.count(False)}; "
        f"harness findings in {harness}.",
        *(
            [f"- Why {sum(row['valid'] == 'unknown' for row in mine)} were unknown (a run may have several reasons):"]
            if why
            else []
        ),
        *(f"  - {reason}: {count}" for reason, count in why),
        "",
        "| fault | runs | intended | landed | skipped | failed |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {kind} | {by['runs']} | {by['intended']} | {by['landed']} | {by['skipped']} | {by['failed']} |"
        for kind, by in sorted(counts.items())
    ]
    return lines


def unknown_because(found: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return in how many runs of unknown verdict each reason stands, the most frequent first; names of nodes left out.

    >>> told = ["kill never landed: n1, n4 is down already; n2 is down already"]
    >>> unknown_because([{"valid": "unknown", "because": {"coverage": told}}, {"valid": True, "because": {}}])
    [('coverage: kill never landed: NODE is down already', 1)]
    """
    counts: Counter[str] = Counter()
    for row in found:
        if row["valid"] != "unknown":
            continue
        told = {f"{axis}: {_without_nodes(reason)}" for axis, because in row["because"].items() for reason in because}
        counts.update(told or {"no reason was told"})
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _without_nodes(reason: str) -> str:
    """Return a reason with NODE for names of nodes, and said once."""
    what, colon, why = re.sub(r"\bn\d+(, n\d+)*\b", "NODE", reason).partition(": ")
    return what + colon + "; ".join(dict.fromkeys(why.split("; ")))


def write_table(store: Path) -> None:
    """Put the sections for which there are rows into docs/results.md, in place of the ones there."""
    found = rows(store)
    text = RESULTS.read_text() if RESULTS.exists() else "# Results\n"
    where = f"Python {platform.python_version()}, {platform.machine()}, Linux {platform.release()}"
    head = f"{where}; commit {origin()['commit']}, {datetime.now(UTC):%Y-%m-%d}."
    for what, table in (("power-loss", power_loss_table), ("storms", storms_table)):
        mine = [row for row in found if row["what"] == what]
        if not mine:
            continue
        told = f"{head} Measured with `python bench/storms.py {what}`."
        section = "\n".join([HEADINGS[what], "", told, "", *table(mine), "", ""])
        before, heading, rest = text.partition(HEADINGS[what])
        after = rest[rest.index("\n## ") + 1 :] if heading and "\n## " in rest else ""
        text = before.rstrip("\n") + "\n\n" + section + after
        print(section)
    RESULTS.write_text(text.rstrip("\n") + "\n")


def main() -> int:
    """Measure, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("power-loss", "storms", "table"))
    parser.add_argument("--runs", type=int, default=0, help="20 and 50 when left out")
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--store", type=Path, default=Path("store/storms"))
    parser.add_argument("--backend", default="docker")
    parser.add_argument("--opt", action="append", default=[], help="option of the system, for storms")
    arguments = parser.parse_args()
    if arguments.what == "table":
        write_table(arguments.store)
        return 0
    arguments.runs = arguments.runs or {"power-loss": 20, "storms": 50}[arguments.what]
    measure(arguments.what, power_loss if arguments.what == "power-loss" else storms, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
