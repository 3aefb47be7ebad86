"""Histories of others whose verdict is known, read and judged by every engine that applies.

They are not part of the repository: CAPSIZE_SHARED, or a folder `shared` beside it, holds them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from capsize.checker.budget import Budget
from capsize.checker.general import decide_general
from capsize.checker.linearizability import check_linearizable
from capsize.checker.models import infer_model, model_named
from capsize.checker.outcome import Exhausted, Illegal
from capsize.formats import read_history

SHARED = Path(os.environ.get("CAPSIZE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
DATA = SHARED / "data"


def known() -> dict[str, bool]:
    """Return the files below DATA and whether each is linearizable."""
    found: dict[str, bool] = {}
    verdicts = DATA / "porcupine-etcd" / "verdicts.tsv"
    if verdicts.exists():
        for line in verdicts.read_text().splitlines()[1:]:
            name, verdict = line.split("\t")
            found[f"porcupine-etcd/{name}"] = verdict == "true"
    for path in (DATA / "porcupine-kv").glob("*.txt"):
        found[f"porcupine-kv/{path.name}"] = "ok" in path.stem
    for path in (DATA / "knossos").glob("*/*.edn"):
        found[f"knossos/{path.parent.name}/{path.name}"] = path.parent.name == "good"
    return found


KNOWN = known()
pytestmark = pytest.mark.skipif(not KNOWN, reason=f"no histories of known verdict in {DATA}")


@pytest.mark.parametrize("name", sorted(KNOWN) or ["none"])
def test_the_general_engine_gives_the_known_verdict(name: str) -> None:
    history = read_history(DATA / name)
    model = model_named(infer_model(history) or "")
    outcomes = [decide_general(part, model, Budget(steps=3_000_000)) for _, part in model.partition(history)]
    assert not any(isinstance(outcome, Exhausted) for outcome in outcomes)
    assert (not any(isinstance(outcome, Illegal) for outcome in outcomes)) is KNOWN[name]


@pytest.mark.parametrize("name", sorted(KNOWN) or ["none"])
def test_the_checker_gives_the_known_verdict(name: str) -> None:
    history = read_history(DATA / name)
    verdict = check_linearizable(history, model_named(infer_model(history) or ""))
    assert verdict.valid is KNOWN[name]
