"""Tells what another tool's nemesis did in our own words, so that the report draws its faults as bands and marks.

Jepsen records each thing its nemesis does twice, when it sets about it and when it is done, both as `:info`; that a
fault ends is a third such pair under another name (`:kill` … `:start`, `:start-partition` … `:stop-partition`). A
fault reaches from its first line to the last of what ended it; one end ends every fault of its kind. What begins
nothing and ends nothing is a moment. Nothing was proven from outside here, and none of it says that it landed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from capsize.op import NEMESIS
from capsize.pairing import UNTIMED_NS, Paired

Line = Mapping[str, Any]

BY_THEMSELVES: dict[str, tuple[str, ...]] = {
    "start": ("kill", "crash", "stop-node"),
    "restart": ("kill", "crash", "stop-node"),
    "stop": ("start",),
    "resume": ("pause", "suspend"),
    "cont": ("pause", "suspend"),
    "unpause": ("pause",),
    "thaw": ("freeze",),
    "heal": ("partition", "start-partition", "isolate", "cut", "drop", "slow", "flaky"),
    "reset-clock": ("bump-clock", "strobe-clock", "skew-clock"),
    "reset": ("bump", "strobe", "skew"),
    "fast": ("slow",),
    "reliable": ("flaky",),
    "remount": ("unmount",),
    "grow": ("shrink",),
}
"""Words that end a fault begun under another name: Jepsen's packages, and the nemeses of its published tests."""

AFFIXES = (("start", "stop"), ("begin", "end"), ("enable", "disable"), ("inject", "heal"))
"""What begins and what ends a fault, before or behind its name: start-partition, partition-stop."""

NUMBER_MAX = 1 << 62
"""Later than this nothing happens; a line that says so is not drawn, and no operation may say so."""

PARTITIONS = ("isolated", "cut off")
"""How Jepsen's partitioner begins to say what it did."""


@dataclass(slots=True)
class _Act:
    """One thing the nemesis did: the line that set about it, and the line that says it is done."""

    word: str
    lines: list[Line]

    @property
    def start_ns(self) -> int:
        return int(self.lines[0]["time_ns"])

    @property
    def end_ns(self) -> int:
        return int(self.lines[-1]["time_ns"])

    @property
    def detail(self) -> dict[str, Any]:
        told = zip(("asked", "told"), self.lines, strict=False)
        said = {name: line.get("value") for name, line in told if line.get("value") is not None}
        errors = [line["error"] for line in self.lines if line.get("error") is not None]
        return said | ({"error": errors[-1]} if errors else {})


@dataclass(slots=True)
class _Fault:
    name: str
    began: _Act
    ended: _Act | None = None
    targets: list[str] = field(default_factory=list[str])


def in_our_words(paired: Paired) -> Paired:
    """Return `paired` with its nemesis' lines as the events of `history.jsonl` that tell the same, by their times."""
    lines = _timed(paired.faults) if not paired.timed else [
        line for line in paired.faults if 0 <= int(line["time_ns"]) <= NUMBER_MAX
    ]  # fmt: skip
    events: list[Line] = []
    for number, fault in enumerate(_paired(_acts(lines)), 1):
        events += _events(f"{fault.name}-{number}", fault)
    return replace(paired, faults=tuple(sorted(events, key=lambda event: event["time_ns"])))


def _timed(lines: Sequence[Line]) -> list[Line]:
    """Return the lines with times: a recording without any has one event a line, drawn at one distance.

    Those between two operations' events share the gap evenly.
    """
    behind = [max(0, int(line["time_ns"]) - 1 - before) for before, line in enumerate(lines)]
    sizes, seen = Counter(behind), Counter[int]()
    timed: list[Line] = []
    for line, gap in zip(lines, behind, strict=True):
        seen[gap] += 1
        time_ns = (gap - 1) * UNTIMED_NS + UNTIMED_NS * seen[gap] // (sizes[gap] + 1)
        timed.append({**line, "time_ns": max(0, time_ns)})
    return timed


def _acts(lines: Sequence[Line]) -> list[_Act]:
    """Join the two lines of each thing that was done; in the order of their first lines."""
    acts: list[_Act] = []
    underway: dict[Any, _Act] = {}
    for line in lines:
        who, word = line.get("by"), str(line.get("f"))
        open_act = underway.pop(who, None)
        if open_act is not None and open_act.word == word:
            open_act.lines.append(line)
            continue
        acts.append(_Act(word, [line]))
        underway[who] = acts[-1]
    return acts


