"""The examination: a real cluster, every check in an order that lets each begin with a healthy one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from capsize.cluster.backend import Backend
from capsize.cluster.cleanup import cleanup
from capsize.cluster.system import System
from capsize.doctor import leadership, lifecycle, operating, outcomes
from capsize.doctor.coverage import coverage
from capsize.doctor.finding import Finding, bad, good
from capsize.doctor.patient import FIXED_KEY, Patient
from capsize.errors import CapsizeError

Check = Callable[[Patient], Iterator[Finding]]

CHECKS: Mapping[str, Check] = {
    "left-over": lifecycle.left_over,
    "answers": outcomes.answers,
    "lost-answers": outcomes.lost_answers,
    "refused": outcomes.refused,
    "leader": leadership.leader,
    "links": leadership.links,
    "cache": outcomes.cache,
    "kill": lifecycle.kill,
    "restart": lifecycle.restart,
    "transfer": operating.transfer,
    "snapshot": operating.snapshot,
    "failpoints": operating.failpoints,
    "replica": operating.replica,
    "dump-log": operating.dump_log,
    "members": operating.members,
    "wipe": lifecycle.wipe,
    "logs": lifecycle.logs,
}
"""Every check, in the order in which they are carried out; "fresh" comes last, on a second cluster."""
FRESH = "fresh"
GIVES_UP = frozenset({"kill"})
"""A cluster whose processes cannot be killed is fit for no further check."""


@dataclass(slots=True)
class Examination:
    """Everything that was found, and what can be tested."""

    findings: list[Finding] = field(default_factory=list[Finding])
    coverage: list[str] = field(default_factory=list[str])

    @property
    def healthy(self) -> bool:
        """Whether nothing must change."""
        return all(finding.verdict != "bad" for finding in self.findings)


def examine(
    make_system: Callable[[], System],
    make_backend: Callable[[str], Backend],
    *,
    nodes: int = 3,
    timeout_s: float = 3.0,
    only: Collection[str] = (),
    say: Callable[[Finding], object] = lambda finding: None,
) -> Examination:
    """Carry out the checks (all, or `only` those) and return what was found; everything is taken away afterwards.

    `make_system` is called for each new cluster, `make_backend` with a label for each new set of hosts.
    """
    examination = Examination()

    def found(finding: Finding) -> None:
        examination.findings.append(finding)
        say(finding)

    label = f"doctor-{secrets.token_hex(3)}"
    wanted = [name for name in (*CHECKS, FRESH) if not only or name in only]
    backend = make_backend(label)
    try:
        patient = _started(make_system, backend, nodes, timeout_s, found)
        if patient is None:
            return examination
        examination.coverage = coverage(patient.system, backend)
        if not _carry_out(patient, [name for name in wanted if name != FRESH], found):
            return examination
        if FRESH in wanted and "left-over" not in wanted:
            patient.write(FIXED_KEY, patient.number())
    finally:
        backend.destroy()
        if any(finding.check == "kill" and finding.verdict == "bad" for finding in examination.findings):
            cleanup([label], force=True)  # what got away from its node's agent still carries the label
    if FRESH in wanted:
        _on_fresh_hosts(make_system, make_backend(f"{label}-2"), nodes, timeout_s, found)
    return examination


def _started(
    make_system: Callable[[], System], backend: Backend, nodes: int, timeout_s: float, found: Callable[[Finding], None]
) -> Patient | None:
    patient = Patient(make_system, backend, nodes, timeout_s=timeout_s)
    try:
        patient.start()
    except CapsizeError as error:
        found(bad("start", str(error)))
        return None
    found(good("start", f"{nodes} nodes on {backend.name}, a write was accepted"))
    return patient


def _carry_out(patient: Patient, names: list[str], found: Callable[[Finding], None]) -> bool:
    """Return whether the cluster is still fit for more."""
    for name in names:
        verdicts: list[str] = []
        try:
            for finding in CHECKS[name](patient):
                verdicts.append(finding.verdict)
                found(finding)
        except Exception as error:  # an adapter's own code: whatever it does, the other checks go on
            found(bad(name, f"could not be carried out: {type(error).__name__}: {error}"))
            verdicts.append("bad")
            _revive(patient)
        if name in GIVES_UP and "bad" in verdicts:
            return False
    return True


def _revive(patient: Patient) -> None:
    """Bring everything up again as well as it can be: the next check says whether it could."""
    try:
        patient.cluster.heal()
        patient.restart_all()
    except Exception:  # a clean-up
        return


def _on_fresh_hosts(
    make_system: Callable[[], System],
    backend: Backend,
    nodes: int,
    timeout_s: float,
    found: Callable[[Finding], None],
) -> None:
    """A second cluster on new hosts must know nothing of the first."""
    try:
        patient = Patient(make_system, backend, nodes, timeout_s=timeout_s)
        patient.start()
        for finding in lifecycle.left_over(patient):
            found(finding)
    except Exception as error:  # an adapter's own code
        found(bad(FRESH, f"a second cluster did not come up: {type(error).__name__}: {error}"))
    finally:
        backend.destroy()
