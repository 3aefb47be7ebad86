"""An adapter that raises, hangs, returns nonsense or forgets a method: named, and the run ends cleanly and soon."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from capsize.cli import invoke
from capsize.cluster import adapter
from capsize.cluster.ledger import Owner, ledgers

pytestmark = pytest.mark.slow
PEBBLE = Path(__file__).resolve().parents[2] / "examples" / "pebble"
WRONG = """
import threading
from capsize.adapter import Reply
from pebble_system import PebbleClient, PebbleSystem

def hang(*args):
    threading.Event().wait(60)

class Forgets:
    name = "forgets"

class RaisesInInstall(PebbleSystem):
    def install(self, node):
        raise KeyError("version")

class RaisesInCommand(PebbleSystem):
    def command(self, node):
        return self.nodes[7]

class ReturnsNoCommand(PebbleSystem):
    def command(self, node):
        return ["pebble"]

class HangsInCommand(PebbleSystem):
    command = hang_in_command = lambda self, node: hang()

class ReturnsNoStatus(PebbleSystem):
    def status(self, node):
        return {"role": "leader"}

class HangsInStatus(PebbleSystem):
    def status(self, node):
        hang()

class RaisesInClient(PebbleSystem):
    def client(self, node, process):
        raise OSError("no licence")

class AnswersNonsense(PebbleSystem):
    def client(self, node, process):
        return Nonsense(node)

class Nonsense(PebbleClient):
    def invoke(self, op):
        return 7

class EndsAtOnce(PebbleSystem):
    def command(self, node):
        from capsize.adapter import Command
        return Command(("sh", "-c", "echo no such flag >&2; exit 3"))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("pebble.py", "pebble_system.py", "pebble_client.py", "pebble.toml"):
        shutil.copy(PEBBLE / name, tmp_path)
    (tmp_path / "wrong_adapters.py").write_text(WRONG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def ended(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Carry out a short run; return its exit code and the one line that it ended with."""
    run = ["run", "--backend", "local", "--nodes", "3", "--faults", "none", "--time-limit", "1", "--seed", "1", "-q"]
    code = invoke([*run, *words])
    told = capsys.readouterr()
    assert "Traceback" not in told.err, told.err
    assert not [ledger.label for ledger in ledgers() if ledger.owner == Owner.this()]
    return code, told.err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Forgets", "has a problem: it is no subclass of capsize.cluster.system.System"),
        ("RaisesInInstall", "n1, n2, n3: RaisesInInstall.install(n1) raised KeyError: 'version' (wrong_adapters.py:"),
        ("RaisesInCommand", "n1, n2, n3: RaisesInCommand.command(n1) raised IndexError: tuple index out of range"),
        ("ReturnsNoCommand", "n1, n2, n3: ReturnsNoCommand.command(n1) returned ['pebble']; expected a Command"),
        ("HangsInCommand", "n1, n2, n3: HangsInCommand.command(n1) did not return within 0.5 s"),
        ("ReturnsNoStatus", "ReturnsNoStatus.status(n1) returned {'role': 'leader'}; expected a NodeStatus"),
        ("RaisesInClient", "RaisesInClient.client(n1, 1000000000) raised OSError: no licence"),
        ("AnswersNonsense", "AnswersNonsense's client returned 7 from invoke('write'); expected a Reply"),
        ("EndsAtOnce", "every node's process has ended; n1 has ended (code 3): no such flag"),
    ],
)
def test_it_is_named_in_one_line_with_its_hook_and_node(
    folder: Path, name: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "WITHIN_S", {**adapter.WITHIN_S, "command": 0.5})
    began = time.monotonic()
    code, line = ended(["--system", f"wrong_adapters:{name}"], capsys)
    assert code == 255
    assert said in line
    assert time.monotonic() - began < 20.0


def test_a_status_that_hangs_is_told_when_nobody_leads(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capsize.runner.READY_S", 2.5)
    code, line = ended(["--system", "wrong_adapters:HangsInStatus"], capsys)
    assert code == 255
    assert "no node says that it is the leader (n1: TimeoutError: status() did not return within 1 s; n2" in line


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit('no module named raft')", "has ended (code 1: no module named raft)"),
        ("print('hello', flush=True); input()", "is no answer; expected"),
        ("import time; time.sleep(60)", "the client program did not answer within"),
        (
            "import json, sys\nfor line in sys.stdin: print(json.dumps({'id': 999, 'type': 'ok'}), flush=True)",
            "an answer to request 999, which was never asked",
        ),
    ],
    ids=["ends", "nonsense", "hangs", "wrong-id"],
)
def test_a_client_program_that_is_none_is_told(
    folder: Path, program: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capsize.runner.READY_S", 4.0)
    (folder / "pebble_client.py").write_text(program)
    toml = (folder / "pebble.toml").read_text().replace("status = true", "status = false")
    (folder / "pebble.toml").write_text(toml)
    code, line = ended(["--system", "pebble.toml"], capsys)
    assert code == 255
    assert said.replace("has ended", "") in line, line
