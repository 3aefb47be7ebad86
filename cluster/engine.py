"""The Docker engine: whether one answers, the node image, and the exec through which an agent is spoken to."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import socket
import struct
import tarfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests.exceptions
from docker import DockerClient

from capsize.errors import BackendError

BASE = "debian:bookworm-slim"
RUN_LABEL = "capsize.run"
OWNER_LABEL = "capsize.owner"
STDERR = 2


def engine_address() -> str:
    """Return where the engine is asked: $DOCKER_HOST, the docker command's current context, or the usual socket."""
    given = os.environ.get("DOCKER_HOST")
    if given:
        return given
    try:
        from docker.context import ContextAPI

        context: Any = ContextAPI.get_current_context()
        return str(context.Host) if context and context.Host else "unix:///var/run/docker.sock"
    except Exception:  # a broken docker configuration of the user is no reason to have no backend at all
        return "unix:///var/run/docker.sock"


def connect(timeout_s: int = 60) -> DockerClient:
    """Return a client of the engine; raises BackendError when none answers."""
    address = engine_address()
    try:
        client = docker.DockerClient(
            base_url=address, version="auto", timeout=timeout_s, use_ssh_client=address.startswith("ssh:")
        )
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError, ValueError) as error:
        raise BackendError(f"no Docker engine answers at {address} ({_reason(error)})") from None
    return client


def engine_answers(timeout_s: int = 3) -> tuple[bool, str]:
    """Return whether an engine answers, and one sentence about it: its version, or why not."""
    try:
        client = connect(timeout_s)
    except BackendError as error:
        return False, str(error)
    try:
        version = client.version()
    finally:
        client.close()
    return True, f"engine {version['Version']} answers"


def _reason(error: BaseException) -> str:
    """Return the innermost reason of an error that was wrapped several times."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def node_image(client: DockerClient, base: str = BASE) -> str:
    """Return the tag of the node image, built from this package's files unless the engine has it already.

    The tag carries a hash of what the image is built from, so that a changed agent is never missed.
    """
    here = Path(__file__).parent
    files = {
        "Dockerfile": (here / "image" / "Dockerfile").read_bytes(),
        "agent.py": (here / "agent.py").read_bytes(),
        "shaper.py": (here / "shaper.py").read_bytes(),
        "damage.py": (here / "damage.py").read_bytes(),
    }
    digest = hashlib.sha256(repr((base, sorted(files.items()))).encode()).hexdigest()[:12]
    tag = f"capsize-node:{digest}"
    try:
        client.images.get(tag)
        return tag
    except docker.errors.ImageNotFound:
        pass
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    context.seek(0)
    proxies = {name: os.environ[name] for name in ("http_proxy", "https_proxy", "no_proxy") if os.environ.get(name)}
    try:
        client.images.build(
            fileobj=context, custom_context=True, tag=tag, rm=True, forcerm=True,
            buildargs={"BASE": base, **proxies}, labels={"capsize.image": "node"},
        )  # fmt: skip
    except docker.errors.BuildError as error:
        raise BackendError(f"docker: the node image could not be built: {_build_problem(error, base)}") from None
    except docker.errors.APIError as error:
        raise BackendError(f"docker: the node image could not be built: {_no_base(str(error), base)}") from None
    return tag


def _build_problem(error: docker.errors.BuildError, base: str) -> str:
    said = deque((str(line.get("stream") or line.get("error") or "").strip() for line in error.build_log), maxlen=5)
    return _no_base(" ".join([str(error.msg), *filter(None, said)]), base)


def _no_base(said: str, base: str) -> str:
    if "pull access" in said or "registry" in said or "not found" in said.lower() or "lookup" in said:
        return f"{said}; where no image registry can be reached, `make image-base` builds {base} from Debian packages"
    return said


class Exec:
    """One process in a container, with its stdin and stdout: frames of the engine's attach stream, taken apart."""

    def __init__(self, client: DockerClient, container: str, argv: list[str], environment: dict[str, str]) -> None:
        made = client.api.exec_create(container, argv, stdin=True, stdout=True, stderr=True, environment=environment)
        stream: Any = client.api.exec_start(made["Id"], socket=True)
        self._stream = stream  # keeps the connection open
        self._socket: socket.socket = getattr(stream, "_sock", stream)
        self._socket.settimeout(None)
        self._said: deque[str] = deque(maxlen=5)

    def send(self, data: bytes) -> None:
        """Write to the process's stdin."""
        self._socket.sendall(data)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of its stdout until it ends; what it says on stderr is kept for `last_words`."""
        rest = b""
        while header := self._exactly(8):
            kind, size = struct.unpack(">BxxxL", header)
            data = self._exactly(size)
            if kind == STDERR:
                self._said.extend(line for line in data.decode(errors="replace").splitlines() if line.strip())
                continue
            *whole, rest = (rest + data).split(b"\n")
            yield from whole

    def _exactly(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0:
            part = self._socket.recv(min(size, 1 << 20))
            if not part:
                return b""
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def last_words(self) -> str:
        """Return the last line that it said on stderr."""
        return self._said[-1] if self._said else ""

    def close(self) -> None:
        """End its stdin, and with it the connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
