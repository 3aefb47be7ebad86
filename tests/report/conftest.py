"""A browser for the report's tests, and the builder of synthetic runs."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the tests find `simulated` beside them
KINDS = ("valid", "invalid", "unavailable", "unknown", "harness")
"""A run of each verdict; of invalid, one for safety and one for liveness; of unknown, one for the harness."""
CHROMIUM = os.environ.get("CAPSIZE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""


def load_runs() -> ModuleType:
    """Return the module `runs` beside this file; pytest's importlib mode gives it no importable name."""
    spec = importlib.util.spec_from_file_location("report_runs", Path(__file__).with_name("runs.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["report_runs"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def build() -> Callable[..., Path]:
    """`build(folder, kind)` writes a store folder of kind valid, invalid or unknown."""
    builder: Callable[..., Path] = load_runs().build
    return builder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium for the session."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine (CAPSIZE_CHROMIUM names one)")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def reports(build: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One written report for each verdict."""
    from capsize.report.html import write_html

    root = tmp_path_factory.mktemp("store")
    return {kind: write_html(build(root / kind, kind)) for kind in KINDS}


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """`open_page(path, width, height)` opens a file; at the end no error and no request may have been seen."""
    contexts: list[Any] = []
    wrong: list[str] = []

    def opened(path: Path, width: int = 1400, height: int = 900, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda sent: wrong.append(f"asked for {sent.url}") if not sent.url.startswith(("file:", "data:")) else None,
        )
        page.on("dialog", lambda shown: (wrong.append(f"dialog {shown.message}"), shown.dismiss()))
        page.goto(path.as_uri())
        page.wait_for_function("document.body.dataset.ready !== undefined", timeout=10_000)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []
