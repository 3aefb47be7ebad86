"""What can be tested on a system in a place: its evidence, its operations' checkers, and every fault, or why not."""

from __future__ import annotations

from capsize.cluster.backend import Backend
from capsize.cluster.system import OPTIONAL, System, why_without
from capsize.nemesis.kinds import KINDS, Kind
from capsize.nemesis.schedule import draw

LEVELS = {"traces": "L3 event traces", "dump_log": "L2 dumped logs", "status": "L1 polled state"}
"""Optional hook -> the evidence that it gives, the most telling first."""


def coverage(system: System, backend: Backend) -> list[str]:
    """Return a line for the evidence, one for the faults that are possible, and one for each reason against others."""
    has = system.capabilities()
    level = next((told for hook, told in LEVELS.items() if hook in has), "L0 client histories only")
    written = f" (optional hooks written: {', '.join(sorted(has))})" if has else ""
    able, spared = backend.capabilities(), system.refuses(backend.name)
    possible: list[str] = []
    refused: dict[str, list[str]] = {}
    for word, kind in KINDS.items():
        reason = next((backend.why_not(need) for need in sorted(kind.needs - able)), "")
        reason = reason or next((spared[need] for need in sorted(kind.needs & spared.keys())), "")
        if not reason and kind.asks_for_a_leader and "status" not in has:
            reason = "status() is not written, so that the leader is not known"
        if not reason and (missing := _hooks(kind) - has):
            hooks = [f"{hook}()" for hook in OPTIONAL if hook in missing]
            why = why_without(system, (hook for hook in OPTIONAL if hook in missing))
            reason = f"{', '.join(hooks)} {'is' if len(hooks) == 1 else 'are'} not written{f': {why}' if why else ''}"
        if reason:
            refused.setdefault(reason, []).append(word)
        else:
            possible.append(word)
    told = [f"refused   {', '.join(words)}: {reason}" for reason, words in refused.items()]
    return [f"evidence  {level}{written}", f"faults    {', '.join(possible) or 'none'}", *told]


def _hooks(kind: Kind) -> frozenset[str]:
    """Return the optional hooks that faults of this kind, and what sets them off, ask for."""
    steps = draw(1, [kind], 60.0).steps
    return frozenset[str]().union(
        *(step.fault.hooks | (step.when.hooks if step.when is not None else frozenset()) for step in steps)
    )
