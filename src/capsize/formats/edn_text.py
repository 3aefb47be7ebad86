"""Parse EDN maps, as fast as Python's regular expressions allow.

Keywords and symbols become strings, vectors, lists and sets tuples, maps inside values tuples of pairs; tags are
skipped and what they tag is kept. Only the outermost maps are given out, as dicts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_TOKEN = re.compile(r';.*|"(?:\\.|[^"\\])*"|#\{|#_|\^|#[A-Za-z][^\s{\[("]*|[{}\[\]()]|\\\w+|\\.|[^\s,{}\[\]()";]+|"')
_CLOSING = {"{": "}", "#{": "}", "[": "]", "(": ")"}
_CLOSERS = frozenset(_CLOSING.values())
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ATOMS_REMEMBERED = 1 << 16
TOKENS_MAX = 200_000
"""A map of more words than this is none of an operation."""
_WORDS: dict[str, Any] = {"nil": None, "true": True, "false": False}


class EdnError(ValueError):
    """What stands there is no EDN, or no sequence of maps."""


class EdnReader:
    """Takes lines, gives (line, map) for every outermost map; a map may span lines."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._since = 0
        self._atoms: dict[str, Any] = {}
        self._wrapped = ""
        self._open = 0

    @property
    def is_open(self) -> bool:
        """True while a map goes on that began on an earlier line."""
        return bool(self._waiting)

    def feed(self, text: str, line: int) -> Iterator[tuple[int, dict[Any, Any]]]:
        """Yield the maps that end on this line. Raises EdnError."""
        tokens = _TOKEN.findall(text)
        if not tokens:
            return
        flat = not self._waiting and tokens[0] == "{" and tokens[-1] == "}" and len(tokens) % 2 == 0
        if flat and not _nested(tokens):
            atom = self._atom
            yield line, dict(zip(map(atom, tokens[1:-1:2]), map(atom, tokens[2:-1:2]), strict=True))
            return
        if not self._waiting:
            self._since = line
        tokens = [token for token in tokens if not token.startswith(";")]
        if tokens and tokens[0] in ("[", "(") and not self._wrapped and not self._waiting:
            self._wrapped = _CLOSING[tokens.pop(0)]
        self._open += _opened(tokens)
        self._waiting += tokens
        if len(self._waiting) > TOKENS_MAX:
            raise EdnError(f"a map of more than {TOKENS_MAX:,} words that is still open; expected `}}`")
        if self._open > 0:
            return
        tokens, self._waiting = self._waiting, []
        try:
            yield from self._forms(tokens, line)
        except RecursionError:
            raise EdnError("a value nested too deep; expected a number, a string or a short vector") from None

    def _forms(self, tokens: list[str], line: int) -> Iterator[tuple[int, dict[Any, Any]]]:
        """Yield the maps among `tokens`; what is left waits for the next line."""
        at = 0
        while at < len(tokens):
            token = tokens[at]
            if token == "{":
                found = self._form(tokens, at)
                if found is None:
                    break
                yield self._since, dict(found[0])
                at = found[1]
                self._since = line
            elif token == self._wrapped or (token[0] == "#" and token not in ("#{", "#_")):
                at += 1
            else:
                raise EdnError(f"{token[:30]!r}; expected a map, `{{:process …}}`")
        self._waiting = tokens[at:]
        self._open = _opened(self._waiting)

    def finish(self) -> None:
        """Raise EdnError if a map is open still."""
        if self._waiting:
            raise EdnError("the file ends inside a map; expected `}` (the last line is cut)")

    def _form(self, tokens: list[str], at: int) -> tuple[Any, int] | None:
        """Return (the form that starts at `at`, where the next one starts), or None if it is not complete."""
        if at >= len(tokens):
            return None
        token = tokens[at]
        if token in _CLOSING:
            return self._collection(tokens, at)
        if token in ("#_", "^"):
            dropped = self._form(tokens, at + 1)
            return None if dropped is None else self._form(tokens, dropped[1])
        if token[0] == "#" and len(token) > 1 and token[1].isalpha():
            return self._form(tokens, at + 1)
        if token in ("}", "]", ")"):
            raise EdnError(f"{token!r} where a value was expected")
        return self._atom(token), at + 1

    def _collection(self, tokens: list[str], at: int) -> tuple[Any, int] | None:
        opening = tokens[at]
        closing = _CLOSING[opening]
        items: list[Any] = []
        at += 1
        while at < len(tokens):
            if tokens[at] == closing:
                return _collected(opening, items), at + 1
            found = self._form(tokens, at)
            if found is None:
                return None
            items.append(found[0])
            at = found[1]
        return None

    def _atom(self, token: str) -> Any:
        try:
            return self._atoms[token]
        except KeyError:
            value = _parse_atom(token)
            if len(self._atoms) < _ATOMS_REMEMBERED:
                self._atoms[token] = value
            return value


def _opened(tokens: list[str]) -> int:
    """Return how many collections the tokens leave open."""
    return sum((token in _CLOSING) - (token in _CLOSERS) for token in tokens)


def _nested(tokens: list[str]) -> bool:
    return tokens.count("{") > 1 or not _NESTING.isdisjoint(tokens) or any(token[0] in "#^;" for token in tokens)


_NESTING = frozenset({"[", "(", "#{", '"'})


def _collected(opening: str, items: list[Any]) -> Any:
    if opening == "{":
        if len(items) % 2:
            raise EdnError("a map with a key but no value")
        return tuple(zip(items[::2], items[1::2], strict=True))
    if opening == "#{":
        return tuple(sorted(items, key=repr))
    return tuple(items)


def _parse_atom(token: str) -> Any:
    if token[0] == ":":
        return token[1:]
    if token[0] == '"':
        if len(token) < 2:
            raise EdnError('a string without its closing `"`')
        return _ESCAPE.sub(_unescaped, token[1:-1])
    if token in _WORDS:
        return _WORDS[token]
    if token[0].isdigit() or (token[0] in "+-" and token[1:2].isdigit()):
        try:
            return int(token.rstrip("N"))
        except ValueError:
            pass
        try:
            return float(token.rstrip("M"))
        except ValueError:
            raise EdnError(f"{token[:30]!r} is no number") from None
    return token


def _unescaped(found: re.Match[str]) -> str:
    said = found[1]
    if said[0] == "u" and len(said) == 5:
        return chr(int(said[1:], 16))
    return _ESCAPES.get(said, said)
