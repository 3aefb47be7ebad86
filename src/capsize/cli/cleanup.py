"""`capsize cleanup`: take away what dead runs left."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from capsize.cli import options


def cleanup(
    label: Annotated[list[str], typer.Option("--label", help="Only this run's (run.json has its label).")] = [],  # noqa: B006
    force: Annotated[bool, typer.Option("--force", help="Also what belongs to a run that still goes on.")] = False,
    as_json: options.Json = False,
) -> int:
    """Remove containers, networks, disks, mounts and processes of runs whose tool is dead. Touches nothing else."""
    from capsize.cluster.cleanup import cleanup as sweep

    removed = sweep(label or None, force=force)
    if as_json:
        print(json.dumps({"version": 1, "removed": removed}))
        return 0
    for line in removed:
        print(line)
    if not removed:
        print("nothing of ours was left behind")
    return 0
