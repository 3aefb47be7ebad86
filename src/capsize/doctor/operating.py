"""Checks of the optional hooks with which campaigns operate a cluster: members, snapshots, failpoints, dumped logs.

Each hook that is written is used as the nemesis would, on a healthy cluster, and what came of it is looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from capsize.cluster.node import Node
from capsize.doctor.finding import Finding, bad, good, skipped
from capsize.doctor.patient import Patient
from capsize.nemesis.operator import Operator

DONE_S = 20.0
LOOK_S = 0.1


def members(patient: Patient) -> Iterator[Finding]:
    """Every node counts every node; one that is removed is gone from the list, and one that is added is in it."""
    has = patient.system.capabilities()
    if "members" not in has:
        yield skipped("members", "members() is not written: faults cannot count who votes now")
        return
    names = {node.name for node in patient.nodes}
    for node in patient.nodes:
        told = set(patient.system.members(node))
        if told != names:
            expected = ", ".join(sorted(names))
            yield bad("members", f"members({node.name}) says {', '.join(sorted(told))}; expected {expected}")
            return
    if not {"add_member", "remove_member"} <= has or len(names) < 3:
        yield good("members", "every node counts every node")
        return
    operator, gone = Operator(patient.cluster), _not_the_leader(patient)
    operator.remove(gone.name, within_s=DONE_S)
    patient.write(patient.key(), patient.number(), among=tuple(node for node in patient.nodes if node is not gone))
    gone.kill()
    gone.wipe()
    operator.add(gone.name, within_s=DONE_S, voting=False)
    patient.cluster.restart(gone)
    operator.add(gone.name, within_s=DONE_S)
    key, value = patient.key(), patient.number()
    patient.write(key, value)
    if patient.read(gone, key) != value:
        yield bad("members", f"{gone.name} was added again, and does not have what was written after that")
        return
    yield good("members", f"{gone.name} was removed, and added again with an empty disk")


def snapshot(patient: Patient) -> Iterator[Finding]:
    """A node that was asked for a snapshot still has everything, also after a restart."""
    if "snapshot" not in patient.system.capabilities():
        yield skipped("snapshot", "snapshot() is not written")
        return
    key, value = patient.key(), patient.number()
    patient.write(key, value)
    for node in patient.nodes:
        patient.system.snapshot(node)
    patient.kill_all()
    patient.restart_all()
    lost = [node.name for node in patient.nodes if patient.read(node, key) != value]
    if lost:
        yield bad("snapshot", f"after a snapshot and a restart a write is gone on {', '.join(lost)}")
    else:
        yield good("snapshot", "snapshots are taken, and nothing is lost by them")


def transfer(patient: Patient) -> Iterator[Finding]:
    """The leader hands over to whom it is told to."""
    has = patient.system.capabilities()
    if not {"transfer_leadership", "status"} <= has:
        yield skipped("transfer", "transfer_leadership() is not written" if "status" in has else "needs status(), too")
        return
    if len(patient.nodes) < 2:
        yield skipped("transfer", "needs two nodes")
        return
    if not _comes(lambda: patient.cluster.leader()[0] is not None):
        yield bad("transfer", f"status() named no leader within {DONE_S:g} s")
        return
    leader, _ = patient.cluster.leader()
    assert leader is not None
    to = next(node for node in patient.nodes if node is not leader)
    patient.system.transfer_leadership(leader, to)
    if _comes(lambda: patient.cluster.leader()[0] is to):
        yield good("transfer", f"{leader.name} handed over to {to.name}")
    else:
        now, _ = patient.cluster.leader()
        told = now.name if now else "nobody"
        yield bad("transfer", f"{leader.name} was asked to hand over to {to.name}; {DONE_S:g} s later {told} leads")


def failpoints(patient: Patient) -> Iterator[Finding]:
    """Every failpoint that is named can be armed and disarmed, one that is not named is refused, a crash crashes."""
    has = patient.system.capabilities()
    if not {"failpoints", "arm"} <= has:
        why = "failpoints() and arm() are not written" if not {"failpoints", "arm"} & has else "needs both hooks"
        yield skipped("failpoints", why)
        return
    node, names = patient.nodes[0], patient.system.failpoints()
    if not names:
        yield bad("failpoints", "failpoints() names none; leave it out")
        return
    for name in names:
        patient.system.arm(node, name, "pause")
        patient.system.arm(node, name, "off")
    try:
        patient.system.arm(node, "capsize-no-such-failpoint", "crash")
    except Exception:  # as it should be: whatever it raises
        pass
    else:
        yield bad("failpoints", "arm() took a failpoint that does not exist; expected it to raise")
        return
    patient.write(patient.key(), patient.number())
    yield good("failpoints", f"{len(names)} failpoints can be armed and disarmed")


def dump_log(patient: Patient) -> Iterator[Finding]:
    """The log of a stopped node can be read: whole indexes, growing one by one, terms that never fall."""
    if "dump_log" not in patient.system.capabilities():
        yield skipped("dump-log", "dump_log() is not written")
        return
    for _ in range(3):
        patient.write(patient.key(), patient.number())
    patient.kill_all()
    wrong = ""
    counted = 0
    for node in patient.nodes:
        entries = patient.system.dump_log(node)
        counted += len(entries)
        indexes, terms = [entry["index"] for entry in entries], [entry["term"] for entry in entries]
        if indexes and indexes != list(range(indexes[0], indexes[0] + len(indexes))):
            wrong = wrong or f"dump_log({node.name}): indexes do not grow one by one"
        if terms != sorted(terms):
            wrong = wrong or f"dump_log({node.name}): terms fall; expected oldest first"
    patient.restart_all()
    if wrong:
        yield bad("dump-log", wrong)
    elif not counted:
        yield bad("dump-log", "no node's log has an entry, although writes were accepted")
    else:
        yield good("dump-log", f"{counted} entries of {len(patient.nodes)} logs")


def replica(patient: Patient) -> Iterator[Finding]:
    """Nodes at rest are equally far with equal digests, and a write changes them."""
    if "replica" not in patient.system.capabilities():
        yield skipped("replica", "replica() is not written: replicas are compared through reads only")
        return

    def told() -> set[tuple[int, str]]:
        at = max(patient.system.replica(node, None)[0] for node in patient.nodes)
        return {patient.system.replica(node, at) for node in patient.nodes}

    patient.write(patient.key(), patient.number())
    if not _comes(lambda: len(told()) == 1):
        yield bad("replica", f"nodes at rest do not agree: {sorted(told())}")
        return
    (before,) = told()
    patient.write(patient.key(), patient.number())
    if not _comes(lambda: len(found := told()) == 1 and next(iter(found))[1] != before[1]):
        yield bad("replica", f"the digest is {before[1]!r} before and after a write")
        return
    yield good("replica", "replicas at rest have equal digests, and a write changes them")


def _not_the_leader(patient: Patient) -> Node:
    leader, _ = patient.cluster.leader() if patient.tells_leader else (None, None)
    return next(node for node in reversed(patient.nodes) if node is not leader)


def _comes(holds: Callable[[], bool]) -> bool:
    """Wait, bounded, until it holds; what is raised meanwhile means "not yet"."""
    deadline = time.monotonic() + DONE_S
    while time.monotonic() < deadline:
        try:
            if holds():
                return True
        except Exception:  # an adapter's own code, in the middle of a change
            pass
        time.sleep(LOOK_S)
    return False
