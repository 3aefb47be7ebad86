"""I18: membership changes one server at a time, one after the other, by a leader that has committed in its term."""

from __future__ import annotations

from capsize.checker.invariants.replica import Cluster, Replica
from capsize.checker.invariants.rule import Rule
from capsize.checker.trace import Entry, TraceEvent


class Configurations(Rule):
    """I18: a node uses the newest configuration in its log, and falls back when that entry is cut off; a leader appends
    a configuration only when the one before is committed and an entry of its own term is; consecutive ones differ by
    one voter at most, so that their majorities overlap.
    """

    id = "I18"
    name = "unsafe-membership-change"
    title = "membership changes"
    source = "thesis §4.1, and its correction of 2015 (the leader's own term first)"
    needs = "configuration entries in append events, and the configuration in the node's state"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.stacks: dict[str, list[tuple[int, tuple[str, ...], TraceEvent]]] = {}
        self.pending: dict[str, TraceEvent] = {}

    def on_recover(self, event: TraceEvent, replica: Replica) -> None:
        cfg = event.state.cfg
        self.pending.pop(event.node, None)
        if cfg is None:
            return
        if event.x.get("reborn"):  # what a new server was told to begin with is no configuration of the log
            self.stacks[event.node] = []
            return
        last = (event.state.last or (0, 0))[0]
        kept = [item for item in self.stacks.get(event.node, []) if item[0] <= last]
        if kept and kept[-1][0] > 0:
            self.checks += 1
            if set(kept[-1][1]) != set(cfg):
                self.report(
                    f"{event.node} restarted with the configuration {words(cfg)}; the newest in its log is "
                    f"{words(kept[-1][1])}, at index {kept[-1][0]}",
                    kept[-1][2],
                    event,
                )
        self.stacks[event.node] = kept or [((event.state.base or (0, 0))[0], cfg, event)]

    def on_snapshot_installed(self, event: TraceEvent, replica: Replica) -> None:
        if event.state.cfg is not None:
            self.stacks[event.node] = [((event.state.base or (0, 0))[0], event.state.cfg, event)]

    def on_append(self, event: TraceEvent, replica: Replica) -> None:
        for entry in event.entries():
            if entry.kind == "cfg":
                self._appended(event, replica, entry)

    def _appended(self, event: TraceEvent, replica: Replica, entry: Entry) -> None:
        self.pending[event.node] = event
        if event.state.role != "L":
            return
        commit = event.state.commit or 0
        self.checks += 1
        earlier = [
            other for other in replica.log.values() if other.kind == "cfg" and commit < other.index < entry.index
        ]
        if earlier:
            self.report(
                f"{event.node} appended a configuration at index {entry.index} while that of index "
                f"{earlier[-1].index} was "
                f"not committed (commit index {commit})",
                event,
            )
        term = replica.term_at(commit)
        if term is not None and term < event.state.term:
            self.report(
                f"{event.node}, leader of term {event.state.term}, appended a configuration at index {entry.index} "
                "before it had "
                f"committed an entry of its term (commit index {commit}, of term {term})",
                event,
            )

    def on_truncate(self, event: TraceEvent, replica: Replica) -> None:
        to = event.x.get("to", (event.state.last or (0, 0))[0])
        stack = self.stacks.get(event.node)
        if stack and stack[-1][0] > to and len(stack) > 1:
            while len(stack) > 1 and stack[-1][0] > to:
                stack.pop()
            self.pending[event.node] = event

    def on_config(self, event: TraceEvent, replica: Replica) -> None:
        """One event for each configuration of a batch: all but the last are steps on the way."""
        at, stack, cfg = event.x.get("index"), self.stacks.get(event.node), event.state.cfg
        newest = _newest(replica)
        if isinstance(at, int) and stack is not None and not stack and cfg is not None:
            stack.append((at, cfg, event))
        elif isinstance(at, int) and stack and cfg is not None and stack[-1][0] < at < newest:
            self.checks += 1
            self._step(stack, at, cfg, event)
        else:
            self._settle(event, replica)

    def on_send(self, event: TraceEvent, replica: Replica) -> None:
        if event.node in self.pending:
            self._settle(event, replica)

    def on_recv(self, event: TraceEvent, replica: Replica) -> None:
        if event.node in self.pending:
            self._settle(event, replica)

    def _settle(self, event: TraceEvent, replica: Replica) -> None:
        """Compare the configuration in use with the newest one in the log, once the node is done changing its log."""
        cause = self.pending.pop(event.node, None)
        stack, cfg = self.stacks.get(event.node), event.state.cfg
        if cause is None or not stack or cfg is None:
            return
        newest = _newest(replica)
        self.checks += 1
        if newest > stack[-1][0]:
            before = stack[-1]
            self._step(stack, newest, cfg, event)
            self._caught_up(event, replica, sorted(set(cfg) - set(before[1])))
        elif set(stack[-1][1]) != set(cfg):
            self.report(
                f"{event.node} uses the configuration {words(cfg)}; the newest in its log is {words(stack[-1][1])}, "
                "at index "
                f"{stack[-1][0]}",
                cause,
                event,
            )

    def _step(
        self, stack: list[tuple[int, tuple[str, ...], TraceEvent]], index: int, cfg: tuple[str, ...], event: TraceEvent
    ) -> None:
        """Take the next configuration of a node's log: one voter more or less."""
        before = stack[-1]
        stack.append((index, cfg, event))
        if len(set(before[1]) ^ set(cfg)) > 1:
            self.report(
                f"{event.node} went from the configuration {words(before[1])} to {words(cfg)}: two majorities of these "
                "need not overlap",
                before[2],
                event,
            )

    def _caught_up(self, event: TraceEvent, replica: Replica, new: list[str]) -> None:
        """A leader makes nobody a voter who has not acknowledged anything of its log (thesis §4.2.1)."""
        if event.state.role != "L" or not replica.counts_acknowledgements:
            return
        for node in new:
            self.checks += 1
            if node != event.node and not replica.acknowledged.get(node):
                self.report(
                    f"{event.node} made {node} a voter, which had acknowledged nothing of its log in term "
                    f"{event.state.term}: commits may have to wait until it holds the log (thesis §4.2.1)",
                    event,
                )


def _newest(replica: Replica) -> int:
    """Return the index of the newest configuration in a node's log."""
    return max((entry.index for entry in replica.log.values() if entry.kind == "cfg"), default=0)


def words(cfg: tuple[str, ...]) -> str:
    """Return a configuration in words.

    >>> words(("n1", "n2"))
    '{n1, n2}'
    """
    return "{" + ", ".join(cfg) + "}"
