"""`capsize list`: the words that the other commands know."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from capsize.cli import options

SHELVES = ("systems", "workloads", "faults", "models", "mutants", "runs")
SHELF_HELP = "All but runs when left out."


def list_words(
    shelf: Annotated[str, typer.Argument(metavar="[" + "|".join(SHELVES) + "]", help=SHELF_HELP)] = "",
    store: options.Store = options.STORE,
    as_json: options.Json = False,
) -> int:
    """Show the words that other commands know.

    Systems, workloads, faults, models, planted bugs (mutants); and the runs in the store.
    """
    from capsize.errors import no_such

    if shelf and shelf not in SHELVES:
        raise no_such("list", shelf, SHELVES)
    wanted = [shelf] if shelf else [name for name in SHELVES if name != "runs"]
    found = {name: _shelf(name, store) for name in wanted}
    if as_json:
        print(json.dumps({"version": 1, "command": "list", **found}))
        return 0
    for number, (name, rows) in enumerate(found.items()):
        if not shelf:
            print(f"{'' if number == 0 else chr(10)}{name}")
        indent = "" if shelf else "  "
        width = max((len(str(row["name"])) for row in rows), default=0)
        for row in rows:
            more = f"  ({row['more']})" if row.get("more") else ""
            print(f"{indent}{row['name']!s:<{width}}  {row['says']}{more}".rstrip())
            for place, why in row.get("refused", {}).items():
                print(f"{indent}{'':<{width}}    not on {place}: {why}")
            for key, text in row.get("options", {}).items():
                print(f"{indent}{'':<{width}}    --opt {key}=…  {text}")
        if not rows:
            print(f"{indent}none" + (f" in {store}" if name == "runs" else ""))
    return 0


def _shelf(name: str, store: Path) -> list[dict[str, Any]]:
    if name == "runs":
        return _runs(store)
    shelves = {"systems": _systems, "workloads": _workloads, "faults": _faults, "models": _models, "mutants": _mutants}
    return shelves[name]()


def _systems() -> list[dict[str, Any]]:
    from capsize.errors import CapsizeError
    from capsize.registry import load_system, system_words

    rows: list[dict[str, Any]] = []
    for word, place in system_words().items():
        try:
            cls: Any = load_system(word)
        except CapsizeError as error:
            rows.append({"name": word, "says": str(error), "more": ""})
            continue
        says = ((cls.__doc__ or place).strip().splitlines() or [place])[0]
        known = dict(getattr(cls, "options", {}))
        rows.append({"name": word, "says": says, "more": "", "options": known})
    return rows


def _workloads() -> list[dict[str, Any]]:
    from capsize.workloads import WORKLOADS

    return [{"name": word, "says": cls.says, "more": f"model {cls.model}"} for word, cls in WORKLOADS.items()]


def _faults() -> list[dict[str, Any]]:
    from capsize.cluster.abilities import abilities
    from capsize.nemesis.kinds import KINDS

    places = abilities()
    rows: list[dict[str, Any]] = []
    for kind in KINDS.values():
        whys = {place: [can[need] for need in sorted(kind.needs) if can[need]] for place, can in places.items()}
        rows.append({
            "name": kind.word, "says": kind.says, "more": _needed(kind.needs, kind.hooks - {"status"}),
            "needs": sorted(kind.needs), "refused": {place: why[0] for place, why in whys.items() if why},
        })  # fmt: skip
    return rows


def _needed(places: Iterable[str], hooks: Iterable[str]) -> str:
    """Say what a fault needs of the place, and which hooks of the adapter."""
    asked = f"needs {', '.join(sorted(places))}" if places else ""
    more = f"the adapter's {', '.join(sorted(hooks))}" if hooks else ""
    return "; ".join(part for part in (asked, more) if part) or "needs nothing"


def _models() -> list[dict[str, Any]]:
    from capsize.checker.models import MODELS

    rows: list[dict[str, Any]] = []
    for word, cls in MODELS.items():
        lines = (cls.__doc__ or "").strip().splitlines()
        rows.append({"name": word, "says": lines[0] if lines else "", "more": ""})
    return rows


def _mutants() -> list[dict[str, Any]]:
    """Return the planted bugs of the reference Raft, which `--opt mutant=NAME` switches on."""
    from capsize.raft.mutants import catalogue

    rows: list[dict[str, Any]] = []
    for bug in catalogue():
        notes = [
            "a control: harmless" if bug.control else "", f"bites with {bug.bites_with}" if bug.bites_with else ""
        ]  # fmt: skip
        rows.append({
            "name": bug.name, "says": bug.deviation, "more": "; ".join(note for note in notes if note),
            "breaks": list(bug.breaks), "control": bug.control, "bites_with": bug.bites_with,
        })  # fmt: skip
    return rows


def _runs(store: Path) -> list[dict[str, Any]]:
    from capsize.errors import StoreError
    from capsize.store import RUN, VERDICT, read_json, runs

    words: dict[Any, str] = {True: "VALID", False: "INVALID", "unknown": "UNKNOWN"}
    rows: list[dict[str, Any]] = []
    for folder in runs(store):
        try:
            run = read_json(folder / RUN)
            judged = (folder / VERDICT).exists()
            word = words.get(read_json(folder / VERDICT).get("valid"), "?") if judged else "not judged"
        except StoreError:
            run, word = {}, "unreadable"
        rows.append({"name": str(folder), "says": word, "more": str(run.get("repeat", ""))})
    return rows
