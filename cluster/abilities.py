"""What faults the places can do, as this machine is: looked up without making a node.

What only a first node can tell (whether an engine's kernel gives loop devices, or packets to a queue) is taken to be
there, and refused with its reason when the node is made. Hosts over ssh differ: root or sudo on Linux has everything.
"""

from __future__ import annotations

from collections.abc import Mapping

from capsize.cluster.local_backend import LocalBackend
from capsize.errors import BackendError

CAPABILITIES = ("processes", "network", "clients", "shape", "disks", "power", "clock", "monotonic", "pressure")
NOBODY = "capsize-asks"
"""A label; nothing is made under it."""


def abilities() -> Mapping[str, Mapping[str, str]]:
    """Return for each backend and capability why it cannot be had here; an empty text where it can."""
    return {"docker": _docker(), "local": _local(), "ssh": dict.fromkeys(CAPABILITIES, "")}


def _docker() -> dict[str, str]:
    from capsize.cluster.engine import engine_answers

    answers, why = engine_answers()
    if not answers:
        return dict.fromkeys(CAPABILITIES, why)
    from capsize.cluster.docker_backend import DockerBackend

    try:
        backend = DockerBackend(NOBODY)
    except BackendError as error:
        return dict.fromkeys(CAPABILITIES, str(error))
    able = backend.capabilities()
    return {what: "" if what in able else _plain(backend.why_not(what), "docker") for what in CAPABILITIES}


def _local() -> dict[str, str]:
    backend = LocalBackend(NOBODY)
    able = backend.capabilities()
    return {what: "" if what in able else _plain(backend.why_not(what), "local") for what in CAPABILITIES}


def _plain(said: str, backend: str) -> str:
    return said.removeprefix(f"{backend}: ")
