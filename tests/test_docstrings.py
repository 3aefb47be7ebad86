"""Examples in docstrings run, in every module."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import capsize

MODULES = [
    module.name
    for module in pkgutil.walk_packages(capsize.__path__, "capsize.")
    if not module.name.endswith(("__main__", ".agent"))
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
