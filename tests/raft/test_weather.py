"""A rough network between servers: messages are lost, doubled, late; never changed, and none when it is calm."""

from __future__ import annotations

import asyncio
import random

import pytest

from capsize.raft.config import ConfigError, parse_config
from capsize.raft.weather import RoughLinks, Weather

GOOD = {"node": "n1", "listen": ["h", 1], "peers": {"n1": ["h", 1], "n2": ["h", 2]}, "data_dir": "data"}


class Noted:
    """Links that note what left."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def send(self, peer: str, frame: bytes) -> bool:
        assert peer == "n2"
        self.frames.append(frame)
        return True


def sent_through(weather: Weather, count: int) -> list[bytes]:
    noted = Noted()

    async def send_all() -> None:
        links = RoughLinks(noted, weather, random.Random(7))
        for number in range(count):
            assert links.send("n2", b"%d" % number)
        await asyncio.sleep(weather.late_ms[1] / 1000 + 0.05)

    asyncio.run(send_all())
    return noted.frames


def test_lost_messages_never_leave():
    assert sent_through(Weather(loss=1.0), 20) == []
    assert 40 < len(sent_through(Weather(loss=0.5), 200)) < 160


def test_doubled_messages_leave_twice():
    frames = sent_through(Weather(doubled=1.0, late_ms=(1, 5)), 20)
    assert sorted(frames) == sorted([b"%d" % number for number in range(20)] * 2)


def test_late_messages_are_overtaken():
    frames = sent_through(Weather(late=0.5, late_ms=(5, 30)), 40)
    assert sorted(map(int, frames)) == list(range(40))
    assert list(map(int, frames)) != list(range(40))


def test_a_message_whose_copy_may_still_arrive_is_not_said_to_be_lost():
    """The sender may tell a client that nothing was done when its message surely did not leave."""

    class Unreachable:
        def send(self, peer: str, frame: bytes) -> bool:
            return False

    async def send(weather: Weather) -> bool:
        return RoughLinks(Unreachable(), weather, random.Random(7)).send("n2", b"x")

    assert asyncio.run(send(Weather(doubled=1.0))) is True
    assert asyncio.run(send(Weather())) is False


def test_the_weather_is_part_of_the_configuration():
    assert parse_config(GOOD).weather is None
    assert parse_config({**GOOD, "weather": {"loss": 0.1, "late_ms": [1, 2]}}).weather == Weather(0.1, late_ms=(1, 2))
    with pytest.raises(ConfigError, match=r"weather\.loss: expected a share from 0 to 1"):
        parse_config({**GOOD, "weather": {"loss": 2}})
    with pytest.raises(ConfigError, match="weather: expected an object"):
        parse_config({**GOOD, "weather": {"fog": 1}})
