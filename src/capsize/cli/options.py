"""The options that several commands share, each declared once."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from capsize.config import DEFAULT_FAULTS, RunConfig, Ssh, parse_options

SEED_BELOW = 1_000_000
"""Seeds that are drawn are short enough to be read aloud."""

System = Annotated[str, typer.Option("--system", help="System under test, or module:Class (capsize list systems).")]
Workload = Annotated[str, typer.Option("--workload", "-w", help="What clients do (capsize list workloads).")]
Faults = Annotated[str, typer.Option("--faults", "-f", help="Comma-separated, or none (capsize list faults).")]
Seed = Annotated[int | None, typer.Option("--seed", "-s", help="Everything drawn comes from it; random when left out.")]
TimeLimit = Annotated[float, typer.Option("--time-limit", "-t", help="Seconds of load.")]
Nodes = Annotated[
    int | None, typer.Option("--nodes", "-n", show_default="5, or every host of --nodes-file", help="Number of nodes.")
]
Concurrency = Annotated[int, typer.Option("--concurrency", "-c", help="Client threads per node.")]
Rate = Annotated[float, typer.Option("--rate", "-r", help="Operations per second, all clients together.")]
Backend = Annotated[
    str, typer.Option("--backend", help="auto, docker, local or ssh; auto takes hosts if named, docker if it answers.")
]
Name = Annotated[str, typer.Option("--name", help="Folder in the store; the workload's name when left out.")]
Options = Annotated[list[str], typer.Option("--opt", help="Option of the system, key=value; may be repeated.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds a client waits for one answer.")]
RecoveryTimeout = Annotated[float, typer.Option("--recovery-timeout", help="Seconds to serve again after healing.")]
Mix = Annotated[str, typer.Option("--mix", help="overlap, turns, storm or bursts: how faults follow each other.")]
FaultInterval = Annotated[
    float, typer.Option("--fault-interval", show_default="the mix's own", help="Seconds between faults of one kind.")
]
FaultDuration = Annotated[str, typer.Option("--fault-duration", help="Seconds that a fault lasts, from-to.")]
QuietStart = Annotated[float, typer.Option("--quiet-start", help="Seconds of load before the first fault.")]
QuietPeriod = Annotated[float, typer.Option("--quiet-period", help="Seconds without faults after each interval.")]
Quorum = Annotated[str, typer.Option("--quorum", help="keep: never take a quorum away; lose: always; any.")]
StopAtAnomaly = Annotated[bool, typer.Option("--stop-at-anomaly", help="End load and faults at the first anomaly.")]
NodesFile = Annotated[
    str, typer.Option("--nodes-file", metavar="FILE", help="ssh: the hosts, one [user@]host[:port] a line.")
]
User = Annotated[str, typer.Option("--user", help="ssh: whom to log in as, where the nodes file does not say.")]
Port = Annotated[int, typer.Option("--port", help="ssh: sshd's port, where the nodes file does not say.")]
Key = Annotated[str, typer.Option("--key", metavar="FILE", help="ssh: private key; else ssh-agent and ~/.ssh.")]
KnownHosts = Annotated[
    str, typer.Option("--known-hosts", metavar="FILE", help="ssh: keys of the hosts; else ~/.ssh/known_hosts.")
]
AnyHostKey = Annotated[bool, typer.Option("--any-host-key", help="ssh: connect to hosts whose key is not known.")]
Sudo = Annotated[bool, typer.Option("--sudo", help="ssh: carry out orders as root, by sudo without a password.")]
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


NODES = 5


def config_of(
    *, faults: str, seed: int | None, opt: list[str], nodes: int | None, ssh: Ssh, **settings: Any
) -> RunConfig:
    """Return the config that these options mean; raises UsageError with the flag that is wrong."""
    return RunConfig(
        seed=drawn_seed(seed), faults=fault_words(faults), options=parse_options(opt),
        nodes=nodes_of(nodes, ssh, NODES), ssh=ssh, **settings,
    )  # fmt: skip


def nodes_of(nodes: int | None, ssh: Ssh, otherwise: int) -> int:
    """Return the number of nodes: as given, else every host of the nodes file, else `otherwise`."""
    if nodes is not None:
        return nodes
    if not ssh.nodes_file:
        return otherwise
    from capsize.cluster.hosts import read_nodes_file

    return len(read_nodes_file(Path(ssh.nodes_file).expanduser()))
