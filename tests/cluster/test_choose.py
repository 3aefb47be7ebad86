"""Which place is chosen, and what is said about it."""

from __future__ import annotations

import pytest

from capsize.cluster.choose import choose_backend
from capsize.cluster.local_backend import LocalBackend
from capsize.errors import BackendError, UsageError

NOWHERE = "unix:///nowhere/docker.sock"


@pytest.mark.docker
def test_an_engine_that_answers_is_chosen_and_its_version_told() -> None:
    backend, why = choose_backend("auto", "t")
    assert backend.name == "docker"
    assert why.startswith("docker: engine ")
    assert why.endswith(" answers")


def test_without_an_engine_local_is_chosen_and_the_reason_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    backend, why = choose_backend("auto", "t")
    assert isinstance(backend, LocalBackend)
    assert why.startswith(f"local: no Docker engine answers at {NOWHERE} (No such file or directory); real disks: ")


def test_docker_by_name_without_an_engine_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    with pytest.raises(BackendError, match=r"--backend docker: no Docker engine answers at .*; start an engine, or"):
        choose_backend("docker", "t")


def test_without_root_real_disks_are_missing_and_the_reason_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    backend, why = choose_backend("local", "t")
    assert "disks" not in backend.capabilities()
    assert "need" in backend.why_not("disks")
    assert why.startswith("local: asked for; real disks: no, real disks need")


def test_a_word_that_is_no_backend_is_told_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="--backend: no backend is called 'dokcer'; did you mean 'docker'"):
        choose_backend("dokcer", "t")
