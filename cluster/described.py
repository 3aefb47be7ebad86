"""A system without Python: a TOML file says which files to upload, what to run, and which program is its client.

    name = "pebble"
    files = ["pebble.py"]                       # beside the TOML file; uploaded to {install}
    ports = ["raft"]
    lacks = ["incr"]                            # operations that the client does not have, if any

    [node]
    command = ["{python}", "{install}/pebble.py", "{name}", "--listen", "{listen.raft}", "--data", "{data}"]
    each_peer = ["--peer", "{peer.name}={peer.raft}"]     # once more for every other node

    [client]
    command = ["python3", "pebble_client.py", "{reach.raft}"]    # on the controller, in the TOML file's folder
    status = true                               # it answers {"f": "status"} too

    [options]
    reads = "leader"                            # a default; {option.reads} in commands, --opt reads=… to choose

docs/hooks.md is its reference.
"""

from __future__ import annotations

import re
import threading
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

from capsize.client import Client
from capsize.cluster.node import Command, Node
from capsize.cluster.program import ProgramClient
from capsize.cluster.system import NodeStatus, System
from capsize.errors import AdapterError, UsageError

PLACEHOLDER = re.compile(r"\{([a-z]+(?:\.[A-Za-z0-9_-]+)?)\}")
SHAPE: Mapping[str, type] = {
    "name": str, "files": list, "ports": list, "lacks": list, "node": dict, "client": dict, "options": dict
}  # fmt: skip
NODE_SHAPE: Mapping[str, type] = {"command": list, "each_peer": list, "env": dict, "log": str}
CLIENT_SHAPE: Mapping[str, type] = {"command": list, "status": bool}


class DescribedSystem(System):
    """Base of the classes that `load` makes; `description` is the TOML file's content."""

    description: ClassVar[dict[str, Any]] = {}
    folder: ClassVar[Path] = Path()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._watchers: dict[str, ProgramClient] = {}
        self._lock = threading.Lock()

    def prepare(self) -> None:
        for name in self.description.get("files", []):
            if not (self.folder / name).exists():
                raise AdapterError(f"{self.name}: there is no {self.folder / name}, which `files` names")

    def install(self, node: Node) -> None:
        for name in self.description.get("files", []):
            source = self.folder / name
            mode = 0o755 if source.is_file() and source.stat().st_mode & 0o100 else 0o644
            node.upload(source, f"{node.install_dir}/{Path(name).name}", mode=mode)

    def command(self, node: Node) -> Command:
        told = self.description["node"]
        words = self._facts(node)
        argv = [_filled(word, words) for word in told["command"]]
        for peer in self.nodes:
            if peer is not node:
                about = {f"peer.{port}": _shown(peer.reach(port, frm=node)) for port in self._ports()}
                argv += [_filled(word, words | about | {"peer.name": peer.name}) for word in told.get("each_peer", [])]
        env = {str(name): _filled(str(value), words) for name, value in told.get("env", {}).items()}
        return Command(tuple(argv), env=env, log=str(told.get("log", "node.log")))

    def client(self, node: Node, process: int) -> Client:
        return self._program(node)

    def _program(self, node: Node) -> ProgramClient:
        facts = {f"reach.{port}": _shown(node.reach(port)) for port in self._ports()} | self._chosen()
        words = facts | {"name": node.name}
        return ProgramClient([_filled(word, words) for word in self.description["client"]["command"]], cwd=self.folder)

    def _facts(self, node: Node) -> dict[str, str]:
        places = {"install": node.install_dir, "data": node.data_dir, "logs": node.log_dir}
        listens = {f"listen.{port}": _shown(node.listen(port)) for port in self._ports()}
        number = str(self.nodes.index(node) + 1)
        return places | listens | self._chosen() | {"name": node.name, "number": number, "python": node.python}

    def _ports(self) -> list[str]:
        return [str(port) for port in self.description.get("ports", [])]

    def _chosen(self) -> dict[str, str]:
        defaults = {name: str(value) for name, value in self.description.get("options", {}).items()}
        return {f"option.{name}": str(value) for name, value in (defaults | self.chosen).items()}


