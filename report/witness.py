"""The picture and the argument of one anomaly: its few operations as bars, its sentences with links.

A sentence links to an operation wherever it names its number (`#93`), or the exact time at which the operation was
called or answered; any other time links to that moment of the timeline.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from capsize.report.ledger import OUTCOMES, Ledger
from capsize.report.plain import middle_out, seconds, value_text, visible

MOST_DRAWN = 40
MOST_OPEN = 3
"""Anomalies argued at full length; of more, the first of each name."""
_RULE = re.compile(r" \(I\d+, [^\n]*\)\.$")
_LINK = re.compile(r"#(\d{1,12})\b|\b(\d{1,9}\.\d{3}) s\b(?! before (?:the load|#))")


@dataclass(slots=True)
class Step:
    """One operation of a witness; `row` is its place in the ledger, None if it is not there."""

    number: int
    row: int | None
    index: int
    process: str
    node: str
    text: str
    short: str
    outcome: str
    call_ns: int
    return_ns: int | None
    error: str
    evidence: str
    x: float = 0.0
    width: float = 0.0


@dataclass(slots=True)
class Moment:
    """One event of a node's own: `at` is its time in seconds as the page links it, "before" the load, "" if unknown."""

    at: str
    node: str
    told: str
    state: str
    whole: dict[str, Any]


@dataclass(slots=True)
class Contradiction:
    """One anomaly, ready to be shown. Each sentence is a list of parts: (text, kind, target).

    `ends` are the last states from which nothing went on: (state, operations done, [(operation, why not)]).
    """

    name: str
    key: str
    sentences: list[list[tuple[str, str, str]]]
    steps: list[Step] = field(default_factory=list[Step])
    ticks: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    moments: list[Moment] = field(default_factory=list["Moment"])
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    left_out: int = 0
    ends: list[tuple[str, list[str], list[tuple[str, str]]]] = field(
        default_factory=list[tuple[str, list[str], list[tuple[str, str]]]]
    )
    leads: bool = True


def describe(f: str, value: Any, result: Any, outcome: str) -> str:
    """Return an operation as a short phrase.

    >>> describe("write", 18, None, "ok"), describe("read", None, 17, "ok"), describe("read", None, None, "info")
    ('write 18', 'read → 17', 'read → ?')
    """
    word = visible(f, 40)
    if word == "cas" and isinstance(value, list | tuple) and len(value) == 2:
        text = f"cas {value_text(value[0], 40)} → {value_text(value[1], 40)}"
        if outcome == "ok":
            text += " did" if result is not False else " did not match"
    elif value is None:
        text = word
    else:
        text = f"{word} {value_text(value, 60)}"
    if word == "cas" or (value is not None and result is None):
        return text if outcome != "info" else f"{text} ?"
    if outcome == "ok":
        return f"{text} → {value_text(result, 60)}"
    return f"{text} → ?" if outcome == "info" else text


def described(ledger: Ledger, row: int) -> str:
    """Return an operation of the ledger as a short phrase."""
    asked, told = (
        "" if code < 0 else str(ledger.values.table[code]) for code in (ledger.argument[row], ledger.result[row])
    )
    text = f"{ledger.word(ledger.f[row])} {asked}".strip()
    if OUTCOMES[ledger.outcome[row]] == "info":
        return f"{text} ?"
    return f"{text} → {told}" if told and not (asked and told == "null") else text


def contradictions(verdict: dict[str, Any], ledger: Ledger, origin: int | None = None) -> list[Contradiction]:
    """Return the anomalies of `verdict`, their operations found in `ledger`; whatever is malformed is left out.

    `origin` is where the run began on the clock of the nodes' events, in nanoseconds.
    """
    places = {(ledger.process[row], ledger.call_us[row]): row for row in range(len(ledger))}
    found: list[Contradiction] = []
    anomalies = _list(verdict.get("anomalies"))
    for anomaly in anomalies:
        if isinstance(anomaly, dict):
            shown = _contradiction(anomaly, ledger, places, origin)
            shown.leads = len(anomalies) <= MOST_OPEN or (
                sum(other.leads for other in found) < MOST_OPEN and shown.name not in {other.name for other in found}
            )
            found.append(shown)
    return found


