"""What happens to the core (events), and what it asks of the world (effects).

    shell or simulator                                   core
      step(event, now_ns) ──────────────────────────────▶ state changes
      (its tracer: what it noted is written first)        ◀── Effects
      effects.writes   then hand these to the storage, in order, never reordered, never dropped
      effects.sends    then these may leave, in any order, be lost, delayed or doubled
      effects.replies  likewise, to the clients
      effects.stop     then, if not None, end the process: nothing after a failed write can be trusted
      Persisted(n) ────────────────────────────────────▶ every write numbered ≤ n is durable

The ordering contract: the core itself keeps back every message that promises durability (a granted vote, an
acknowledgement, RequestVote's own vote) until `Persisted` says so. So whoever carries out the effects needs no
knowledge of Raft: anything in `sends` may leave at once. A crash forgets the core and every write that was not
yet reported; what the storage then recovers (`Recovered`) starts the next incarnation.

Time comes in with every step, as nanoseconds of any monotonic clock of that host. `core.deadline_ns` says when
the core next wants a `Tick`; ticks that come early, late or twice do no harm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .log import Entry, Position
from .messages import Message

# -- events --------------------------------------------------------------------------------------------------


class Tick(NamedTuple):
    """Time went by; look at the timers."""


class MessageReceived(NamedTuple):
    """A message from another server arrived."""

    message: Message


class ClientRequest(NamedTuple):
    """A client asks this server. `rid` is the asker's name for it, unique in this incarnation.

    `client` and `seq` are the client's own: a command that is retried under the same pair is applied once (§8).
    f: get (or read) · put (or write) · delete · cas [old, new] · append · incr.
    """

    rid: str
    client: str
    seq: int
    f: str
    key: Any
    value: Any


class AdminRequest(NamedTuple):
    """An operator asks this server, which must lead (except for snapshot).

    action: transfer (argument: node) · add_learner · add_voter · remove (argument: node) · snapshot.
    """

    rid: str
    action: str
    argument: Any


class Persisted(NamedTuple):
    """Every write numbered up to and including `write` is durable."""

    write: int


class WriteFailed(NamedTuple):
    """A write could not be made durable: the disk said no."""

    write: int
    error: str


class Undeliverable(NamedTuple):
    """A message of `sends` surely never left this host (no connection). Optional to report."""

    message: Message


Event = Tick | MessageReceived | ClientRequest | AdminRequest | Persisted | WriteFailed | Undeliverable

# -- writes: numbered 1, 2, 3 …, carried out in this order ---------------------------------------------------


class PersistMeta(NamedTuple):
    """Replace the metadata: current term and vote (§5, Figure 2)."""

    write: int
    term: int
    vote: str | None


class AppendLog(NamedTuple):
    """Add entries at the end of the log."""

    write: int
    entries: tuple[Entry, ...]


class TruncateLog(NamedTuple):
    """Drop every entry after `last_index`."""

    write: int
    last_index: int


class SaveSnapshot(NamedTuple):
    """Replace the snapshot, atomically; the old one stays until the new one is durable."""

    write: int
    snapshot: Snapshot


class CompactLog(NamedTuple):
    """Drop entries up to `base`; all of them if `discard`: the log did not hold exactly that entry (§7)."""

    write: int
    base: Position
    discard: bool


Write = PersistMeta | AppendLog | TruncateLog | SaveSnapshot | CompactLog


class Snapshot(NamedTuple):
    """The state after applying `base.index`; `data` is JSON text: state machine, sessions, configuration."""

    base: Position
    data: str


class Recovered(NamedTuple):
    """What the storage found at boot. `incarnation` counts boots, from 1; it is durable before anything is sent."""

    incarnation: int = 1
    term: int = 0
    vote: str | None = None
    entries: tuple[Entry, ...] = ()
    snapshot: Snapshot | None = None
    reborn: bool = False
    """The first boot after the data was destroyed on purpose: nothing is known of what was promised before."""


# -- effects -------------------------------------------------------------------------------------------------


class ClientReply(NamedTuple):
    """The answer to a request: ok · fail (surely nothing happened and never will) · info (not known)."""

    rid: str
    outcome: str
    result: Any = None
    error: str = ""
    meta: dict[str, Any] = {}  # noqa: RUF012 (never changed)


@dataclass(slots=True)
class Effects:
    """What one step asks for; see the module's head for the order."""

    writes: list[Write] = field(default_factory=list[Write])
    sends: list[Message] = field(default_factory=list[Message])
    replies: list[ClientReply] = field(default_factory=list[ClientReply])
    stop: str | None = None
