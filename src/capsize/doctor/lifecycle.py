"""Checks of the process and its data: killed is dead, restart keeps, wipe wipes, logs are there, new is empty."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from capsize.doctor.finding import Finding, bad, good, note
from capsize.doctor.outcomes import PATIENCE_S, tell
from capsize.doctor.patient import FIXED_KEY, Patient
from capsize.doctor.survivors import survivors
from capsize.op import Invocation


def left_over(patient: Patient) -> Iterator[Finding]:
    """A new cluster is empty: nothing of an earlier one is in it."""
    found = {node.name: patient.read(node, FIXED_KEY) for node in patient.nodes}
    there = {name: value for name, value in found.items() if value is not None}
    if there:
        name, value = next(iter(there.items()))
        yield bad("left-over", f"on a new cluster {name} already holds {value!r} of an earlier one under {FIXED_KEY!r}")
    else:
        yield good("left-over", "a new cluster is empty")
    patient.write(FIXED_KEY, patient.number())


def kill(patient: Patient) -> Iterator[Finding]:
    """After SIGKILL to the process that `command` started, nobody serves, and nothing of the server is left."""
    still = patient.kill_all()
    serving: list[str] = []
    for node in patient.nodes:
        client = patient.unopened(node, timeout_s=PATIENCE_S)
        try:
            client.open()
            if tell(client, Invocation("read", FIXED_KEY)).outcome == "ok":
                serving.append(node.name)
        except Exception:  # nobody takes the connection: as it should be
            continue
        finally:
            client.close()
    if still:
        yield bad("kill", f"the process of {', '.join(still)} is still there 5 s after SIGKILL")
    elif serving:
        yield bad(
            "kill",
            f"every process was killed, and {', '.join(serving)} still serves: command() must start the server itself, "
            "not something that starts it and lets go",
        )
    elif outlived := {node.name: there[0] for node in patient.nodes if (there := survivors(node))}:
        name, process = next(iter(outlived.items()))
        yield bad(
            "kill",
            f"on {', '.join(outlived)} a process outlives SIGKILL ({name}: {process}), and with it what it has in "
            "memory: command() must start the server itself",
        )
    else:
        yield good("kill", "killed is dead")
        patient.restart_all()


def restart(patient: Patient) -> Iterator[Finding]:
    """What was acknowledged is there after all nodes were killed and started again; the processes are new ones."""
    key, value = patient.key(), patient.number()
    patient.write(key, value)
    before = {node.name: node.process().pid for node in patient.nodes}
    patient.kill_all()
    patient.restart_all()
    after = {node.name: node.process().pid for node in patient.nodes}
    same = [name for name, pid in before.items() if after[name] == pid]
    lost = [node.name for node in patient.nodes if patient.read(node, key) != value]
    if same:
        yield bad("restart", f"{', '.join(same)} was killed and has the same process as before")
    elif lost:
        yield bad(
            "restart",
            f"an acknowledged write is gone on {', '.join(lost)} after all nodes were killed and started again: "
            "data belongs into node.data_dir, and command() must not empty it",
        )
    else:
        yield good("restart", "data outlives a restart of all nodes")


def wipe(patient: Patient) -> Iterator[Finding]:
    """Nothing is left after every node's data directory was emptied."""
    key, value = patient.key(), patient.number()
    patient.write(key, value)
    patient.kill_all()
    for node in patient.nodes:
        node.wipe()
    patient.start_anew()
    kept = [node.name for node in patient.nodes if patient.read(node, key) is not None]
    if kept:
        yield bad(
            "wipe",
            f"every data directory was emptied, and {', '.join(kept)} still has the write: all data belongs into "
            "node.data_dir, or disk faults and wipes miss it",
        )
    else:
        yield good("wipe", "a wiped cluster is empty")


def logs(patient: Patient) -> Iterator[Finding]:
    """Every node's log is among what is collected, and is not empty."""
    with tempfile.TemporaryDirectory(prefix="capsize-doctor-") as folder:
        problems = patient.cluster.collect(Path(folder))
        empty: list[str] = []
        sizes: list[int] = []
        for node in patient.nodes:
            log = Path(folder) / node.name / patient.system.command(node).log
            size = log.stat().st_size if log.is_file() else 0
            sizes.append(size)
            if not size:
                empty.append(node.name)
        missing = [
            f"{node.name}/{name}"
            for node in patient.nodes
            for name in patient.system.traces(node)
            if not (Path(folder) / node.name / name).is_file()
        ]
    patient.restart_all()
    if problems:
        yield bad("logs", "; ".join(problems))
    elif empty:
        yield bad(
            "logs",
            f"nothing was collected from {', '.join(empty)}: the server must log to stdout or stderr, "
            "or into node.log_dir under the name in Command.log",
        )
    elif missing:
        yield bad("logs", f"traces() names {', '.join(missing)}, which is not in node.log_dir")
    else:
        yield good("logs", f"logs are collected ({sum(sizes):,} bytes)")
        if patient.system.traces(patient.nodes[0]):
            yield note("logs", "event traces are there: evidence level L3")
