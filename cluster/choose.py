"""Choosing the place to run: what was asked for, or what this machine has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from capsize.cluster.backend import Backend
from capsize.cluster.local_backend import LocalBackend
from capsize.config import BACKENDS, RunConfig, Ssh
from capsize.errors import BackendError, UsageError, no_such

SSH_OPTIONS = ("nodes_file", "user", "port", "key", "known_hosts", "strict", "sudo")


def place_of(config: RunConfig, label: str) -> tuple[Backend, str]:
    """Return the backend that a run's config asks for, and why it is this one; errors as `choose_backend`."""
    return choose_backend(config.backend, label, **ssh_options(config.ssh))


def ssh_options(ssh: Ssh) -> dict[str, Any]:
    """Return what `choose_backend` wants to know of hosts; nothing where no hosts are named."""
    if not ssh.nodes_file:
        return {}
    return {
        "nodes_file": Path(ssh.nodes_file).expanduser(),
        "user": ssh.user or None,
        "port": ssh.port,
        "key": Path(ssh.key).expanduser() if ssh.key else None,
        "known_hosts": Path(ssh.known_hosts).expanduser() if ssh.known_hosts else None,
        "strict": not ssh.any_host_key,
        "sudo": ssh.sudo,
    }


def choose_backend(name: str, label: str, **options: Any) -> tuple[Backend, str]:
    """Return the backend for the run `label`, and one sentence saying which and why.

    "auto" is ssh where a nodes file is given, docker where an engine answers, else local. `options` go to the
    backend: `disks=False` runs without real disks (docker then needs less of the engine), `disk_mb` sizes them;
    docker: `base`, the image that nodes are built from; local: `base_port`; ssh: `nodes_file`, which it needs,
    `user`, `port`, `key`, `known_hosts`, `strict` (host keys that are not known are refused), `sudo`.
    Raises BackendError when the place that was asked for by name cannot be had, UsageError for an unknown one.
    """
    if name not in BACKENDS:
        raise no_such("backend", name, BACKENDS, flag="--backend")
    if name == "ssh" or (name == "auto" and options.get("nodes_file") is not None):
        return _ssh(label, options)
    options = _without(options, *SSH_OPTIONS)
    if name == "local":
        return _local(label, "asked for", options)
    # Imported here: the engine's client takes a quarter of a second that a local run need not wait for.
    from capsize.cluster.engine import engine_answers

    answers, why = engine_answers()
    if answers:
        from capsize.cluster.docker_backend import DockerBackend

        return DockerBackend(label, **_without(options, "base_port")), f"docker: {why}"
    if name == "docker":
        raise BackendError(f"--backend docker: {why}; start an engine, or use --backend local")
    return _local(label, why, options)


def _ssh(label: str, options: dict[str, Any]) -> tuple[Backend, str]:
    from capsize.cluster.hosts import read_nodes_file
    from capsize.cluster.ssh_backend import SshBackend

    nodes_file = options.pop("nodes_file", None)
    if nodes_file is None:
        raise UsageError("--backend ssh: --nodes-file is missing; it names the hosts, one [user@]host[:port] a line")
    hosts = read_nodes_file(Path(nodes_file))
    return SshBackend(
        label, hosts=hosts, **_without(options, "base", "base_port")
    ), f"ssh: {nodes_file} names {len(hosts)} hosts"


def _local(label: str, why: str, options: dict[str, Any]) -> tuple[Backend, str]:
    backend = LocalBackend(label, **_without(options, "base"))
    disks = (
        "yes, root" if "disks" in backend.capabilities() else "no, " + backend.why_not("disks").removeprefix("local: ")
    )
    return backend, f"local: {why}; real disks: {disks}"


def _without(options: dict[str, Any], *foreign: str) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in foreign}
