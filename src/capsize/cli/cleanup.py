"""`capsize cleanup`: take away what dead runs left."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from capsize.cli import options
from capsize.cluster.hosts import read_nodes_file
from capsize.config import Ssh, check_place

COULD_NOT = 255


def cleanup(
    label: Annotated[list[str], typer.Option("--label", help="Only this run's (run.json has its label).")] = [],  # noqa: B006
    force: Annotated[bool, typer.Option("--force", help="Also what belongs to a run that still goes on.")] = False,
    nodes_file: options.NodesFile = "",
    user: options.User = "",
    port: options.Port = 22,
    key: options.Key = "",
    known_hosts: options.KnownHosts = "",
    any_host_key: options.AnyHostKey = False,
    sudo: options.Sudo = False,
    as_json: options.Json = False,
) -> int:
    """Take away what dead runs left.

    Removes containers, networks, disks, mounts and processes of runs whose tool is dead. Touches nothing else.

    With --nodes-file also on those hosts.
    """
    from capsize.cluster.cleanup import cleanup as sweep

    ssh = Ssh(nodes_file, user, port, key, known_hosts, any_host_key, sudo)
    check_place("auto", ssh)
    if nodes_file:
        read_nodes_file(Path(nodes_file).expanduser())  # what cannot be read is told before anything is removed
    removed, left = sweep(label or None, force=force), list[str]()
    if nodes_file:
        from capsize.cluster.choose import ssh_options
        from capsize.cluster.ssh_cleanup import sweep_hosts
        from capsize.cluster.ssh_connection import Connector

        way = ssh_options(ssh)
        on_hosts, left = sweep_hosts(
            read_nodes_file(way.pop("nodes_file")), Connector(**way), label or None, force=force
        )  # fmt: skip
        removed += on_hosts
    if as_json:
        print(json.dumps({"version": 1, "removed": removed, "left": left}))
        return COULD_NOT if left else 0
    for line in removed:
        print(line)
    for line in left:
        print(f"capsize: {line}", file=sys.stderr)
    if not removed and not left:
        print("nothing of ours was left behind")
    return COULD_NOT if left else 0
