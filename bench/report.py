"""How fast the report of a hundred thousand operations is written, opens and zooms.

    .venv/bin/python bench/report.py [--operations 100000] [--chromium /usr/bin/chromium] [--keep FOLDER]

Prints one line each: writing the file, its size, first paint, ready for use, and the time of a frame while zooming
from the whole run to a millisecond and back: drawing everything at once, and from frame to frame as a person sees it.
Goals: first paint under 1 s, 16 ms to draw, frames at an interactive rate. Every figure is the best of several rounds,
so that what else the machine does counts little.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from capsize.report.html import write_html

ZOOM = """() => new Promise((done) => {
  const { view, zoom, setWindow, paint } = window.capsize;
  const step = (number) => zoom(number < 60 ? 0.86 : 1 / 0.86, view.t0 + (view.t1 - view.t0) * 0.4);
  document.getElementById('timeline').scrollIntoView();
  setWindow(0, 1e12);
  const times = [], paints = [];
  for (let number = 0; number < 120; number++) {
    step(number);
    const began = performance.now(); paint(); paints.push(performance.now() - began);
  }
  setWindow(0, 1e12);
  let steps = 0, last = performance.now();
  const next = () => {
    const now = performance.now();
    if (steps > 1) times.push(now - last);
    last = now;
    if (steps >= 120) { done([times, paints]); return; }
    step(steps++);
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
})"""
FIRST = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1"


def main() -> None:
    """Build, write, open, zoom, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--keep", type=Path, help="write the run here and keep it")
    asked = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as made:
        folder = asked.keep or Path(made)
        # Ten clients wait `pace_s` and then 4 ms for an answer; about a tenth of the run is lost to faults.
        seconds = asked.operations * 0.00166
        _runs().build(folder, "invalid", seconds=seconds, pace_s=0.01)
        began = time.perf_counter()
        path = write_html(folder)
        wrote_s = time.perf_counter() - began
        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=asked.chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            opened = []
            for _ in range(5):
                page.goto(path.as_uri())
                page.wait_for_function("document.body.dataset.ready !== undefined")
                page.wait_for_timeout(200)
                opened.append((page.evaluate(FIRST), float(page.evaluate("document.body.dataset.ready"))))
            count = page.evaluate("capsize.count")
            zooms = [page.evaluate(ZOOM) for _ in range(3)]
            frames, paints = (min((zoom[k] for zoom in zooms), key=statistics.median) for k in (0, 1))
            browser.close()
        print(f"operations            {count:,}")
        print(f"write report.html     {wrote_s:.2f} s, {path.stat().st_size / 1e6:.1f} MB")
        print(f"first paint           {min(first for first, _ in opened):.0f} ms")
        print(f"ready for use         {min(ready for _, ready in opened):.0f} ms")
        for name, times in (("drawing everything", paints), ("frame to frame", frames)):
            order, at_95 = sorted(times), int(len(times) * 0.95)
            print(f"{name:<21} median {order[len(order) // 2]:.1f} ms, 95 % {order[at_95]:.1f} ms")


def _runs() -> Any:
    path = Path(__file__).resolve().parent.parent / "tests" / "report" / "runs.py"
    spec = importlib.util.spec_from_file_location("report_runs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
