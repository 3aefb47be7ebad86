"""The node's own account of what it does: one JSON object a line, written before the messages leave.

The core notes what happens as plain tuples (`Traced`); only who writes a line spells it out. Every line is put together
by hand, and messages as the wire has them (see `wire`): JSON made from dictionaries cost a quarter of the throughput.
`as_line` says the same as a dictionary; a test holds both against each other for every kind of message and event.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from typing import Any, NamedTuple

from .json_text import json_text
from .log import Entry, Position, payload_hash
from .messages import Message, describe
from .wire import head as head_of_message

VERSION = 1
SHOWN_MAX = 4096
MAPPED_BYTES = 1 << 20


class State(NamedTuple):
    """A server's state as its trace shows it; `last` and `base` are (index, term), like `dur`."""

    term: int
    vote: str | None
    role: str
    commit: int
    applied: int
    last: Position
    base: Position
    dur: tuple[int, int | None]
    voters: tuple[str, ...]
    learners: tuple[str, ...]


NOWHERE = State(0, None, "", 0, 0, Position(0, 0), Position(0, 0), (0, 0), (), ())
"""Before the first event."""

Traced = tuple[str, State, Message | None, Sequence[Entry] | None, str | None, Mapping[str, Any] | None]
"""An event: its name, the state it leaves (the same object while nothing changed), message, entries, hash, more."""


def state_changes(before: State | None, state: State) -> dict[str, Any]:
    """Return what a line says of the state: all of it the first time, then what changed."""
    changed: dict[str, Any] = {
        name: value
        for place, (name, value) in enumerate(zip(("term", "vote", "role", "commit", "applied"), state, strict=False))
        if before is None or before[place] != value
    }
    if before is None or state.last != before.last or state.base != before.base:
        changed["last"], changed["base"] = list(state.last), list(state.base)
    if before is None or state.dur != before.dur:
        changed["dur"] = list(state.dur)
    if before is None or state[8:] != before[8:]:
        changed["cfg"], changed["learners"] = list(state.voters), list(state.learners)
    return changed


def shown_entry(entry: Entry) -> dict[str, Any]:
    """Return an entry as traces show it: place, payload hash, kind, request."""
    shown = {"i": entry.index, "t": entry.term, "h": payload_hash(entry), "k": entry.kind}
    return {**shown, "cid": entry.client, "seq": entry.seq} if entry.client else shown


def as_line(item: Traced, before: State | None) -> dict[str, Any]:
    """Return an event as a line holds it, without its head; `before` is the state the line before it left."""
    event, state, message, entries, digest, more = item
    line: dict[str, Any] = {"ev": event}
    if changed := {} if state is before else state_changes(before, state):
        line["st"] = changed
    if message is not None:
        line["msg"] = describe(message)
    if entries is not None:
        line["e"] = [shown_entry(entry) for entry in entries]
    if digest is not None:
        line["h"] = digest
    if more is not None:
        line["x"] = dict(more)
    return line


class TraceWriter:
    """Appends events to a file; `lc` counts the events of one incarnation, from 1."""

    def __init__(self, path: Path, node: str, incarnation: int) -> None:
        self._file = MappedFile(path)
        self._head = f'{{"v":{VERSION},"node":{quoted(node)},"inc":{incarnation},"lc":'
        self._count = 0
        self._state: State | None = None
        self._shown: dict[int, tuple[Entry, str]] = {}
        """Entries as text, from append to apply."""
        self.heads: dict[str, str] = {}
        """Heads of messages by id, for whoever spelt or read them for the wire anyway; forgotten with every `write`."""

    def write(self, events: Sequence[Traced]) -> None:
        """Write events as lines; on return they are in the file, whatever becomes of this process."""
        if not events:
            return
        head, count = self._head, self._count
        times = f',"mono":{time.monotonic_ns()},"wall":{time.time_ns()},"ev":"'
        lines: list[str] = []
        known, before, spellers = self.heads, self._state, _MORE
        for event, state, message, entries, digest, more in events:
            count += 1
            if state is before:
                changed = ""
            else:
                changed, before = self._state_text(state), state
            if message is not None:
                shown = known.get(message.id) or head_of_message(message)
                line = f'{head}{count}{times}{event}"{changed},"msg":{shown}}}'
            else:
                line = f'{head}{count}{times}{event}"{changed}'
            if entries is not None:
                shown = self._entry_text(entries[0]) if len(entries) == 1 else ",".join(map(self._entry_text, entries))
                line += f',"e":[{shown}]'
            if digest is not None:
                line += f',"h":"{digest}"'
            if more is not None:
                line += f',"x":{{{spellers.get(event, _more_text)(more)}}}'
            lines.append(line)
        self._count = count
        known.clear()
        lines.append("")
        self._file.append("}\n".join(lines).encode())

    def _state_text(self, state: State) -> str:
        """Return what changed, as text: by hand where only commit, applied, last or dur did, as with every request."""
        before, self._state = self._state, state
        if before is None:
            return f',"st":{json_text(state_changes(before, state))}'
        term0, vote0, role0, commit0, applied0, last0, base0, dur0, voters0, learners0 = before
        term, vote, role, commit, applied, last, base, dur, voters, learners = state
        same = role is role0 and vote is vote0 and base is base0 and voters is voters0 and learners is learners0
        if not same or term != term0:
            changed = state_changes(before, state)
            return f',"st":{json_text(changed)}' if changed else ""
        text = ""
        if commit != commit0:
            text = f',"commit":{commit}'
        if applied != applied0:
            text += f',"applied":{applied}'
        if last is not last0 and last != last0:
            text += f',"last":[{last[0]},{last[1]}],"base":[{base[0]},{base[1]}]'
        if dur is not dur0 and dur != dur0:
            text += f',"dur":[{dur[0]},{"null" if dur[1] is None else dur[1]}]'
        return f',"st":{{{text[1:]}}}' if text else ""

    def _entry_text(self, entry: Entry) -> str:
        index, term, kind, _, client, seq = entry
        known = self._shown.get(index)
        if known is not None and known[0] is entry:
            return known[1]
        digest = payload_hash(entry)
        if client:
            text = f'{{"i":{index},"t":{term},"h":"{digest}","k":{quoted(kind)},"cid":{quoted(client)},"seq":{seq}}}'
        else:
            text = f'{{"i":{index},"t":{term},"h":"{digest}","k":{quoted(kind)}}}'
        if len(self._shown) >= SHOWN_MAX:
            self._shown.clear()
        self._shown[index] = entry, text
        return text

    def close(self) -> None:
        self._file.close()


