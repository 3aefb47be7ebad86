"""Hosts for the tests of the ssh place: containers that run sshd, and a key that opens them."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import docker.errors
import paramiko
import pytest

from capsize.cluster.docker_backend import DockerBackend
from capsize.cluster.engine import connect, node_image
from capsize.cluster.hosts import Host

IMAGE = "capsize-test-sshd:2"
DOCKERFILE = """
FROM {base}
RUN apt-get update && \\
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends openssh-server sudo && \\
    rm -rf /var/lib/apt/lists/* && mkdir -p /run/sshd && \\
    useradd --create-home --shell /bin/sh plain && echo 'plain ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/plain
"""


@dataclass
class Hosts:
    """Running sshds, with the files a user has: a private key and the known hosts."""

    engine: DockerBackend
    hosts: tuple[Host, ...]
    key: Path
    known_hosts: Path

    def destroy(self) -> None:
        self.engine.destroy()


def sshd_image() -> str:
    client = connect()
    try:
        client.images.get(IMAGE)
    except docker.errors.ImageNotFound:
        dockerfile = DOCKERFILE.format(base=node_image(client)).encode()
        try:
            client.images.build(fileobj=io.BytesIO(dockerfile), tag=IMAGE, rm=True)
        except docker.errors.BuildError as error:
            why = f"no image with sshd could be built (Debian's packages are needed): {error.msg}"
            if os.environ.get("CAPSIZE_REQUIRE_ALL") == "1":
                pytest.fail(why, pytrace=False)
            pytest.skip(why)
    return IMAGE


def sshd_hosts(label: str, count: int, folder: Path) -> Hosts:
    """Bring up `count` hosts that let root and the user `plain` in with one key."""
    engine = DockerBackend(label, base=sshd_image())
    try:
        key = paramiko.ECDSAKey.generate()
        key.write_private_key_file(str(folder / "key"))
        known = folder / "known_hosts"
        lines: list[str] = []
        for node in engine.create(count):
            allowed = f"{key.get_name()} {key.get_base64()} test\n".encode()
            for home in ("/root", "/home/plain"):
                node.upload(allowed, f"{home}/.ssh/authorized_keys", mode=0o600)
            script = "chown -R plain /home/plain/.ssh; chmod 755 /home/plain/.ssh; mkdir -p /run/sshd; /usr/sbin/sshd"
            started = node.run(["sh", "-c", script])
            assert started.code == 0, started
            public = node.run(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).out.split()
            lines.append(f"{node.listen('ssh')[0]} {public[0]} {public[1]}\n")
        known.write_text("".join(lines))
        for node in engine.nodes:
            node.agent.order("clear_network")  # as on a host that has never seen us
        hosts = tuple(Host(node.address) for node in engine.nodes)
    except BaseException:
        engine.destroy()
        raise
    return Hosts(engine, hosts, folder / "key", known)
