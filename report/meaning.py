"""What the names of anomalies mean: the field's word for it, one sentence, and the rule of Raft that was broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from capsize.checker.invariants import INVARIANTS

SPLIT = "split brain"
DIVERGED = "diverged replicas"
TWICE = "duplicated application"
LOST = "a promise that can lose writes"

MEANINGS: dict[str, tuple[str, str]] = {
    "lost-write": ("lost write", "A client was told that its write is done, and it is gone."),
    "lost-update": ("lost update", "Two clients replaced the same value; one of the two is gone without a trace."),
    "lost-element": ("lost write", "A client was told that its element is in, and it is gone."),
    "lost-increment": ("lost write", "A client was told that it was counted, and the count lacks it."),
    "double-increment": (TWICE, "What a client asked for once was counted twice."),
    "duplicate-element": (TWICE, "What a client added once is there twice."),
    "dequeued-twice": (TWICE, "One element was handed to two clients."),
    "duplicate-token": (TWICE, "One fencing token was handed out twice."),
    "stale-read": ("stale read", "A client was shown the past, after somebody had been told of the new value."),
    "stale-token": ("stale read", "A lock was granted with a token that is not newer than an older one."),
    "dirty-read": ("dirty read", "A client was shown a write that is said to have failed."),
    "garbage-read": ("garbage read", "A client was shown a value that nobody wrote."),
    "future-read": ("read from the future", "A client was shown a value before anybody had asked for it."),
    "fractured-read": ("fractured read", "A client saw one half of what was written at once."),
    "out-of-order": ("reordered", "What was put in first did not come out first."),
    "two-holders": (SPLIT, "Two clients held one lock at the same time."),
    "released-unheld": ("lock broken", "A lock was given back by somebody who did not hold it."),
    "diverged-reads": (DIVERGED, "The nodes answer the same question differently, and not because one is behind."),
    "not-linearizable": ("not linearizable", "No order of what was done explains what the clients were told."),
    "taken-twice": (TWICE, "One element was handed to two clients."),
    "lock-held-twice": (SPLIT, "Two clients held one lock at the same time."),
    "token-out-of-order": ("stale read", "A lock was granted with a token that is not newer than an older one."),
    "diverged-replicas": (DIVERGED, "Nodes that applied the same entries hold different data."),
    "term-fell-in-log": (LOST, "In a node's log an entry has an older term than the one before it."),
    "term-forgotten": (LOST, "A node led in a term and was later in an older one: it forgot what it had promised."),
    "leader-of-the-past": (SPLIT, "A node became leader in a term older than one in which somebody had led before."),
    "commit-went-back": (LOST, "A commit index went back although the process went on running."),
    "unavailable": ("unavailability", "The system did not serve again after everything was healed."),
    "did-not-recover": ("unavailability", "The system did not serve again after everything was healed."),
    "node-stopped-itself": ("unavailability", "A node ended by itself."),
    "two-leaders-in-a-term": (SPLIT, "Two nodes led in the same term: both may take writes, and one side's are lost."),
    "voted-twice": (SPLIT, "A node gave two votes in one term, so that two leaders can be elected in it."),
    "elected-without-a-majority": (SPLIT, "A node led without a majority's votes; another one can lead beside it."),
    "vote-for-a-stale-log": (LOST, "A node voted for a candidate whose log is older than its own."),
    "refused-an-electable-candidate": ("unavailability", "A node refused a vote that it should have given."),
    "leader-rewrote-its-log": (LOST, "A leader changed entries of its own log, which others may hold already."),
    "logs-do-not-match": (DIVERGED, "Two logs hold the same entry, and differ before it."),
    "leader-lacks-committed-entry": ("lost write", "A leader was elected that lacks a committed entry: it is lost."),
    "committed-an-old-term-by-counting": (LOST, "An entry of an older term was committed by counting copies of it; "
                                          "a later leader can still overwrite it (Figure 8)."),
    "committed-logs-differ": (DIVERGED, "Two nodes committed different entries at the same place."),
    "ran-backwards": (LOST, "A term, a vote or a commit index went back."),
    "applied-different-entries": (DIVERGED, "Two nodes applied different entries at the same place."),
    "applied-out-of-order": (TWICE, "A node applied entries out of order, or one of them again."),
    "applied-before-committed": ("dirty read", "A node applied what was not committed: it can show what never was."),
    "forgot-a-promise": (LOST, "After a restart a node had forgotten what it had promised: its term, vote or entries."),
    "promised-before-durable": (LOST, "A node answered before its disk held the answer: a power failure loses it."),
    "truncated-without-conflict": (LOST, "A node cut off entries that did not contradict the leader's."),
    "committed-without-a-majority": (LOST, "An entry was committed with too few copies: losing few nodes loses it."),
    "state-machines-differ": (DIVERGED, "After the same entry, two nodes hold different data."),
    "unsafe-membership-change": (SPLIT, "The membership was changed in a way that allows two majorities."),
    "unsafe-read": ("stale read", "A read was served without proof that its node still led: it can show the past."),
    "request-applied-twice": (TWICE, "A request that a client sent once took effect twice."),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Meaning:
    """The field's word, a sentence for a stranger; and for a rule of Raft its number, title and source."""

    word: str = ""
    sentence: str = ""
    rule: str = ""
    title: str = ""
    source: str = ""


def meaning_of(name: str, details: Any) -> Meaning:
    """Return what an anomaly of that name means; an empty Meaning for a name that nobody knows.

    >>> meaning_of("stale-read", {}).word, meaning_of("unsafe-read", {"invariant": "I19"}).title
    ('stale read', 'ReadIndex reads')
    """
    word, sentence = MEANINGS.get(name, ("", ""))
    number = details.get("invariant") if isinstance(details, dict) else None
    rule = INVARIANTS.get(str(number))
    if rule is None:
        return Meaning(word, sentence)
    return Meaning(word, sentence, rule.id, rule.title, rule.source)
