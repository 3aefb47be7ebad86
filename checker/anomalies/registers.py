"""Registers and maps: values read after they were replaced, before they were written, or though nobody wrote them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from capsize.checker.anomalies.case import Case, counted, has, name, short
from capsize.checker.anomalies.sources import from_nowhere
from capsize.checker.models.model import same
from capsize.checker.reduction import observed, written
from capsize.checker.surroundings import place_of
from capsize.op import Operation, Value

Told = tuple[str, list[str], list[Operation]]
"""A name, the argument, and operations to be shown beside the proof."""


@dataclass(frozen=True, slots=True)
class Overtaken:
    """`read` saw what `before` wrote (None: the initial value), though `after` had replaced it; `seen` proves that.

    `only_by_log`: that `after` came later is what the log indices of the answers say, not their times.
    """

    read: Operation
    before: Operation | None
    after: Operation
    seen: Operation | None = None
    only_by_log: bool = False


def argue(case: Case) -> Told | None:
    """Return what the first pattern that the proof shows has to say."""
    for pattern in (_from_nowhere, _overtaken, _both_seen, _taken_twice):
        told = pattern(case)
        if told is not None:
            return told
    return None


# --- the patterns ---


def _from_nowhere(case: Case) -> Told | None:
    for item in case.proof:
        op = item.judged
        if op.outcome != "ok":
            continue
        for value in observed(op):
            if value is None:
                continue
            writers = [other for other in case.happened if other is not item.shown and has(written(other), value)]
            told = from_nowhere(case, op, value, writers, [one for one in case.failed if _asked(one, value)])
            if told is not None:
                return told
    return None


def _overtaken(case: Case) -> Told | None:
    found = _find_overtaken(case)
    return None if found is None else _tell(case, found)


def _find_overtaken(case: Case) -> Overtaken | None:
    """Return a read of a value that had been replaced before the read was called, as the proof's operations show.

    Of answers that cannot both be right, the log indices that they name say which one is wrong; where they say nothing
    of it, the later one is told.
    """
    found = list(_overtakings(case))
    by_times = [one for one in found if not one.only_by_log]
    if not by_times:
        return None
    kept = [one for one in by_times if one.before is None or not _in_log_order(one.after, one.before)]
    return next(iter([*kept, *(one for one in found if one.only_by_log), *by_times]))


def _in_log_order(one: Operation, other: Operation) -> bool:
    """Return whether, by the entries that their answers name, `one` came into the log before `other`."""
    first, second = place_of(one), place_of(other)
    return first is not None and second is not None and first[0] < second[0] and first[1] <= second[1]


def _overtakings(case: Case) -> Iterator[Overtaken]:
    """Yield all such reads, in the order of their calls."""
    ops = [item.judged for item in case.proof]
    readers = [op for op in ops if op.outcome == "ok" and observed(op)]
    shown = {op.identity for op in ops}
    ops += [op for reader in readers for op in _only_writer(case, reader) if op.identity not in shown]
    for read in sorted(readers, key=lambda op: op.call):
        value = observed(read)[0]
        writers = [
            op for op in case.happened if has(written(op), value) and not _same(op, read) and op.call < (read.ret or 0)
        ]
        if len(writers) > 1 or (not writers and value is not None):
            continue
        before = writers[0] if writers else None
        for after in ops:
            new = written(after)
            if (
                not new
                or (before is not None and _same(after, before))
                or after is read
                or has(new, value)
                or _writers(case, new[0]) != 1
            ):
                continue
            begun = before is None or (before.ret is not None and before.ret < after.call)
            logged = not begun and before is not None and _in_log_order(before, after)
            if (begun or logged) and after.ret is not None and after.ret < read.call:
                yield Overtaken(read, before, after, only_by_log=logged)
            for seen in readers:
                if (
                    seen in (read, after)
                    or not has(observed(seen), new[0])
                    or seen.ret is None
                    or seen.ret >= read.call
                ):
                    continue
                known = before is None or (before.ret is not None and before.ret < seen.call)
                known = known or any(
                    has(observed(op), value) and op.ret is not None and op.ret < seen.call for op in readers
                )
                if known:
                    yield Overtaken(read, before, after, seen)


def _both_seen(case: Case) -> Told | None:
    """Two values read after both had been written: whichever was the later, the other was gone."""
    readers = [item.judged for item in case.proof if item.judged.outcome == "ok" and observed(item.judged)]
    seen = [(op, writer) for op in readers for writer in _only_writer(case, op)]
    for number, (one, its) in enumerate(seen):
        for other, theirs in seen[number + 1 :]:
            start = min(one.call, other.call)
            if its is theirs or any(writer.ret is None or writer.ret >= start for writer in (its, theirs)):
                continue
            first, second = short(observed(one)[0]), short(observed(other)[0])
            sentences = [
                f"{name(one)} found {first} and {name(other)} found {second}, though both had been written before.",
                f"{case.told(its)}.",
                f"{case.told(theirs)}.",
                f"After both of that, {case.told(one)}.",
                f"And {case.told(other)}.",
                f"Whichever of {first} and {second} was written last, it had replaced the other one for good.",
            ]
            return "stale-read", sentences + _behind(one, theirs) + _behind(other, its), [its, theirs]
    return None


def _only_writer(case: Case, op: Operation) -> list[Operation]:
    """Return the one operation that may have written what `op` found; none if there are more, or none."""
    writers = [other for other in case.happened if has(written(other), observed(op)[0])]
    return writers if len(writers) == 1 else []


def _taken_twice(case: Case) -> Told | None:
    swaps = [
        item.judged
        for item in case.proof
        if item.judged.f == "cas" and item.judged.outcome == "ok" and observed(item.judged)
    ]
    for number, one in enumerate(swaps):
        for other in swaps[number + 1 :]:
            if same(observed(one)[0], observed(other)[0]) and _writers(case, observed(one)[0]) <= 1:
                old = short(observed(one)[0])
                because = [
                    f"Two compare-and-set both replaced {old}, which was there only once.",
                    f"{case.told(one)}.",
                    f"{case.told(other)}.",
                    f"Both found {old}, which was there only once: after the first of them it was gone.",
                ]
                return "lost-update", because, []
    return None


def _tell(case: Case, found: Overtaken) -> Told:
    read, after = found.read, found.after
    old, new = observed(read)[0], written(after)[0]
    since = after.ret if found.seen is None else found.seen.ret
    since_ns = after.return_ns if found.seen is None else found.seen.return_ns
    assert since is not None
    assert since_ns is not None
    later = [op for op in case.happened if op.outcome == "ok" and op.call > since and observed(op)]
    saw_new = [op for op in case.happened if op.outcome == "ok" and has(observed(op), new)]
    saw_new_later = [op for op in later if has(observed(op), new)]
    saw_old = [op for op in later if has(observed(op), old)]
    after_that = case.at(since_ns, "after ") or "after that"
    gone = after.outcome == "ok" and not saw_new_later and _is_lost(case, after, saw_old)
    deleted = after.f == "delete"
    replaced = "it had been deleted" if deleted else f"{short(new)} had replaced it"
    if gone:
        it = "found it gone" if deleted else "saw it"
        vanished = f"nobody ever {it}" if not saw_new else f"{after_that} nobody {it}{'' if deleted else ' again'}"
        done = "the key was deleted" if deleted else f"{short(new)} was written"
        sentences = [f"{name(after)} was told that {done}{case.brief(after)}; {vanished}."]
    else:
        sentences = [f"{name(read)} read {short(old)}{case.brief(read)}, though {replaced}."]
    sentences.append(f"{case.told(after)}.")
    if found.seen is not None:
        sentences.append(f"{case.told(found.seen)}: {'the deletion' if deleted else short(new)} had taken effect.")
    origin = "the initial value" if found.before is None else f"from {case.no(found.before)}"
    sentences.append(f"After that, {case.told(read)}: {short(old)} is {origin}, and {replaced}.")
    if found.only_by_log and found.before is not None:
        stood, stands = found.before.meta["log_index"], after.meta["log_index"]
        sentences.append(f"In the log {short(old)} stood at index {stood} and {short(new)} at index {stands}.")
        told_new = [item.judged for item in case.proof if has(observed(item.judged), new) and item.judged is not read]
        sentences += [f"Nor can {short(old)} have come last: {case.told(one)}." for one in told_new[:1]]
    elif found.before is not None and found.before.return_ns is not None and found.seen is None:
        sentences.append(f"{case.before(found.before, after)}.")
    if gone and not saw_new:
        sentences.append(f"Nobody ever saw {short(new)}: {counted(len(later), 'later answer')} showed something else.")
    elif gone:
        sentences.append(f"{after_that[0].upper()}{after_that[1:]} nobody saw {short(new)} again.")
    elif saw_new:
        others = sorted({op.node for op in saw_new if op.node})
        if others:
            sentences.append(f"{short(new)} was seen on {', '.join(others)}.")
    sentences += _behind(read, after)
    sentences += case.fate(after, None if gone else read.return_ns)
    beside = [op for op in (found.before, after) if op is not None]
    return ("lost-write" if gone else "stale-read"), sentences, beside


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


def _asked(op: Operation, value: Value) -> bool:
    """Return whether `op`, which failed, asked for `value` to be written."""
    asked = op.value[1] if op.f == "cas" and isinstance(op.value, tuple) and len(op.value) == 2 else op.value
    return op.f not in ("read", "get") and same(asked, value)


def _writers(case: Case, value: Value) -> int:
    return sum(1 for op in case.happened if has(written(op), value))


def _same(one: Operation, other: Operation) -> bool:
    return (one.process, one.call) == (other.process, other.call)
