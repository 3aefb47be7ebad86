"""The hosts of an ssh cluster, as a nodes file names them: one `[user@]host[:port]` a line, `#` begins a comment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from capsize.errors import UsageError

LINE = re.compile(r"^(?:(?P<user>[^@\s]+)@)?(?P<host>\[[0-9A-Fa-f:]+\]|[^@:\s\[\]]+)(?::(?P<port>\d{1,5}))?$")


@dataclass(frozen=True, slots=True)
class Host:
    """Where one node is reached by ssh; None where the default of the run counts."""

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str, *, where: str = "") -> Host:
        """Read `[user@]host[:port]`.

        >>> Host.parse("root@10.0.0.1:2222")
        Host(host='10.0.0.1', user='root', port=2222)
        """
        match = LINE.match(text)
        if match is None:
            prefix = f"{where}: " if where else ""
            raise UsageError(f"{prefix}{text!r} names no host; expected [user@]host[:port], e.g. root@10.0.0.1:22")
        return cls(match["host"].strip("[]"), match["user"], int(match["port"]) if match["port"] else None)


def read_nodes_file(path: Path) -> tuple[Host, ...]:
    """Return the hosts that a nodes file names, in its order; raises UsageError naming the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(f"--nodes-file: cannot read {path}: {reason}") from None
    hosts: list[Host] = []
    for number, line in enumerate(lines, 1):
        text = line.split("#", 1)[0].strip()
        if text:
            hosts.append(Host.parse(text, where=f"{path}:{number}"))
    if not hosts:
        raise UsageError(f"--nodes-file: {path} names no host; expected one [user@]host[:port] a line")
    if len(set(hosts)) < len(hosts):
        raise UsageError(f"--nodes-file: {path} names a host twice; every node needs a host of its own")
    return tuple(hosts)
