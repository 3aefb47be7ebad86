"""The command line: one line for whatever a person did wrong, and the right exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from capsize.campaign import Outcome, exit_code, matrix
from capsize.cli import invoke
from capsize.cli.campaign import table
from capsize.cli.progress import Progress, line
from capsize.config import RunConfig
from capsize.errors import CapsizeError
from capsize.store import write_json
from capsize.watcher import Snapshot


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("run --system rft", 254, "--system: no system is called 'rft'; did you mean 'raft'? (capsize list systems)"),
        ("run --workload regster", 254, "--workload: no workload is called 'regster'; did you mean 'register'?"),
        ("run --faults partitoin", 254, "--faults: no fault is called 'partitoin'; did you mean 'partition'?"),
        ("run --faults ,", 254, "--faults: no fault is named"),
        ("run --faults none,kill", 254, "'none' stands alone"),
        ("run --fautls kill", 254, "--fautls: there is no such option; did you mean --faults?"),
        ("run --nodes 0", 254, "--nodes: 0 is out of range; expected 1 to 99"),
        ("run --nodes five", 254, "--nodes: 'five' is no whole number"),
        ("run --time-limit nan", 254, "--time-limit: nan is out of range"),
        ("run --rate -3", 254, "--rate: -3 is out of range"),
        ("run --seed -1", 254, "--seed: -1 is out of range"),
        ("run --backend dokcer", 254, "--backend: no place is called 'dokcer'"),
        ("run --opt fsync", 254, "--opt: 'fsync' is no option; expected key=value"),
        ("run --opt a=1 --opt a=2", 254, "--opt: a is given twice"),
        ("run --opt fsnyc=off", 254, "did you mean 'fsync'"),
        ("run --opt mutant=no.such.bug", 254, "no.such.bug"),
        ("run --name ../x", 254, "--name: '../x' is no folder name"),
        ("run --schedule /no/such.json", 254, "--schedule: /no/such.json: there is no such file"),
        ("run --seed abc", 254, "--seed: 'abc' is no whole number"),
        ("run -r fast", 254, "--rate: 'fast' is no number"),
        ("simulate --runs 0", 254, "--runs: 0 is out of range; expected 1 or more"),
        ("run --quorum keep --faults kill-all", 254, "--quorum: keep and --faults kill-all exclude each other"),
        ("run --quorum keep --faults kill,lose-quorum", 254, "keep and --faults lose-quorum exclude each other"),
        ("run --quiet-start 20 --time-limit 20", 254, "--quiet-start: 20 s leaves no time for faults"),
        ("replay nowhere --accept 5/3 --shrink", 254, "--accept: 5/3 cannot be met"),
        ("replay nowhere --accept 2/3", 254, "--accept: only --shrink counts tries"),
        ("run --system nowhere.toml", 254, "--system: nowhere.toml: there is no such file"),
        ("trace --scenario first_election --html /no/x.html --index 1", 255, "/no/x.html: cannot write the diagram"),
        ("replay nowhere", 254, "nowhere: there is no such run"),
        ("trace nowhere", 254, "nowhere: there is no such run"),
        ("trace /", 254, "/: this is no run, it has no run.json"),
        ("mutants --rung foo", 254, "--rung: this is of real runs; add --backend docker or local"),
        ("mutants --backend local --scenario x", 254, "--scenario: this is the simulator's"),
        ("mutants --backend ssh", 254, "--backend: no ladder stands on 'ssh'"),
        ("run leftover", 254, "leftover"),
        ("rnu", 254, "no command is called 'rnu'; did you mean 'run'?"),
        ("list faluts", 254, "did you mean 'faults'"),
        ("campaign --system raft,etcd --opt mutant=a", 254, "etcd has no option 'mutant'; for one system of several: "),
        ("campaign --system raft,etcd --opt nats.a=b", 254, "--opt: no option of raft is called 'nats.a'"),
        ("campaign --runs 0", 254, "--runs: 0 is out of range"),
        ("campaign --workload register,kvv", 254, "did you mean 'kv'"),
        ("campaign --faults kill --faults kil", 254, "did you mean 'kill'"),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_nothing_on_stdout(
    words: str, code: int, told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = ["--store", str(tmp_path / "store")] if words.split()[0] in ("run", "campaign", "list") else []
    assert invoke([*words.split(), *place]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("capsize: ")
    assert err.count("\n") == 1
    assert told in err
    assert "Traceback" not in err
    assert not (tmp_path / "store").exists() or not any((tmp_path / "store").rglob("*.json"))


def test_no_engine_is_told_before_anything_is_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere.sock")
    assert invoke(["run", "--backend", "docker", "--store", str(tmp_path / "store")]) == 255
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "--backend local" in err


def test_an_engine_whose_address_is_none_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://garbage:99999")
    assert invoke(["run", "--backend", "docker", "--store", str(tmp_path / "store")]) == 255
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "no Docker engine answers at tcp://garbage:99999 (Port out of range 0-65535)" in err


def test_a_store_that_cannot_be_written_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert invoke(["run", "--backend", "local", "--store", str(tmp_path / "file" / "store")]) == 255
    assert "choose another place with --store" in capsys.readouterr().err


def test_help_names_every_command_without_loading_what_commands_need() -> None:
    heavy = ("numpy", "numba", "docker", "paramiko", "networkx", "jinja2", "starlette")
    script = (
        "import sys\nfrom capsize.cli import main\ntry:\n    main(['--help'])\n"
        f"finally:\n    print('LOADED', [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert all(word in done.stdout for word in ("run", "campaign", "check", "list", "cleanup"))
    assert "LOADED []" in done.stdout, done.stdout[-300:]


def test_every_command_is_told_whole_in_the_help_and_in_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["--help"]) == 0
    told = capsys.readouterr().out.partition("Commands:\n")[2].partition("\n\n")[0]
    page = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    assert "..." not in told
    commands = [line.split()[0] for line in told.splitlines()]
    assert {"run", "trace", "mutants", "simulate"} <= set(commands)
    assert [word for word in commands if f"| `capsize {word}" not in page] == []


def test_without_words_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from capsize.cli import main

    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == 0
    assert "Usage" in capsys.readouterr().out


def test_the_lists_are_readable_by_people_and_programs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert invoke(["list"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("raft", "register", "kill-leader", "pause-disk", "cas-register"))
    assert invoke(["list", "faults", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"kill-leader", "partition", "pause-disk"} <= {row["name"] for row in rows["faults"]}
    assert invoke(["list", "mutants"]) == 0
    (line,) = [row for row in capsys.readouterr().out.splitlines() if row.startswith("dedup.none ")]
    assert line.endswith("a retried command is applied again  (bites with --opt retries=1)")
    folder = tmp_path / "register" / "20261123T101502Z-s7"
    folder.mkdir(parents=True)
    write_json(folder / "run.json", {"repeat": "capsize run --seed 7"})
    (tmp_path / "register" / "20261123T101503Z-s8").mkdir()
    assert invoke(["list", "runs", "--store", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{folder}  not judged  (capsize run --seed 7)\n"


def test_an_error_of_our_own_keeps_its_traceback_and_never_exits_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **settings: object) -> None:
        raise AssertionError("ours")

    monkeypatch.setattr("capsize.cli.listing._shelf", broken)
    assert invoke(["list", "faults"]) == 255
    assert "AssertionError: ours" in capsys.readouterr().err


def test_an_option_goes_to_the_one_system_it_names_or_to_all() -> None:
    base = RunConfig(seed=1, faults=(), options={"raft.fsync": "off", "raft.trace": "off"})
    configs = matrix(base, systems=["raft", "etcd"], workloads=["register"], faults=[()], runs=1)
    assert [dict(config.options) for config in configs] == [{"fsync": "off", "trace": "off"}, {}]
    assert "--opt fsync=off --opt trace=off" in configs[0].command()
    base = RunConfig(seed=1, faults=(), options={"version": "3.5.1", "etcd.version": "3.5.0"})
    (config,) = matrix(base, systems=["etcd"], workloads=["register"], faults=[()], runs=1)
    assert dict(config.options) == {"version": "3.5.0"}


def test_the_lines_of_a_campaign_name_the_system_where_there_are_several() -> None:
    outcome = Outcome(RunConfig(seed=7, system="etcd"), None, CapsizeError("no engine"))
    told = table([outcome], 1, 255, "capsize campaign", several=True)
    assert "ERROR    etcd · register · seed 7 · could not run: no engine" in told
    assert "etcd · " not in table([outcome], 1, 255, "capsize campaign", several=False)


def test_the_gravest_of_several_runs_decides() -> None:
    assert exit_code([0, 2, 0]) == 2
    assert exit_code([2, 1, 255]) == 1
    assert exit_code([0, 255, 2]) == 255
    assert exit_code([]) == 2


def test_progress_is_plain_lines_on_stderr_when_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        for second in range(12):
            progress.show(Snapshot(second, 20, "load", {"ok": 10 * second, "info": 1}, "n2", 4, ("kill-leader n3",)))
        progress.say("warning   something")
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 3
    assert "load · 5/20 s · 51 operations (ok 50 fail 0 info 1) · leader n2 term 4 · fault kill-leader n3" in lines[0]


def test_quiet_leaves_only_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(quiet=True) as progress:
        progress.show(Snapshot(9, 20, "load", {}, None, None, ()))
        progress.say("cluster   5 nodes")
        progress.say("warning   something")
    assert capsys.readouterr().err == "warning   something\n"


def test_the_line_says_when_nobody_leads() -> None:
    assert "no leader" in line(Snapshot(3, 20, "load", {"ok": 1}, None, None, ()))
    assert line(Snapshot(3, 20, "load", {"ok": 1}, "n2", None, ())).endswith("leader n2")
