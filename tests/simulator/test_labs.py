"""Scenarios after MIT's labs that no planted bug of the catalogue fails: each of them fails on one that it is about."""

from __future__ import annotations

import pytest

from capsize.raft.core import Core
from capsize.raft.messages import AppendEntries
from capsize.simulator.scenarios import SCENARIOS, play
from capsize.simulator.subject import CLEAN, Subject


class SendsAgain(Core):
    """Sends what is under way once more with every occasion."""

    def is_waiting_for(self, peer: str) -> bool:
        return False


class OneAtATime(Core):
    """Takes no command while another waits for its commit."""

    def why_not_append(self) -> str:
        return "busy" if self.pending else ""


class KeepsItsTail(Core):
    """Takes a conflicting tail for its own, and what the leader has there for known."""

    def take_entries(self, message: AppendEntries) -> None:
        if not message.entries or message.entries[0].index > self.log.last_index:
            super().take_entries(message)


@pytest.mark.parametrize(
    ("name", "core"),
    [
        ("every_command_travels_once", SendsAgain),
        ("five_commands_at_once", OneAtATime),
        ("deposed_leaders_take_turns", KeepsItsTail),
    ],
)
def test_a_scenario_fails_on_the_mistake_that_it_is_about(name: str, core: type[Core]) -> None:
    clean, wrong = play(SCENARIOS[name], CLEAN), play(SCENARIOS[name], Subject(core))
    assert (clean.unmet, clean.alarms) == (None, ())
    assert wrong.unmet is not None or wrong.alarms
