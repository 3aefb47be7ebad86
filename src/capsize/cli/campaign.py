"""`capsize campaign`: many runs, one table, the gravest verdict."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capsize.cli import options, outputs
from capsize.cli.progress import Progress
from capsize.config import Ssh, Tempo

if TYPE_CHECKING:
    from capsize.campaign import Outcome
    from capsize.report.result import Result

WORDS = {0: "VALID", 1: "INVALID", 2: "UNKNOWN"}


def campaign(
    system: options.System = "raft",
    workload: options.Workload = "register",
    faults: Annotated[
        list[str], typer.Option("--faults", "-f", help="A set of faults; repeated, each set gets its runs.")
    ] = [options.FAULTS],  # noqa: B006 (typer copies it)
    runs: Annotated[int, typer.Option("--runs", help="Seeds for each combination, counted up from --seed.")] = 3,
    seed: options.Seed = None,
    time_limit: options.TimeLimit = 30.0,
    nodes: options.Nodes = None,
    concurrency: options.Concurrency = 2,
    rate: options.Rate = 200.0,
    backend: options.Backend = "auto",
    name: options.Name = "",
    opt: options.Options = [],  # noqa: B006
    timeout: options.Timeout = 2.0,
    recovery_timeout: options.RecoveryTimeout = 30.0,
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
    """Many runs, one table, the gravest verdict.

    Runs systems x workloads x sets of faults x seeds; comma-separate systems and workloads.

    --opt key=value goes to every system, --opt SYSTEM.key=value to one of them.
    """
    from capsize.campaign import carry_out, exit_code, matrix, where
    from capsize.errors import UsageError

    if not 1 <= runs <= 100_000:
        raise UsageError(f"--runs: {runs} is out of range; expected 1 to 100000")
    base = options.config_of(
        faults=faults[0], seed=seed, opt=opt, time_limit_s=time_limit, nodes=nodes, concurrency=concurrency, rate=rate,
        backend=backend, name=name, timeout_s=timeout, recovery_timeout_s=recovery_timeout,
        tempo=Tempo(mix, fault_interval, fault_duration, quiet_start, quiet_period, quorum),
        ssh=Ssh(nodes_file, user, port, key, known_hosts, any_host_key, sudo), stop_at_anomaly=stop_at_anomaly,
    )  # fmt: skip
    configs = matrix(
        base, systems=system.split(","), workloads=workload.split(","), runs=runs,
        faults=[options.fault_words(text) for text in faults],
    )  # fmt: skip
    several = len({config.system for config in configs}) > 1
    with Progress(quiet=quiet) as progress:
        progress.say(f"backend   {where(configs)}")
        outcomes: list[Outcome] = []
        results: list[Result] = []
        began = time.monotonic()
        for outcome in carry_out(configs, store, argv=sys.argv, watcher=progress):
            outcomes.append(outcome)
            results.append(outputs.of_outcome(outcome, time.monotonic() - began))
            began = time.monotonic()
            progress.say(_row(outcome, several=several))
    repeat = _repeat(sys.argv[1:], base.seed, given=seed is not None)
    code = exit_code([outcome.exit_code for outcome in outcomes])
    outputs.deliver(results, title="capsize campaign", repeat=repeat, junit=junit, summary=summary)
    if as_json:
        print(json.dumps(_data(outcomes, code, repeat)))
    else:
        print(table(outcomes, len(configs), code, repeat, several=several))
    return code


def table(outcomes: list[Outcome], planned: int, code: int, repeat: str, *, several: bool) -> str:
    """Return the text of a campaign; each line names the system where there are `several`."""
    from capsize.report.text import faults_landed

    operations, faults = 0, dict[str, dict[str, int]]()
    for outcome in outcomes:
        if outcome.finished is not None:
            health = outcome.finished.verdict.figures.get("health", {})
            operations += health.get("operations", 0)
            for kind, by in health.get("faults", {}).items():
                total = faults.setdefault(kind, {})
                for word, count in by.items():
                    total[word] = total.get(word, 0) + count
    head = f"{WORDS.get(code, 'ERROR'):<8} campaign · {len(outcomes)} of {planned} runs"
    lines = [f"{head} · {operations:,} operations · {faults_landed(faults)}"]
    for outcome in outcomes:
        lines.append(f"  {_row(outcome, several=several)}")
        if outcome.finished is not None and outcome.exit_code != 0:
            lines += [f"      {reason}" for reason in _reasons(outcome)]
    lines.append(f"  repeat  {repeat}")
    return "\n".join(lines)


def _row(outcome: Outcome, *, several: bool) -> str:
    """Return one line; it names the system where there are `several`."""
    from capsize.report.text import headline

    config = outcome.config
    what = f"{config.system} · {config.workload}" if several else config.workload
    if outcome.finished is None:
        return f"{'ERROR':<8} {what} · seed {config.seed} · could not run: {outcome.error}"
    where: Path = outcome.finished.report or outcome.finished.folder
    return f"{headline(outcome.finished.verdict, workload=what, seed=config.seed)} · {where}"


def _reasons(outcome: Outcome) -> list[str]:
    from capsize.report.text import one_of_each

    assert outcome.finished is not None
    verdict = outcome.finished.verdict
    told: list[str] = []
    for anomaly in one_of_each(verdict.anomalies)[:3]:
        key = "" if anomaly.key is None else f" key {anomaly.key}"
        told.append(f"{anomaly.name}{key}: {(anomaly.because or ('',))[0]}")
    for axis, finding in verdict.axes.items():
        if axis == "safety" and told:
            continue
        told += [f"{axis}: {reason}" for reason in finding.because[:2] if finding.valid is not True]
    return [*told[:5], f"repeat  {outcome.config.command()}"]


def _data(outcomes: list[Outcome], code: int, repeat: str) -> dict[str, object]:
    from capsize.cli.run import as_data

    rows: list[dict[str, object]] = []
    for outcome in outcomes:
        if outcome.finished is not None:
            rows.append(as_data(outcome.finished))
        else:
            rows.append({"seed": outcome.config.seed, "error": str(outcome.error), "exit_code": outcome.exit_code})
    return {"version": 1, "command": "campaign", "exit_code": code, "runs": rows, "repeat": repeat}


def _repeat(words: list[str], seed: int, *, given: bool) -> str:
    """Return the command as it was typed, with the seed that was drawn."""
    return shlex.join(["capsize", *words, *([] if given else ["--seed", str(seed)])])
