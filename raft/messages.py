"""What servers say to each other. Immutable; on the wire one JSON object each (see `wire`).

    RV  RVR   RequestVote and its reply            §5.2, §5.4
    PV  PVR   pre-vote and its reply               thesis §9.6
    AE  AER   AppendEntries and its reply          §5.3
    IS  ISR   InstallSnapshot and its reply        §7
    TN        TimeoutNow, leadership transfer      thesis §3.10
    RI  RIR   read index asked for and answered    thesis §6.4
    FW  FWR   a client's write forwarded to the leader, and its outcome
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .log import Entry


class RequestVote(NamedTuple):
    id: str
    frm: str
    to: str
    term: int
    last_index: int
    last_term: int
    transfer: bool = False
    """The leader asked for this election: voters do not protect it (thesis §3.10, §4.2.3)."""


class VoteReply(NamedTuple):
    id: str
    frm: str
    to: str
    term: int
    granted: bool


class PreVote(NamedTuple):
    id: str
    frm: str
    to: str
    term: int
    """The term the candidate would start, one above its own."""
    last_index: int
    last_term: int


class PreVoteReply(NamedTuple):
    id: str
    frm: str
    to: str
    term: int
    """The term asked for when granted, else the voter's own."""
    granted: bool


class AppendEntries(NamedTuple):
    id: str
    frm: str
    to: str
    term: int
    prev_index: int
    prev_term: int
    entries: tuple[Entry, ...]
    commit: int
    round: int
    """The leader's newest ReadIndex round (thesis §6.4); the reply carries it back."""


class AppendReply(NamedTuple):
    id: str
    frm: str
    to: str
    term: int
    ok: bool
    index: int  # type: ignore[assignment]  # hides tuple.index
    """ok: everything up to here equals the leader's log and is durable. Not ok: the prev_index that did not match."""
    accepted: int
    """ok: everything up to here equals the leader's log, durable or not yet."""
    conflict_term: int | None
    conflict_index: int
    """Not ok: the conflicting entry's term (None: the log is too short) and the first index to try."""
    round: int


class InstallSnapshot(NamedTuple):
    id: str
    frm: str
    to: str
    term: int
    last_index: int
    last_term: int
    data: str
    round: int


class SnapshotReply(NamedTuple):
    id: str
    frm: str
    to: str
    term: int
    index: int  # type: ignore[assignment]  # hides tuple.index
    round: int


class TimeoutNow(NamedTuple):
    id: str
    frm: str
    to: str
    term: int


class ReadIndexRequest(NamedTuple):
    id: str
    frm: str
    to: str
    term: int
    rid: str


class ReadIndexReply(NamedTuple):
    id: str
    frm: str
    to: str
    term: int
    rid: str
    ok: bool
    index: int  # type: ignore[assignment]  # hides tuple.index


class Forward(NamedTuple):
    id: str
    frm: str
    to: str
    term: int
    """The term in which the sender believes `to` leads; refused in any other."""
    rid: str
    kind: str
    client: str
    seq: int
    data: str


class ForwardReply(NamedTuple):
    id: str
    frm: str
    to: str
    term: int
    rid: str
    outcome: str
    result: Any
    error: str
    log_index: int


Message = (
    RequestVote
    | VoteReply
    | PreVote
    | PreVoteReply
    | AppendEntries
    | AppendReply
    | InstallSnapshot
    | SnapshotReply
    | TimeoutNow
    | ReadIndexRequest
    | ReadIndexReply
    | Forward
    | ForwardReply
)

TYPES: dict[str, Any] = {
    "RV": RequestVote,
    "RVR": VoteReply,
    "PV": PreVote,
    "PVR": PreVoteReply,
    "AE": AppendEntries,
    "AER": AppendReply,
    "IS": InstallSnapshot,
    "ISR": SnapshotReply,
    "TN": TimeoutNow,
    "RI": ReadIndexRequest,
    "RIR": ReadIndexReply,
    "FW": Forward,
    "FWR": ForwardReply,
}
NAMES: dict[type, str] = {kind: name for name, kind in TYPES.items()}


_DESCRIBE: dict[type, Callable[[Any], dict[str, Any]]] = {
    RequestVote: lambda m: {
        "type": "RV", "id": m.id, "from": m.frm, "to": m.to, "term": m.term,
        "last": [m.last_index, m.last_term], "transfer": m.transfer,
    },
    VoteReply: lambda m: {
        "type": "RVR", "id": m.id, "from": m.frm, "to": m.to, "term": m.term, "granted": m.granted,
    },
    PreVote: lambda m: {
        "type": "PV", "id": m.id, "from": m.frm, "to": m.to, "term": m.term, "last": [m.last_index, m.last_term],
    },
    PreVoteReply: lambda m: {
        "type": "PVR", "id": m.id, "from": m.frm, "to": m.to, "term": m.term, "granted": m.granted,
    },
    AppendEntries: lambda m: {
        "type": "AE", "id": m.id, "from": m.frm, "to": m.to, "term": m.term,
        "prev": [m.prev_index, m.prev_term], "n": len(m.entries), "commit": m.commit, "round": m.round,
    },
    AppendReply: lambda m: {
        "type": "AER", "id": m.id, "from": m.frm, "to": m.to, "term": m.term, "ok": True,
        "idx": m.index, "round": m.round,
    } if m.ok else {
        "type": "AER", "id": m.id, "from": m.frm, "to": m.to, "term": m.term, "ok": False,
        "idx": m.index, "conflict": [m.conflict_term, m.conflict_index], "round": m.round,
    },
    InstallSnapshot: lambda m: {
        "type": "IS", "id": m.id, "from": m.frm, "to": m.to, "term": m.term,
        "last": [m.last_index, m.last_term], "round": m.round,
    },
    SnapshotReply: lambda m: {
        "type": "ISR", "id": m.id, "from": m.frm, "to": m.to, "term": m.term, "ok": True,
        "idx": m.index, "round": m.round,
    },
    TimeoutNow: lambda m: {"type": "TN", "id": m.id, "from": m.frm, "to": m.to, "term": m.term},
    ReadIndexRequest: lambda m: {
        "type": "RI", "id": m.id, "from": m.frm, "to": m.to, "term": m.term, "rid": m.rid,
    },
    ReadIndexReply: lambda m: {
        "type": "RIR", "id": m.id, "from": m.frm, "to": m.to, "term": m.term,
        "rid": m.rid, "ok": m.ok, "idx": m.index,
    },
    Forward: lambda m: {"type": "FW", "id": m.id, "from": m.frm, "to": m.to, "term": m.term, "rid": m.rid},
    ForwardReply: lambda m: {
        "type": "FWR", "id": m.id, "from": m.frm, "to": m.to, "term": m.term,
        "rid": m.rid, "ok": m.outcome == "ok",
    },
}  # fmt: skip
"""Each type spelt out: the simulator does this twice for every message."""


def describe(message: Message) -> dict[str, Any]:
    """Return the message as traces show it: without payloads."""
    return _DESCRIBE[type(message)](message)
