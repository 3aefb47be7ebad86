"""A virtual network of directed links: each message delayed, and if asked for lost, doubled, held, or cut off."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from capsize.raft.messages import Message

MS = 1_000_000


@dataclass(slots=True)
class Weather:
    """How the links behave towards each message. Times in milliseconds."""

    delay_ms: tuple[float, float] = (0.5, 5.0)
    loss: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    """The share of messages that take `late_ms` instead: they are overtaken by others."""
    late_ms: tuple[float, float] = (20.0, 400.0)


CALM = Weather()


class Network:
    """Decides what becomes of a message; the world delivers it.

    `cut` links lose everything, also what is under way. A message that `hold` wants is kept until it is released.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.weather = CALM
        self.cuts: dict[int, Mapping[str, Collection[str]]] = {}
        self._closed: set[tuple[str, str]] = set()
        self.holds: Callable[[Message], bool] | None = None
        self.held: list[Message] = []
        self.delivered = self.lost = 0

    # -- links -------------------------------------------------------------------------------------------------------
    def cut(self, number: int, cuts: Mapping[str, Collection[str]]) -> None:
        """Close links under the name `number`; `cuts` says whom each node no longer hears."""
        self.cuts[number] = cuts
        self._closed = {(frm, to) for cut in self.cuts.values() for to, froms in cut.items() for frm in froms}

    def heal(self, number: int | None = None) -> None:
        """Reopen what was closed under `number`; all of it without one."""
        if number is None:
            self.cuts.clear()
        else:
            self.cuts.pop(number, None)
        self.cut(-1, {})
        del self.cuts[-1]

    def isolate(self, names: Iterable[str], everyone: Iterable[str]) -> None:
        """Cut these nodes off from all others, and the others from them (test helper's shorthand)."""
        inside, all_names = set(names), set(everyone)
        self.cut(
            len(self.cuts) + 1000,
            {name: frozenset(all_names - inside if name in inside else inside) for name in all_names},
        )

    def open(self, frm: str, to: str) -> bool:
        """Say whether messages pass from one node to another."""
        return (frm, to) not in self._closed

    # -- messages ----------------------------------------------------------------------------------------------------
    def delays_ns(self, message: Message) -> list[int]:
        """Return after how long each copy of a message arrives: none if it is lost or held."""
        if self.holds is not None and self.holds(message):
            self.held.append(message)
            return []
        if self._closed and (message.frm, message.to) in self._closed:
            self.lost += 1
            return []
        weather, rng = self.weather, self.rng
        if weather is CALM:
            return [self._delay(weather)]
        if rng.random() < weather.loss:
            self.lost += 1
            return []
        copies = 2 if rng.random() < weather.doubled else 1
        return [self._delay(weather) for _ in range(copies)]

    def _delay(self, weather: Weather) -> int:
        low, high = weather.delay_ms
        if weather.late and self.rng.random() < weather.late:
            low, high = weather.late_ms
        return int((low + (high - low) * self.rng.random()) * MS)

    def release(self, chosen: Callable[[Message], bool] | None = None) -> list[Message]:
        """Return held messages, all or those chosen, in the order they were sent; they are held no longer."""
        out = [message for message in self.held if chosen is None or chosen(message)]
        self.held = [message for message in self.held if not (chosen is None or chosen(message))]
        return out
