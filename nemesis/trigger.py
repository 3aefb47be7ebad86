"""What a fault waits for instead of a time: an election, a term, a log line, another fault, an exact place in the code.

As JSON, the key `when` of a step, with one of the words below; `delay_ms` waits on, `within_s` gives up.

    {"leader": "any"}                                 a node becomes leader (or the named one does)
    {"term": 5}                                       some node is in that term
    {"log": "snapshot taken", "node": "n2"}           a new line of the node's log matches; node "any": of some node's
    {"injected": "split"}  {"healed": "split"}        the step of that name, or number, struck · was healed
    {"failpoint": "after_append", "node": "leader"}   the node is at that very place: it dies there, or waits there
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from capsize.errors import UsageError, no_such
from capsize.nemesis.target import SYMBOLS, asks_for_a_leader, check_target

ANY = "any"


@dataclass(frozen=True)
class Trigger(ABC):
    """Base of all triggers. `within_s`: give up, and skip the fault, when it has not come by then; 0: wait on."""

    delay_ms: float = 0.0
    within_s: float = 0.0

    word: ClassVar[str] = ""
    says: ClassVar[str] = ""
    hooks: ClassVar[frozenset[str]] = frozenset()
    known: ClassVar[dict[str, type[Trigger]]] = {}

    def __init_subclass__(cls) -> None:
        if "word" in vars(cls):
            Trigger.known[cls.word] = cls

    @property
    @abstractmethod
    def subject(self) -> Any:
        """What stands behind the word in JSON."""

    @abstractmethod
    def __str__(self) -> str: ...

    def to_json(self) -> dict[str, Any]:
        """Return the trigger as one JSON object; what has its usual value is left out."""
        more = {key: value for key, value in (("delay_ms", self.delay_ms), ("within_s", self.within_s)) if value}
        return {self.word: self.subject, **self.extras(), **more}

    def extras(self) -> dict[str, Any]:
        """Return further fields as JSON."""
        return {}

    def check(self, nodes: Sequence[str]) -> None:
        """Raise UsageError unless the nodes it names are of this cluster."""
        del nodes


@dataclass(frozen=True)
class BecomesLeader(Trigger):
    """A node leads that did not when this trigger was armed, or leads in a newer term."""

    node: str = ANY

    word = "leader"
    says = "a node becomes leader"
    hooks = frozenset({"status"})

    @property
    def subject(self) -> Any:
        return self.node

    def __str__(self) -> str:
        return f"{'a node' if self.node == ANY else self.node} becomes leader"

    def check(self, nodes: Sequence[str]) -> None:
        _node_or_any(self.node, nodes)


@dataclass(frozen=True)
class TermReaches(Trigger):
    """Some node says that it is in this term, or a later one."""

    term: int = 2

    word = "term"
    says = "some node is in that term"
    hooks = frozenset({"status"})

    @property
    def subject(self) -> Any:
        return self.term

    def __str__(self) -> str:
        return f"the term reaches {self.term}"


@dataclass(frozen=True)
class LogMatches(Trigger):
    """A line that the node's log did not hold when this trigger was armed matches the regular expression."""

    pattern: str = ""
    node: str = ANY

    word = "log"
    says = "a new line of a node's log matches"

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise UsageError(f"the trigger log: {self.pattern!r} is no regular expression: {error}") from None

    @property
    def subject(self) -> Any:
        return self.pattern

    def extras(self) -> dict[str, Any]:
        return {"node": self.node}

    def __str__(self) -> str:
        return f"a line of {'some' if self.node == ANY else self.node + chr(39) + 's'} log matches {self.pattern!r}"

    def check(self, nodes: Sequence[str]) -> None:
        _node_or_any(self.node, nodes)


@dataclass(frozen=True)
class After(Trigger):
    """Another step of the schedule, by its name, struck."""

    step: str = ""

    word = "injected"
    says = "another step struck"

    @property
    def subject(self) -> Any:
        return self.step

    def __str__(self) -> str:
        return f"the step {self.step} is {self.word}"


@dataclass(frozen=True)
class AfterHeal(After):
    """Another step of the schedule, by its name, was healed; "any": whichever is first."""

    word = "healed"
    says = "another step was healed"


@dataclass(frozen=True)
class Failpoint(Trigger):
    """A node reaches a named place in its own code, for the `nth` time, and dies or waits there."""

    place: str = ""
    node: str = "leader"
    nth: int = 1

    word = "failpoint"
    says = "a node is at that very place of its code"
    hooks = frozenset({"failpoints", "arm"})

    @property
    def subject(self) -> Any:
        return self.place

    def extras(self) -> dict[str, Any]:
        return {"node": self.node} | ({"nth": self.nth} if self.nth != 1 else {})

    def __str__(self) -> str:
        return f"the {self.node} reaches {self.place}" if self.node in SYMBOLS else f"{self.node} reaches {self.place}"

    def check(self, nodes: Sequence[str]) -> None:
        check_target(self.node, nodes)

    @property
    def asks_for_a_leader(self) -> bool:
        return asks_for_a_leader(self.node)


FIELDS = {"leader": "node", "term": "term", "log": "pattern", "injected": "step", "healed": "step",
          "failpoint": "place"}  # fmt: skip


def trigger_from_json(data: object) -> Trigger:
    """Return the trigger that `to_json` wrote, or a person did; raises UsageError naming what is wrong.

    >>> trigger_from_json({"failpoint": "after_append", "node": "leader"})
    Failpoint(delay_ms=0.0, within_s=0.0, place='after_append', node='leader', nth=1)
    >>> trigger_from_json({"healed": 2, "delay_ms": 200}).to_json()
    {'healed': '2', 'delay_ms': 200.0}
    """
    words = [key for key in data if key in Trigger.known] if isinstance(data, Mapping) else []
    if not isinstance(data, Mapping) or len(words) != 1:
        raise UsageError(f"when is {data!r}; expected an object with one of {', '.join(Trigger.known)}")
    word = words[0]
    cls = Trigger.known[word]
    made = cls()
    for key, value in data.items():
        name = FIELDS[word] if key == word else str(key)
        if not hasattr(made, name) or (key != word and name == FIELDS[word]) or name.startswith("_"):
            raise no_such(f"field of the trigger {word}", str(key), [word, *made.extras(), "delay_ms", "within_s"])
        made = replace(made, **{name: _typed(word, name, value, getattr(made, name))})
    return made


def _typed(word: str, name: str, value: object, default: object) -> Any:
    if name == "step" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(default, str):
        if isinstance(value, str) and value:
            return value
        expected = "a text"
    elif isinstance(default, int):
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return value
        expected = "a whole number, 1 or more"
    else:
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return float(value)
        expected = "a number, 0 or more"
    raise UsageError(f"the trigger {word}: {name} is {value!r}; expected {expected}")


def _node_or_any(node: str, nodes: Sequence[str]) -> None:
    if node != ANY and node not in nodes:
        raise no_such("node", node, [ANY, *nodes])
