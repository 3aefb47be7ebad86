"""Measures how often each documented command finds what is publicly known, and that the sound side stays green.

    python bench/rediscoveries.py [--runs 3] [--only name,…] [--store DIR] [--json FILE]

Carries out examples/rediscoveries/commands.json, both sides, with the seeds 1 to --runs, one after the other, and
prints a table for docs/rediscoveries.md. A side that was not invalid and not valid was unknown: a fault did not land,
or a node was not read in the end; that is counted apart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1] / "examples" / "rediscoveries"
WORDS = {True: "valid", False: "invalid", "unknown": "unknown"}


def carry_out(item: dict[str, Any], side: str, seed: int, store: Path) -> tuple[str, list[str]]:
    """Return the verdict, and the names of the anomalies."""
    words = [str(word).replace("{here}", str(HERE)) for word in (*item["command"], *item[side])]
    argv = [sys.executable, "-m", "capsize", "run", *words, "--seed", str(seed), "--store", str(store), "--json"]
    name = ["--name", f"{item['name']}-{side}"]
    try:
        done = subprocess.run([*argv, *name], capture_output=True, text=True, timeout=600, check=False)
        told = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        return f"could not run ({type(error).__name__})", []
    return WORDS.get(told.get("valid"), "could not run"), [anomaly["name"] for anomaly in told.get("anomalies", [])]


def main() -> None:
    """Carry everything out and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "capsize-rediscoveries")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    items: list[dict[str, Any]] = json.loads((HERE / "commands.json").read_text(encoding="utf-8"))
    wanted = [name for name in chosen.only.split(",") if name]
    rows: list[dict[str, Any]] = []
    print("| command | side | found | verdicts | anomalies |\n|---|---|---|---|---|")
    for item in items:
        if wanted and item["name"] not in wanted:
            continue
        for side in ("broken", "sound"):
            verdicts, names, found = Counter[str](), Counter[str](), 0
            for seed in range(1, chosen.runs + 1):
                verdict, anomalies = carry_out(item, side, seed, chosen.store)
                verdicts[verdict] += 1
                names.update(set(anomalies))
                found += bool(set(anomalies) & set(item["finds"]))
            told = ", ".join(f"{word} {count}" for word, count in sorted(verdicts.items()))
            kinds = ", ".join(f"{name} in {count}" for name, count in sorted(names.items())) or "none"
            options = " ".join(word for word in item[side] if word != "--opt")
            print(f"| {item['name']} | {options} | {found} of {chosen.runs} | {told} | {kinds} |", flush=True)
            rows.append({"name": item["name"], "side": side, "found": found, "runs": chosen.runs,
                         "verdicts": dict(verdicts), "anomalies": dict(names)})  # fmt: skip
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
