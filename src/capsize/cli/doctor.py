"""`capsize doctor`: prove an adapter on a real cluster, and print what can be tested on it."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from capsize.cli import options
from capsize.config import Ssh, check_place, parse_options
from capsize.errors import no_such

if TYPE_CHECKING:
    from capsize.cluster.backend import Backend
    from capsize.doctor import Finding

MARKS = {"good": "good ", "bad": "BAD  ", "note": "note ", "skipped": "skip "}
NEEDS_WORK = 1
NODES = 3


def doctor(
    system: Annotated[str, typer.Argument(help="System, or module:Class, or file.toml (capsize list systems).")],
    backend: options.Backend = "auto",
    nodes: Annotated[int | None, typer.Option("--nodes", "-n", show_default="3", help="Number of nodes.")] = None,
    opt: options.Options = [],  # noqa: B006
    only: Annotated[str, typer.Option("--only", help="Comma-separated checks instead of all.")] = "",
    timeout: options.Timeout = 3.0,
    nodes_file: options.NodesFile = "",
    user: options.User = "",
    port: options.Port = 22,
    key: options.Key = "",
    known_hosts: options.KnownHosts = "",
    any_host_key: options.AnyHostKey = False,
    sudo: options.Sudo = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Prove an adapter before a campaign.

    Starts a cluster of SYSTEM, tries everything that campaigns rely on, and says what the adapter gets wrong.
    """
    from capsize.cluster.adapter import make
    from capsize.cluster.choose import choose_backend, ssh_options
    from capsize.doctor import CHECKS, examine
    from capsize.doctor.examination import FRESH

    checks = [word.strip() for word in only.split(",") if word.strip()]
    for word in checks:
        if word not in (*CHECKS, FRESH):
            raise no_such("check", word, (*CHECKS, FRESH), flag="--only")
    chosen = parse_options(opt)
    ssh = Ssh(nodes_file, user, port, key, known_hosts, any_host_key, sudo)
    check_place(backend, ssh)
    count = nodes if nodes is not None else min(NODES, options.nodes_of(None, ssh, NODES))
    make(system, chosen).prepare()
    places: list[str] = []

    def place(label: str) -> Backend:
        made, why = choose_backend(backend, label, **ssh_options(ssh))
        places.append(why)
        return made

    def say(finding: Finding) -> None:
        if not (quiet or as_json):
            print(f"{MARKS[finding.verdict]} {finding.check:<12} {finding.says}", file=sys.stderr, flush=True)

    found = examine(
        lambda: make(system, chosen), place, nodes=count, timeout_s=timeout, only=checks, say=say
    )  # fmt: skip
    bad = [finding for finding in found.findings if finding.verdict == "bad"]
    words = ["capsize", "doctor", system, "--backend", backend, "--nodes", str(count), *ssh.words()]
    words += [word for key, value in sorted(chosen.items()) for word in ("--opt", f"{key}={value}")]
    words += ["--only", only] if only else []
    if as_json:
        findings = [{"check": f.check, "verdict": f.verdict, "says": f.says} for f in found.findings]
        answer = {"healthy": found.healthy, "findings": findings, "coverage": found.coverage}
        print(json.dumps({"version": 1, "command": "doctor", **answer}))
        return 0 if found.healthy else NEEDS_WORK
    counted = f"{len(bad)} of {len(found.findings)} findings must change" if bad else f"{len(found.findings)} findings"
    print(f"{'HEALTHY' if found.healthy else 'NEEDS WORK'}  {system} · {counted} · {places[0]}")
    for finding in bad:
        print(f"  {finding.check}  {finding.says}")
    for line in found.coverage:
        print(f"  {line}")
    print(f"  repeat    {shlex.join(words)}")
    return 0 if found.healthy else NEEDS_WORK
