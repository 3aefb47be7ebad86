"""Snapshots: taking them, dropping the log they cover, sending and installing them (§7).

The snapshot holds the state machine with its sessions, and the configuration that was committed at its base. It is
sent in one message: the offset of Figure 13 is always 0, and `done` always true.
"""

from __future__ import annotations

import json
from typing import Any

from .configuration import Configuration
from .events import Snapshot
from .json_text import json_text
from .log import CONFIGURATION, Entry, Position
from .messages import InstallSnapshot, SnapshotReply
from .replication import Progress, Replication
from .server import LEADER


class Snapshots(Replication):
    """Keeps the log short."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.snapshot = self.recovered.snapshot
        """The newest durable snapshot."""
        self._taking = False
        self._under_way: list[tuple[int, Snapshot]] = []
        if self.snapshot is not None:
            self.load_snapshot(self.snapshot)
        self._note_recovered_configurations()

    # -- content ---------------------------------------------------------------------------------------------
    def snapshot_data(self) -> str:
        """Return the state at the applied index as JSON text."""
        content = self.snapshot_content()
        configuration = self.snapshot_configuration()
        content["configuration"] = [self.configurations.index_at(self.applied_index), configuration.to_json()]
        return json_text(content)

    def snapshot_content(self) -> dict[str, Any]:
        """Return the state machine's part: values and sessions."""
        return self.machine.dump()

    def snapshot_configuration(self) -> Configuration:
        """Return the configuration at the applied index: committed, perhaps not the newest."""
        return self.configurations.at(self.applied_index)

    def load_snapshot(self, snapshot: Snapshot) -> None:
        """Replace state machine and configurations by what a snapshot holds."""
        content = json.loads(snapshot.data)
        self.machine.load(content)
        index, configuration = content["configuration"]
        self.configurations.restart_from(index, Configuration.from_json(configuration))
        self.commit_index = self.commit_target = self.applied_index = snapshot.base.index

    def _note_recovered_configurations(self) -> None:
        if self.log.last_index > self.log.base.index:
            self.note_configurations(list(self.log.between(self.log.base.index + 1, self.log.last_index)))

    def note_configurations(self, entries: list[Entry]) -> None:
        super().note_configurations(entries)
        for entry in entries:
            if entry.kind == CONFIGURATION:
                self.configurations.add(entry.index, Configuration.from_json(entry.data))
                self.configuration_changed()

    def forget_configurations(self, last_index: int) -> None:
        """A configuration that was cut off the log no longer counts (§6)."""
        super().forget_configurations(last_index)
        if self.configurations.truncate(last_index):
            self.configuration_changed()

    def configuration_changed(self) -> None:
        """The configuration that counts is another one now."""
        self.trace("config", x={"index": self.configurations.index})

    # -- taking ----------------------------------------------------------------------------------------------
    def applied_advanced(self) -> None:
        super().applied_advanced()
        every = self.settings.snapshot_every
        if every and self.applied_index - self.log.base.index >= every:
            self.take_snapshot()

    def take_snapshot(self) -> bool:
        """Write a snapshot of the state now; drop the log it covers once it is durable."""
        index = self.applied_index
        if self._taking or index <= self.log.base.index:
            return False
        snapshot = Snapshot(self.snapshot_base(), self.snapshot_data())
        self._taking = True
        held = {"base": list(snapshot.base), "cfg": list(self.snapshot_configuration().voters)}
        self.trace("snapshot_taken", x=held, h=self.machine.state_hash)
        self._under_way.append((self.save_snapshot(snapshot), snapshot))
        return True

    def snapshot_base(self) -> Position:
        """Return the last entry the state machine has applied: what the snapshot replaces."""
        term = self.log.term_at(self.applied_index)
        assert term is not None
        return Position(self.applied_index, term)

    def durable_advanced(self) -> None:
        """Drop the log behind a snapshot only now that the snapshot is durable, whatever the term is."""
        while self._under_way and self._under_way[0][0] <= self.durable_write:
            _, snapshot = self._under_way.pop(0)
            self._taking = False
            if self.snapshot is None or snapshot.base.index > self.snapshot.base.index:
                self.snapshot = snapshot
            if snapshot.base.index > self.log.base.index:
                self.compact_log(snapshot.base)
        super().durable_advanced()

    # -- sending ---------------------------------------------------------------------------------------------
    def send_snapshot(self, peer: str) -> None:
        """Send the newest durable snapshot, once per resend interval."""
        progress = self.progress[peer]
        snapshot = self.snapshot
        assert snapshot is not None, "the log was compacted without a snapshot"
        if self.is_waiting_for(peer):
            return
        progress.sent_index = snapshot.base.index
        progress.sent_ns = self.now_ns
        self.send(
            InstallSnapshot(
                self.new_id(), self.name, peer, self.term, *snapshot.base, snapshot.data, self.read_round
            )
        )

    def on_snapshot_reply(self, message: SnapshotReply) -> None:
        self.observe_reply_term(message.term)
        if self.role != LEADER or message.term != self.term:
            return
        progress = self.progress.get(message.frm)
        if progress is None:
            return
        progress.heard_ns = self.now_ns
        progress.round = max(progress.round, message.round)
        self._snapshot_matched(progress, message.index)
        self.advance_commit()
        if self.role == LEADER and message.frm in self.progress:
            self.replicate(message.frm)
            self.peer_answered(message.frm)

    @staticmethod
    def _snapshot_matched(progress: Progress, index: int) -> None:
        progress.match_index = max(progress.match_index, index)
        progress.next_index = max(progress.next_index, progress.match_index + 1)
        if progress.next_index > progress.sent_index:
            progress.sent_index = 0

    # -- installing ------------------------------------------------------------------------------------------
    def on_install_snapshot(self, message: InstallSnapshot) -> None:
        if not self.accepts_term(message.term):
            self.answer_snapshot(message, 0)
            return
        self.observe_term(message.term)
        self.heard_leader(message.frm)
        self._leader_round = max(self._leader_round, message.round)
        if message.last_index > self.commit_index:
            self.install(Snapshot(Position(message.last_index, message.last_term), message.data))
        number = max(self.meta_write, self._under_way[-1][0] if self._under_way else 0)
        base = message.last_index
        self.after_write(number, lambda: self.answer_snapshot(message, base))

    def install(self, snapshot: Snapshot) -> None:
        """Replace state, and the log up to the snapshot's base; keep what follows if the logs agree there (§7)."""
        number = self.save_snapshot(snapshot)
        self.snapshot = snapshot
        self.compact_log(snapshot.base)
        self.load_snapshot(snapshot)
        self._note_recovered_configurations()
        self.configuration_changed()
        self._under_way.append((number, snapshot))
        self.trace("snapshot_installed", x={"base": list(snapshot.base)}, h=self.machine.state_hash)
        self.verified_index = max(self.verified_index, snapshot.base.index)
        self.applied_advanced()

    def answer_snapshot(self, message: InstallSnapshot, index: int) -> None:
        """Tell the leader that everything up to `index` is here and durable; 0: the term is old."""
        current = message.round if message.term == self.term else 0
        self.send(SnapshotReply(self.new_id(), self.name, message.frm, self.term, index, current))
