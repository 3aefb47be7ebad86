"""The quick way to read EDN: a block of lines with one plain map each is rewritten to JSON and parsed by orjson.

The rewriting is a handful of plain replacements, learnt from the block. What they do not fit (tags, sets, lists,
comments, a map over two lines) makes no JSON and is declined, never guessed; then `capsize.formats.edn_text` reads
the block, twenty times slower.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

_STRING = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_NOT_PLAIN = (b"#", b";", b"(", b")", b"^", b"\\", b'"', b"~", b"@")
_KEY = re.compile(rb"(?:^|[{,]) *:([^\s,{}\[\]:]+) ")
_KEYWORD = re.compile(rb"([:\[ ]):([^\s,{}\[\]:]+)")
_MARK = b"\x01"
_WORDS_MAX = 100
"""More different keywords than this are no plain history."""


class PlainMaps:
    """Reads blocks; remembers which keys and keywords occur."""

    def __init__(self) -> None:
        self._keys: list[bytes] = []
        self._keywords: list[tuple[bytes, bytes]] = []  # what stands before it, and the word

    def read(self, block: bytes) -> list[dict[Any, Any]] | None:
        """Return one dict per line, keywords as strings and vectors as lists; None if the block is not that plain."""
        pieces = _STRING.split(block)
        outside = pieces[::2]
        plain = _MARK.join(outside).rstrip(b"\n")
        if any(sign in plain for sign in _NOT_PLAIN):
            return None
        found = self._parse(plain, pieces[1::2]) if self._keys else None
        if found is None and self._learn(plain):
            found = self._parse(plain, pieces[1::2])
        return found

    def _learn(self, plain: bytes) -> bool:
        """Find the keys and the keywords of a block; False if they are too many."""
        keys = set(_KEY.findall(plain)) | set(self._keys)
        keywords = set(_KEYWORD.findall(self._with_keys(plain, keys))) | set(self._keywords)
        self._keys = sorted(keys, key=len, reverse=True)
        self._keywords = sorted(keywords, key=lambda found: len(found[1]), reverse=True)
        return len(keys) + len(keywords) <= _WORDS_MAX

    def _with_keys(self, plain: bytes, keys: Any) -> bytes:
        for key in keys:
            plain = plain.replace(b"{:%b " % key, b'{"%b":' % key).replace(b", :%b " % key, b',"%b":' % key)
        return plain

    def _parse(self, plain: bytes, strings: list[bytes]) -> list[dict[Any, Any]] | None:
        body = self._with_keys(plain, self._keys)
        for lead, word in self._keywords:  # longer ones first: none is mistaken for its own beginning
            body = body.replace(lead + b":" + word, lead + b'"' + word + b'"')
        body = body.replace(b", ", b",").replace(b" ", b",")
        for lead in (b":", b",", b"["):
            body = body.replace(lead + b"nil", lead + b"null")
        lines = body.count(b"\n") + 1
        text = b"[" + body.replace(b"\n", b",") + b"]"
        if strings:
            outside = text.split(_MARK)
            woven: list[bytes] = [b'"'] * (4 * len(outside) - 3)
            woven[::4] = outside
            woven[2::4] = strings
            text = b"".join(woven)
        try:
            maps: list[Any] = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        if len(maps) != lines or any(type(one) is not dict for one in maps):
            return None
        return maps
