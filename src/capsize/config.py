"""What one run was asked to do, frozen: the same config, seed and code ask the same of every cluster."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from capsize.errors import StoreError, UsageError, no_such

BACKENDS = ("auto", "docker", "local", "ssh")
DEFAULT_FAULTS = ("kill-leader", "partition", "pause-disk")


@dataclass(frozen=True, slots=True)
class Ssh:
    """How the hosts of the ssh place are reached; each field is the option of the same name."""

    nodes_file: str = ""
    """One `[user@]host[:port]` a line."""
    user: str = ""
    """Where the nodes file names none; the user who runs capsize when empty."""
    port: int = 22
    key: str = ""
    """A private key file; the keys of ssh-agent and ~/.ssh when empty."""
    known_hosts: str = ""
    """A file of host keys; ~/.ssh/known_hosts when empty."""
    any_host_key: bool = False
    """Connect to hosts whose key is not known."""
    sudo: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise UsageError(f"--port: {self.port} is out of range; expected 1 to 65535")

    def words(self) -> list[str]:
        """Return the options of the command line that mean this, defaults left out.

        >>> Ssh("hosts", user="root", sudo=True).words()
        ['--nodes-file', 'hosts', '--user', 'root', '--sudo']
        """
        words: list[str] = []
        for item in fields(self):
            value = getattr(self, item.name)
            if value != item.default:
                flag = "--" + item.name.replace("_", "-")
                words += [flag] if value is True else [flag, str(value)]
        return words


MIXES = ("overlap", "turns", "storm", "bursts")
QUORUMS = ("any", "keep", "lose")


@dataclass(frozen=True, slots=True)
class Tempo:
    """When faults strike; each field is the option of the same name. docs/faults.md tells the mixes apart."""

    mix: str = "overlap"
    fault_interval: float = 0.0
    """Seconds between two faults of one kind (turns: of any kind; bursts: of two bursts); 0: the mix's own."""
    fault_duration: str = "2-4"
    """Seconds that a fault lasts, from-to."""
    quiet_start: float = 1.5
    """Seconds of load before the first fault."""
    quiet_period: float = 0.0
    """Seconds without faults after each interval."""
    quorum: str = "any"
    """keep: never take a quorum away; lose: always; any: as the targets happen to be."""

    def __post_init__(self) -> None:
        for name, known in (("mix", MIXES), ("quorum", QUORUMS)):
            if getattr(self, name) not in known:
                raise no_such(name, getattr(self, name), known, flag=f"--{name}")
        for name, most in (("fault_interval", 3600), ("quiet_start", 3600), ("quiet_period", 3600)):
            if not 0 <= getattr(self, name) <= most:
                flag = "--" + name.replace("_", "-")
                raise UsageError(f"{flag}: {getattr(self, name):g} is out of range; expected 0 to {most} seconds")
        self.durations()

    def durations(self) -> tuple[float, float]:
        """Return how short and how long a fault may be, seconds.

        >>> Tempo(fault_duration="0.5-3").durations(), Tempo(fault_duration="2").durations()
        ((0.5, 3.0), (2.0, 2.0))
        """
        low, _, high = self.fault_duration.partition("-")
        try:
            least, most = float(low), float(high or low)
        except ValueError:
            least, most = 0.0, 0.0
        if not 0 < least <= most <= 3600:
            raise UsageError(f"--fault-duration: {self.fault_duration!r} is no length; expected from-to in s, as 2-4")
        return least, most

    def words(self) -> list[str]:
        """Return the options of the command line that mean this, defaults left out.

        >>> Tempo(mix="turns", quiet_period=5).words()
        ['--mix', 'turns', '--quiet-period', '5']
        """
        words: list[str] = []
        for item in fields(self):
            value = getattr(self, item.name)
            if value != item.default:
                words += ["--" + item.name.replace("_", "-"), f"{value:g}" if isinstance(value, float | int) else value]
        return words


