"""The options that several commands share, each declared once."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from capsize.config import DEFAULT_FAULTS, RunConfig, parse_options

SEED_BELOW = 1_000_000
"""Seeds that are drawn are short enough to be read aloud."""

System = Annotated[str, typer.Option("--system", help="System under test, or module:Class (capsize list systems).")]
Workload = Annotated[str, typer.Option("--workload", "-w", help="What clients do (capsize list workloads).")]
Faults = Annotated[str, typer.Option("--faults", "-f", help="Comma-separated, or none (capsize list faults).")]
Seed = Annotated[int | None, typer.Option("--seed", "-s", help="Everything drawn comes from it; random when left out.")]
TimeLimit = Annotated[float, typer.Option("--time-limit", "-t", help="Seconds of load.")]
Nodes = Annotated[int, typer.Option("--nodes", "-n", help="Number of nodes.")]
Concurrency = Annotated[int, typer.Option("--concurrency", "-c", help="Client threads per node.")]
Rate = Annotated[float, typer.Option("--rate", "-r", help="Operations per second, all clients together.")]
Backend = Annotated[str, typer.Option("--backend", help="auto, docker or local; auto takes docker if it answers.")]
Name = Annotated[str, typer.Option("--name", help="Folder in the store; the workload's name when left out.")]
Options = Annotated[list[str], typer.Option("--opt", help="Option of the system, key=value; may be repeated.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds a client waits for one answer.")]
RecoveryTimeout = Annotated[float, typer.Option("--recovery-timeout", help="Seconds to serve again after healing.")]
Store = Annotated[Path, typer.Option("--store", help="Where runs are kept.")]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only warnings.")]

FAULTS = ",".join(DEFAULT_FAULTS)
STORE = Path("store")


def fault_words(text: str) -> tuple[str, ...]:
    """Return the words of a comma-separated list, "none" as no words; unknown ones are refused."""
    from capsize.nemesis.kinds import choose

    return tuple(kind.word for kind in choose(text.split(",")))


def drawn_seed(seed: int | None) -> int:
    """Return the given seed, or a new one."""
    return secrets.randbelow(SEED_BELOW) if seed is None else seed


def config_of(*, faults: str, seed: int | None, opt: list[str], **settings: Any) -> RunConfig:
    """Return the config that these options mean; raises UsageError with the flag that is wrong."""
    return RunConfig(seed=drawn_seed(seed), faults=fault_words(faults), options=parse_options(opt), **settings)
