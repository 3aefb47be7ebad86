"""Taking away what dead runs left on hosts reached by ssh, where their agents could not do it themselves."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from capsize.cluster import agent as agent_file
from capsize.cluster import sweep as sweep_file
from capsize.cluster.hosts import Host
from capsize.cluster.ssh_connection import Connector, put_files, run_on
from capsize.errors import BackendError

WITHIN_S = 60.0


def sweep_hosts(
    hosts: Sequence[Host], way: Connector, labels: Sequence[str] | None = None, *, force: bool = False
) -> tuple[list[str], list[str]]:
    """Sweep all hosts at once; return one line for each thing removed, and one for each host or run left alone.

    Runs whose agent lives on a host are left alone there unless forced. A host that cannot be reached is told, and
    keeps no other from being swept.
    """
    with ThreadPoolExecutor(max(1, min(16, len(hosts)))) as pool:
        swept = list(pool.map(partial(_sweep, way=way, labels=labels, force=force), hosts))
    return [line for removed, _ in swept for line in removed], [line for _, left in swept for line in left]


def _sweep(host: Host, way: Connector, labels: Sequence[str] | None, force: bool) -> tuple[list[str], list[str]]:
    where = f"ssh: {host.host}"
    folder = f"/var/tmp/capsize-sweep-{secrets.token_hex(6)}"
    asked = shlex.quote(json.dumps({"labels": None if labels is None else list(labels), "force": force}))
    try:
        client = way.connect(where, host)
    except BackendError as error:
        return [], [str(error)]
    try:
        put_files(client, where, [Path(agent_file.__file__), Path(sweep_file.__file__)], folder)
        try:
            told = json.loads(run_on(client, way.become(f"python3 {folder}/sweep.py {asked}"), within_s=WITHIN_S))
        finally:
            run_on(client, way.become(f"rm -rf {folder}"))
    except (BackendError, ValueError) as error:
        text = str(error)
        return [], [text if text.startswith(where) else f"{where}: could not be swept: {text}"]
    finally:
        client.close()
    return (
        [f"{host.host}: {line}" for line in told["removed"]],
        [f"{host.host}: run {label} still goes on; --force takes it, too" for label in told["live"]],
    )