def _paired(acts: Sequence[_Act]) -> list[_Fault]:
    """Return the faults and the moments; what was never ended has no end."""
    words = {act.word for act in acts}
    faults: list[_Fault] = []
    going_on: dict[str, list[_Fault]] = {}
    for act in acts:
        ended = [fault for word in _ended_by(act.word) for fault in going_on.pop(word, [])]
        for fault in ended:
            fault.ended = act
        if ended:
            continue
        begins = _begins(act, words)
        fault = _Fault(_name(act) if begins else act.word, act, None if begins else act, _targets(act))
        faults.append(fault)
        if begins:
            going_on.setdefault(act.word, []).append(fault)
    return faults


def _begins(act: _Act, words: Set[str]) -> bool:
    """Return whether `act` begins a fault; an end that found nothing to end does not, whatever else its word means."""
    if not words.isdisjoint(_ended_by(act.word)):
        return False
    return act.word in _LASTING or _cuts(act) or any(act.word in _ended_by(other) for other in words)


def _ended_by(word: str) -> tuple[str, ...]:
    """Return the words that `word` ends.

    >>> _ended_by("stop-partition"), _ended_by("partition-heal"), _ended_by("read")
    (('start-partition',), ('partition-inject', 'partition'), ())
    """
    found = list(BY_THEMSELVES.get(word, ()))
    for begin, end in AFFIXES:
        if word.startswith(f"{end}-"):
            found.append(f"{begin}-{word.removeprefix(f'{end}-')}")
        if word.endswith(f"-{end}"):
            found.append(f"{word.removesuffix(f'-{end}')}-{begin}")
    if word.endswith("-heal") or word.startswith("heal-"):
        found.append(word.removesuffix("-heal").removeprefix("heal-"))
    return tuple(found)


_LASTING = frozenset({"kill", "crash", "pause", "suspend", "freeze", "partition", "isolate", "start-partition"})
"""What lasts to the end where nothing could end it, as in a recording that was cut."""


def _name(act: _Act) -> str:
    for begin, _ in AFFIXES:
        if act.word.startswith(f"{begin}-") or act.word.endswith(f"-{begin}"):
            return act.word.removeprefix(f"{begin}-").removesuffix(f"-{begin}")
    return "partition" if act.word == "start" and _cuts(act) else act.word


def _cuts(act: _Act) -> bool:
    return act.word == "start" and any(_is_partition(line.get("value")) for line in act.lines)


def _is_partition(value: Any) -> bool:
    first = value[0] if isinstance(value, list | tuple) and value else value
    return isinstance(first, str) and first.strip('"').lower().startswith(PARTITIONS)


def _targets(act: _Act) -> list[str]:
    """Return the nodes it was done to, as its lines name them; the newest line that names any."""
    for line in reversed(act.lines):
        value = line.get("value")
        if isinstance(value, list | tuple) and len(value) == 2 and _is_partition(value):
            return _most_cut(_as_map(value[1]))
        nodes: list[Any] = list(_as_map(value)) or (list(value) if isinstance(value, list | tuple) else [])
        if nodes and all(isinstance(node, str) for node in nodes):
            return nodes
    return []


def _most_cut(grudges: Mapping[str, Any]) -> list[str]:
    """Return the nodes that were cut from the most others: of two sides, the smaller one."""
    sizes = {node: len(others) if isinstance(others, list | tuple) else 0 for node, others in grudges.items()}
    most = max(sizes.values(), default=0)
    return [node for node, size in sizes.items() if size == most and most > 0]


def _as_map(value: Any) -> dict[str, Any]:
    """Return an EDN map that was read as a dict or as pairs; an empty one for anything else."""
    if isinstance(value, Mapping):
        return {str(word): inside for word, inside in value.items()}
    pairs = value if isinstance(value, list | tuple) else ()
    if all(isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
        return {pair[0]: pair[1] for pair in pairs}
    return {}


def _events(number: str, fault: _Fault) -> list[Line]:
    def event(time_ns: int, phase: str, act: _Act | None = None) -> Line:
        told: dict[str, Any] = {"id": number, "phase": phase, "targets": fault.targets, "proof": "recorded"}
        if act is not None and act.detail:
            told["detail"] = act.detail
        return {"process": NEMESIS, "type": "info", "f": fault.name, "time_ns": time_ns, "value": told}

    found = [event(fault.began.start_ns, "inject", fault.began)]
    if fault.ended is fault.began:
        return [*found, event(fault.began.end_ns, "heal")]
    return found if fault.ended is None else [*found, event(fault.ended.end_ns, "heal", fault.ended)]
