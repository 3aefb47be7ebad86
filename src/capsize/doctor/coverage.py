"""What can be tested on a system in a place: its evidence, its operations' checkers, and every fault, or why not."""

from __future__ import annotations

from capsize.cluster.backend import Backend
from capsize.cluster.system import System
from capsize.nemesis.kinds import KINDS


def coverage(system: System, backend: Backend) -> list[str]:
    """Return one line for the evidence, one for the faults that can be injected, and one for each that cannot."""
    has = system.capabilities()
    level = (
        "L3 event traces" if "traces" in has else "L1 polled state" if "status" in has else "L0 client histories only"
    )
    hooks = f" (optional hooks written: {', '.join(sorted(has))})" if has else ""
    able, spared = backend.capabilities(), system.refuses(backend.name)
    possible: list[str] = []
    refused: list[str] = []
    for word, kind in KINDS.items():
        reason = next((backend.why_not(need) for need in sorted(kind.needs - able)), "")
        reason = reason or next((spared[need] for need in sorted(kind.needs & spared.keys())), "")
        if not reason and kind.asks_for_a_leader and "status" not in has:
            reason = "status() is not written, so that the leader is not known"
        if reason:
            refused.append(f"refused   {word}: {reason}")
        else:
            possible.append(word)
    return [f"evidence  {level}{hooks}", f"faults    {', '.join(possible) or 'none'}", *refused]
