"""Why: a contradiction told in sentences that a person can check against the history.

    explain(anomaly, history, model) -> Anomaly        smaller witness, a name of the field, because-sentences
    explained(verdict, history, model) -> Verdict      every anomaly of a verdict

An anomaly is renamed and retold only when its witness has been reduced (`reduction`) and the independent oracle has
found it impossible; otherwise it is handed back as the engine gave it. The names claim no more than was seen:

    dirty-read     a value was read whose only write was answered `fail`
    garbage-read   a value was read that nobody wrote
    future-read    a value was read before it was written
    lost-write     an acknowledged write was overtaken by its past, and no node can have been merely behind: an older
                   value was answered from the write's own log index or later, or by most of the nodes
    stale-read     one read saw a value after it had been replaced
    lost-update    two compare-and-set both took a value that was written once
    not-linearizable   none of these

The first sentence is the whole in one line, the others argue it. Operations are written `#93`: their number in the
history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from capsize.checker.counterexample import smallest_witness
from capsize.checker.models.model import Model, plain
from capsize.checker.reduction import (
    ORACLE,
    PLAIN_WRITES,
    Item,
    impossible,
    observed,
    reducible,
    same_value,
    smallest_proof,
    written,
)
from capsize.checker.surroundings import Surroundings, at, fate_of, faults_between, place_of
from capsize.checker.trace import TraceEvent
from capsize.checker.wgl import decide_wgl
from capsize.history import History
from capsize.op import Operation, Value
from capsize.verdict import Anomaly, Axis, Finding, Verdict

RENAMED = "not-linearizable"
MOST_ASKED = 250
"""Operations of a key up to which the oracle is asked to shrink histories that `reduction` does not understand."""
GRAVITY = ("lost-write", "lost-update", "dirty-read", "garbage-read", "future-read", "stale-read")
"""The gravest comes first."""


@dataclass(frozen=True, slots=True)
class Overtaken:
    """`read` saw what `before` wrote (None: the initial value), though `after` had replaced it; `seen` proves that."""

    read: Operation
    before: Operation | None
    after: Operation
    seen: Operation | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """All there is to tell of: the proof, every operation on the key, its numbers, and what surrounds it."""

    key: Value
    proof: tuple[Item, ...]
    everything: tuple[Operation, ...]
    numbers: Mapping[tuple[int, int], int]
    around: Surroundings

    def no(self, op: Operation) -> str:
        return f"#{self.numbers[op.process, op.call]}"

    @property
    def on_key(self) -> str:
        return "" if self.key is None else f" key {plain(self.key)}"


def _on(key: Value) -> str:
    return "" if key is None else f" on key {plain(key)}"


def explained(verdict: Verdict, history: History, model: Model[Any], *, traces: Sequence[TraceEvent] = ()) -> Verdict:
    """Return `verdict` with every anomaly explained as far as that can be proven."""
    if not any(anomaly.name == RENAMED for anomaly in verdict.anomalies):
        return verdict
    around = Surroundings.of(history, traces)
    told = [(one, explain(one, history, model, around)) for one in verdict.anomalies]
    told.sort(key=lambda pair: GRAVITY.index(pair[1].name) if pair[1].name in GRAVITY else len(GRAVITY))
    axes = dict(verdict.axes)
    safety = axes.get(Axis.SAFETY)
    if safety is not None:
        replaced = {line for one, new in told if new is not one for line in one.because}
        because = [line for line in safety.because if line not in replaced]
        because += [f"{new.name}{_on(new.key)}: {new.because[0]}" for one, new in told if new is not one]
        axes[Axis.SAFETY] = Finding(safety.valid, tuple(because))
    return replace(verdict, axes=axes, anomalies=tuple(new for _, new in told))


def explain(anomaly: Anomaly, history: History, model: Model[Any], around: Surroundings | None = None) -> Anomaly:
    """Return `anomaly` with its smallest proven witness, its name and its argument; unchanged if none is proven.

    Cost: some hundred runs of the oracle on the witness; linear passes over the operations of its key.
    """
    if anomaly.name != RENAMED or not anomaly.operations:
        return anomaly
    part = history.only(anomaly.key)
    everything = tuple(part)
    proof = smallest_proof(anomaly.operations, everything, model) or _any_proof(part, everything, model)
    if proof is None:
        return anomaly
    numbers = {(op.process, op.call): int(row) for op, row in zip(everything, part.columns.row, strict=True)}
    case = Case(anomaly.key, proof, everything, numbers, around or Surroundings.of(history))
    name, sentences = _argue(case) if reducible(everything, model) else (RENAMED, _tell_plainly(case))
    witness = [item.shown for item in proof]
    if name == "dirty-read":
        witness += [op for op in everything if op.outcome == "fail" and _writes_seen(op, witness)]
    witness.sort(key=lambda op: op.call)
    sentences += _weakened(case) + _faults(case, witness)
    details = {**anomaly.details, "proven_by": "wgl", "operations_in_proof": len(proof)}
    return replace(anomaly, name=name, because=tuple(sentences), operations=tuple(witness), details=details)


def _any_proof(part: History, everything: Sequence[Operation], model: Model[Any]) -> tuple[Item, ...] | None:
    """Return a proof for any model, found by asking the oracle; None for a key of too many operations."""
    if len(part) > MOST_ASKED:
        return None
    witness = smallest_witness(part, model, lambda history: decide_wgl(history, model, ORACLE), tries=300)
    if not witness or not impossible(witness, model):
        return None
    as_it_was = {(op.process, op.call): op for op in everything}
    return tuple(Item(as_it_was[op.process, op.call], op) for op in witness)


def _argue(case: Case) -> tuple[str, list[str]]:
    """Return the name and the sentences of the first pattern that the proof shows."""
    nowhere = _from_nowhere(case)
    if nowhere is not None:
        return nowhere
    overtaken = _overtaken(case)
    if overtaken is not None:
        return _tell_overtaken(case, overtaken)
    both = _both_seen(case)
    if both is not None:
        return both
    twice = _taken_twice(case)
    if twice is not None:
        return twice
    return RENAMED, _tell_plainly(case)


# --- the patterns ---


def _from_nowhere(case: Case) -> tuple[str, list[str]] | None:
    for item in case.proof:
        op = item.judged
        for value in observed(op):
            writers = [other for other in case.everything if _has(written(other), value)]
            if value is None or op.outcome != "ok":
                continue
            if not writers:
                refused = [other for other in case.everything if other.outcome == "fail" and _asked(other, value)]
                read = f"{_told(case, op)}."
                if refused:
                    other = refused[0]
                    why = f" ({other.error})" if other.error else ""
                    return "dirty-read", [
                        f"{_who(op)} read {plain(value)}, and the only write of it was answered fail.",
                        read,
                        f"{plain(value)} was asked for only by {_who(other)} ({case.no(other)}, called at "
                        f"{at(other.call_ns)}), and that was answered fail{why}: it must never have any effect.",
                    ]
                return "garbage-read", [
                    f"{_who(op)} read {plain(value)}, which nobody ever wrote.",
                    read,
                    f"No operation of the history ever wrote {plain(value)} to{case.on_key or ' it'}.",
                ]
            if op.ret is not None and all(other.call > op.ret for other in writers):
                first = min(writers, key=lambda other: other.call)
                return "future-read", [
                    f"{_who(op)} found {plain(value)} before anybody had asked for it to be written.",
                    f"{_told(case, op)}.",
                    f"{plain(value)} was first asked to be written at {at(first.call_ns)} ({case.no(first)}), "
                    "after that answer.",
                ]
    return None


def _overtaken(case: Case) -> Overtaken | None:
    """Return a read of a value that had been replaced before the read was called, as the proof's operations show."""
    ops = [item.judged for item in case.proof]
    readers = [op for op in ops if op.outcome == "ok" and observed(op)]
    for read in sorted(readers, key=lambda op: op.call):
        value = observed(read)[0]
        writers = [op for op in ops if _has(written(op), value) and op is not read]
        if len(writers) > 1 or (not writers and value is not None):
            continue
        before = writers[0] if writers else None
        for after in ops:
            new = written(after)
            if not new or after is before or after is read or _has(new, value) or _writers(case, new[0]) != 1:
                continue
            begun = before is None or (before.ret is not None and before.ret < after.call)
            if begun and after.ret is not None and after.ret < read.call:
                return Overtaken(read, before, after)
            for seen in readers:
                if (
                    seen in (read, after)
                    or not _has(observed(seen), new[0])
                    or seen.ret is None
                    or seen.ret >= read.call
                ):
                    continue
                known = before is None or (before.ret is not None and before.ret < seen.call)
                known = known or any(
                    _has(observed(op), value) and op.ret is not None and op.ret < seen.call for op in readers
                )
                if known:
                    return Overtaken(read, before, after, seen)
    return None