def _contradiction(
    anomaly: dict[str, Any], ledger: Ledger, places: dict[tuple[int, int], int], origin: int | None
) -> Contradiction:
    operations: list[dict[str, Any]] = [item for item in _list(anomaly.get("operations")) if isinstance(item, dict)]
    operations.sort(key=lambda item: _whole(item.get("call_ns")))
    steps = [_step(number, item, ledger, places) for number, item in enumerate(operations[:MOST_DRAWN], 1)]
    details = anomaly.get("details")
    key = anomaly.get("key")
    because = [str(line) for line in _list(anomaly.get("because"))]
    if isinstance(details, dict) and "invariant" in details:  # the page names the rule by itself
        because = [_RULE.sub(".", line) for line in because]
    shown = Contradiction(
        name=visible(str(anomaly.get("name", "anomaly")), 80),
        key="" if key is None else visible(key) if isinstance(key, str) else value_text(key),
        sentences=[linked(visible(line, 2000), steps) for line in because],
        steps=steps,
        moments=[_moment(event, origin) for event in _list(anomaly.get("events")) if isinstance(event, dict)],
        details=referred(details) if isinstance(details, dict) else {},
        left_out=max(0, len(operations) - MOST_DRAWN),
    )
    shown.ticks = place(steps)
    shown.ends = _ends(shown.details.pop("last", None))
    return shown


ROLES = {"L": "leader", "F": "follower", "C": "candidate", "P": "pre-candidate"}


def _moment(event: dict[str, Any], origin: int | None) -> Moment:
    """Return an event of a trace as a line: what happened, and the state it left the node in."""
    found = event.get("st")
    state: dict[str, Any] = found if isinstance(found, dict) else {}
    words = [ROLES.get(str(state.get("role")), "")]
    for name in ("term", "vote", "commit", "applied"):
        if state.get(name) is not None:
            words.append(f"{name} {value_text(state[name], 40)}")
    for name, text in (("last", "last entry"), ("dur", "durable up to")):
        place = state.get(name)
        if isinstance(place, list | tuple) and len(place) == 2:
            words.append(f"{text} {value_text(place[0], 40)} of term {value_text(place[1], 40)}")
    told = [visible(str(event.get("ev", "?")), 60).replace("_", " ")]
    message = event.get("msg")
    if isinstance(message, dict) and message:
        told.append(
            f"{visible(str(message.get('type')), 20)} {visible(str(message.get('from')), 40)} → "
            f"{visible(str(message.get('to')), 40)}"
        )
    for name in ("e", "x"):
        if event.get(name):
            told.append(value_text(event[name], 160))
    mono = event.get("mono")
    time = f"{(mono - origin) / 1e9:.3f}" if isinstance(mono, int) and origin is not None else ""
    if mono is None:  # what a node said when it was polled has no time but that
        polled = re.search(r"\bat (\d{1,9}\.\d{3}) s\b", str(event.get("ev")))
        time = polled.group(1) if polled else ""
    return Moment(
        time if not time.startswith("-") else "before", visible(str(event.get("node", "?")), 40), " · ".join(told),
        ", ".join(word for word in words if word), event,
    )  # fmt: skip


NUMBERS = frozenset({"operations", "rows", "row", "at", "done", "refused"})
"""Words under which the engines keep operations by their number."""


def referred(item: Any, word: str = "") -> Any:
    """Return the details of an anomaly with operations written as `#93`, which the page links.

    >>> referred({"zones": [{"operations": [3, 4], "steps": 3}]})
    {'zones': [{'operations': ['#3', '#4'], 'steps': 3}]}
    """
    if isinstance(item, dict):
        return {key: referred(inside, str(key)) for key, inside in item.items()}
    if isinstance(item, list | tuple):
        return [referred(inside, word) for inside in item]
    if word in NUMBERS and isinstance(item, int) and not isinstance(item, bool) and item >= 0:
        return f"#{item}"
    return item


