"""Changing the cluster one server at a time (thesis chapter 4), and handing leadership over (thesis §3.10).

A change is a log entry that counts as soon as it is appended (§4.1). The leader appends one only when it has
committed an entry of its own term (the erratum to the thesis), and when no other change is under way. A new server
is a learner first, until it has caught up (§4.2.1). A leader that is not in the newest configuration leads until
that configuration is committed, without counting itself, and steps down then (§4.2.2).
"""

from __future__ import annotations

from typing import Any

from .configuration import Configuration
from .events import AdminRequest
from .log import CONFIGURATION, Entry
from .messages import TimeoutNow
from .replication import Progress
from .requests import Requests
from .server import LEADER, MS


class Membership(Requests):
    """Carries out what an operator asks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.transfer_to: str | None = None
        self._transfer_rid: str | None = None
        self.transfer_deadline_ns = 0

    def on_admin_request(self, request: AdminRequest) -> None:
        action, node = request.action, request.argument
        if action == "snapshot":
            self.answer_now(request.rid, "ok" if self.take_snapshot() else "fail", "nothing new to snapshot")
        elif self.role != LEADER:
            self.answer_now(request.rid, "fail", f"not the leader; {self.leader or 'nobody'} leads")
        elif action == "transfer":
            self.transfer(request.rid, node)
        elif action in ("add_learner", "add_voter", "remove"):
            self.change(request.rid, action, node)
        else:
            self.answer_now(request.rid, "fail", f"no action is called {action!r}")

    # -- membership ------------------------------------------------------------------------------------------
    def change(self, rid: str, action: str, node: str) -> None:
        """Append a configuration that differs by one server."""
        why_not = self.why_not_append() or self.why_not_change() or self.why_not_this(action, node)
        if why_not:
            self.answer_now(rid, "fail", why_not)
            return
        entry_data = self.changed(action, node).to_json()
        self.append_command(rid, None, CONFIGURATION, "", 0, entry_data)

    def changed(self, action: str, node: str) -> Configuration:
        """Return the configuration after a change of one server."""
        voters, learners = self.configuration
        if action == "add_learner":
            return Configuration(voters, (*learners, node))
        others = tuple(name for name in learners if name != node)
        if action == "add_voter":
            return Configuration((*voters, node), others)
        return Configuration(tuple(name for name in voters if name != node), others)

    def why_not_change(self) -> str:
        """Return why no change may begin now; empty: it may."""
        if not self.own_term_committed():
            return "the leader has not committed an entry of its own term yet"
        if self.change_under_way():
            return "another change is under way"
        return ""

    def change_under_way(self) -> bool:
        """Say whether the newest configuration is not committed yet."""
        return self.configurations.index > self.commit_index

    def why_not_this(self, action: str, node: Any) -> str:
        """Return why this change makes no sense or is not safe yet; empty: it does."""
        voters, learners = self.configuration
        if not isinstance(node, str) or not node:
            return "which server?"
        if action == "remove":
            if node not in voters + learners:
                return f"{node} is no member"
            return "the last voter cannot be removed" if voters == (node,) else ""
        if node in voters or (node in learners and action == "add_learner"):
            return f"{node} is a member already"
        if action == "add_voter" and not self.has_caught_up(node):
            return f"{node} has not caught up; add it as a learner first"
        return ""

    def has_caught_up(self, node: str) -> bool:
        """Say whether a learner holds nearly all of the log (thesis §4.2.1)."""
        progress = self.progress.get(node)
        if progress is None or not progress.match_index:
            return False
        return self.log.last_index - progress.match_index <= self.settings.append_entries_max

    def configuration_changed(self) -> None:
        """Start or stop sending to servers that came or went."""
        super().configuration_changed()
        if self.role == LEADER:
            for peer in self.peers:
                if peer not in self.progress:
                    self.progress[peer] = Progress(self.log.last_index + 1, heard_ns=self.now_ns)
            for peer in [peer for peer in self.progress if peer not in self.peers]:
                del self.progress[peer]

    def configuration_committed(self, entry: Entry) -> None:
        super().configuration_committed(entry)
        if self.role == LEADER and self.name not in self.configuration.voters:
            self.broadcast_heartbeat()  # let the others learn the commit, then go (thesis §4.2.2)
            self.become_follower()

    # -- leadership transfer (thesis §3.10) ------------------------------------------------------------------
    def transfer(self, rid: str, node: Any) -> None:
        """Stop taking commands, bring `node` up to date, tell it to campaign; give up after an election timeout."""
        if node == self.name:
            self.answer_now(rid, "ok")
        elif node not in self.configuration.voters:
            self.answer_now(rid, "fail", f"{node} is no voter")
        elif self.transfer_to is not None:
            self.answer_now(rid, "fail", "another transfer is under way")
        else:
            self.transfer_to = node
            self._transfer_rid = rid
            self.transfer_deadline_ns = self.now_ns + self.settings.election_timeout_ms[1] * MS
            self.push_transfer()

    def why_not_append(self) -> str:
        if self.transfer_to is not None:
            return "leadership is being handed over"
        return super().why_not_append()

    def push_transfer(self) -> None:
        """Send TimeoutNow once the target's log is complete; the lease ends with it (thesis §6.4.1)."""
        target = self.transfer_to
        if target is None or target not in self.progress:
            return
        if self.progress[target].match_index >= self.log.last_index:
            self.lease_until_ns = 0
            self.send(TimeoutNow(self.new_id(), self.name, target, self.term))
        else:
            self.replicate(target)

    def lease_holds(self) -> bool:
        return self.transfer_to is None and super().lease_holds()

    def peer_answered(self, peer: str) -> None:
        super().peer_answered(peer)
        if peer == self.transfer_to:
            self.push_transfer()

    def expire_transfer(self) -> None:
        """Resume: the target did not take over in time."""
        if self.transfer_to is not None and self.now_ns >= self.transfer_deadline_ns:
            self._end_transfer("fail", "the target did not take over in time")

    def leadership_lost(self) -> None:
        super().leadership_lost()
        self._end_transfer("ok", "")

    def _end_transfer(self, outcome: str, error: str) -> None:
        rid, self._transfer_rid, self.transfer_to = self._transfer_rid, None, None
        if rid is not None:
            self.answer_now(rid, outcome, error)
