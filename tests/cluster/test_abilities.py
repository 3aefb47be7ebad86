"""What each place can do is told before anything is made, with the reason where it cannot."""

from __future__ import annotations

import json

import pytest

from capsize.cli import invoke
from capsize.cluster.abilities import CAPABILITIES, abilities
from capsize.nemesis.kinds import KINDS


def test_every_capability_that_a_word_needs_is_known() -> None:
    assert set().union(*(kind.needs for kind in KINDS.values())) <= set(CAPABILITIES)


def test_local_refuses_client_cuts_and_says_where_they_can_be_had() -> None:
    assert "use docker or ssh" in abilities()["local"]["clients"]
    assert abilities()["local"]["network"] == ""


def test_without_an_engine_docker_can_do_nothing_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    found = abilities()["docker"]
    assert set(found) == set(CAPABILITIES)
    assert all("no Docker engine answers at unix:///nowhere/docker.sock" in why for why in found.values())


def test_without_root_local_has_no_limits_and_no_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    found = abilities()["local"]
    assert "root" in found["pressure"]
    assert "root" in found["disks"]


def test_without_the_library_local_has_no_clocks_and_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capsize.cluster.agent.Clock.PLACES", ("/nowhere",))
    assert "apt-get install libfaketime" in abilities()["local"]["clock"]


def test_the_list_names_every_word_what_it_needs_and_where_it_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert invoke(["list", "faults", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["faults"]}
    assert set(rows) == set(KINDS)
    assert rows["cut-clients"]["needs"] == ["clients"]
    assert set(rows["cut-clients"]["refused"]) == {"docker", "local"}
    assert invoke(["list", "faults"]) == 0
    shown = capsys.readouterr().out
    assert "not on local: clients reach nodes on loopback directly" in shown
    assert "not on docker: no Docker engine answers" in shown
