"""A running appender on each kind of place: local with real disks, docker, and ssh. Every test leaves it healed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from capsize.cluster.backend import Backend
from capsize.cluster.cluster import Cluster
from capsize.cluster.docker_backend import DockerBackend
from capsize.cluster.local_backend import LocalBackend
from capsize.cluster.ssh_backend import SshBackend

from .appender import Appender
from .sshd import sshd_hosts


@contextlib.contextmanager
def hosts_over_ssh(label: str, folder: Path) -> Generator[Backend, None, None]:
    hosts = sshd_hosts(f"{label}-hosts", 3, folder)
    try:
        yield SshBackend(label, hosts=hosts.hosts, user="root", key=hosts.key, known_hosts=hosts.known_hosts)
    finally:
        hosts.destroy()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("local", marks=pytest.mark.root),
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("ssh", marks=pytest.mark.docker),
    ],
)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes with real disks, started once for each kind of place and module."""
    label = f"test-{request.param}-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        backend: Backend
        if request.param == "ssh":
            backend = stack.enter_context(hosts_over_ssh(label, tmp_path_factory.mktemp("ssh")))
        else:
            backend = LocalBackend(label) if request.param == "local" else DockerBackend(label)
        cluster = Cluster(Appender(), backend, backend.create(3))
        stack.callback(cluster.destroy)
        cluster.start()
        cluster.wait_ready(20.0)
        yield cluster


@pytest.fixture
def cluster(place: Cluster) -> Iterator[Cluster]:
    """The place of this module, every process running, and healed afterwards."""
    for node in place.nodes:
        place.restart(node)
    place.wait_ready(10.0)
    yield place
    assert not place.heal()
