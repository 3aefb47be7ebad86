"""Connections to hosts over ssh: who is let in by which key, whose key is known, and what is told when it fails."""

from __future__ import annotations

import getpass
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.pkey import UnknownKeyType

from capsize.cluster.hosts import Host
from capsize.errors import BackendError

CONNECT_S = 10.0
COMMAND_S = 30.0
TRIES = 3
"""Connections are tried this often: an sshd that is asked by many at once drops some."""
KEEPALIVE_S = 5.0


@dataclass(frozen=True, slots=True)
class Connector:
    """How hosts are reached, where a nodes file does not say otherwise; everything is bounded."""

    user: str | None = None
    port: int = 22
    key: Path | None = None
    known_hosts: Path | None = None
    strict: bool = True
    sudo: bool = False

    def connect(self, where: str, host: Host) -> paramiko.SSHClient:
        """Connect, with a few tries for what may pass; a host key that is not known is refused at once."""
        last: Exception = BackendError(f"{where}: not tried")
        user, port = host.user or self.user or getpass.getuser(), host.port or self.port
        key = _private_key(self.key) if self.key is not None else None
        for attempt in range(TRIES):
            time.sleep(0.3 * attempt)
            client = self._new_client()
            try:
                client.connect(
                    host.host, port, user, timeout=CONNECT_S, banner_timeout=CONNECT_S, auth_timeout=CONNECT_S,
                    channel_timeout=CONNECT_S, pkey=key, look_for_keys=key is None, allow_agent=key is None,
                )  # fmt: skip
            except paramiko.BadHostKeyException as error:
                client.close()
                raise BackendError(f"{where}: its host key is not the one that is known; {error}") from None
            except paramiko.AuthenticationException as error:
                client.close()
                asked = f"user {user}, " + (f"key {self.key}" if self.key else "keys of this user")
                raise BackendError(f"{where}: it lets us not in ({asked}): {error}") from None
            except (paramiko.SSHException, OSError, EOFError) as error:
                client.close()
                if "not found in known_hosts" in str(error):
                    raise BackendError(
                        f"{where}: its host key is not known; look at it and add it to known_hosts "
                        f"(ssh-keyscan -p {port} {host.host}), or name a file of keys with --known-hosts"
                    ) from None
                last = error
                continue
            transport = client.get_transport()
            assert transport is not None
            transport.set_keepalive(int(KEEPALIVE_S))
            return client
        raise BackendError(f"{where}: no connection after {TRIES} tries: {last}") from None

    def become(self, command: str) -> str:
        """Return the command as it is given on the host."""
        return f"sudo -n {command}" if self.sudo else command

    def _new_client(self) -> paramiko.SSHClient:
        client = paramiko.SSHClient()
        try:
            if self.known_hosts is not None:
                client.load_host_keys(str(self.known_hosts))
            else:
                client.load_system_host_keys()
        except OSError as error:
            raise BackendError(f"ssh: cannot read {self.known_hosts}: {error.strerror}") from None
        client.set_missing_host_key_policy(paramiko.RejectPolicy() if self.strict else paramiko.WarningPolicy())
        return client


def _private_key(path: Path) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_path(path)
    except paramiko.PasswordRequiredException:
        raise BackendError(f"ssh: the key {path} has a passphrase; add it to ssh-agent and name no key") from None
    except OSError as error:
        raise BackendError(f"ssh: cannot read the key {path}: {error.strerror}") from None
    except (paramiko.SSHException, UnknownKeyType, ValueError, TypeError) as error:
        raise BackendError(f"ssh: {path} is no private key that can be used: {error}") from None


def channel_for(client: paramiko.SSHClient, command: str, *, silent_s: float = COMMAND_S) -> paramiko.Channel:
    """Start a command; reading from it and writing to it fail after so long without anything."""
    transport = client.get_transport()
    assert transport is not None
    channel = transport.open_session(timeout=CONNECT_S)
    channel.settimeout(silent_s)
    channel.exec_command(command)
    return channel


def run_on(client: paramiko.SSHClient, command: str, *, feed: bytes = b"", within_s: float = COMMAND_S) -> bytes:
    """Run a command to its end and return its stdout; raises BackendError with its stderr, or what the way there met.

    The error names no host: who asks does.
    """
    try:
        channel = channel_for(client, command, silent_s=within_s)
        channel.sendall(feed)
        channel.shutdown_write()
        out = channel.makefile("rb").read()
        said = channel.makefile_stderr("rb").read().decode(errors="replace").strip()
        if not channel.status_event.wait(within_s):
            raise BackendError(f"it did not end within {within_s:g} s")
        code = channel.recv_exit_status()
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise BackendError(f"the connection broke: {error or type(error).__name__}") from None
    if code:
        raise BackendError(said.splitlines()[-1] if said else f"it ended with {code}")
    return out


def put_files(client: paramiko.SSHClient, where: str, files: Sequence[Path], folder: str) -> None:
    """Write files into a folder of the host; also says early what the host lacks."""
    for file in files:
        command = f"mkdir -p {folder} && cat > {folder}/{file.name} && {{ command -v python3 >/dev/null || exit 9; }}"
        try:
            run_on(client, command, feed=file.read_bytes())
        except BackendError as error:
            told = "python3 is not installed" if str(error) == "it ended with 9" else str(error)
            raise BackendError(f"{where}: the agent cannot be put there: {told}") from None
