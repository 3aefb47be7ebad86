"""The loops of `encoding`: which operations say something, what they do, and a slot for each (key, value)."""

from __future__ import annotations

from typing import Any

from capsize.checker.compiled import Kernel


def encode_rows(
    kind_of: Any, deletes: Any,  # per f word
    f: Any, outcome: Any, value: Any, result: Any, key: Any, call: Any, ret: Any,  # the history's columns
    pairs: Any, false: int, true: int,  # the codes in each pair of a cas, two for each code; of False and True
    out_key: Any, out_kind: Any, out_a: Any, out_b: Any, out_call: Any, out_ret: Any, out_row: Any,
    number: Any,  # per key code: 0; afterwards one more than the number of the key
) -> int:  # fmt: skip
    """Fill the columns; returns how many rows there are, or -1 for what only the general engine can judge."""
    count = 0
    for i in range(len(f)):
        if outcome[i] == 1:
            continue
        k = kind_of[f[i]]
        if k < 0:
            return -1
        if k == 0 and outcome[i] == 2:
            continue
        a, b = (result[i] if k == 0 else value[i]), 0
        if deletes[f[i]]:
            a = 0
        if k == 2:
            pair = value[i] * 2
            a, b = pairs[pair], pairs[pair + 1]
            if a < 0 or b < 0:
                return -1
            if outcome[i] == 0:
                if result[i] == false:
                    k, b = 3, 0
                elif result[i] != true:
                    return -1
            if k == 2 and a == b:
                # A cas from a value to itself is a read of it; one that never returned says nothing.
                if ret[i] < 0:
                    continue
                k, b = 0, 0
        out_key[count], out_kind[count], out_a[count], out_b[count] = key[i], k, a, b
        out_call[count], out_ret[count], out_row[count] = call[i], ret[i], i
        number[key[i]] = 1
        count += 1
    keys = 0
    for code in range(len(number)):
        if number[code]:
            keys += 1
            number[code] = keys
    for i in range(count):
        out_key[i] = number[out_key[i]] - 1
    return count


def order_by_key(key: Any, order: Any, start: Any) -> None:
    """Sort the rows by key, in the order in which they are; `start` (per key + 1, 0) says where each key's begin."""
    count, keys = len(key), len(start) - 1
    for i in range(count):
        start[key[i] + 1] += 1
    for k in range(keys):
        start[k + 1] += start[k]
    for i in range(count):
        order[start[key[i]]] = i
        start[key[i]] += 1
    for k in range(keys, 0, -1):
        start[k] = start[k - 1]
    start[0] = 0


def number_slots(
    kind: Any, a: Any, b: Any, initial: Any,  # columns of value codes
    order: Any, start: Any,  # the rows by key
    owner: Any, slot_of: Any,  # per value code: -1; scratch
    out_a: Any, out_b: Any, out_initial: Any,
) -> int:  # fmt: skip
    """Give every (key, value) a slot of its own; returns how many there are."""
    keys = len(initial)
    slots = 0
    for k in range(keys):
        owner[initial[k]] = k
        slot_of[initial[k]] = slots
        out_initial[k] = slots
        slots += 1
        for at in range(start[k], start[k + 1]):
            i = order[at]
            code = a[i]
            if owner[code] != k:
                owner[code] = k
                slot_of[code] = slots
                slots += 1
            out_a[i] = slot_of[code]
            out_b[i] = 0
            if kind[i] == 2:
                code = b[i]
                if owner[code] != k:
                    owner[code] = k
                    slot_of[code] = slots
                    slots += 1
                out_b[i] = slot_of[code]
    return slots


ENCODE_ROWS = Kernel(encode_rows)
ORDER_BY_KEY = Kernel(order_by_key)
NUMBER_SLOTS = Kernel(number_slots)