def _ends(last: Any) -> list[tuple[str, list[str], list[tuple[str, str]]]]:
    """Return the last states that were possible: each with what had been done by then, and what it refused and why."""
    found: list[tuple[str, list[str], list[tuple[str, str]]]] = []
    for end in _list(last)[:8]:
        if isinstance(end, dict):
            refused = [
                (str(one.get("row", "")), visible(str(one.get("why", "")), 200))
                for one in _list(end.get("refused"))
                if isinstance(one, dict)
            ]
            done = [str(row) for row in _list(end.get("done"))[:20]]
            found.append((visible(str(end.get("state", "?")), 200), done, refused))
    return found


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _step(number: int, item: dict[str, Any], ledger: Ledger, places: dict[tuple[int, int], int]) -> Step:
    outcome = str(item.get("outcome"))
    row = places.get((_whole(item.get("process")), _whole(item.get("call_ns")) // 1000))
    meta = item.get("meta")
    facts = meta if isinstance(meta, dict) else {}
    words = [word for word in ("term", "log_index") if word in facts]
    told = [f"{word.replace('_', ' ')} {value_text(facts[word], 40)}" for word in words]
    if facts.get("served_by") is not None:
        told.insert(0, f"served by {visible(str(facts['served_by']), 40)}")
    back = item.get("return_ns")
    text = describe(str(item.get("f")), item.get("value"), item.get("result"), outcome)
    return Step(
        number=number,
        row=row,
        index=ledger.index[row] if row is not None else -1,
        process=visible(str(item.get("process")), 40),
        node=visible(str(item.get("node") or ""), 40),
        text=text,
        short=middle_out(text),
        outcome=outcome if outcome in OUTCOMES else "info",
        call_ns=_whole(item.get("call_ns")),
        return_ns=_whole(back) if isinstance(back, int | float) else None,
        error=visible(str(item.get("error") or "")),
        evidence=", ".join(told),
    )


def linked(sentence: str, steps: list[Step]) -> list[tuple[str, str, str]]:
    """Split a sentence into plain parts and parts that link to an operation ("op") or a moment ("at")."""
    by_number = {step.index: step for step in steps}
    times: dict[str, Step] = {}
    for step in steps:
        for time in (step.call_ns, step.return_ns):
            if time is not None:
                times.setdefault(seconds(time), step)
    parts: list[tuple[str, str, str]] = []
    position = 0
    for match in _LINK.finditer(sentence):
        if match.group(1):
            kind, target = "op", str(int(match.group(1)))
            if int(target) not in by_number and len(target) > 9:
                continue
        elif match.group() in times:
            kind, target = "op", str(times[match.group()].index)
        else:
            kind, target = "at", match.group(2)
        parts.append((sentence[position : match.start()], "", ""))
        parts.append((match.group(), kind, target))
        position = match.end()
    parts.append((sentence[position:], "", ""))
    return [part for part in parts if part[0]]


def place(steps: list[Step]) -> list[tuple[float, str]]:
    """Set each step's `x` and `width` in percent; return the axis' ticks.

    Order is kept exactly; lengths are not: the gap between two neighbouring moments is drawn with its logarithm,
    so that a read of a millisecond and a write of four seconds are both seen.
    """
    moments = sorted({time for step in steps for time in (step.call_ns, step.return_ns) if time is not None})
    if not moments:
        return []
    spans = [max(1, b - a) for a, b in pairwise(moments)]
    weights = [max(1.0, len(str(span // 50_000)) * 1.0) for span in spans]
    scale = 92 / (sum(weights) or 1)
    places, x = {moments[0]: 2.0}, 2.0
    for moment, weight in zip(moments[1:], weights, strict=True):
        x += weight * scale
        places[moment] = x
    for step in steps:
        step.x = places[step.call_ns]
        step.width = (places[step.return_ns] if step.return_ns is not None else 100.0) - step.x
    ticks, last = [], -100.0
    for moment in moments:
        if places[moment] - last >= 14 and places[moment] <= 90:
            last = places[moment]
            ticks.append((last, seconds(moment)))
    return ticks
