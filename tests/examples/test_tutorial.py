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


def test_the_tests_of_the_page_on_pytest_are_the_examples() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "pytest.md").read_text(), re.DOTALL)
    example = (PEBBLE / "test_pebble.py").read_text()
    for part in block.strip().split("\n\n\n"):
        assert part.strip() in example, part


@pytest.mark.slow
def test_the_test_of_the_page_on_pytest_finds_the_stale_read(tmp_path: Path) -> None:
    for source in PEBBLE.glob("*.py"):
        shutil.copy(source, tmp_path)
    words = [sys.executable, "-m", "pytest", "-q", "-k", "replaced", "--capsize-backend", "local", "test_pebble.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^INVALID  test_a_leader_that_was_replaced_answers_no_reads", done.stdout, re.MULTILINE)


def test_every_setting_and_option_of_the_plugin_is_in_the_page() -> None:
    from capsize import pytest_plugin

    page = (ROOT / "docs" / "pytest.md").read_text()
    assert [name for name in pytest_plugin.SETTINGS if f"`{name}`" not in page] == []
    source = Path(pytest_plugin.__file__).read_text()
    assert [name for name in re.findall(r"--capsize-[a-z-]+", source) if name.rstrip("-") not in page] == []


OVSDB = ROOT / "examples" / "ovsdb"


def test_the_adapter_of_a_real_system_has_at_most_60_lines() -> None:
    assert sum(1 for line in (OVSDB / "ovsdb_system.py").read_text().splitlines() if line.strip()) <= 60


@pytest.mark.slow
@pytest.mark.download
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("doctor ovsdb_system:Ovsdb --only answers,lost-answers,refused,leader,kill,restart", "HEALTHY"),
        ("run --system ovsdb_system:Ovsdb --nodes 3 --faults kill-leader --time-limit 6 --seed 1", "VALID"),
    ],
    ids=["doctor", "run"],
)
def test_ovsdb_server_is_healthy_and_valid(words: str, says: str, tmp_path: Path) -> None:
    shutil.copy(OVSDB / "ovsdb_system.py", tmp_path)
    argv = [sys.executable, "-c", "from capsize.cli import main; main()", *shlex.split(words), "--backend", "local"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.stdout.split()[:1] == [says], done.stdout + done.stderr
