"""Fuzz the engines against their oracles for as long as you like: `python bench/fuzz.py --histories 1000000`.

Uses the drawing and the comparison of tests/checker/test_fuzz_oracles.py, with seeds of its own, on every core; every
second batch with the compiled kernels, the others with the same source in plain Python.
Prints what was judged; a disagreement prints the history and its seed, and ends everything with exit code 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

BATCH = 500


def batch(seed: str, first: int, count: int) -> Counter[str]:
    """Judge `count` histories; half tiny, half of middle size, a third of them with unique values."""
    compiled = first // BATCH % 2 == 0
    os.environ["CAPSIZE_COMPILE"] = "1" if compiled else "0"
    for kernel in import_module("capsize.checker.engines").KERNELS if compiled else ():
        kernel.compile()  # otherwise histories as small as these are judged in plain Python
    fuzz = import_module("tests.checker.test_fuzz_oracles")
    seen: Counter[str] = Counter()
    names = list(fuzz.DRAW)
    for number in range(first, first + count):
        name = names[number % len(names)]
        tiny = number // len(names) % 2 == 0
        unique = name in fuzz.UNIQUE and number // (2 * len(names)) % 3 == 0
        sizes = (1, 8) if tiny else (8, fuzz.LONGEST.get(name, 40))
        fuzz.judge(name, f"{seed}/{name}/{number}", sizes=sizes, tiny=tiny, unique=unique, seen=seen)
        seen["histories"] += 1
    seen["compiled"] += count * compiled
    return seen


def main() -> int:
    """Run the batches; return the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--histories", type=int, default=20_000)
    arguments.add_argument("--seed", default="capsize")
    arguments.add_argument("--workers", type=int, default=None)
    chosen = arguments.parse_args()
    began, total = time.monotonic(), Counter[str]()
    with ProcessPoolExecutor(chosen.workers) as pool:
        starts = range(0, chosen.histories, BATCH)
        jobs = [pool.submit(batch, chosen.seed, first, min(BATCH, chosen.histories - first)) for first in starts]
        try:
            for number, job in enumerate(jobs, 1):
                total += job.result()
                if number % 100 == 0:
                    print(f"{total['histories']:,} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        except AssertionError as disagreement:
            pool.shutdown(cancel_futures=True)
            print(f"DISAGREEMENT {disagreement}")
            return 1
    print(f"no disagreement, seed {chosen.seed!r}: {dict(sorted(total.items()))}; {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