# -- what else an event tells, as text; the events of every request are spelt out --------------------------------------
def _text(value: Any) -> str:
    kind = type(value)
    return f"{value}" if kind is int else quoted(value) if kind is str else json_text(value)


def _more_text(more: Mapping[str, Any]) -> str:
    return ",".join([f'"{key}":{_text(value)}' for key, value in more.items()])


_BETWEEN = '","'
_MORE: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "client_submit": lambda x: (
        f'"rid":"{x["rid"]}","cid":{quoted(x["cid"])},"seq":{x["seq"]},"f":{quoted(x["f"])},"key":{_text(x["key"])}'
        + (f',"value":{_text(x["value"])}' if "value" in x else "")
    ),
    "client_reply": lambda x: f'"rid":"{x["rid"]}","outcome":"{x["outcome"]}","index":{x["index"]}',
    "read_index": lambda x: (
        f'"rid":"{x["rid"]}","origin":{_text(x["origin"])},"index":{x["index"]},'
        + (f'"round":{x["round"]}' if "round" in x else f'"lease":{_text(x["lease"])}')
    ),
    "append": lambda x: f'"prev":[{x["prev"][0]},{x["prev"][1]}]',
    "apply": lambda x: f'"hashes":["{_BETWEEN.join(x["hashes"])}"]',
    "read_served": lambda x: (
        f'"rid":"{x["rid"]}","index":{x["index"]},"key":{_text(x["key"])},"applied":{x["applied"]}'
    ),
}


class MappedFile:
    """A file of lines that grows in memory shared with the kernel: what is copied there survives SIGKILL.

    A write would do the same, but lets go of the interpreter's lock each time, and the disk's thread takes it: that
    cost more than the writing. While the file is open it ends in zeros, and after a kill too, perhaps behind half a
    line; whoever opens it next cuts both off. Space is reserved before it is used: a full disk is an OSError.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._end = _end_of_lines(self._file)
        os.ftruncate(self._file, self._end)
        self._start = self._limit = 0
        self._map: mmap.mmap | None = None

    def append(self, data: bytes) -> None:
        """Add whole lines. Raises OSError when there is no room for them."""
        end = self._end + len(data)
        if end > self._limit:
            self._grow(end)
        assert self._map is not None
        self._map[self._end - self._start : end - self._start] = data
        self._end = end

    def _grow(self, end: int) -> None:
        start = self._end - self._end % mmap.ALLOCATIONGRANULARITY
        size = max(MAPPED_BYTES, -(-(end - start) // MAPPED_BYTES) * MAPPED_BYTES)
        if self._map is not None:
            self._map.close()
            self._map, self._limit = None, 0
        if sys.platform == "linux":
            os.posix_fallocate(self._file, start, size)
        else:
            os.ftruncate(self._file, start + size)
        self._map = mmap.mmap(self._file, size, offset=start)
        self._start, self._limit = start, start + size

    def close(self) -> None:
        """Cut off what was not used."""
        if self._map is not None:
            self._map.close()
            self._map = None
        os.ftruncate(self._file, self._end)
        os.close(self._file)


def _end_of_lines(file: int) -> int:
    """Return where the last whole line of a file ends."""
    place = os.fstat(file).st_size
    while place > 0:
        start = max(0, place - 65536)
        newline = os.pread(file, place - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        place = start
    return 0
