"""What a test needs of the machine: asked for by a marker; skipped with its reason, or failed."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

REQUIRE_ALL = os.environ.get("CAPSIZE_REQUIRE_ALL") == "1"


@functools.cache
def missing(need: str) -> str:
    """Return why this machine cannot run tests marked `need`; empty when it can."""
    if need == "docker":
        if shutil.which("docker") is None:
            return "no docker command on this machine"
        asked = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=20, check=False)
        return "" if asked.returncode == 0 else "no Docker engine answers"
    if need == "root":
        if sys.platform != "linux":
            return "loop devices and mounts need Linux"
        return "" if os.geteuid() == 0 else "needs root"
    if need == "browser":
        browsers = ("chromium", "chromium-browser", "google-chrome")
        return "" if any(map(shutil.which, browsers)) else "no Chromium"
    if need == "download":
        if shutil.which("apt-get") is None:
            return "no apt-get on this machine"
        with tempfile.TemporaryDirectory() as folder:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "0", "-d", folder]
            asked = subprocess.run([*pip, "six"], capture_output=True, text=True, timeout=60, check=False)
        return "" if asked.returncode == 0 else "no package index can be reached"
    raise AssertionError(need)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for need in ("docker", "root", "browser", "download"):
        if item.get_closest_marker(need) is not None and missing(need):
            if REQUIRE_ALL:
                pytest.fail(f"CAPSIZE_REQUIRE_ALL=1, and {missing(need)}", pytrace=False)
            pytest.skip(missing(need))
