"""Any history, written in our own format and read again, is the same one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from capsize.formats.jsonl import read_jsonl, write_jsonl
from capsize.history import History

from .random_histories import DRAW, draw, mutate


@pytest.mark.parametrize("name", DRAW)
def test_a_history_written_in_our_format_is_the_same_history(name: str, tmp_path: Path) -> None:
    for number in range(20):
        dice = random.Random(f"written/{name}/{number}")
        operations = draw(name, dice, count=dice.randrange(1, 20), clients=4, pending=0.2)
        drawn = History.of(mutate(operations, dice) if dice.random() < 0.5 else operations)
        path = tmp_path / f"{number}.jsonl"
        write_jsonl(drawn, path)
        read = read_jsonl(path)
        assert list(read) == list(drawn)
