"""What else is known about a moment of a run: the faults that were active, and what the nodes say of a log entry.

Sentences only state what a recording says. A node's clock is placed on the run's by the answers: an operation that
was answered with a term and a log index was first applied, by some node, between its call and its answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from capsize.checker.enumeration import joined
from capsize.checker.trace import TraceEvent
from capsize.history import History
from capsize.op import Operation

MOST_PLACED = 2_000


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """One fault that landed; `end_ns` is None when no heal was recorded."""

    name: str
    targets: tuple[str, ...]
    start_ns: int
    end_ns: int | None
    proven: bool = True

    def __str__(self) -> str:
        until = f"until {at(self.end_ns)}" if self.end_ns is not None else "to the end"
        until += "" if self.proven else ", as recorded"
        return f"{self.name} of {', '.join(self.targets) or 'the cluster'} (from {at(self.start_ns)} {until})"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The faults that landed, and the nodes' events in the order of their clock, placed on the run's (`origin_ns`)."""

    faults: tuple[ActiveFault, ...] = ()
    events: tuple[TraceEvent, ...] = ()
    placed: tuple[int, int] | None = None

    @classmethod
    def of(cls, history: History, traces: Sequence[TraceEvent] = (), origin: int | None = None) -> Surroundings:
        """Gather what is known around `history`; linear, and a sort of the events that matter.

        `origin` is where the run began on the traces' clock, where that was recorded; else the answers tell it.
        """
        told = [event for event in traces if event.ev in _TOLD]
        placed = (origin, 0) if origin is not None else origin_ns(history, told) if told else None
        return cls(landed_faults(history.faults), tuple(sorted(told, key=lambda event: event.mono)), placed)


_TOLD = frozenset({"append", "truncate", "recover", "become_leader", "apply"})


def at(time_ns: int) -> str:
    """Return a moment of the run.

    >>> at(12_377_000_000)
    '12.377 s'
    """
    return f"{time_ns / 1e9:.3f} s"


def moment(time_ns: int) -> str:
    """Return when something happened, as it stands behind a subject; the run's clock begins with the load.

    >>> moment(12_377_000_000), moment(-178_000_000)
    (' at 12.377 s', ', 0.178 s before the load began,')
    """
    return f" at {at(max(time_ns, 0))}" if time_ns > -500_000 else f", {at(-time_ns)} before the load began,"


def landed_faults(lines: Iterable[Mapping[str, Any]]) -> tuple[ActiveFault, ...]:
    """Return the faults that the nemesis' lines prove to have landed, or another tool's record; by their start."""
    seen: dict[Any, dict[str, Any]] = {}
    for line in lines:
        told = line.get("value")
        if not isinstance(told, Mapping) or "id" not in told or not isinstance(line.get("time_ns"), int):
            continue
        fault = seen.setdefault(told["id"], {"name": str(line.get("f")), "targets": (), "landed": False})
        if isinstance(told.get("targets"), list | tuple):
            fault["targets"] = tuple(str(name) for name in told["targets"])
        phase = told.get("phase")
        if phase in ("inject", "heal"):
            fault.setdefault(phase, int(line["time_ns"]))
        if phase in ("inject", "probe") and told.get("landed") is True:
            fault["landed"] = True
            fault.setdefault("inject", int(line["time_ns"]))
        fault["recorded"] = fault.get("recorded") or told.get("proof") == "recorded"
    found = [
        ActiveFault(fault["name"], fault["targets"], fault["inject"], fault.get("heal"), fault["landed"])
        for fault in seen.values()
        if fault["landed"] or fault["recorded"]
    ]
    return tuple(sorted(found, key=lambda fault: fault.start_ns))


def faults_between(faults: Iterable[ActiveFault], start_ns: int, end_ns: int) -> list[ActiveFault]:
    """Return the faults active at some time of the closed interval."""
    return [
        fault for fault in faults if fault.start_ns <= end_ns and (fault.end_ns is None or fault.end_ns >= start_ns)
    ]