def _both_seen(case: Case) -> tuple[str, list[str]] | None:
    """Two values read after both had been written: whichever was the later, the other was gone."""
    readers = [item.judged for item in case.proof if item.judged.outcome == "ok" and observed(item.judged)]
    seen = [(op, writer) for op in readers for writer in _only_writer(case, op)]
    for number, (one, its) in enumerate(seen):
        for other, theirs in seen[number + 1 :]:
            start = min(one.call, other.call)
            if its is theirs or any(writer.ret is None or writer.ret >= start for writer in (its, theirs)):
                continue
            first, second = plain(observed(one)[0]), plain(observed(other)[0])
            sentences = [
                f"{_who(one)} found {first} and {_who(other)} found {second}, though both had been written before.",
                f"{_told(case, its)}.",
                f"{_told(case, theirs)}.",
                f"After both of that, {_told(case, one)}.",
                f"And {_told(case, other)}.",
                f"Whichever of {first} and {second} was written last, it had replaced the other one for good.",
            ]
            return "stale-read", sentences + _behind(one, theirs) + _behind(other, its)
    return None


def _only_writer(case: Case, op: Operation) -> list[Operation]:
    """Return the one operation that may have written what `op` found; none if there are more, or none."""
    writers = [other for other in case.everything if _has(written(other), observed(op)[0])]
    return writers if len(writers) == 1 else []