class DescribedWithStatus(DescribedSystem):
    """One whose client program answers {"f": "status"} with what `NodeStatus` has."""

    def status(self, node: Node) -> NodeStatus:
        with self._lock:
            watcher = self._watchers.pop(node.name, None)
        if watcher is None:
            watcher = self._program(node)
            watcher.timeout_s = 1.0
            watcher.open()
        try:
            said = watcher.ask("status")
            known: dict[str, Any] = {key: said[key] for key in NodeStatus.__dataclass_fields__ if key in said}
            known["node"] = node.name
            status = NodeStatus(**known)
        except BaseException:
            watcher.close()
            raise
        with self._lock:
            spare, self._watchers[node.name] = self._watchers.get(node.name), watcher
        if spare is not None:
            spare.close()
        return status


def load(path: Path) -> type[System]:
    """Return the system that a TOML file describes.

    Raises AdapterError with everything that is wrong with it, UsageError where there is no such file.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"--system: {path}: there is no such file") from None
    except OSError as error:
        raise AdapterError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AdapterError(f"{path} is no TOML: {error}") from None
    problems = _problems(told)
    if problems:
        raise AdapterError(f"{path} describes no system: {'; '.join(problems)} (docs/hooks.md)")
    base = DescribedWithStatus if told["client"].get("status") else DescribedSystem
    options = {name: f"default {value}" for name, value in told.get("options", {}).items()}
    facts: dict[str, Any] = {"name": told["name"], "options": options, "description": told}
    facts["lacks"] = frozenset(map(str, told.get("lacks", ())))
    facts |= {"folder": path.resolve().parent, "__doc__": f"Described by {path}."}
    return cast("type[System]", type("Described", (base,), facts))


def _problems(told: Mapping[str, Any]) -> list[str]:
    problems = [*_shape_problems(told, SHAPE, ""), *(f"{key} is missing" for key in ("name",) if not told.get(key))]
    for key, shape in (("node", NODE_SHAPE), ("client", CLIENT_SHAPE)):
        part = told.get(key)
        if not isinstance(part, dict) or not part.get("command"):
            problems.append(f"{key}.command is missing")
        if isinstance(part, dict):
            problems += _shape_problems(part, shape, f"{key}.")
    if problems:
        return problems
    own = {"name", *(f"option.{name}" for name in told.get("options", {}))}
    ports = [str(port) for port in told.get("ports", [])]
    on_node = own | {"install", "data", "logs", "number", "python"} | {f"listen.{port}" for port in ports}
    for where, known in (
        ("node.command", on_node),
        ("node.each_peer", on_node | {"peer.name"} | {f"peer.{port}" for port in ports}),
        ("client.command", own | {f"reach.{port}" for port in ports}),
    ):
        part, key = where.split(".")
        for word in told[part].get(key, []):
            for unknown in sorted(set(PLACEHOLDER.findall(str(word))) - known):
                problems.append(f"{where}: nothing is called {{{unknown}}}; known: {', '.join(sorted(known))}")
    return problems


def _shape_problems(told: Mapping[str, Any], shape: Mapping[str, type], prefix: str) -> list[str]:
    problems = [f"nothing is called {prefix}{key}" for key in told if key not in shape]
    words = {str: "text", list: "a list", dict: "a table", bool: "true or false"}
    for key, kind in shape.items():
        if key in told and not isinstance(told[key], kind):
            problems.append(f"{prefix}{key} is {told[key]!r}; expected {words[kind]}")
    return problems


def _filled(word: object, words: Mapping[str, str]) -> str:
    """Return `word` with its placeholders filled in.

    >>> _filled("--peer={peer.name}@{peer.raft}", {"peer.name": "n2", "peer.raft": "127.0.0.1:7001"})
    '--peer=n2@127.0.0.1:7001'
    """
    return PLACEHOLDER.sub(lambda found: words[found.group(1)], str(word))


def _shown(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
