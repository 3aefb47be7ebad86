"""The trace as lines of JSON: one line for all that a turn of the event loop brought, written before it has effects.

    {"v":1,"node":"n1","inc":3,"mono":…,"wall":…,"lc":40,"evs":[       what its events have in common, first `lc`
    {"ev":"recv","msg":{…},"st":{"commit":7}},{"ev":"send",…}]}        each event, with what it changed

Everything is put together by hand as it happens, and messages as the wire has them (see `wire`): JSON made from
dictionaries cost a quarter of the throughput, events that were noted first and spelt later an eighth.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import time
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from typing import Any

from .json_text import json_text
from .log import COMMAND, START, Entry, Position, payload_hash
from .messages import Message
from .trace import State, Tracer, is_short, state_changes, state_of
from .wire import head, head_of

VERSION = 1
REMEMBERED_MAX = 4096
MAPPED_BYTES = 1 << 20
MADV_POPULATE_WRITE = 23
"""Linux: fetch all pages now, at once, for a tenth of what it costs one by one."""
BETWEEN = '","'


class LineTracer(Tracer):
    """Spells events as lines and appends them to a file; `lc` counts the events of one incarnation, from 1."""

    def __init__(self, path: Path, node: str, incarnation: int) -> None:
        super().__init__()
        self._file = MappedFile(path)
        self._head = f'{{"v":{VERSION},"node":{quoted(node)},"inc":{incarnation},"mono":'
        self._count = 1
        self._seen: tuple[Any, ...] = (None,) * 8
        """The state that the last line left, with `_last`, `_base` and `_dur`; all None before the first."""
        self._last: tuple[int, int] = START
        self._base = START
        self._dur: tuple[int, int | None] = START
        self._entries: dict[int, tuple[Entry, str]] = {}
        """Entries as text, from append to apply."""
        self.events: list[str] = []
        """What was noted and is not in the file yet, each without its beginning and its end."""
        self.came = ""
        """What a message that comes next looked like on the wire: it need not be spelt again."""
        self.heads: list[str] = []
        """Heads of the messages that were sent, in their order: whoever sends them need not spell them again."""

    def write(self) -> None:
        """Write what was noted; on return it is in the file, whatever becomes of this process."""
        if self._applied:
            self.all_applied()
        events = self.events
        if events:
            first = f'{self._head}{time.monotonic_ns()},"wall":{time.time_ns()},"lc":{self._count},"evs":[{{"ev":"'
            self._file.append(f"""{first}{'},{"ev":"'.join(events)}}}]}}\n""".encode())
            self._count += len(events)
            events.clear()

    def close(self) -> None:
        """Close the file; what was noted and not written is lost."""
        self._file.close()

    # -- events --------------------------------------------------------------------------------------------------------
    def note(
        self,
        event: str,
        message: Message | None = None,
        entries: Sequence[Entry] | None = None,
        digest: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        text = f'{event}"'
        if message is not None:
            text += f',"msg":{head(message)}}}'
        if entries is not None:
            text += f',"e":[{self._entries_text(entries)}]'
        if digest is not None:
            text += f',"h":"{digest}"'
        if more is not None:
            text += f',"x":{json_text(more)}'
        self._add(text)

    def sent(self, message: Message) -> None:
        shown = head(message)
        self.heads.append(shown)
        self._add(f'send","msg":{shown}}}')

    def received(self, message: Message) -> None:
        came = self.came
        if came:
            self.came = ""
            self._add(f'recv","msg":{head_of(came)}}}')
        else:
            self._add(f'recv","msg":{head(message)}}}')

    def appended(self, entries: Sequence[Entry], previous: Position) -> None:
        index, term = previous
        self._add(f'append","e":[{self._entries_text(entries)}],"x":{{"prev":[{index},{term}]}}')

    def all_applied(self) -> None:
        if self._applied:
            applied, hashes = self.take_applied()
            shown = ",".join(map(self._entry_text, applied))
            each = f',"x":{{"hashes":["{BETWEEN.join(hashes)}"]}}' if len(hashes) > 1 else ""
            self._add(f'apply","e":[{shown}],"h":"{hashes[-1]}"{each}')

    def submitted(self, rid: str, client: str, seq: int, f: str, key: Any, value: Any) -> None:
        asked = f"{key}" if type(key) is int else _text(key)
        if type(value) is int:
            asked = f'{asked},"value":{value}'
        elif is_short(value):
            asked = f'{asked},"value":{_text(value)}'
        self._add(
            f'client_submit","x":{{"rid":"{rid}","cid":{quoted(client)},"seq":{seq},"f":{quoted(f)},"key":{asked}}}'
        )

    def replied(self, rid: str, outcome: str, index: int) -> None:
        self._add(f'client_reply","x":{{"rid":"{rid}","outcome":"{outcome}","index":{index}}}')

    def read_indexed(self, rid: str, origin: str | None, index: int, number: int) -> None:
        sure = f'"round":{number}' if number else '"lease":true'
        who = "null" if origin is None else f'"{origin}"'
        self._add(f'read_index","x":{{"rid":"{rid}","origin":{who},"index":{index},{sure}}}')

    def read_served(self, rid: str, index: int, key: Any, applied: int) -> None:
        asked = f"{key}" if type(key) is int else _text(key)
        self._add(f'read_served","x":{{"rid":"{rid}","index":{index},"key":{asked},"applied":{applied}}}')

    # -- text ----------------------------------------------------------------------------------------------------------
    def _add(self, text: str) -> None:
        """Add an event, of which `text` says everything but what changed."""
        if self._applied:
            self.all_applied()
        server = self.server
        seen = (
            server.term, server.vote, server.role, server.commit_index, server.applied_index, server.durable_index,
            server.log.version, server.configurations.current,
        )  # fmt: skip
        self.events.append(text if seen == self._seen else text + self._changes(seen))

    def _changes(self, seen: tuple[Any, ...]) -> str:
        """Return what changed, as text: by hand where only commit, applied, last or dur did, as with every request."""
        known, self._seen = self._seen, seen
        term0, vote0, role0, commit0, applied0, durable0, version0, members0 = known
        term, vote, role, commit, applied, durable, version, members = seen
        if term != term0 or vote != vote0 or role != role0 or members is not members0:
            return self._changes_at_large(known)
        text = "" if commit == commit0 else f',"commit":{commit}'
        if applied != applied0:
            text = f'{text},"applied":{applied}'
        if version == version0 and durable == durable0:
            return f',"st":{{{text[1:]}}}'
        log = self.server.log
        last, base, dur = log.end(), log.base, (durable, log.term_at(durable))
        if last != self._last:
            self._last = last
            text = f'{text},"last":[{last[0]},{last[1]}]'
        if base is not self._base and base != self._base:
            self._base = base
            text = f'{text},"base":[{base[0]},{base[1]}]'
        if dur != self._dur:
            self._dur = dur
            text = f'{text},"dur":[{durable},{"null" if dur[1] is None else dur[1]}]'
        return f',"st":{{{text[1:]}}}' if text else ""

    def _changes_at_large(self, known: tuple[Any, ...]) -> str:
        """Return what changed, whatever it is; before the first line, the whole state."""
        before, state = None, state_of(self.server)
        if known[7] is not None:
            members = known[7]
            parts = (*known[:5], self._last, self._base, self._dur, members.voters, members.learners)
            before = State._make(parts)
        self._last, self._base, self._dur = state.last, state.base, state.dur
        changed = state_changes(before, state)
        return f',"st":{json_text(changed)}' if changed else ""

    def _entries_text(self, entries: Sequence[Entry]) -> str:
        return self._spelt(entries[0]) if len(entries) == 1 else ",".join(map(self._spelt, entries))

    def _spelt(self, entry: Entry) -> str:
        """Return an entry as text, which is remembered until it is applied."""
        index, term, kind, _, client, seq = entry
        text = f'{{"i":{index},"t":{term},"h":"{payload_hash(entry)}"'
        if kind is not COMMAND and kind != COMMAND:
            text += f',"k":"{kind}"'
        text += f',"cid":{quoted(client)},"seq":{seq}}}' if client else "}"
        if len(self._entries) >= REMEMBERED_MAX:
            self._entries.clear()
        self._entries[index] = entry, text
        return text

    def _entry_text(self, entry: Entry) -> str:
        known = self._entries.get(entry[0])
        return known[1] if known is not None and known[0] is entry else self._spelt(entry)


def _text(value: Any) -> str:
    kind = type(value)
    return f"{value}" if kind is int else quoted(value) if kind is str else json_text(value)


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
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # before Linux 5.14 every page is fetched when it is first written
                self._map.madvise(MADV_POPULATE_WRITE)
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