def _taken_twice(case: Case) -> tuple[str, list[str]] | None:
    swaps = [
        item.judged
        for item in case.proof
        if item.judged.f == "cas" and item.judged.outcome == "ok" and observed(item.judged)
    ]
    for number, one in enumerate(swaps):
        for other in swaps[number + 1 :]:
            if same_value(observed(one)[0], observed(other)[0]) and _writers(case, observed(one)[0]) <= 1:
                old = plain(observed(one)[0])
                return "lost-update", [
                    f"Two compare-and-set both replaced {old}, which was there only once.",
                    f"{_told(case, one)}.",
                    f"{_told(case, other)}.",
                    f"Both found {old}, which was there only once: after the first of them it was gone.",
                ]
    return None


# --- the sentences ---


def _tell_overtaken(case: Case, found: Overtaken) -> tuple[str, list[str]]:
    read, after = found.read, found.after
    old, new = observed(read)[0], written(after)[0]
    since = after.ret if found.seen is None else found.seen.ret
    since_ns = after.return_ns if found.seen is None else found.seen.return_ns
    assert since is not None
    assert since_ns is not None
    later = [op for op in case.everything if op.outcome == "ok" and op.call > since and observed(op)]
    saw_new = [op for op in case.everything if op.outcome == "ok" and _has(observed(op), new)]
    saw_new_later = [op for op in later if _has(observed(op), new)]
    saw_old = [op for op in later if _has(observed(op), old)]
    gone = after.outcome == "ok" and not saw_new_later and _is_lost(case, after, saw_old)
    if gone:
        vanished = "nobody ever saw it" if not saw_new else f"after {at(since_ns)} nobody saw it again"
        sentences = [f"{_who(after)} was told that {plain(new)} was written ({_brief(after)}); {vanished}."]
    else:
        sentences = [f"{_who(read)} read {plain(old)} ({_brief(read)}), though {plain(new)} had replaced it."]
    sentences.append(f"{_told(case, after)}.")
    if found.seen is not None:
        sentences.append(f"{_told(case, found.seen)}: {plain(new)} had taken effect.")
    origin = "the initial value" if found.before is None else f"from {case.no(found.before)}"
    sentences.append(f"After that, {_told(case, read)}: {plain(old)} is {origin}, and {plain(new)} had replaced it.")
    if found.before is not None and found.before.return_ns is not None and found.seen is None:
        sentences.append(
            f"{case.no(found.before)} was answered at {at(found.before.return_ns)}, before {case.no(after)} was "
            f"called at {at(after.call_ns)}."
        )
    if gone and not saw_new:
        sentences.append(f"Nobody ever saw {plain(new)}: {_count(len(later), 'later answer')} showed something else.")
    elif gone:
        sentences.append(f"After {at(since_ns)} nobody saw {plain(new)} again.")
    elif saw_new:
        others = sorted({op.node or "?" for op in saw_new})
        sentences.append(f"{plain(new)} was seen on {', '.join(others)}.")
    sentences += _behind(read, after)
    place = place_of(after)
    if place is not None and after.return_ns is not None:
        sentences += fate_of(place, after.return_ns, None if gone else read.return_ns, case.around)
    return ("lost-write" if gone else "stale-read"), sentences


def _is_lost(case: Case, after: Operation, saw_old: Sequence[Operation]) -> bool:
    """Return whether later answers cannot be explained by a node that was merely behind.

    Either one of them came from a log index at or beyond the write's own; or, where answers name no index, most of
    the nodes gave one.
    """
    place = place_of(after)
    told = [op.meta.get("log_index") for op in saw_old]
    if place is not None and any(isinstance(index, int) for index in told):
        return any(isinstance(index, int) and index >= place[0] for index in told)
    nodes = {op.node for op in case.everything if op.node}
    return len(nodes) > 1 and len({op.node for op in saw_old if op.node}) * 2 > len(nodes)


