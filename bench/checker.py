"""Regenerate the checker's suite, judge every history in a process of its own, print the table, store it.

    python bench/checker.py [--suite FOLDER] [--only PART OF A NAME] [--no-store]

Measured per history: reading the file; the first judgement in the process, kernels loaded from disk; the best of the
further ones that fit into 0.3 s, at least three (warm, all kernels loaded); the peak memory of the whole process up to
the first verdict, and how much of it the judgement added to what was loaded.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "docs" / "results.md"
HEADING = "## Linearizability: the suite of 104 histories"
SECONDS_MAX, MEGABYTES_MAX = 10.0, 1000
SLOW_FOR_PORCUPINE_S = 0.010


def judge_one(path: Path) -> dict[str, Any]:
    """Judge one history in this process and return what was measured."""
    started = time.perf_counter()
    from capsize.checker.engines import KERNELS
    from capsize.checker.linearizability import check_linearizable
    from capsize.checker.models import CasRegister, KeyValue
    from capsize.formats import read_history

    imported = time.perf_counter()
    history = read_history(path)
    loaded = time.perf_counter()
    rss_before = _peak_mb()
    model = KeyValue() if path.name.startswith("kv") else CasRegister()
    verdict = check_linearizable(history, model)
    first = time.perf_counter() - loaded
    rss_after = _peak_mb()
    warm = first
    for kernel in KERNELS if first < 2 else ():
        kernel.compile()  # as in a process that has judged something large before
    until = time.perf_counter() + 0.3
    for turn in range(40 if first < 2 else 0):
        begin = time.perf_counter()
        if turn >= 3 and begin > until:
            break
        check_linearizable(history, model)
        warm = min(warm, time.perf_counter() - begin)
    return {
        "valid": verdict.valid,
        "operations": len(history),
        "engines": verdict.figures["engines"],
        "import_s": imported - started,
        "load_s": loaded - imported,
        "first_s": first,
        "warm_s": warm,
        "peak_mb": rss_after,
        "judge_mb": rss_after - rss_before,
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1 << 20)


def run(paths: list[Path], limit_s: float) -> list[dict[str, Any]]:
    """Judge every history, each in a fresh process; one line of progress for each."""
    reference = _porcupine()
    rows: list[dict[str, Any]] = []
    for path in paths:
        command = [sys.executable, str(HERE / "checker.py"), "--one", str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
            row = json.loads(done.stdout) if done.returncode == 0 else {"failed": done.stderr.strip()[-200:]}
        except subprocess.TimeoutExpired:
            row = {"failed": f"no answer in {limit_s:g} s"}
        row["name"] = path.stem
        row["expected"] = path.stem.endswith("_ok")
        row["porcupine"], row["porcupine_s"] = reference.get(path.stem, ("", 0.0))
        row["verdict"] = _verdict_word(row)
        rows.append(row)
        print(_line(row), flush=True)
    return rows


def _verdict_word(row: dict[str, Any]) -> str:
    if "failed" in row:
        return "none"
    if row["valid"] == "unknown":
        return "unknown"
    return "right" if row["valid"] is row["expected"] else "WRONG"


def _porcupine() -> dict[str, tuple[str, float]]:
    found: dict[str, tuple[str, float]] = {}
    for line in (HERE / "porcupine.tsv").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, verdict, seconds, _ = line.split("\t")
            found[name] = verdict, float(seconds)
    return found


def _line(row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"{row['name']:30} {row['verdict']:8} {row['failed']}"
    return (
        f"{row['name']:30} {row['verdict']:8} load {row['load_s']:6.2f} s  first {row['first_s'] * 1e3:9.1f} ms  "
        f"warm {row['warm_s'] * 1e3:9.2f} ms  peak {row['peak_mb']:5.0f} MB  {', '.join(row['engines'])}"
    )


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """Return the sentences that say whether the targets are met."""
    judged = [row for row in rows if "failed" not in row]
    right = [row for row in judged if row["verdict"] == "right"]
    within = [row for row in right if row["load_s"] + row["first_s"] <= SECONDS_MAX and row["peak_mb"] <= MEGABYTES_MAX]
    wrong = [row["name"] for row in rows if row["verdict"] == "WRONG"]
    lines = [
        f"{len(within)} of {len(rows)} decided rightly, each within {SECONDS_MAX:g} s and {MEGABYTES_MAX} MB, reading "
        f"and the first judgement together; {len(wrong)} wrong; {len(rows) - len(right) - len(wrong)} not decided.",
    ]
    if judged:
        slowest = max(judged, key=lambda row: row["load_s"] + row["first_s"])
        largest = max(judged, key=lambda row: row["peak_mb"])
        lines.append(
            f"Slowest: {slowest['name']}, {slowest['load_s'] + slowest['first_s']:.2f} s. "
            f"Largest: {largest['name']}, {largest['peak_mb']:.0f} MB."
        )
    both = [row for row in right if row["porcupine"] in ("valid", "invalid")]
    if both:
        ratios = [row["porcupine_s"] / row["warm_s"] for row in both]
        slower = [
            row["name"]
            for row in both
            if row["warm_s"] > row["porcupine_s"] and max(row["porcupine_s"], row["warm_s"]) > SLOW_FOR_PORCUPINE_S
        ]
        lines.append(
            f"Where Porcupine decides too ({len(both)} histories): median of its time over ours, warm, "
            f"{statistics.median(ratios):.1f}; slower than it and over 10 ms: {', '.join(slower) or 'none'}."
        )
    unique = [row for row in judged if "_uniq_" in row["name"]]
    if unique:
        slowest = max(unique, key=lambda row: row["first_s"])
        lines.append(f"Unique values: at most {slowest['first_s']:.2f} s of judging ({slowest['name']}).")
        lines += _growth(judged)
    return lines


def _growth(rows: list[dict[str, Any]]) -> list[str]:
    """Say how time and memory per operation grow with the length, on the unique values of many keys."""
    lines: list[str] = []
    for stem in ("kv_c10_uniq_p0_{}_ok", "kv_c10_uniq_p5_{}_ok"):
        found = {row["name"]: row for row in rows}
        sizes = [found[name] for size in ("10k", "100k", "1m") if (name := stem.format(size)) in found]
        if len(sizes) == 3:
            told = ", ".join(f"{row['warm_s'] / row['operations'] * 1e9:.0f}" for row in sizes)
            last = sizes[-1]
            lines.append(
                f"{stem.format('*')}: {told} ns an operation at 10k, 100k, 1m, warm (a factor of "
                f"{last['warm_s'] / last['operations'] / (sizes[0]['warm_s'] / sizes[0]['operations']):.1f}); at 1m "
                f"{last['judge_mb'] * (1 << 20) / last['operations']:.0f} bytes an operation beyond what was loaded, "
                f"the compiler's included; read in {last['load_s']:.2f} s, judged in {last['first_s']:.2f} s at first."
            )
    return lines


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the section of docs/results.md."""
    table = [
        "| history | verdict | engine | read s | first ms | warm ms | peak MB | Porcupine | its s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "failed" in row:
            theirs = f"{row['porcupine']} | {row['porcupine_s']}"
            table.append(f"| {row['name']} | none: {row['failed']} | | | | | | {theirs} |")
            continue
        table.append(
            f"| {row['name']} | {row['verdict']} | {', '.join(row['engines'])} | {row['load_s']:.2f} "
            f"| {row['first_s'] * 1e3:.1f} | {row['warm_s'] * 1e3:.2f} | {row['peak_mb']:.0f} "
            f"| {row['porcupine']} | {row['porcupine_s']:g} |"
        )
    machine = f"Python {platform.python_version()}, {platform.machine()}, measured with `make bench-checker`."
    points = "\n".join(f"- {line}" for line in summary(rows))
    return f"{HEADING}\n\n{machine} Every history in a process of its own.\n\n{points}\n\n" + "\n".join(table) + "\n"


def store(section: str) -> None:
    """Put the section into docs/results.md, in place of the last one."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Results\n\n"
    if HEADING in text:
        before, _, rest = text.partition(HEADING)
        following = rest.find("\n## ")
        text = before + section + (rest[following:] if following >= 0 else "")
    else:
        text = text.rstrip() + "\n\n" + section
    RESULTS.write_text(text, encoding="utf-8")


def main() -> int:
    """Run what the command line asks for; 0 if nothing was judged wrongly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", type=Path, default=HERE / "suite", help="where the histories are, or are written to")
    parser.add_argument("--only", default="", help="part of the names of the histories to judge")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds after which a history is given up")
    parser.add_argument("--no-store", action="store_true", help="do not write docs/results.md")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(judge_one(asked.one)))
        return 0
    from histories import write_suite

    rows = run([path for path in write_suite(asked.suite) if asked.only in path.stem], asked.limit)
    print("\n" + "\n".join(summary(rows)))
    if not asked.no_store and not asked.only:
        store(markdown(rows))
    return 1 if any(row["verdict"] == "WRONG" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
