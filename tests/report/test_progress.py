"""How a run is shown while it goes on: renewed in place on a terminal, plain lines everywhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from capsize.cli.progress import Progress
from capsize.watcher import Snapshot

PROGRAM = """
from capsize.cli.progress import Progress
from capsize.watcher import Snapshot
with Progress() as progress:
    progress.say("backend   [bold]here[/bold]")
    for second in range(13):
        outcomes = {"ok": second * 100, "fail": second, "info": 1}
        progress.show(Snapshot(second, 12, "load", outcomes, "n2", 4, ("partition",) if second > 6 else ()))
    progress.show(Snapshot(12.5, 12, "judging", {}, None, None, ()))
print("VALID")
"""


def on_a_terminal(**environment: str) -> str:
    """Return what a terminal of 100 columns is sent."""
    leader, follower = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "TERM", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.DEVNULL, stderr=follower, cwd=Path(__file__).parents[2],
        env={**kept, "COLUMNS": "100", **environment},
    )  # fmt: skip
    os.close(follower)
    seen = b""
    while True:
        try:
            data = os.read(leader, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    os.close(leader)
    assert process.wait(timeout=20) == 0
    return seen.decode()


def test_on_a_terminal_a_bar_and_a_table_are_renewed_in_place() -> None:
    seen = on_a_terminal(TERM="xterm-256color")
    assert "\x1b[" in seen
    for word in ("faults now", "partition", "n2, term 4", "1,200", "100", "12/12 s", "━"):
        assert word in seen, word
    assert "[bold]here[/bold]" in seen
    assert "1,213 operations" not in seen


@pytest.mark.parametrize("environment", [{"CI": "true", "TERM": "xterm"}, {"TERM": "dumb"}, {}])
def test_where_lines_cannot_be_renewed_plain_ones_are_printed(environment: dict[str, str]) -> None:
    seen = on_a_terminal(**environment)
    assert "\x1b" not in seen
    lines = seen.splitlines()
    assert lines[0] == "backend   [bold]here[/bold]"
    assert [line.split(" · ")[0].strip() for line in lines[1:]] == ["load", "load", "judging"]
    assert "fault partition" in lines[2]


def test_quiet_leaves_warnings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(quiet=True) as progress:
        progress.say("backend   here")
        progress.say("warning   no disk")
        progress.show(Snapshot(30, 12, "load", {"ok": 1}, None, None, ()))
    assert capsys.readouterr().err == "warning   no disk\n"
