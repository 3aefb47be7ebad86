"""The store: a folder for each run, links, and one line for whatever cannot be written."""

from __future__ import annotations

import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from capsize.clock import MonotonicClock
from capsize.errors import StoreError, UsageError
from capsize.op import Invocation
from capsize.recorder import Recorder
from capsize.store import link_latest, new_folder, read_json, run_folder, runs, write_json

NOON = datetime(2026, 11, 23, 10, 15, 2, tzinfo=UTC)


def test_a_run_is_named_by_its_own_folder_also_where_a_link_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store" / "kv" / "20261123T101502Z-s7"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    link_latest(folder)
    assert run_folder(tmp_path / "store" / "latest") == folder.resolve()
    monkeypatch.chdir(tmp_path)
    assert run_folder(Path("store/kv/latest")) == Path("store/kv/20261123T101502Z-s7")


def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path) -> None:
    roll = tmp_path / "campaigns" / "20261123T101502Z-s7.json"
    roll.parent.mkdir()
    roll.write_text("{}")
    for path, told in ((tmp_path, "no run.json"), (tmp_path / "none", "no such run"), (roll, "roll of a campaign")):
        with pytest.raises(UsageError, match=told):
            run_folder(path)


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    one, two = new_folder(tmp_path, "register", 7, NOON), new_folder(tmp_path, "register", 7, NOON)
    assert one.name == "20261123T101502Z-s7"
    assert two.name == "20261123T101502Z-s7-2"


def test_links_point_to_the_latest_run_of_the_name_and_of_all(tmp_path: Path) -> None:
    for name in ("register", "kv", "register"):
        folder = new_folder(tmp_path, name, 7, NOON)
        link_latest(folder)
    assert (tmp_path / "latest").resolve() == folder.resolve()
    assert (tmp_path / "kv" / "latest").resolve().parent.name == "kv"
    assert (tmp_path / "register" / "latest").readlink() == Path(folder.name)


def test_runs_are_listed_once_each_oldest_first(tmp_path: Path) -> None:
    for second in (5, 3):
        folder = new_folder(tmp_path, "register", 1, NOON.replace(second=second))
        write_json(folder / "run.json", {})
        link_latest(folder)
    assert [folder.name[:16] for folder in runs(tmp_path)] == ["20261123T101503Z", "20261123T101505Z"]
    assert runs(tmp_path / "nowhere") == []


def test_a_file_where_the_store_should_be_is_told_with_advice(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreError, match=r"--store"):
        new_folder(tmp_path / "store", "register", 7, NOON)


def test_json_is_written_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {("no", "key"): 1})  # type: ignore[dict-item]
    assert read_json(path) == {"a": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(("text", "told"), [("{", "not JSON"), ("[]", "expected a JSON object")])
def test_a_json_file_that_is_none_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(StoreError, match=told):
        read_json(tmp_path / "run.json")


def test_a_history_that_meets_a_full_disk_ends_with_a_whole_line(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: the last write takes only the beginning of a line."""
    path = tmp_path / "history.jsonl"
    limit = 1000
    script = f"""
import signal, resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from pathlib import Path
from capsize.clock import MonotonicClock
from capsize.errors import StoreError
from capsize.op import Invocation
from capsize.recorder import Recorder
recorder = Recorder(Path({str(path)!r}), MonotonicClock())
try:
    while True:
        recorder.invoke(1, Invocation("read", 1), "n1")
except StoreError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert "cannot write the history" in done.stdout
    text = path.read_text()
    assert text.endswith("}\n")
    assert len(text) <= limit
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != limit


def test_a_recorder_never_writes_into_another_runs_history(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    Recorder(path, MonotonicClock()).invoke(1, Invocation("read", 1), "n1")
    with pytest.raises(StoreError):
        Recorder(path, MonotonicClock())
