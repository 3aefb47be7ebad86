"""Checks of the client: values come back as they went, and every outcome is told as what it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from capsize.client import Client
from capsize.cluster.node import Node
from capsize.doctor.finding import Finding, bad, good, note, skipped
from capsize.doctor.patient import Patient
from capsize.doctor.proxy import Between, Mode
from capsize.errors import DefiniteError
from capsize.op import Invocation, Value

PATIENCE_S = 1.0
"""The timeout given to clients whose answers are withheld."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a client told of one write: its outcome, in how long, and what it raised."""

    outcome: Literal["ok", "fail", "info"]
    took_s: float
    said: str


def tell(client: Client, op: Invocation) -> Told:
    """Return what the client makes of an operation, as the runner would record it."""
    began = time.monotonic()
    try:
        client.invoke(op)
    except DefiniteError as error:
        return Told("fail", time.monotonic() - began, f"DefiniteError: {error}")
    except Exception as error:  # whatever a client raises is an outcome
        return Told("info", time.monotonic() - began, f"{type(error).__name__}: {error}")
    return Told("ok", time.monotonic() - began, "")


def answers(patient: Patient) -> Iterator[Finding]:
    """Values come back as they were written; which operations there are."""
    node, known, odd = patient.write(patient.key(), patient.number()), ["read", "write"], False
    values: tuple[Value, ...] = (patient.number(), f"word-{patient.number()}")
    for value in values:
        key = patient.key()
        patient.write(key, value)
        found = patient.read(node, key)
        if found != value or type(found) is not type(value):
            odd = True
            yield bad("answers", f"{value!r} was written and {found!r} was read: values must come back as they went")
    absent = patient.read(node, patient.key())
    if absent is not None:
        odd = True
        yield bad("answers", f"a key that was never written reads as {absent!r}; expected None")
    others: tuple[tuple[str, Value], ...] = (
        ("cas", (1, 2)), ("put", 1), ("get", None), ("delete", None), ("append", 1), ("incr", 1),
    )  # fmt: skip
    for f, argument in others:
        try:
            patient.ask(node, Invocation(f, patient.key(), argument))
            known.append(f)
        except Exception as error:  # a client call: an operation it does not have
            if not isinstance(error, DefiniteError):
                yield note("answers", f"{f} raised {type(error).__name__}: {error}; an unknown one is a DefiniteError")
    if "cas" in known:
        key, old, new = patient.key(), patient.number(), patient.number()
        patient.write(key, old)
        held = patient.ask(node, Invocation("cas", key, (old, new))).result
        failed = patient.ask(node, Invocation("cas", key, (old, patient.number()))).result
        if held is not True or failed is not False or patient.read(node, key) != new:
            odd = True
            yield bad("answers", f"cas answered {held!r} where it holds and {failed!r} where not; expected True, False")
    lacks = patient.system.lacks
    if "cas" not in known and "cas" not in lacks:
        odd = True
        yield bad("answers", "it has no cas, and does not say so: with lacks = {'cas'} `register` does without it")
    for claimed in sorted(lacks & set(known)):
        odd = True
        yield bad("answers", f"lacks names {claimed}, which it answered")
    if not odd:
        yield good("answers", f"values come back as they went; operations: {', '.join(known)}")


def lost_answers(patient: Patient) -> Iterator[Finding]:
    """A write whose answer is lost or late is not known to have failed, and is not asked again."""
    yield from _withheld(patient, "cut", "lost-answer", "the connection was closed before the answer came")
    yield from _withheld(patient, "silent", "timeout", "the answer never came")


def _withheld(patient: Patient, mode: Mode, check: str, what: str) -> Iterator[Finding]:
    node = patient.write(patient.key(), patient.number())
    between = Between(node)
    client = patient.unopened(between.node, timeout_s=PATIENCE_S)
    try:
        client.open()
        key = patient.key()
        client.invoke(Invocation("write", key, patient.number()))
        between.arm("pass")
        client.invoke(Invocation("write", key, patient.number()))
        usual = between.connections
        if not between.sent:
            yield skipped(check, "the client does not go where node.reach(port) says: its answers cannot be withheld")
            return
        between.arm(mode)
        value = patient.number()
        told = tell(client, Invocation("write", key, value))
        asked_again = between.connections > usual or between.repeats()
    finally:
        client.close()
        between.close()
    if asked_again:
        yield bad("retries", f"{what}, and the client asked again by itself: hidden retries must be off")
    elif told.outcome == "fail":
        there = patient.read(node, key) == value
        yield bad(
            check,
            f"{what}, and the write was told as fail ({told.said}); it is not known: raise anything but DefiniteError"
            + (". The value is there" if there else ""),
        )
    elif told.outcome == "ok":
        yield bad(check, f"{what}, and the write was told as ok: nothing had been answered")
    elif told.took_s > 2 * PATIENCE_S + 1.0:
        yield bad(check, f"with timeout_s = {PATIENCE_S:g} the client came back after {told.took_s:.1f} s")
    else:
        yield good(check, f"{what}: info, after {told.took_s:.1f} s, asked once")


def refused(patient: Patient) -> Iterator[Finding]:
    """A connection that nobody takes has certainly done nothing, and no other node answers instead."""
    leader, _ = patient.cluster.leader()
    # Not the leader: without one the others refuse too, and a client that asks them would look right.
    node = next(node for node in reversed(patient.nodes) if node is not leader)
    node.kill()
    told = None
    for _ in range(3):  # threads of a killed process may hold its sockets a moment longer than the process is seen
        told = _on_dead(patient, node)
        if told is None or told.outcome != "info":
            break
        time.sleep(0.2)
    patient.cluster.restart(node)
    patient.cluster.wait_ready()
    if told is None or told.outcome == "fail":
        yield good("refused", "a refused connection is fail")
    elif told.outcome == "ok":
        yield bad("refused", f"{node.name} is dead, and a write on it was acknowledged: the client is not pinned to it")
    else:
        yield bad(
            "refused", f"a refused connection is told as info ({told.said}): raise DefiniteError, nothing was sent"
        )


def _on_dead(patient: Patient, node: Node) -> Told | None:
    """Return what the client of a dead node tells of a write; None when it could not be opened, which asks nothing."""
    client = patient.unopened(node, timeout_s=PATIENCE_S)
    try:
        client.open()
        return tell(client, Invocation("write", patient.key(), patient.number()))
    except Exception:  # nothing was asked: the runner records it as fail
        return None
    finally:
        client.close()


def cache(patient: Patient) -> Iterator[Finding]:
    """Reads come from the cluster: a client that has read before sees later writes, and nothing from dead nodes."""
    key, old, new = patient.key(), patient.number(), patient.number()
    node = patient.write(key, old)
    with patient.client(node) as reader:
        patient.read_with(reader, key)
        patient.write(key, new, among=(*(other for other in patient.nodes if other is not node), node))
        seen, fresh = patient.read_with(reader, key), patient.read(node, key)
        patient.kill_all()
        dead = tell(reader, Invocation("read", key))
    patient.restart_all()
    if dead.outcome == "ok":
        yield bad("cache", "with every node dead a read is answered all the same: it comes from a cache")
    elif seen == old and fresh == new:
        yield bad("cache", f"the client reads {old} again after {new} was acknowledged, and a new client reads {new}")
    elif seen == old:
        yield note("cache", "a read right after a write on another node was stale: reads are served by the asked node")
    else:
        yield good("cache", "reads come from the cluster")
