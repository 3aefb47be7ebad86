"""The examples of docs/models.md, run in their order as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from capsize.checker.models import NondeterministicModel
from capsize.cli import invoke
from capsize.formats.jsonl import write_jsonl
from capsize.history import History
from capsize.op import Operation

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"


def asked(process: int, f: str, value: Any, call: int, ret: int, result: Any = None) -> Operation:
    return Operation(process, f, None, value, call, ret, "ok", result)


ACCOUNT = [asked(1, "deposit", 5, 0, 1), asked(2, "withdraw", 3, 2, 3), asked(3, "balance", None, 4, 5, 5)]
LEASE = [asked(1, "acquire", None, 0, 1), asked(2, "acquire", None, 2, 3), asked(1, "release", None, 4, 5, True)]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run every block of the page; return the names that they leave behind."""
    monkeypatch.chdir(tmp_path)
    write_jsonl(History.of(ACCOUNT), tmp_path / "history.jsonl")
    write_jsonl(History.of(LEASE), tmp_path / "lease.jsonl")
    names: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_the_page_runs_and_its_models_judge(page: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    check, lease = page["check_linearizable"], page["Lease"]()
    assert isinstance(lease, NondeterministicModel)
    assert page["verdict"].valid is False  # the lease had run out: p2 holds the lock
    assert check(History.of(LEASE[:2]), lease.to_model()).valid is True
    told_otherwise = [*LEASE[:2], asked(1, "release", None, 4, 5, False)]
    assert check(History.of(told_otherwise), lease.to_model()).valid is True
    assert check(History.of(ACCOUNT), page["Account"]()).valid is False
    assert check(History.of(ACCOUNT[:2]), page["Account"]()).valid is True


def test_the_orders_of_the_page_say_what_could_not_follow(
    tmp_path: Path, page: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    page["model"] = page["Account"]()
    orders = page["partial_linearizations"](ACCOUNT, page["model"])
    assert [page["model"].describe(op) for op in orders[0].operations] == ["deposit 5", "withdraw 3"]
    assert orders[0].refused[0][1] == "told 5 but it was 2"


def test_a_model_of_ones_own_is_named_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    block = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "bank_model.py").write_text(block[0])
    (tmp_path / "lease_model.py").write_text(block[0] + block[2])
    monkeypatch.chdir(tmp_path)
    write_jsonl(History.of(ACCOUNT), tmp_path / "history.jsonl")
    write_jsonl(History.of(LEASE), tmp_path / "lease.jsonl")
    assert invoke(["check", "history.jsonl", "--model", "bank_model:Account"]) == 1
    assert "INVALID  history.jsonl · account · 3 operations" in capsys.readouterr().out
    assert invoke(["check", "lease.jsonl", "--model", "lease_model:Lease", "--report", "page.html"]) == 1
    assert (tmp_path / "page.html").is_file()
    assert invoke(["check", "history.jsonl", "--model", "bank_model:Nobody"]) == 254
    assert invoke(["check", "history.jsonl", "--model", "no_such_module:Account"]) == 254
    assert "no_such_module" in capsys.readouterr().err
