"""`capsize replay DIR`: the schedule of a kept run again; with `--shrink`, the smallest one that still fails."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capsize.cli import options
from capsize.cli.progress import Progress

if TYPE_CHECKING:
    from capsize.config import RunConfig
    from capsize.nemesis.schedule import Schedule
    from capsize.watcher import Watcher


ACCEPT = "1/3"


def replay(
    folder: Annotated[Path, typer.Argument(help="A run's folder in the store.")],
    shrink: Annotated[bool, typer.Option("--shrink", help="Search the fewest faults that still fail.")] = False,
    accept: Annotated[
        str, typer.Option("--accept", show_default=ACCEPT, help="k/n: it fails when the anomaly is back in k of n.")
    ] = "",
    concrete: Annotated[bool, typer.Option("--resolved", help="Hit the nodes that were hit, not the symbols.")] = False,
    backend: Annotated[str, typer.Option("--backend", help="Another place than the run's own.")] = "",
    store: options.Store = options.STORE,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Run a kept schedule again, or shrink it.

    The same faults at the same times; a real cluster may answer differently.
    """
    from capsize import store as kept
    from capsize.config import RunConfig
    from capsize.errors import UsageError
    from capsize.nemesis.schedule import parse
    from capsize.shrink import resolved

    if accept and not shrink:
        raise UsageError("--accept: only --shrink counts tries; leave it out, or add --shrink")
    k, n = _accepted(accept or ACCEPT)
    folder = kept.run_folder(folder)
    config = RunConfig.from_json(kept.read_json(folder / kept.RUN).get("config", {}))
    path = folder / kept.SCHEDULE
    with kept.explained(path, "read the schedule"):
        schedule = parse(path.read_text(encoding="utf-8"), where=str(path))
    if concrete:
        schedule = resolved(schedule, folder / kept.HISTORY)
        path = folder / "schedule-resolved.json"
        kept.write_text(path, schedule.to_text())
    config = replace(config, schedule=str(path), name=f"{config.folder_name}-replay", backend=backend or config.backend)
    with Progress(quiet=quiet) as progress:
        if shrink:
            return _shrink(folder, config, schedule, (k, n), store, progress, as_json=as_json)
        return _once(config, store, progress, as_json=as_json)


def _once(config: RunConfig, root: Path, progress: Watcher, *, as_json: bool) -> int:
    from capsize.cli.run import as_data, as_text
    from capsize.runner import run as carry_out

    finished = carry_out(config, root, argv=sys.argv, watcher=progress)
    print(json.dumps(as_data(finished) | {"command": "replay"}) if as_json else as_text(finished))
    return finished.verdict.exit_code


def _shrink(
    folder: Path, config: RunConfig, schedule: Schedule, accept: tuple[int, int], root: Path, progress: Watcher, *,
    as_json: bool,
) -> int:  # fmt: skip
    from capsize import store as kept
    from capsize.errors import CapsizeError
    from capsize.origin import commit
    from capsize.runner import run as carry_out
    from capsize.shrink import Candidate, Memory, Shrinker, seen_at_s
    from capsize.verdict import Axis

    began, found = time.monotonic(), dict[str, int]()

    def attempt(candidate: Candidate) -> bool:
        trial = folder / "shrink-candidate.json"
        kept.write_text(trial, candidate.schedule.to_text())
        tried = replace(config, schedule=str(trial), time_limit_s=candidate.time_limit_s)
        finished = carry_out(tried, root, argv=sys.argv, watcher=progress)
        if finished.interrupted:
            raise CapsizeError(f"interrupted by {finished.interrupted}; the same command goes on from here")
        safety = finished.verdict.axes.get(Axis.SAFETY)
        for name in {anomaly.name for anomaly in finished.verdict.anomalies}:
            found[name] = found.get(name, 0) + 1
        return safety is not None and safety.valid is False

    original = Candidate(schedule, config.time_limit_s)
    about = {
        "system": config.system, "options": dict(config.options), "workload": config.workload,
        "nodes": config.nodes, "backend": config.backend, "commit": commit(),
    }  # fmt: skip
    memory = Memory(folder / "shrink.json", about=about)
    if memory.forgot:
        progress.say(f"begin     {folder / 'shrink.json'} holds tries of other code or options: they do not count")
    elif memory.count:
        progress.say(f"go on     {memory.count} tries are remembered in {folder / 'shrink.json'}")
    shrinker = Shrinker(attempt, k=accept[0], n=accept[1], memory=memory, say=progress.say)
    small, tally = shrinker.smallest(original, seen_at_s=seen_at_s(folder))
    took_s = time.monotonic() - began
    path = folder / "schedule-shrunk.json"
    kept.write_text(path, small.schedule.to_text())
    repeat = replace(config, schedule=str(path), time_limit_s=small.time_limit_s).command()
    if as_json:
        steps = [step.to_json() for step in small.schedule.steps]
        print(json.dumps({
            "version": 1, "command": "replay --shrink", "from_faults": len(schedule.steps), "faults": len(steps),
            "time_limit_s": small.time_limit_s,
            "came_back": tally.came_back, "tries": tally.tries, "tried": shrinker.tried, "took_s": round(took_s, 1),
            "anomalies": found, "steps": steps, "schedule": str(path), "repeat": repeat,
        }))  # fmt: skip
        return 0
    print(f"SHRUNK   from {original} to {small}; the anomaly {tally} tries")
    for step in small.schedule.steps:
        when = f"when {step.when}, from {step.at_s:g} s on," if step.when is not None else f"at {step.at_s:g} s"
        print(f"  {when} for {step.duration_s:g} s  {json.dumps(step.fault.to_json())}")
    told = "".join(f", {name} {count}" for name, count in sorted(found.items(), key=lambda item: -item[1]))
    print(f"  tries     {shrinker.tried} in {took_s:.0f} s, {memory.count} with those remembered{told}")
    print(f"  schedule  {path}")
    print(f"  repeat    {repeat}")
    return 0


def _accepted(text: str) -> tuple[int, int]:
    from capsize.errors import UsageError

    k, slash, n = text.partition("/")
    if not (slash and k.isdigit() and n.isdigit()):
        raise UsageError(f"--accept: {text!r} is no share of tries; expected k/n, e.g. 2/3")
    if not 1 <= int(k) <= int(n):
        raise UsageError(f"--accept: {text} cannot be met; expected k/n with 1 <= k <= n, e.g. 2/3")
    return int(k), int(n)
