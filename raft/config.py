"""The configuration file of a node: JSON, every key checked, one clear sentence when something is wrong."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .failpoints import Failpoints
from .settings import Settings
from .weather import Weather

Address = tuple[str, int]
PLAIN_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


class ConfigError(Exception):
    """The configuration cannot be used; the message says which key, what it held, what was expected."""


@dataclass(frozen=True, slots=True)
class Config:
    """What one node is told."""

    node: str
    listen: Address
    data_dir: Path
    peers: Mapping[str, Address]
    """Every server this node may ever talk to, as reached from here; itself included."""
    members: tuple[str, ...] = ()
    """The voters the cluster starts with; default: all of `peers`. Empty list: a new server that waits to be added."""
    trace: Path | None = None
    fsync: bool = True
    mutants: tuple[str, ...] = ()
    failpoints: Mapping[str, str] = field(default_factory=dict[str, str])
    boots_before: int = 0
    """Boots that this name had with data that is gone: a wiped server numbers its messages behind them."""
    seed: int | None = None
    """Seed of the election timeouts; default: drawn from the system."""
    settings: Settings = field(default_factory=Settings)
    weather: Weather | None = None
    """What happens to this node's messages on their way; None: nothing."""


def load_config(path: Path) -> Config:
    """Read a configuration file. Raises ConfigError."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected an object, found {type(raw).__name__}")
    return parse_config(raw, where=str(path))


def parse_config(raw: Mapping[str, Any], *, where: str = "config") -> Config:
    """Return the configuration that `raw` describes. Raises ConfigError."""
    settings_types = {item.name: item for item in dataclasses.fields(Settings)}
    own = {item.name for item in dataclasses.fields(Config)} - {"settings"}
    unknown = sorted(set(raw) - own - set(settings_types))
    if unknown:
        known = ", ".join(sorted(own | set(settings_types)))
        raise ConfigError(f"{where}: no key is called {unknown[0]!r}; known: {known}")
    read = _Reader(raw, where)
    node = read.text("node")
    peers = read.addresses("peers")
    if node not in peers:
        raise ConfigError(f"{where}: peers: {node!r} itself is missing; found {', '.join(peers) or 'nobody'}")
    members = read.names("members", tuple(peers))
    strangers = sorted(set(members) - set(peers))
    if strangers:
        raise ConfigError(f"{where}: members: {strangers[0]!r} is not among the peers")
    trace = raw.get("trace")
    if trace is not None and not isinstance(trace, str):
        raise ConfigError(f"{where}: trace: expected a path or null, found {json.dumps(trace)}")
    failpoints = raw.get("failpoints") or {}
    try:
        Failpoints(failpoints)
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{where}: failpoints: {error}") from error
    chosen: dict[str, Any] = {name: read.setting(name) for name in settings_types if name in raw}
    settings = Settings(**chosen)
    _check_times(settings, where)
    return Config(
        node=node,
        listen=read.address("listen", raw.get("listen")),
        data_dir=Path(read.text("data_dir")),
        peers=peers,
        members=members,
        trace=None if trace is None else Path(trace),
        fsync=read.switch("fsync", True),
        mutants=read.names("mutants", ()),
        failpoints=failpoints,
        boots_before=read.whole("boots_before", 0) or 0,
        seed=read.whole("seed", None),
        settings=settings,
        weather=read.weather(),
    )


def _check_times(settings: Settings, where: str) -> None:
    low, high = settings.election_timeout_ms
    if not 0 < low <= high:
        raise ConfigError(f"{where}: election_timeout_ms: expected 0 < low <= high, found [{low}, {high}]")
    if not 0 < settings.heartbeat_ms < low:
        raise ConfigError(
            f"{where}: heartbeat_ms: expected more than 0 and less than the lower election timeout, {low}; "
            f"found {settings.heartbeat_ms}"
        )


class _Reader:
    """Typed access to one object; every error names the key and what was found."""

    def __init__(self, raw: Mapping[str, Any], where: str) -> None:
        self.raw = raw
        self.where = where

    def error(self, key: str, expected: str, found: Any) -> ConfigError:
        return ConfigError(f"{self.where}: {key}: expected {expected}, found {json.dumps(found, default=str)}")

    def text(self, key: str) -> str:
        value = self.raw.get(key)
        if not isinstance(value, str) or not value:
            raise self.error(key, "a non-empty string", value)
        return value

    def switch(self, key: str, default: bool) -> bool:
        value = self.raw.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "true or false", value)
        return value

    def whole(self, key: str, default: int | None) -> int | None:
        value = self.raw.get(key, default)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise self.error(key, "a whole number", value)
        return value

    def names(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value: Any = self.raw.get(key, list(default))
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise self.error(key, "an array of names", value)
        return tuple(value)

    def address(self, key: str, value: Any) -> Address:
        if (
            not isinstance(value, list | tuple)
            or len(value) != 2
            or not isinstance(value[0], str)
            or not isinstance(value[1], int)
            or not 0 <= value[1] < 65536
        ):
            raise self.error(key, "[host, port]", value)
        return value[0], value[1]

    def addresses(self, key: str) -> dict[str, Address]:
        value: Any = self.raw.get(key)
        if not isinstance(value, dict) or not value:
            raise self.error(key, "an object of name: [host, port]", value)
        odd = next((name for name in value if not PLAIN_NAME.fullmatch(name)), None)
        if odd is not None:
            raise self.error(key, "names of letters, digits, '.', '_' and '-'", odd)
        return {name: self.address(f"{key}.{name}", address) for name, address in value.items()}

    def weather(self) -> Weather | None:
        value: Any = self.raw.get("weather")
        if value is None:
            return None
        known = [item.name for item in dataclasses.fields(Weather)]
        if not isinstance(value, dict) or not set(value) <= set(known):
            raise self.error("weather", f"an object with {', '.join(known)}", value)
        for name in known[:3]:
            share = value.get(name, 0)
            if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share <= 1:
                raise self.error(f"weather.{name}", "a share from 0 to 1", share)
        late = value.get("late_ms", list(Weather().late_ms))
        if not isinstance(late, list) or len(late) != 2 or not all(type(part) is int for part in late):
            raise self.error("weather.late_ms", "[low, high] in milliseconds", late)
        loss, doubled, overtaken = (float(value.get(name, 0)) for name in known[:3])
        return Weather(loss, doubled, overtaken, (late[0], late[1]))

    def setting(self, name: str) -> Any:
        """Return a setting of the same kind as its default."""
        value = self.raw[name]
        default = getattr(Settings(), name)
        if isinstance(default, bool):
            return self.switch(name, default)
        if isinstance(default, tuple):
            if not isinstance(value, list) or len(value) != 2 or not all(type(part) is int for part in value):
                raise self.error(name, "[low, high] in milliseconds", value)
            return tuple(value)
        if isinstance(default, float):
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
                raise self.error(name, "a share from 0 to 1", value)
            return float(value)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.error(name, "a whole number, 0 or more", value)
        return value