def place_of(op: Operation) -> tuple[int, int] | None:
    """Return (index, term) of the log entry an answer names."""
    index, term = op.meta.get("log_index"), op.meta.get("term")
    if isinstance(index, int) and isinstance(term, int) and index > 0 and op.outcome == "ok":
        return index, term
    return None


def origin_ns(history: History, traces: Sequence[TraceEvent]) -> tuple[int, int] | None:
    """Return where the run began on the traces' monotonic clock, and how far off that may be.

    None when no answer tells it.
    """
    applied: dict[tuple[int, int], int] = {}
    for event in traces:
        if event.ev == "apply" and event.mono:
            for entry in event.entries():
                place = (entry.index, entry.term)
                applied[place] = min(event.mono, applied.get(place, event.mono))
    bounds: list[tuple[int, int]] = []
    for op in history:
        named = place_of(op)
        if named in applied and op.return_ns is not None and op.value is not None:
            bounds.append((applied[named] - op.return_ns, applied[named] - op.call_ns))
            if len(bounds) >= MOST_PLACED:
                break
    if not bounds:
        return None
    low, high = max(low for low, _ in bounds), min(high for _, high in bounds)
    if low <= high:
        return (low + high) // 2, (high - low) // 2 + 1_000_000
    return int(median((low + high) / 2 for low, high in bounds)), low - high


def fate_of(place: tuple[int, int], told_ns: int, until_ns: int | None, around: Surroundings) -> list[str]:
    """Return what the nodes' own events say about the entry at `place`, acknowledged at `told_ns`.

    Up to `until_ns`, or to the end. At most four sentences.
    """
    if around.placed is None:
        return []
    index, term = place
    origin, slack = around.placed
    had: dict[str, int] = {}
    unsure = False
    lost: list[str] = []
    led: list[str] = []
    other: list[str] = []
    for event in around.events:
        when = event.mono - origin
        if until_ns is not None and when > until_ns + slack:
            break
        name = f"{event.node}{moment(when)}"
        if event.ev == "append" and any((entry.index, entry.term) == place for entry in event.entries()):
            had.setdefault(event.node, when)
        elif event.node in had and (end := _shortened_to(event)) is not None and end < index:
            if when <= told_ns + slack:  # so it was not there any more when it was acknowledged
                del had[event.node]
                unsure = unsure or when > told_ns - slack
            elif event.ev == "recover":
                lost.append(f"{name} came back with a log that ends at index {end}")
            else:
                lost.append(f"{name} cut its log back to index {end}")
        elif event.ev == "become_leader" and event.state.term > term and event.state.last is not None and not led:
            last = event.state.last
            led.append(
                f"{event.node} became leader of term {event.state.term}{moment(when).rstrip(',')}, "
                f"its last entry {last[0]} of term {last[1]}"
            )
        elif event.ev == "apply" and not other:
            for entry in event.entries():
                if entry.index == index and entry.term != term:
                    other.append(f"{name} applied another entry {index}, of term {entry.term}")
    sentences: list[str] = []
    if had:
        early = [node for node, when in had.items() if when <= told_ns + slack]
        where = joined(sorted(early)) or "no node"
        if early or not unsure:
            sentences.append(
                f"By the nodes' own account, entry {index} of term {term} was on {where} when it was acknowledged."
            )
    if led:
        sentences.append(led[0] + ".")
    if lost:
        sentences.append("; ".join(lost[:MOST_LOST]) + f": entry {index} was gone there.")
    if other:
        sentences.append(other[0] + ".")
    return sentences


MOST_LOST = 5
"""Nodes that are said to have lost an entry, or times that they did."""


def _shortened_to(event: TraceEvent) -> int | None:
    """Return where the log ends after an event that may have made it shorter."""
    end = event.x.get("to") if event.ev == "truncate" else None
    if event.ev == "recover" and event.state.last is not None:
        end = event.state.last[0]
    return end if isinstance(end, int) else None