def _behind(read: Operation, after: Operation) -> list[str]:
    """Return what the answers' own terms and log indices say about the two."""
    place, told = place_of(after), read.meta.get("log_index")
    term, told_term = read.meta.get("term"), after.meta.get("term")
    one, other = read.meta.get("served_by"), after.meta.get("served_by")
    sentences: list[str] = []
    if one and other and isinstance(term, int) and isinstance(told_term, int):
        if term < told_term:
            sentences.append(f"{one} answered in term {term}, after {other} had answered in term {told_term}.")
        if term > told_term:
            sentences.append(
                f"The write was acknowledged by {other} in term {told_term}; the later answer came from {one} in "
                f"term {term}."
            )
    if one and place is not None and isinstance(told, int) and told < place[0] and read.f in ("read", "get"):
        sentences.append(f"{one} answered from log index {told}; the write stood at {place[0]}.")
    return sentences


def _tell_plainly(case: Case) -> list[str]:
    items = sorted(case.proof, key=lambda item: item.judged.call)
    sentences = [f"No order of {_count(len(items), 'operation')} explains what their clients were told."]
    for item in items:
        late = item.judged.ret is None and item.shown.ret is not None
        sentences.append(_told(case, item.shown) + ("; only its call matters here." if late else "."))
    ops = [item.judged for item in items]
    for one in ops:
        after = [op for op in ops if one.ret is not None and op.call > one.ret]
        next_end = min((op.ret for op in after if op.ret is not None), default=None)
        nearest = [op for op in after if next_end is None or op.call <= next_end]
        if nearest and one.return_ns is not None:
            names = ", ".join(case.no(op) for op in nearest[:4])
            were = "was" if len(nearest) == 1 else "were"
            sentences.append(f"{case.no(one)} was answered at {at(one.return_ns)}, before {names} {were} called.")
    return sentences


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


def _told(case: Case, op: Operation) -> str:
    """Return what a client was told, by whom, when."""
    about = f"{case.no(op)}{_evidence(op)}"
    who = f"{_who(op)}{f' on {op.node}' if op.node else ''}"
    when = f" at {at(op.return_ns)}" if op.return_ns is not None else ""
    to = f" to{case.on_key}" if case.key is not None else ""
    if op.f in ("read", "get"):
        of = f" of{case.on_key}" if case.key is not None else ""
        return f"{who} read {plain(op.result)}{of} ({about}; called at {at(op.call_ns)}, answered{when})"
    if op.f not in ("write", "put", "cas", "delete"):
        asked = f"{op.f}{'' if op.value is None else ' ' + plain(op.value)}{to}"
        if op.outcome != "ok":
            return f"{who} asked for {asked} at {at(op.call_ns)} and never learnt the outcome ({about})"
        answer = "done" if op.result is None and op.value is not None else plain(op.result)
        return f"{who} asked for {asked} and was told{when}: {answer} ({about})"
    value = written(op)
    done = {"cas": "was set by compare-and-set", "delete": "was deleted"}.get(op.f, "was written")
    what = "the key" if op.f == "delete" else plain(value[0] if value else op.value)
    if op.outcome == "info":
        wish = "be deleted" if op.f == "delete" else "be written"
        return f"{who} asked at {at(op.call_ns)} that {what} {wish}{to}, and never learnt the outcome ({about})"
    if op.f == "cas" and observed(op):
        done += f" where {plain(observed(op)[0])} was"
    return f"{who} was told{when} that {what} {done}{to} ({about})"


def _brief(op: Operation) -> str:
    words = [at(op.return_ns)] if op.return_ns is not None else []
    words += [str(op.meta.get("served_by") or op.node)] if op.meta.get("served_by") or op.node else []
    words += [f"term {op.meta['term']}"] if isinstance(op.meta.get("term"), int) else []
    words += [f"index {op.meta['log_index']}"] if isinstance(op.meta.get("log_index"), int) else []
    return ", ".join(words)


def _evidence(op: Operation) -> str:
    words = [f"served by {op.meta['served_by']}"] if op.meta.get("served_by") else []
    words += [f"in term {op.meta['term']}"] if isinstance(op.meta.get("term"), int) else []
    words += [f"at log index {op.meta['log_index']}"] if isinstance(op.meta.get("log_index"), int) else []
    return f", {' '.join(words)}" if words else ""


def _who(op: Operation) -> str:
    return f"p{op.process}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _has(values: tuple[Value, ...], value: Value) -> bool:
    return any(same_value(item, value) for item in values)


def _asked(op: Operation, value: Value) -> bool:
    """Return whether `op`, which failed, asked for `value` to be written."""
    asked = op.value[1] if op.f == "cas" and isinstance(op.value, tuple) and len(op.value) == 2 else op.value
    return op.f not in ("read", "get") and same_value(asked, value)


def _writes_seen(op: Operation, witness: Sequence[Operation]) -> bool:
    return any(_asked(op, value) for other in witness for value in observed(other))


def _writers(case: Case, value: Value) -> int:
    return sum(1 for op in case.everything if _has(written(op), value))
