"""What every invariant has: a name, its source, the evidence it needs, and handlers for the events it judges.

A rule's method `on_append` is called for every `append` event, `on_state` whenever an event changed the node's
state; `on_send` and `on_recv` for messages of the types that it `sends` and `receives`. It counts each comparison it
makes in `checks`: a rule that compared nothing has not judged anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from capsize.checker.invariants.replica import Cluster, Replica
from capsize.checker.trace import TraceEvent
from capsize.verdict import Anomaly

Handler = Callable[[TraceEvent, Replica], None]


class Rule:
    """One invariant over the events of all nodes, fed in an order in which sending comes before receiving."""

    id: ClassVar[str]
    name: ClassVar[str]
    """The anomaly's name when the rule is broken."""
    title: ClassVar[str]
    source: ClassVar[str]
    """Section of the Raft paper (Ongaro & Ousterhout 2014, extended version) or of Ongaro's thesis (2014)."""
    needs: ClassVar[str]
    """What a trace must hold so that the rule can judge it."""
    sends: ClassVar[frozenset[str] | None] = None
    receives: ClassVar[frozenset[str] | None] = None
    """The types of message that `on_send` and `on_recv` look at; None: every one."""
    kept: ClassVar[int] = 5
    """Anomalies reported in full; further ones are counted."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.checks = 0
        self.broken = 0
        self.anomalies: list[Anomaly] = []

    def handler(self, event: str, message: str | None = None) -> Handler | None:
        """Return what judges an event, given the type of its message; "state" stands for every change of state."""
        wanted = self.sends if event == "send" else self.receives if event == "recv" else None
        return getattr(self, f"on_{event}", None) if wanted is None or message in wanted else None

    def forget(self, node: str) -> None:
        """Drop what is kept of a node by its name: it comes back as a new server, and owes what no other does."""
        for kept in vars(self).values():
            if isinstance(kept, dict):
                for key in [key for key in kept if key == node or (isinstance(key, tuple) and key[:1] == (node,))]:
                    del kept[key]

    def report(self, because: str, *events: TraceEvent | None, **details: Any) -> None:
        """Record that the rule is broken, with the events that prove it."""
        self.broken += 1
        if len(self.anomalies) < self.kept:
            self.anomalies.append(
                Anomaly(
                    name=self.name,
                    because=(self.sentence(because),),
                    events=tuple(event.to_json() for event in events if event is not None),
                    details={
                        "invariant": self.id,
                        "node": events[-1].node if events and events[-1] else None,
                        **details,
                    },
                )
            )

    def sentence(self, because: str) -> str:
        """Return why, with the rule that was broken and where it stands."""
        return f"{because} ({self.id}, {self.title}: {self.source})."
