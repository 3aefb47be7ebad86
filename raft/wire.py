"""A message as text: a head, which the wire and the trace have in common, and a payload, which only the wire carries.

    {"type":"AE","id":"n2.1.9","from":"n2","to":"n1","term":5,"prev":[16,5],"n":1,"commit":12,"round":3   the head
    ,"payload":[[17,5,"cmd","[…]","c4",7]]                                                                the payload
    }

So a message is spelt once for the network and the trace has it for nothing, and what came in need not be spelt again.
Heads are put together by hand: JSON made from dictionaries cost several times as much. Names of nodes are plain (see
config), ids and rids are made of them and of numbers: nothing in a head needs escaping, and `"payload"` cannot stand in
one. `messages.describe` says the same as a dictionary; a test holds both against each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .json_text import json_text
from .log import Entry
from .messages import (
    NAMES,
    AppendEntries,
    AppendReply,
    Forward,
    ForwardReply,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteReply,
    ReadIndexReply,
    ReadIndexRequest,
    RequestVote,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
)

MARK = ',"payload":'


# -- out --------------------------------------------------------------------------------------------------------------
def head(message: Message) -> str:
    """Return the message as traces show it, without the brace that closes it."""
    return _HEADS[type(message)](message)


def payload(message: Message) -> str:
    """Return what the wire carries besides the head, with its mark; "" when that is nothing."""
    rest = _PAYLOADS.get(type(message))
    return "" if rest is None else MARK + json_text(rest(message))


def head_of(text: str) -> str:
    """Return the head of a message as it came over the wire, on one line; any payload is left out."""
    return text[: text.find(MARK)].replace("\n", " ")  # without a payload: all but the last character, the brace


def _append_reply(m: AppendReply) -> str:
    conflict = ""
    if not m.ok:
        conflict = f',"conflict":[{"null" if m.conflict_term is None else m.conflict_term},{m.conflict_index}]'
    return (
        f'{{"type":"AER","id":"{m.id}","from":"{m.frm}","to":"{m.to}","term":{m.term},'
        f'"ok":{_bool(m.ok)},"idx":{m.index}{conflict},"round":{m.round}'
    )


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _plain(m: Any) -> str:
    """Return what every head begins with."""
    return f'{{"type":"{NAMES[type(m)]}","id":"{m.id}","from":"{m.frm}","to":"{m.to}","term":{m.term}'


_HEADS: dict[type, Callable[[Any], str]] = {
    AppendEntries: lambda m: (
        f'{{"type":"AE","id":"{m.id}","from":"{m.frm}","to":"{m.to}","term":{m.term},'
        f'"prev":[{m.prev_index},{m.prev_term}],"n":{len(m.entries)},"commit":{m.commit},"round":{m.round}'
    ),
    AppendReply: _append_reply,
    Forward: lambda m: f'{{"type":"FW","id":"{m.id}","from":"{m.frm}","to":"{m.to}","term":{m.term},"rid":"{m.rid}"',
    ForwardReply: lambda m: (
        f'{{"type":"FWR","id":"{m.id}","from":"{m.frm}","to":"{m.to}","term":{m.term},"rid":"{m.rid}",'
        f'"ok":{_bool(m.outcome == "ok")}'
    ),
    ReadIndexRequest: lambda m: (
        f'{{"type":"RI","id":"{m.id}","from":"{m.frm}","to":"{m.to}","term":{m.term},"rid":"{m.rid}"'
    ),
    ReadIndexReply: lambda m: (
        f'{{"type":"RIR","id":"{m.id}","from":"{m.frm}","to":"{m.to}","term":{m.term},"rid":"{m.rid}",'
        f'"ok":{_bool(m.ok)},"idx":{m.index}'
    ),
    RequestVote: lambda m: f'{_plain(m)},"last":[{m.last_index},{m.last_term}],"transfer":{_bool(m.transfer)}',
    VoteReply: lambda m: f'{_plain(m)},"granted":{_bool(m.granted)}',
    PreVote: lambda m: f'{_plain(m)},"last":[{m.last_index},{m.last_term}]',
    PreVoteReply: lambda m: f'{_plain(m)},"granted":{_bool(m.granted)}',
    InstallSnapshot: lambda m: f'{_plain(m)},"last":[{m.last_index},{m.last_term}],"round":{m.round}',
    SnapshotReply: lambda m: f'{_plain(m)},"ok":true,"idx":{m.index},"round":{m.round}',
    TimeoutNow: _plain,
}

_PAYLOADS: dict[type, Callable[[Any], Any]] = {
    AppendEntries: lambda m: m.entries,
    AppendReply: lambda m: m.accepted,
    InstallSnapshot: lambda m: m.data,
    Forward: lambda m: (m.kind, m.client, m.seq, m.data),
    ForwardReply: lambda m: (m.outcome, m.result, m.error, m.log_index),
}


# -- in ---------------------------------------------------------------------------------------------------------------
def decode(f: dict[str, Any]) -> Message:
    """Return the message of an object that came over the wire; raises ValueError when it is none."""
    try:
        message: Message = _DECODE[f["type"]](f)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no message: {error}") from error
    return message


def _pair(both: Any) -> tuple[int, int]:
    index, term = both
    return index, term


def _decode_append_reply(f: dict[str, Any]) -> AppendReply:
    term, index = (None, 0) if f["ok"] else f["conflict"]
    return AppendReply(
        f["id"], f["from"], f["to"], f["term"], f["ok"], f["idx"], f["payload"], term, index, f["round"]
    )  # fmt: skip


_DECODE: dict[str, Callable[[dict[str, Any]], Message]] = {
    "AE": lambda f: AppendEntries(
        f["id"], f["from"], f["to"], f["term"], *_pair(f["prev"]), tuple([Entry(*entry) for entry in f["payload"]]),
        f["commit"], f["round"],
    ),
    "AER": _decode_append_reply,
    "FW": lambda f: Forward(f["id"], f["from"], f["to"], f["term"], f["rid"], *f["payload"]),
    "FWR": lambda f: ForwardReply(f["id"], f["from"], f["to"], f["term"], f["rid"], *f["payload"]),
    "RI": lambda f: ReadIndexRequest(f["id"], f["from"], f["to"], f["term"], f["rid"]),
    "RIR": lambda f: ReadIndexReply(f["id"], f["from"], f["to"], f["term"], f["rid"], f["ok"], f["idx"]),
    "RV": lambda f: RequestVote(f["id"], f["from"], f["to"], f["term"], *_pair(f["last"]), f["transfer"]),
    "RVR": lambda f: VoteReply(f["id"], f["from"], f["to"], f["term"], f["granted"]),
    "PV": lambda f: PreVote(f["id"], f["from"], f["to"], f["term"], *_pair(f["last"])),
    "PVR": lambda f: PreVoteReply(f["id"], f["from"], f["to"], f["term"], f["granted"]),
    "IS": lambda f: InstallSnapshot(
        f["id"], f["from"], f["to"], f["term"], *_pair(f["last"]), f["payload"], f["round"]
    ),
    "ISR": lambda f: SnapshotReply(f["id"], f["from"], f["to"], f["term"], f["idx"], f["round"]),
    "TN": lambda f: TimeoutNow(f["id"], f["from"], f["to"], f["term"]),
}  # fmt: skip
