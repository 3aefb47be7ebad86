"""`capsize trace`: the way of one write through the cluster, told from the nodes' own events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capsize.cli import options

if TYPE_CHECKING:
    from capsize.checker.trace import TraceEvent


def trace(
    folder: Annotated[Path, typer.Argument(help="A run's folder in the store.")] = Path(
        "store/latest"
    ),
    index: Annotated[
        int | None, typer.Option("--index", help="Log index of the entry; default: the last command.")
    ] = None,
    term: Annotated[int | None, typer.Option("--term", help="Its term, when several leaders wrote there.")] = None,
    scenario: Annotated[str | None, typer.Option("--scenario", help="Play this directed scenario instead.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the message diagram to this file.")] = None,
    as_json: options.Json = False,
) -> int:
    """Tell one write's way through the cluster.

    Append, fsync, AppendEntries, checks, acknowledgements, majority, apply."""
    from capsize.errors import UsageError
    from capsize.report.diagram import as_html
    from capsize.report.story import as_json as story_json
    from capsize.report.story import as_text, commands, tell
    from capsize.store import explained

    events, clocks = (_played(scenario), "") if scenario else _recorded(folder)
    known = commands(events)
    if index is None:
        if not known:
            raise UsageError(
                f"{scenario or folder}: no leader appended a client's command; --index names another entry"
            )
        index, term = known[-1]
    story = tell(events, index, term)
    if story is None:
        near = f"; commands are at {known[0][0]} to {known[-1][0]}" if known else ""
        raise UsageError(
            f"--index: no leader appended an entry at index {index}{f' in term {term}' if term else ''}{near}"
        )
    if html is not None:
        with explained(html, "write the diagram"):
            html.write_text(as_html(story), encoding="utf-8")
    print(json.dumps(story_json(story)) if as_json else as_text(story, clocks))
    return 0


def _recorded(folder: Path) -> tuple[Sequence[TraceEvent], str]:
    """Return the events of all traces of a run, causes first; and what was done about several clocks.

    Nothing but a run's own files is looked at.
    """
    from capsize.checker.clocks import on_one_clock, ways_of
    from capsize.checker.trace import causal_order, parse_trace
    from capsize.errors import StoreError
    from capsize.store import run_folder

    files = sorted(run_folder(folder).glob("nodes/*/trace.jsonl"))
    if not files:
        raise StoreError(f"{folder}: its nodes left no trace.jsonl; only systems that trace do (--system raft)")
    traces: list[list[TraceEvent]] = []
    for path in files:
        with path.open("rb") as lines:
            traces.append(list(parse_trace(lines, name=str(path))))
    ways = ways_of(event for trace in traces for event in trace)
    if not ways.disagree:
        return causal_order(traces), ""
    shifts = ways.shifts()
    off_ms = max(shift.slack_ns for shift in shifts.values()) / 1e6
    away = sorted({event.node for trace in traces for event in trace} - set(shifts))
    told = f"The hosts' clocks were put on one by the messages between them, within {off_ms:.1f} ms"
    told += f"; {', '.join(away)} left out: no messages went both ways" if away else ""
    return causal_order([on_one_clock(trace, shifts) for trace in traces]), told


def _played(name: str) -> Sequence[TraceEvent]:
    """Return the events of a directed scenario, played on the clean reference Raft."""
    from capsize.errors import no_such
    from capsize.simulator.scenarios import SCENARIOS, play
    from capsize.simulator.subject import CLEAN

    if name not in SCENARIOS:
        raise no_such("scenario", name, SCENARIOS, flag="--scenario")
    played = play(SCENARIOS[name], CLEAN, record=True)
    return [event for stage in played.stages for event in stage.world.recorded or ()]
