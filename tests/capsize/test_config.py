"""A run's config: what is stored is what is repeated, also where its hosts are."""

from __future__ import annotations

from pathlib import Path

import pytest

from capsize.cli import invoke
from capsize.cluster.choose import place_of
from capsize.cluster.ssh_backend import SshBackend
from capsize.config import RunConfig, Ssh
from capsize.errors import UsageError

HOSTS = Ssh("hosts", user="root", port=2222, key="id", known_hosts="known", any_host_key=True, sudo=True)


def test_hosts_are_stored_and_repeated() -> None:
    config = RunConfig(seed=7, backend="ssh", nodes=3, ssh=HOSTS)
    assert RunConfig.from_json(config.to_json()) == config
    assert config.command() == (
        "capsize run --system raft --workload register --faults kill-leader,partition,pause-disk --nodes 3 "
        "--backend ssh --nodes-file hosts --user root --port 2222 --key id --known-hosts known --any-host-key --sudo "
        "--seed 7"
    )


def test_a_config_from_before_there_were_hosts_is_read() -> None:
    data = RunConfig(seed=7).to_json()
    del data["ssh"]
    assert RunConfig.from_json(data) == RunConfig(seed=7)


@pytest.mark.parametrize("backend", ["ssh", "auto"])
def test_a_nodes_file_alone_makes_the_place_ssh(backend: str, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("alpha\nbeta\n")
    ssh = Ssh(str(tmp_path / "hosts"), user="root", key="id", sudo=True)
    made, why = place_of(RunConfig(seed=1, backend=backend, ssh=ssh), "t")
    assert isinstance(made, SshBackend)
    assert why == f"ssh: {tmp_path / 'hosts'} names 2 hosts"
    assert (made.way.user, made.way.key, made.way.strict, made.way.sudo) == ("root", Path("id"), True, True)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"backend": "ssh"}, "--backend ssh: --nodes-file is missing"),
        ({"backend": "docker", "ssh": Ssh("hosts")}, "--nodes-file: only --backend ssh has hosts to reach"),
        ({"ssh": Ssh(sudo=True)}, "--sudo: --nodes-file is missing"),
        ({"backend": "shh"}, "no place is called 'shh'"),
    ],
)
def test_hosts_without_ssh_and_ssh_without_hosts_are_refused(settings: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        RunConfig(seed=1, **settings)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--port: 0 is out of range"):
        Ssh("hosts", port=0)


@pytest.mark.parametrize("command", [["run"], ["campaign"], ["doctor", "raft"], ["cleanup"]])
def test_every_command_that_reaches_hosts_reads_their_file_first(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = invoke([*command, "--nodes-file", str(tmp_path / "none")])
    assert code == 254
    assert f"--nodes-file: cannot read {tmp_path / 'none'}: No such file or directory" in capsys.readouterr().err
