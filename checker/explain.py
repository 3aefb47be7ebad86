"""Why: a contradiction told in sentences that a person can check against the history.

    explain(anomaly, history, model) -> Anomaly        smaller witness, a name of the field, because-sentences
    explained(verdict, history, model) -> Verdict      every anomaly of a verdict

An anomaly is renamed and retold only when its witness has been reduced and the independent oracle (`wgl`) has found
it impossible; otherwise it is handed back as the engine gave it. `capsize.checker.anomalies` knows the patterns of
each kind of object; docs/report.md says what each name claims, and no name claims more than was seen.

The first sentence is the whole in one line, the others argue it. Operations are written `#93`: their number in the
history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from capsize.checker.anomalies import counters, locks, queues, registers, returning, sequences, sets, transactions
from capsize.checker.anomalies.case import Case, Found, counted, ends_before
from capsize.checker.counterexample import smallest_witness
from capsize.checker.enumeration import joined
from capsize.checker.growing import proven_growing
from capsize.checker.models.model import Model, plain, same
from capsize.checker.projection import projected
from capsize.checker.reduction import (
    ORACLE,
    PLAIN_WRITES,
    READS,
    Item,
    impossible,
    observed,
    reducible,
    smallest_proof,
    written,
)
from capsize.checker.shrinking import Kept, shrunk
from capsize.checker.standing import Standings
from capsize.checker.surroundings import Surroundings, faults_between
from capsize.checker.trace import TraceEvent
from capsize.checker.wgl import decide_wgl
from capsize.history import History
from capsize.op import Operation, Value
from capsize.verdict import Anomaly, Axis, Finding, Verdict

RENAMED = "not-linearizable"
MOST_ASKED = 250
"""Operations of a key up to which the oracle is asked to shrink histories that nothing else understands."""
MOST_EXPLAINED = 200
"""Anomalies that are explained; the others are handed back as the engine gave them."""
FEW = 4
"""A proof of no more operations than this is not improved upon."""
GRAVITY = (
    "lost-write", "lost-element", "lost-increment", "lost-update", "two-holders", "released-unheld", "stale-token",
    "duplicate-token", "duplicate-element", "double-increment", "dequeued-twice", "diverged-reads", "fractured-read",
    "dirty-read", "garbage-read", "future-read", "out-of-order", "stale-read",
)  # fmt: skip
"""The gravest comes first."""
PATTERNS = (sequences.find, sets.find, queues.find, counters.find, locks.find)
"""What is looked for in the whole key, each in its own kind of object."""


def _at_key(key: Value) -> str:
    return "" if key is None else f"key {plain(key)}: "


def _on(key: Value) -> str:
    return "" if key is None else f" on key {plain(key)}"


def explained(
    verdict: Verdict,
    history: History,
    model: Model[Any],
    *,
    traces: Sequence[TraceEvent] = (),
    origin: int | None = None,
) -> Verdict:
    """Return `verdict` with every anomaly explained as far as that can be proven.

    `origin` is where the history began on the clock of `traces`, in nanoseconds, where that is known.
    """
    if not any(anomaly.name == RENAMED for anomaly in verdict.anomalies):
        return verdict
    around = Surroundings.of(history, traces, origin)
    standings = Standings.of(history.faults, traces, around.placed)
    told = [
        (one, explain(one, history, model, around, standings) if number < MOST_EXPLAINED else one)
        for number, one in enumerate(verdict.anomalies)
    ]
    told.sort(key=lambda pair: GRAVITY.index(pair[1].name) if pair[1].name in GRAVITY else len(GRAVITY))
    axes = dict(verdict.axes)
    safety = axes.get(Axis.SAFETY)
    if safety is not None:
        replaced = {f"{_at_key(one.key)}{line}" for one, new in told if new is not one for line in one.because}
        because = [line for line in safety.because if line not in replaced]
        because += [f"{new.name}{_on(new.key)}: {new.because[0]}" for one, new in told if new is not one]
        axes[Axis.SAFETY] = Finding(safety.valid, tuple(because))
    return replace(verdict, axes=axes, anomalies=tuple(new for _, new in told))


def explain(
    anomaly: Anomaly, history: History, model: Model[Any], around: Surroundings | None = None,
    standings: Standings | None = None,
) -> Anomaly:  # fmt: skip
    """Return `anomaly` with its smallest proven witness, its name and its argument; unchanged if none is proven.

    Cost: linear passes over the operations of its key; some hundred runs of an engine on the witness.
    """
    if anomaly.name != RENAMED or not anomaly.operations:
        return anomaly
    part = history.only(anomaly.key) if anomaly.key is not None or len(history.split()) == 1 else history
    everything = tuple(part)
    numbers = {op.identity: int(row) for op, row in zip(everything, part.columns.row, strict=True)}
    until = _until(anomaly, everything, numbers)
    case = Case(
        anomaly.key, (), everything, numbers, around or Surroundings.of(history), timed=history.timed, until=until
    )
    found = _fewest(case, part, model, anomaly.operations)
    if found is None:
        return anomaly
    shown = {op.identity: op for op in (*found.context, *(item.shown for item in found.items))}
    witness = sorted(shown.values(), key=lambda op: op.call)
    answered = [(item.shown, case.no(item.shown)) for item in found.items]
    known = [] if standings is None else standings.sentences(sorted(answered, key=lambda pair: pair[0].call))
    sentences = found.because + known + _faults(case, witness)
    details = {
        **anomaly.details, **found.details, "proven_by": "wgl", "operations_in_proof": len(found.items),
        "model": model.name,
    }  # fmt: skip
    return replace(anomaly, name=found.name, because=tuple(sentences), operations=tuple(witness), details=details)


def _until(anomaly: Anomaly, everything: Sequence[Operation], numbers: Any) -> int:
    """Return the position up to which the history is known to be impossible."""
    at = anomaly.details.get("at")
    named = [op for op in everything if numbers[op.identity] == at]
    ends = [op.ret for op in named or anomaly.operations if op.ret is not None]
    return max(ends, default=max((op.ret for op in everything if op.ret is not None), default=0))


# --- finding a proof ---


def _fewest(case: Case, part: History, model: Model[Any], start: Sequence[Operation]) -> Found | None:
    """Return the first proof that is small; of several larger ones the smallest."""
    ways: tuple[Callable[[], Found | None], ...] = (
        lambda: _recognised(case, model),
        lambda: _whatever_was_appended(case, model),
        lambda: _proven(case, model, start),
        lambda: _narrowed(case, model),
        lambda: _shrunk_by_asking(case, part, model),
    )
    best: Found | None = None
    for way in ways:
        found = way()
        if found is not None and (best is None or len(found.items) < len(best.items)):
            best = found
        if best is not None and len(best.items) <= MOST_SHOWN:
            break
    return best


def _recognised(case: Case, model: Model[Any]) -> Found | None:
    """Return the first pattern of the whole key whose operations the oracle finds impossible."""
    for pattern in PATTERNS:
        found = pattern(case, model)
        if found is not None and impossible([item.judged for item in found.items], found.judge):
            return found
    return None


def _proven(case: Case, model: Model[Any], start: Sequence[Operation]) -> Found | None:
    """Return the smallest proof for what can be said in cells, told by the patterns of registers where they fit."""
    proof = smallest_proof(start, case.everything, model)
    if proof is None or len(proof) > FEW:
        kept = shrunk(case.happened, model, case.until)
        if kept is not None and (proof is None or len(kept) < len(proof)):
            proof = tuple(map(_item, kept))
            # What was shown of each operation asks for more than what was judged: it is impossible, too.
            if not impossible([item.shown for item in proof], model):
                return None
    if proof is None:
        return None
    case = replace(case, proof=proof)
    told = registers.argue(case) if reducible(case.everything, model) else None
    if told is None:
        shown = [item.shown for item in proof]
        found = returning.find(case, model, shown) or transactions.find(case, model, shown)
        if found is not None and impossible([item.judged for item in found.items], found.judge):
            return found
        beside = _writers_of(case, model)
        told = (*_plainly(case, model), beside)
        told[1].append("No other operation can have brought what they found.")
        told[1].extend(f"Before that, {case.told(op)}." for op in beside)
    name, sentences, context = told
    return Found(name, sentences + _weakened(case), proof, model, tuple(context))


def _narrowed(case: Case, model: Model[Any]) -> Found | None:
    """Return the proof of a queue or a list of which only a few values are looked at."""
    proof = projected(case.happened, model, case.until)
    if proof is None:
        return None
    sentences = _tell_plainly(replace(case, proof=proof))
    values = {plain(op.value): None for op in (item.judged for item in proof) if op.f in ("append", "enqueue")}
    if len({plain(op.value) for op in case.happened if op.f in ("append", "enqueue")}) > len(values) > 0:
        sentences.append(f"Of all that was put in, only {joined(list(values)[:12])} counts here.")
    shown = {item.shown.identity for item in proof}
    more = sum(
        op.f == "enqueue" and plain(op.value) in values and op.identity not in shown and op.call <= (case.until or 0)
        for op in case.happened
    )
    if more:
        sentences.append(
            f"{counted(more, 'more enqueue')} of the same left out: in every order, what was put in so came and went "
            "without touching what is shown."
        )
    return Found(RENAMED, sentences, proof, model)


def _whatever_was_appended(case: Case, model: Model[Any]) -> Found | None:
    """Return the proof of what only grows, which leaves open what else was appended."""
    proof = proven_growing(case.happened, model, case.until)
    if proof is None:
        return None
    items, growing = proof
    sentences = [
        *_tell_plainly(replace(case, proof=items)),
        "That holds whatever else was appended, by whom and when: what only grows keeps all that it ever showed.",
    ]
    reads = [item.shown for item in sorted(items, key=lambda item: item.shown.call) if item.shown.f in READS]
    told = RENAMED
    if len(reads) == len(items) == 2:
        told = "stale-read" if growing.extends(*reads) else "diverged-reads"
    return Found(told, sentences, items, growing)


def _item(kept: Kept) -> Item:
    """Return what was kept; a compare-and-set of which only the write counts is judged as one."""
    judged = kept.judged
    if judged.f == "cas" and judged.outcome == "ok" and judged.result is not False and not kept.step.needs:
        judged = replace(judged, f="put" if judged.key is not None else "write", value=written(judged)[0], result=None)
    return Item(kept.shown, judged)


def _shrunk_by_asking(case: Case, part: History, model: Model[Any]) -> Found | None:
    """Return a proof for any model, found by asking the oracle; None for a key of too many operations."""
    if len(part) > MOST_ASKED:
        return None
    witness = smallest_witness(part, model, lambda history: decide_wgl(history, model, ORACLE), tries=300)
    if not witness or not impossible(witness, model):
        return None
    as_it_was = {op.identity: op for op in case.everything}
    proof = tuple(Item(as_it_was[op.identity], op) for op in witness)
    return Found(RENAMED, _tell_plainly(replace(case, proof=proof)), proof, model)


def _writers_of(case: Case, model: Model[Any]) -> list[Operation]:
    """Return, for every value that a read of the proof found and none of it wrote, who wrote it last before."""
    if model.name not in PLAIN_WRITES:
        return []
    shown = [item.shown for item in case.proof]
    found: list[Operation] = []
    for op in shown:
        for value in observed(op) if op.outcome == "ok" else ():
            sources = [other for other in case.happened if _brought(other, value) and ends_before(other, op)]
            if any(other.f == "append" for other in sources):
                found += [other for other in sources[-MOST_SOURCES:] if other not in (*shown, *found)]
            elif not any(_brought(other, value) for other in (*shown, *found) if other is not op):
                found += sources[-1:]
    found = found[-max(0, MOST_SHOWN - len(shown)) :] if len(shown) < MOST_SHOWN else []
    return found if impossible([*shown, *found], model) else []


MOST_SOURCES, MOST_SHOWN = 6, 12
"""Appends shown beside a proof for one value that they made; operations from which on nothing is added."""


def _brought(op: Operation, value: Value) -> bool:
    """Return whether `op` wrote that value, or appended something that stands in it."""
    if op.f == "append":
        return isinstance(op.value, str) and isinstance(value, str) and op.value in value
    return any(same(item, value) for item in written(op))


# --- the sentences that fit every proof ---


def _plainly(case: Case, model: Model[Any]) -> tuple[str, list[str]]:
    """Return a name and the sentences where no pattern fits.

    Where every value that was found had been written, by plain writes and by what never returned, no order at all
    means that in each order somebody finds a value that had been replaced.
    """
    sentences = _tell_plainly(case)
    judged = [item.judged for item in case.proof]
    if not reducible(case.everything, model) or any(
        observed(op) and written(op) and op.ret is not None for op in judged
    ):
        return RENAMED, sentences
    sentences[0] = (
        f"In whatever order the {counted(len(judged), 'operation')} below took effect, somebody found a value that had "
        "been replaced."
    )
    return "stale-read", sentences


def _tell_plainly(case: Case) -> list[str]:
    items = sorted(case.proof, key=lambda item: item.judged.call)
    sentences = [f"No order of {counted(len(items), 'operation')} explains what their clients were told."]
    for item in items[:MOST_TOLD]:
        late = item.judged.ret is None and item.shown.ret is not None
        sentences.append(case.told(item.shown) + ("; only its call matters here." if late else "."))
    if len(items) > MOST_TOLD:
        sentences.append(f"And {counted(len(items) - MOST_TOLD, 'more operation')}.")
    ops = [item.judged for item in items[:MOST_TOLD]]
    for one in ops:
        after = [op for op in ops if one.ret is not None and op.call > one.ret]
        next_end = min((op.ret for op in after if op.ret is not None), default=None)
        nearest = [op for op in after if next_end is None or op.call <= next_end]
        if nearest and one.ret is not None:
            were, when = "was" if len(nearest) == 1 else "were", case.at(one.return_ns)
            comma = "," if when else ""
            sentences.append(f"{case.no(one)} was answered{when}{comma} before {case.several(nearest)} {were} called.")
    return sentences


MOST_TOLD = 40
"""Operations told one by one."""


def _weakened(case: Case) -> list[str]:
    names = [
        case.no(item.shown) for item in case.proof if item.shown.f == "cas" and item.judged.f in PLAIN_WRITES.values()
    ]
    if not names:
        return []
    return [f"Of {' and '.join(names)} only the write counts here: the proof holds whatever was compared."]


def _faults(case: Case, witness: Sequence[Operation]) -> list[str]:
    start = min(op.call_ns for op in witness)
    end = max(op.return_ns if op.return_ns is not None else op.call_ns for op in witness)
    active = faults_between(case.around.faults, start, end)
    if not active:
        return ["No fault was active between the first and the last of these operations."] if case.around.faults else []
    return [f"Active meanwhile: {'; '.join(str(fault) for fault in active[:4])}."]
