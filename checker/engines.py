"""Which engine judges which key, and its answer in the words that all engines share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from capsize.checker.automaton import Automaton, register_automaton, string_automaton, string_states
from capsize.checker.budget import STEPS_DEFAULT, Budget
from capsize.checker.chains import unchain
from capsize.checker.columns import Ints, KeyColumns
from capsize.checker.compiled import compilation_allowed
from capsize.checker.depth_first import NO_APPENDS, Appends, find_orders, observed_states, usable_cores
from capsize.checker.depth_first_kernel import FIND_ORDERS, GROUP_EVENTS
from capsize.checker.encoding import encode, slotted
from capsize.checker.encoding_kernel import ENCODE_ROWS, NUMBER_SLOTS, ORDER_BY_KEY
from capsize.checker.frontier import ASSIGN_SLOTS, COMPILE_FROM, FrontierAnswer, judge_frontier
from capsize.checker.frontier_kernel import ADVANCE
from capsize.checker.general import decide_general
from capsize.checker.models import CasRegister, KeyValue, Model, Register
from capsize.checker.outcome import Exhausted, Illegal, Legal, Outcome
from capsize.checker.strings_kernel import GROW_STATES, SPLIT_READINGS, WRITTEN_ONCE
from capsize.checker.unique import ILLEGAL, UNPLACED, VALID, Contradiction, UniqueAnswer, judge_unique
from capsize.checker.unique_kernel import JUDGE_UNIQUE
from capsize.history import History
from capsize.op import Value

REGISTERS: tuple[type[Model[Any]], ...] = (Register, CasRegister, KeyValue)
"""The models that the fast engines know by heart. A subclass may differ, and is left to the general engine."""

KERNELS = (
    *(ENCODE_ROWS, ORDER_BY_KEY, NUMBER_SLOTS, WRITTEN_ONCE, SPLIT_READINGS, GROW_STATES),
    *(JUDGE_UNIQUE, GROUP_EVENTS, FIND_ORDERS, ASSIGN_SLOTS, ADVANCE),
)
"""All compiled loops, for whoever wants them loaded before the first history."""

STEPS_AFTER_ILLEGAL = 400_000
"""What a key may still cost when another one is known to be illegal."""

HARD_KEYS = 4
"""Keys that may each use all of the default budget; more than these share what these may use."""

BYTES_FIRST_TRY = 120
"""What the first try keeps for each operation."""

UNIQUE, FRONTIER, GENERAL = "unique-values", "frontier", "general"


@dataclass(frozen=True, slots=True)
class KeyOutcome:
    """One key, the engine that judged it, and what it said. Rows are numbers in the whole history."""

    key: Value
    engine: str
    outcome: Outcome


def judge_keys(
    history: History,
    model: Model[Any],
    budget: Budget,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[KeyOutcome]:
    """Judge every key, each with the fastest engine that applies; several keys at once where there are cores."""
    encoded = None
    if type(model) in REGISTERS and _words_used(history, _words(model)):
        encoded = encode(history, model.init())
    if encoded is None:
        parts = list(model.partition(history))
        done: list[KeyOutcome] = []
        for key, part in parts:
            done.append(KeyOutcome(key, GENERAL, decide_general(part, model, budget)))
            if progress is not None:
                progress(len(done), len(parts))
        return done
    columns, appends = encoded
    judged, unplaced, in_slots = _judge_unique_keys(history, columns, appends)
    if len(judged) < len(columns.keys):
        judged |= _first_try(history, columns, in_slots, unplaced, appends, judged, model, budget)
    left = [number for number in range(len(columns.keys)) if number not in judged]
    if progress is not None and judged:
        progress(len(judged), len(columns.keys))
    if left:
        for number, outcome in _search(history, model, columns, appends, unplaced, judged, left, budget):
            judged[number] = outcome
            if progress is not None:
                progress(len(judged), len(columns.keys))
    return [judged[number] for number in range(len(columns.keys))]


def _search(
    history: History,
    model: Model[Any],
    columns: KeyColumns,
    appends: Any,
    unplaced: KeyColumns | None,
    judged: dict[int, KeyOutcome],
    left: list[int],
    budget: Budget,
) -> Iterator[tuple[int, KeyOutcome]]:
    """Judge the keys that are `left`, each by itself."""
    order = np.argsort(columns.key, kind="stable")
    cuts = np.searchsorted(columns.key[order], np.arange(len(columns.keys) + 1))
    built = {
        number: _automaton(history, model, columns, number, order[cuts[number] : cuts[number + 1]], appends)
        for number in left
    }
    known = any(isinstance(item.outcome, Illegal) for item in judged.values())
    if known or any(isinstance(item, int) for item in built.values()):
        # The verdict stands; the hard ones among the other keys are not worth all that they may cost.
        budget = replace(budget, steps=min(budget.steps_or_all, STEPS_AFTER_ILLEGAL))
    elif budget.steps == STEPS_DEFAULT and len(left) > HARD_KEYS:
        # By default many hard keys together cost no more than a few.
        budget = replace(budget, steps=STEPS_DEFAULT * HARD_KEYS // len(left))

    def one(number: int) -> KeyOutcome:
        if unplaced is not None and bool(np.any(unplaced.key == number)):
            settled = np.flatnonzero(unplaced.key == number)
            told = register_automaton(unplaced, settled, int(unplaced.initial[number]), history.table)
            answer = judge_frontier(told, budget, legal_only=True)
            if answer.valid is True:
                return KeyOutcome(columns.keys[number], FRONTIER, Legal(None, answer.steps, answer.peak_bytes))
        return _judge_searching(history, model, columns, number, built[number], budget)

    yield from _in_parallel(one, left, len(columns))


def _words_used(history: History, words: frozenset[str]) -> bool:
    """Whether the operations use none but `words`."""
    if words.issuperset(history.words):
        return True
    return words.issuperset(history.words[code] for code in np.unique(history.columns.f))


def _words(model: Model[Any]) -> frozenset[str]:
    return model.words | {"read", "write"}


def _in_parallel(
    judge: Callable[[int], KeyOutcome], numbers: list[int], operations: int
) -> Iterator[tuple[int, KeyOutcome]]:
    """Yield each key's outcome. Threads where keys are long: compiled kernels run without the interpreter's lock."""
    cores = usable_cores()
    if len(numbers) < 2 or cores < 2 or operations < COMPILE_FROM * len(numbers) or not compilation_allowed():
        for number in numbers:
            yield number, judge(number)
        return
    with ThreadPoolExecutor(min(cores, len(numbers))) as pool:
        yield from zip(numbers, pool.map(judge, numbers), strict=True)


# --- unique values ---


def _judge_unique_keys(
    history: History, columns: KeyColumns, appends: Any
) -> tuple[dict[int, KeyOutcome], KeyColumns | None, KeyColumns | None]:
    """Return the outcome of each key that the linear engine decides; what it says of unplaced keys; all in slots."""
    rows = history.columns.row
    judged: dict[int, KeyOutcome] = {}
    possible = np.ones(len(columns.keys), dtype=bool)
    if bool(appends.any()):
        chained = unchain(columns, appends, history.table)
        columns = chained.columns
        possible = chained.done | ~appends
        for number, pair in chained.disagreeing.items():
            witness = _rows_of_items(columns, pair, rows)
            judged[number] = KeyOutcome(columns.keys[number], UNIQUE, Illegal("two-predecessors", witness))
        if not bool(possible.any()):
            return judged, None, None
        if not bool(possible.all()):
            columns = columns.take(np.flatnonzero(possible[columns.key]))
    in_slots = slotted(columns)
    answer = judge_unique(in_slots)
    for number, status in enumerate(answer.status):
        if not possible[number] or number in judged:
            continue
        if status == VALID:
            judged[number] = KeyOutcome(columns.keys[number], UNIQUE, Legal())
        elif status == ILLEGAL:
            found = answer.contradictions[number]
            witness = tuple(int(rows[columns.row[row]]) for row in found.operations)
            illegal = Illegal(found.rule, witness, _reason(columns, found, rows))
            judged[number] = KeyOutcome(columns.keys[number], UNIQUE, illegal)
    unplaced = np.array(answer.status) == UNPLACED
    unplaced &= possible
    return judged, _settled(in_slots, answer, unplaced) if bool(unplaced.any()) else None, in_slots


def _settled(columns: KeyColumns, answer: UniqueAnswer, keys: Any) -> KeyColumns:
    """Return the operations of `keys` that took effect, and say of each that never returned when it must have.

    What unique values imply: pending operations that were seen return just before who saw them did, and those that
    were not are left out. So an order of these is an order of all, but there may be others.
    """
    pending = columns.ret < 0
    until = np.where(pending, answer.seen_until, columns.ret)
    kept = np.flatnonzero(keys[columns.key] & (until >= 0))
    told = columns.take(kept)
    order = np.argsort(np.concatenate([2 * told.call, 2 * until[kept] - pending[kept]]), kind="stable")
    position = np.empty(len(order), dtype=np.int64)
    position[order] = np.arange(len(order))
    return replace(told, call=position[: len(kept)], ret=position[len(kept) :])


def _reason(columns: KeyColumns, found: Contradiction, rows: Ints) -> dict[str, Any]:
    if not found.zones:
        return {}
    return {
        "zones": [
            {
                "operations": [int(rows[columns.row[row]]) for row in zone.operations],
                "earliest_return": zone.earliest_return,
                "latest_call": zone.latest_call,
            }
            for zone in found.zones
        ]
    }


def _rows_of_items(columns: KeyColumns, pair: tuple[int, int], rows: Ints) -> tuple[int, ...]:
    """The two reads that disagree."""
    return tuple(int(rows[columns.row[row]]) for row in pair)


# --- an order, if one is easily found ---


def _first_try(
    history: History,
    columns: KeyColumns,
    in_slots: KeyColumns | None,
    unplaced: KeyColumns | None,
    appends: Any,
    judged: dict[int, KeyOutcome],
    model: Model[Any],
    budget: Budget,
) -> dict[int, KeyOutcome]:
    """Return the keys not yet `judged` for which an order is found at the first try, or a value that cannot be."""
    wanted = np.ones(len(columns.keys), dtype=bool)
    wanted[list(judged)] = False
    tries: list[tuple[KeyColumns, Any, Appends]] = []
    found: dict[int, KeyOutcome] = {}
    registers = wanted & ~appends
    if unplaced is not None:
        keys = np.zeros(len(wanted), dtype=bool)
        keys[unplaced.key] = True
        tries.append((observed_states(unplaced), keys, NO_APPENDS))
        registers &= ~keys
    if in_slots is not None and bool(registers.any()):
        tries.append((observed_states(in_slots), registers, NO_APPENDS))
    if bool(np.any(wanted & appends)):
        strings = string_states(columns, wanted & appends, model.init(), history.table)
        if strings is not None:
            states, graph, impossible = strings
            keys = wanted & appends
            for row in impossible[::-1]:
                number = int(columns.key[row])
                keys[number] = False
                illegal = Illegal("never-written", (int(history.columns.row[columns.row[row]]),))
                found[number] = KeyOutcome(columns.keys[number], FRONTIER, illegal)
            tries.append((states, keys, graph))
    for states, keys, graph in tries:
        if len(states) * BYTES_FIRST_TRY > budget.bytes_or_all or not bool(keys.any()):
            continue
        tried = find_orders(states, keys, graph, steps=budget.steps_or_all)
        for number in np.flatnonzero(tried.found).tolist():
            legal = Legal(None, int(tried.steps[number]), tried.bytes)
            found[number] = KeyOutcome(columns.keys[number], FRONTIER, legal)
    return found


# --- everything else ---


def _automaton(
    history: History, model: Model[Any], columns: KeyColumns, number: int, rows: Ints, appends: Any
) -> Automaton | int | None:
    """The automaton of one key; or the row of an operation that observed the impossible; or None (no registers)."""
    initial = int(columns.initial[number])
    if appends[number]:
        return string_automaton(columns, rows, initial, model.init(), history.table)
    return register_automaton(columns, rows, initial, history.table)


def _judge_searching(
    history: History, model: Model[Any], columns: KeyColumns, number: int, built: Automaton | int | None, budget: Budget
) -> KeyOutcome:
    key = columns.keys[number]
    if built is None:
        part = history.take(_all_rows(history, key))
        return KeyOutcome(key, GENERAL, decide_general(part, model, budget))
    numbers = history.columns.row
    if isinstance(built, int):
        return KeyOutcome(key, FRONTIER, Illegal("never-written", (int(numbers[columns.row[built]]),)))
    answer = judge_frontier(built, budget)
    return KeyOutcome(key, FRONTIER, _outcome(history, columns, built, answer))


def _all_rows(history: History, key: Value) -> Ints:
    return next(rows for name, rows in history.split() if name == key and type(name) is type(key))


def _outcome(history: History, columns: KeyColumns, automaton: Automaton, answer: FrontierAnswer) -> Outcome:
    if answer.valid is True:
        return Legal(None, answer.steps, answer.peak_bytes)

    def row(operation: int) -> int:
        return int(history.columns.row[columns.row[automaton.row[operation]]])

    at = answer.at
    window = (answer.quiet_at, int(automaton.ret[at]) if automaton.ret[at] >= 0 else int(automaton.call[at]))
    if answer.valid == "unknown":
        hint = "a larger budget, values written once, or fewer clients on a key"
        if answer.pending_operations:
            hint += "; fewer operations that time out"
        return Exhausted(
            answer.exhausted, window, len(answer.open_operations), answer.pending_operations, hint,
            answer.steps, answer.peak_bytes,
        )  # fmt: skip
    last = [
        {
            "state": automaton.describe(configuration["state"]),
            "done": [row(op) for op in configuration["linearized"]],
            "refused": [
                {"row": row(op), "why": automaton.why(op, configuration["state"])}
                for op in answer.open_operations
                if op not in configuration["linearized"]
            ],
        }
        for configuration in answer.configurations
    ]
    involved = tuple(dict.fromkeys([row(at), *(row(op) for op in answer.open_operations)]))
    reason = {"at": row(at), "window": list(window), "mode": answer.mode, "last": last}
    return Illegal("no-configuration", involved, reason, answer.steps, answer.peak_bytes)
