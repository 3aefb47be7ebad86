"""The installed package is the tree: every folder is listed, and nothing but `capsize` is installed."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("checker", "cluster", "nemesis", "raft", "report", "workloads")
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def folders_with_modules() -> set[str]:
    rooms = {f"capsize.{room}": ROOT / room for room in ROOMS}
    found = {
        ".".join([name, *module.parent.relative_to(folder).parts])
        for name, folder in rooms.items()
        for module in folder.rglob("*.py")
    }
    source = ROOT / "src" / "capsize"
    own = [path for path in source.rglob("*.py") if not set(path.relative_to(source).parts) & set(ROOMS)]
    return found | {".".join(["capsize", *module.parent.relative_to(source).parts]) for module in own}


def test_every_folder_with_modules_is_listed_as_a_package() -> None:
    assert folders_with_modules() == set(SETUPTOOLS["packages"])


def test_everything_is_installed_under_the_one_name() -> None:
    assert all(name == "capsize" or name.startswith("capsize.") for name in SETUPTOOLS["packages"])


def test_each_room_is_mapped_and_linked() -> None:
    for room in ROOMS:
        assert SETUPTOOLS["package-dir"][f"capsize.{room}"] == room
        assert (ROOT / "src" / "capsize" / room).resolve() == ROOT / room
