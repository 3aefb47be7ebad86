"""A network as Raft's model allows it: messages between servers are lost, doubled, late, and so overtaken (paper §2).

TCP hides all of this from whoever uses one connection, so it is done here, between the core and the connections.
For tests; a server whose configuration names no weather never comes here.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Protocol


class Sender(Protocol):
    """What messages leave through."""

    def send(self, peer: str, frame: bytes) -> bool:
        """Hand over a packed message; False when it surely does not leave."""
        ...


@dataclass(frozen=True, slots=True)
class Weather:
    """Shares of the messages, from 0 to 1; `late_ms` is drawn for each late one and each second copy."""

    loss: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    late_ms: tuple[int, int] = (20, 400)


class RoughLinks:
    """Links under a weather. A message that was taken in may be lost, as on a network: `send` is then True."""

    def __init__(self, links: Sender, weather: Weather, rng: random.Random) -> None:
        self._links = links
        self._weather = weather
        self._rng = rng

    def send(self, peer: str, frame: bytes) -> bool:
        weather, rng = self._weather, self._rng
        if rng.random() < weather.loss:
            return True
        doubled = rng.random() < weather.doubled
        if doubled:
            self._send_late(peer, frame)
        if rng.random() < weather.late:
            self._send_late(peer, frame)
            return True
        return self._links.send(peer, frame) or doubled  # the copy may still arrive: it is not certain to be lost

    def _send_late(self, peer: str, frame: bytes) -> None:
        delay_s = self._rng.uniform(*self._weather.late_ms) / 1000
        asyncio.get_running_loop().call_later(delay_s, self._links.send, peer, frame)
