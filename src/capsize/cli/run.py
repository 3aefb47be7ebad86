"""`capsize run`: one run, from nothing to a verdict."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capsize.cli import options, outputs
from capsize.cli.progress import Progress
from capsize.config import Ssh, Tempo

if TYPE_CHECKING:
    from capsize.runner import Finished


def run(
    system: options.System = "raft",
    workload: options.Workload = "register",
    faults: options.Faults = options.FAULTS,
    seed: options.Seed = None,
    time_limit: options.TimeLimit = 30.0,
    nodes: options.Nodes = None,
    concurrency: options.Concurrency = 2,
    rate: options.Rate = 200.0,
    backend: options.Backend = "auto",
    name: options.Name = "",
    opt: options.Options = [],  # noqa: B006 (typer copies it)
    timeout: options.Timeout = 2.0,
    recovery_timeout: options.RecoveryTimeout = 30.0,
    schedule: Annotated[str, typer.Option("--schedule", help="Follow this schedule.json instead of drawing one.")] = "",
    mix: options.Mix = "overlap",
    fault_interval: options.FaultInterval = 0.0,
    fault_duration: options.FaultDuration = "2-4",
    quiet_start: options.QuietStart = 1.5,
    quiet_period: options.QuietPeriod = 0.0,
    quorum: options.Quorum = "any",
    stop_at_anomaly: options.StopAtAnomaly = False,
    nodes_file: options.NodesFile = "",
    user: options.User = "",
    port: options.Port = 22,
    key: options.Key = "",
    known_hosts: options.KnownHosts = "",
    any_host_key: options.AnyHostKey = False,
    sudo: options.Sudo = False,
    store: options.Store = options.STORE,
    junit: outputs.Junit = None,
    summary: outputs.Summary = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Start a cluster, hurt it, judge its answers.

    Faults strike while clients write; each is proven to have landed. Then everything is healed, and what the clients
    were told is judged.
    """
    from capsize.runner import run as carry_out

    config = options.config_of(
        faults=faults, seed=seed, opt=opt, system=system, workload=workload, time_limit_s=time_limit, nodes=nodes,
        concurrency=concurrency, rate=rate, backend=backend, name=name, timeout_s=timeout,
        recovery_timeout_s=recovery_timeout, schedule=schedule,
        tempo=Tempo(mix, fault_interval, fault_duration, quiet_start, quiet_period, quorum),
        ssh=Ssh(nodes_file, user, port, key, known_hosts, any_host_key, sudo), stop_at_anomaly=stop_at_anomaly,
    )  # fmt: skip
    with Progress(quiet=quiet) as progress:
        began = time.monotonic()
        finished = carry_out(config, store, argv=sys.argv, watcher=progress)
    result = outputs.of_run(finished, time.monotonic() - began)
    outputs.deliver([result], title=f"capsize run {config.workload}", repeat="", junit=junit, summary=summary)
    print(json.dumps(as_data(finished)) if as_json else as_text(finished))
    return finished.verdict.exit_code


def as_text(finished: Finished) -> str:
    """Return what stdout says of a run."""
    from capsize.report.text import render

    config = finished.config
    return render(
        finished.verdict, workload=config.workload, seed=config.seed, report=finished.report, repeat=config.command()
    )


def as_data(finished: Finished) -> dict[str, Any]:
    """Return the same for programs: the verdict, and where everything is."""
    return finished.verdict.to_json() | {
        "command": "run",
        "seed": finished.config.seed,
        "folder": str(finished.folder),
        "report": None if finished.report is None else str(finished.report),
        "repeat": finished.config.command(),
        "exit_code": finished.verdict.exit_code,
    }
