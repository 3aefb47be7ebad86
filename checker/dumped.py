"""Raft's rules on the logs that stopped nodes left (evidence level L2).

    term-fell-in-log    an entry has an older term than the one before it: terms only grow (§5.1), and a leader appends
                        in its own (§5.3), so a log's terms never fall
    logs-do-not-match   two logs hold an entry with the same index and term, and differ there or before it: Log Matching
                        (Figure 3), for entries that both logs still hold

The end of a log may differ: it need not be committed. Entries are compared by index, term and the digest of what they
carry, where a dump tells it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from capsize.verdict import Anomaly, Axis, Finding, Verdict

NAME = "dumped-logs"
Entry = Mapping[str, Any]


def judge_logs(logs: Mapping[str, Sequence[Entry]]) -> Verdict:
    """Return the verdict on the logs of all nodes, by name, the oldest entry first. Cost: linear for each pair."""
    held = {node: entries for node, entries in sorted(logs.items()) if entries}
    if not held:
        return Verdict(NAME, {}, figures={"entries": 0})
    anomalies = [fell for node, entries in held.items() if (fell := _fell(node, entries)) is not None]
    for (one, mine), (other, theirs) in itertools.combinations(held.items(), 2):
        unlike = _unlike(one, mine, other, theirs)
        if unlike is not None:
            anomalies.append(unlike)
    figures = {"logs": len(held), "entries": sum(len(entries) for entries in held.values())}
    because = tuple(f"{anomaly.name}: {anomaly.because[0]}" for anomaly in anomalies)
    return Verdict(NAME, {Axis.SAFETY: Finding(not anomalies, because)}, tuple(anomalies), figures)


def _fell(node: str, entries: Sequence[Entry]) -> Anomaly | None:
    falls = [(before, after) for before, after in itertools.pairwise(entries) if after["term"] < before["term"]]
    if not falls:
        return None
    before, after = falls[0]
    told = [
        f"the log of {node} holds entry {before['index']} of term {before['term']}, and behind it entry "
        f"{after['index']} of term {after['term']}.",
        "Terms only grow, and a leader appends in its own: somebody led in a term that was over.",
    ]
    if len(falls) > 1:
        told.append(f"Terms fall at {len(falls)} places of this log.")
    return Anomaly("term-fell-in-log", tuple(told), events=(_event(node, before), _event(node, after)))


def _event(node: str, entry: Entry) -> Mapping[str, Any]:
    """Return an entry as a node's own event, as the report shows those."""
    return {"node": node, "ev": f"holds entry {entry['index']} of term {entry['term']}", "x": dict(entry)}


def _unlike(one: str, mine: Sequence[Entry], other: str, theirs: Sequence[Entry]) -> Anomaly | None:
    """Return the first difference below, or at, the last entry on which both logs agree in index and term."""
    others = {int(entry["index"]): entry for entry in theirs}
    shared = [(entry, others[int(entry["index"])]) for entry in mine if int(entry["index"]) in others]
    agreed = [number for number, (a, b) in enumerate(shared) if a["term"] == b["term"]]
    if not agreed:
        return None
    for a, b in shared[: agreed[-1] + 1]:
        if a["term"] != b["term"] or ("digest" in a and "digest" in b and a["digest"] != b["digest"]):
            last = shared[agreed[-1]][0]
            told = (
                f"entry {a['index']} is of term {a['term']} ({a.get('digest', '?')}) on {one}, of term {b['term']} "
                f"({b.get('digest', '?')}) on {other}; both hold entry {last['index']} of term {last['term']}.",
                "Two logs that agree in index and term of an entry are the same up to it (Log Matching, Figure 3).",
            )
            return Anomaly("logs-do-not-match", told, events=(_event(one, a), _event(other, b)))
    return None
