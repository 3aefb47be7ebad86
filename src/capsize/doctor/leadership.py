"""The leader that `status` names is the node that takes writes, found by holding nodes still and timing writes.

While the true leader is stopped nobody accepts a write until a new one is elected; while another node is stopped,
writes go on at once. Which node's absence stalls writes does not depend on what any node says of itself.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator

from capsize.cluster.node import Node
from capsize.config import Tempo
from capsize.doctor.finding import Finding, bad, good, note, skipped
from capsize.doctor.patient import Patient
from capsize.errors import AdapterError
from capsize.op import Invocation

STALL_S = 0.08
"""No election is quicker than this; a write that is not stalled is."""
ELECTION_S = 40.0


def leader(patient: Patient) -> Iterator[Finding]:
    """Stop the named leader, then another node, and compare how long writes stall."""
    if not patient.tells_leader:
        yield skipped("leader", "status() is not written: faults that aim at the leader are refused")
        return
    if len(patient.nodes) < 3:
        yield skipped("leader", "needs three nodes")
        return
    named, term = _named(patient)
    without_leader_s = _stall(patient, named)
    after, later = _named(patient, not_before=term)
    other = next(node for node in patient.nodes if node is not after)
    without_other_s = _stall(patient, other)
    yield from slow_failover(without_leader_s)
    told = f"writes stalled {without_leader_s:.2f} s without {named.name}, {without_other_s:.2f} s without a follower"
    if without_leader_s < STALL_S or without_leader_s < without_other_s / 2:
        yield bad("leader", f"status() names {named.name}, but {told}: it is not the node that takes writes")
    elif term is None or later is None:
        yield good("leader", f"the named leader takes the writes ({told})")
        yield note("leader", "status() tells no term: leaders of different terms cannot be told apart")
    elif later < term or (after is not named and later == term):
        yield bad(
            "leader", f"{named.name} led in term {term}, and {after.name} after it in term {later}: terms must grow"
        )
    else:
        yield good("leader", f"the named leader takes the writes ({told})")


def slow_failover(failover_s: float) -> Iterator[Finding]:
    """Tell if a campaign's faults are over before the system has a new leader, so that it is hardly ever tested."""
    least, most = Tempo().durations()
    if failover_s > most:
        enough = f"{math.ceil(failover_s)}-{math.ceil(2 * failover_s)}"
        yield note(
            "leader",
            f"a new leader took {failover_s:.1f} s, and the faults of a campaign last {least:g} to {most:g} s unless "
            f"told otherwise: try --fault-duration {enough} with a longer --time-limit, or shorter election timeouts",
        )


def links(patient: Patient) -> Iterator[Finding]:
    """A node whose links are all cut commits nothing: its traffic goes where it can be cut."""
    spared = patient.system.refuses(patient.backend.name)
    if "network" not in patient.backend.capabilities() or "network" in spared:
        why = spared.get("network") or patient.backend.why_not("network")
        yield skipped("links", f"links cannot be cut here: {why}")
        return
    if len(patient.nodes) < 3:
        yield skipped("links", "needs three nodes")
        return
    alone, *others = patient.nodes
    if patient.tells_leader:
        alone, _ = _named(patient)
        others = [node for node in patient.nodes if node is not alone]
    patient.write(patient.key(), patient.number(), among=(alone, *others))
    alone.drop_from(others)
    for node in others:
        node.drop_from([alone])
    took = ""
    try:
        for _ in range(3):  # what was on its way before the cut may still be committed once
            patient.ask(alone, Invocation("write", patient.key(), patient.number()))
        took = f"{alone.name} committed three writes with all its links cut"
    except Exception:  # as it should be: refused, or never answered
        pass
    finally:
        patient.cluster.heal()
    patient.write(patient.key(), patient.number(), within_s=ELECTION_S)
    if took:
        yield bad(
            "links",
            f"{took}: its peers' addresses must come from peer.reach(port, frm=node); where that cannot be, "
            'refuses() must name "network"',
        )
    else:
        yield good("links", f"{alone.name}, all links cut, commits nothing; healed, all go on")


def _named(patient: Patient, *, not_before: int | None = None) -> tuple[Node, int | None]:
    """Return the leader once the cluster names one."""
    deadline = time.monotonic() + ELECTION_S
    while time.monotonic() < deadline:
        node, term = patient.cluster.leader()
        if node is not None and (not_before is None or term is None or term >= not_before):
            return node, term
        time.sleep(0.05)
    raise AdapterError(f"status() named no leader within {ELECTION_S:g} s")


def _stall(patient: Patient, absent: Node) -> float:
    """Return how long it takes until another node accepts a write while `absent` is stopped; it goes on afterwards."""
    others = tuple(node for node in patient.nodes if node is not absent)
    for node in others:  # connections and caches are warm before anything is timed
        patient.write(patient.key(), patient.number(), among=(node, *others))
    absent.signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        patient.write(patient.key(), patient.number(), among=others, within_s=ELECTION_S)
        return time.monotonic() - began
    finally:
        absent.signal(signal.SIGCONT)
        patient.write(patient.key(), patient.number(), within_s=ELECTION_S)