def check_place(backend: str, ssh: Ssh) -> None:
    """Raise UsageError unless there is such a place, and hosts are named if and only if it is ssh."""
    if backend not in BACKENDS:
        raise UsageError(f"--backend: no place is called {backend!r}; expected one of {', '.join(BACKENDS)}")
    told = ssh.words()
    if told and backend not in ("ssh", "auto"):
        raise UsageError(f"{told[0]}: only --backend ssh has hosts to reach; --backend is {backend}")
    if not ssh.nodes_file and (backend == "ssh" or told):
        flag = told[0] if told else "--backend ssh"
        raise UsageError(f"{flag}: --nodes-file is missing; it names the hosts, one [user@]host[:port] a line")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One run. `store` is where it is kept and no part of what is tested; `options` go to the system's adapter."""

    seed: int
    system: str = "raft"
    workload: str = "register"
    faults: tuple[str, ...] = DEFAULT_FAULTS
    time_limit_s: float = 30.0
    nodes: int = 5
    concurrency: int = 2
    """Client threads per node."""
    rate: float = 200.0
    """Operations per second, all clients together."""
    backend: str = "auto"
    name: str = ""
    """The folder in the store; the workload's name when empty."""
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    timeout_s: float = 2.0
    """How long a client waits for one answer."""
    recovery_timeout_s: float = 30.0
    """How long the system may take to serve again after everything is healed."""
    schedule: str = ""
    """A schedule file to follow instead of drawing one."""
    ssh: Ssh = Ssh()
    tempo: Tempo = Tempo()
    stop_at_anomaly: bool = False
    """Whether the load and the faults end at the first anomaly that is seen while the run goes on."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("seed", 0, 2**63 - 1),
            ("nodes", 1, 99),
            ("concurrency", 1, 100),
            ("rate", 0.1, 100_000),
            ("time_limit_s", 1, 86_400),
            ("timeout_s", 0.05, 600),
            ("recovery_timeout_s", 1, 3_600),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                flag = "--" + name.removesuffix("_s").replace("_", "-")
                raise UsageError(f"{flag}: {value:.15g} is out of range; expected {least} to {most}")
        check_place(self.backend, self.ssh)
        if self.name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise UsageError(f"--name: {self.name!r} is no folder name; expected letters, digits, '-', '_' and '.'")

    @property
    def folder_name(self) -> str:
        """The name under which the store keeps this run."""
        return self.name or self.workload

    def to_json(self) -> dict[str, Any]:
        """Return the config as JSON values."""
        return asdict(self) | {"faults": list(self.faults), "options": dict(self.options)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunConfig:
        """Return the config that `to_json` wrote; keys of a later version are ignored."""
        known = {item.name for item in fields(cls)}
        try:
            given: dict[str, Any] = {key: value for key, value in data.items() if key in known}
            given["faults"] = tuple(given.get("faults", ()))
            ssh: dict[str, Any] = dict(given.get("ssh") or {})
            given["ssh"] = Ssh(**{item.name: ssh[item.name] for item in fields(Ssh) if item.name in ssh})
            tempo: dict[str, Any] = dict(given.get("tempo") or {})
            given["tempo"] = Tempo(**{item.name: tempo[item.name] for item in fields(Tempo) if item.name in tempo})
            return cls(**given)
        except TypeError as error:
            raise StoreError(f"run.json: the config cannot be read: {error}") from error

    def command(self) -> str:
        """Return the exact command that repeats this run, defaults left out.

        >>> RunConfig(seed=7, time_limit_s=20, faults=("kill",), options={"fsync": "off"}).command()
        'capsize run --system raft --workload register --faults kill --opt fsync=off --time-limit 20 --seed 7'
        """
        words = ["capsize", "run", "--system", self.system, "--workload", self.workload]
        words += ["--schedule", self.schedule] if self.schedule else ["--faults", ",".join(self.faults) or "none"]
        for key, value in sorted(self.options.items()):
            words += ["--opt", f"{key}={value}"]
        for item in fields(self):
            if item.name in _SHOWN_IF_CHANGED and getattr(self, item.name) != item.default:
                value = getattr(self, item.name)
                flag = "--" + item.name.removesuffix("_s").replace("_", "-")
                words += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
        words += ["--stop-at-anomaly"] if self.stop_at_anomaly else []
        return shlex.join([*words, *self.tempo.words(), *self.ssh.words(), "--seed", str(self.seed)])


_SHOWN_IF_CHANGED = (
    "time_limit_s", "nodes", "concurrency", "rate", "backend", "name", "timeout_s", "recovery_timeout_s"
)  # fmt: skip


def parse_options(pairs: list[str]) -> dict[str, str]:
    """Return `--opt key=value` words as a mapping.

    >>> parse_options(["fsync=off", "mutant=a,b"])
    {'fsync': 'off', 'mutant': 'a,b'}
    """
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--opt: {pair!r} is no option; expected key=value, e.g. fsync=off")
        if key in options:
            raise UsageError(f"--opt: {key} is given twice ({options[key]} and {value})")
        options[key] = value
    return options
