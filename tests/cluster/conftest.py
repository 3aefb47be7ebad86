"""A running appender on each kind of place: local with real disks, and docker. Every test leaves it healed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from capsize.cluster.backend import Backend
from capsize.cluster.cluster import Cluster
from capsize.cluster.docker_backend import DockerBackend
from capsize.cluster.local_backend import LocalBackend

from .appender import Appender

PLACES: dict[str, Callable[[str], Backend]] = {"root": LocalBackend, "docker": DockerBackend}


@pytest.fixture(
    scope="module",
    params=[pytest.param("root", marks=pytest.mark.root, id="local"), pytest.param("docker", marks=pytest.mark.docker)],
)
def place(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three nodes with real disks, started once for each kind of place and module."""
    backend = PLACES[request.param](f"test-{request.param}-{os.getpid()}")
    cluster = Cluster(Appender(), backend, backend.create(3))
    try:
        cluster.start()
        cluster.wait_ready(20.0)
        yield cluster
    finally:
        cluster.destroy()


@pytest.fixture
def cluster(place: Cluster) -> Iterator[Cluster]:
    """The place of this module, every process running, and healed afterwards."""
    for node in place.nodes:
        place.restart(node)
    place.wait_ready(10.0)
    yield place
    assert not place.heal()
