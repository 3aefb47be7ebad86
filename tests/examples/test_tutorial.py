"""The tutorial holds: its files are the examples, and every command prints what the page says it prints."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "plug-in.md").read_text()
PEBBLE = ROOT / "examples" / "pebble"
COMMANDS = re.findall(r"^\$ (capsize .+)\n(\w+)", PAGE, re.MULTILINE)


def test_the_adapter_of_the_page_is_the_example() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert block == (PEBBLE / "pebble_system.py").read_text()


def test_the_adapter_has_at_most_60_lines() -> None:
    assert sum(1 for line in (PEBBLE / "pebble_system.py").read_text().splitlines() if line.strip()) <= 60


def test_every_hook_is_in_the_reference() -> None:
    from capsize.cluster.adapter import HOOKS

    reference = (ROOT / "docs" / "hooks.md").read_text()
    assert [name for name in HOOKS if f"`{name}(" not in reference] == []


@pytest.mark.slow
@pytest.mark.parametrize(("command", "says"), COMMANDS, ids=[f"{n}-{says}" for n, (_, says) in enumerate(COMMANDS)])
def test_a_command_of_the_page_prints_what_it_says(command: str, says: str, tmp_path: Path) -> None:
    for source in PEBBLE.iterdir():
        if source.is_file():
            shutil.copy(source, tmp_path)
    words = [sys.executable, "-c", "from capsize.cli import main; main()", *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split()[:1] == [says], done.stdout + done.stderr
