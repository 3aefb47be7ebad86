"""The numbers and switches of one server that the core depends on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Defaults suit five servers on one loaded machine; all times in milliseconds."""

    election_timeout_ms: tuple[int, int] = (300, 600)
    """Randomised timeouts are drawn from here (§5.2); the lower end is also how long a leader is protected."""
    heartbeat_ms: int = 50
    pre_vote: bool = True
    """Ask before raising the term (thesis §9.6)."""
    protect_leader: bool = True
    """Ignore RequestVote while a leader was heard of within the lower election timeout (thesis §4.2.3)."""
    check_quorum: bool = True
    """A leader that hears no majority for the upper election timeout steps down (thesis §6.2)."""
    disk_stall_ms: int = 1000
    """A leader whose oldest write waits longer than this steps down; 0: never."""
    parallel_append: bool = False
    """Send entries before the leader's own disk has them (thesis §10.2.1); off: as the paper's figures tell it."""
    append_entries_max: int = 128
    """Entries in one AppendEntries."""
    append_bytes_max: int = 1 << 20
    resend_ms: int = 150
    """An AppendEntries with entries that nobody answered is sent again after this."""
    unacknowledged_max: int = 8192
    """A follower is sent no more entries while so many are accepted by it but not durable."""
    pending_max: int = 4096
    """A leader refuses commands while so many wait for their commit."""
    request_timeout_ms: int = 4000
    """After this a server stops waiting for a commit or for the leader: the outcome is info (reads: fail)."""
    sessions_max: int = 100_000
    """Sessions kept; the one used longest ago goes first, by log order (thesis §6.3)."""
    snapshot_every: int = 10_000
    """Entries applied between snapshots; 0: never."""
    apply_delay_ms: int = 0
    """Hold every apply back by this: a slow state machine, for tests."""
    lease_reads: bool = False
    """Serve reads under a leader lease instead of a ReadIndex round (thesis §6.4.1)."""
    clock_drift: float = 0.1
    """The share by which clocks may run apart; shortens the lease."""
    votes_from: int = 0
    """Takes no part in elections before its log reaches this index. A wiped server that joins again under its name
    replays configurations in which its name had a vote: until it holds its own removal, it may neither vote nor
    campaign, or it and others that lag behind could be a majority of what the cluster was once."""
