"""The zone argument for histories in which every written value is known by its one writer, in linear time.

Gibbons & Korach, "Testing shared memories" (1997), §4, carried further to compare-and-set and to operations that
never returned. All keys are judged in one pass. The steps:

1. A value has one writer. A value that was read, but that nobody wrote, is illegal.
2. A pending write counts only if somebody saw its value; then it happened before the first who did returned.
3. At most one compare-and-set leaves a value. So values form chains, and a chain is one *block* which
   nothing may interrupt. A chain that has no head is illegal.
4. Inside a block the order is known: each operation must return after the latest call before it.
5. A block has f, its earliest return, and s, its latest call. If f < s it needs all of [f, s] for itself (a forward
   zone); else one point of [s, f] will do (a backward zone). Illegal if and only if two forward zones overlap
   or a backward zone lies inside a forward one.
6. A failed compare-and-set needs a moment of another value. The blocks are laid out in the order of step 5; where
   that leaves it none, another layout might: the key is *undecided*, for another engine to judge.
"""

from __future__ import annotations

from typing import Any

from capsize.checker.compiled import Kernel

VALID, ILLEGAL, NOT_UNIQUE, UNPLACED = 0, 1, 2, 3
NEVER_WRITTEN, TWO_CAS, NO_HEAD, TOO_EARLY, OVERLAP, INSIDE = 1, 2, 3, 4, 5, 6
NEVER = 1 << 62


def returns_too_early(returned: int, latest_call: int) -> bool:
    """Rule 4: the operation returned before something that comes before it in its block was even called."""
    return returned < latest_call


def zones_overlap(end: int, start: int) -> bool:
    """Rule 5: a forward zone starts before the last one has ended."""
    return start < end


def lies_inside(end: int, latest: int) -> bool:
    """Rule 5: a backward zone that starts inside a forward zone also ends inside it."""
    return latest < end


def judge_unique(
    key: Any, kind: Any, a: Any, b: Any, call: Any, ret: Any, initial: Any,  # the columns
    observed: Any, writer: Any, follower: Any, first_read: Any, last_read: Any,  # per slot
    enter: Any, leave: Any, block_of: Any,  # per slot
    took_effect: Any, chained: Any,  # per operation
    block_key: Any, block_f: Any, block_s: Any, block_first: Any, block_last: Any, block_head: Any,  # per block
    block_start: Any, block_next: Any,
    zone_at: Any,  # per position + 1: the block whose zone starts there
    end: Any, holder: Any, previous: Any,  # per key
    status: Any, why: Any, one: Any, other: Any,  # per key: the answer
) -> int:  # fmt: skip
    """Judge all keys; returns the number of blocks. `one` and `other` are operations, or blocks for rule 5."""
    count = len(key)
    keys = len(initial)
    for i in range(count):
        if kind[i] != 1:
            observed[a[i]] = 1
    for k in range(keys):
        writer[initial[k]] = -2
    # 1. one writer each
    for i in range(count):
        if kind[i] == 1 or kind[i] == 2:
            slot = a[i] if kind[i] == 1 else b[i]
            if observed[slot]:
                if writer[slot] != -1:
                    status[key[i]] = 2
                else:
                    writer[slot] = i
    # 2. who was seen; 3. who follows
    for i in range(count):
        k = key[i]
        if status[k] == 1 or (kind[i] != 0 and (kind[i] != 2 or ret[i] < 0)):
            continue
        slot = a[i]
        if status[k] == 2:
            if writer[slot] == -1:
                status[k], why[k], one[k], other[k] = 1, 1, i, i
            continue
        if kind[i] == 0:
            if first_read[slot] < 0 or ret[i] < ret[first_read[slot]]:
                first_read[slot] = i
            if last_read[slot] < 0 or call[i] > call[last_read[slot]]:
                last_read[slot] = i
        elif follower[slot] >= 0:
            status[k], why[k], one[k], other[k] = 1, 2, follower[slot], i
            continue
        else:
            follower[slot] = i
        seen_by = i
        while True:
            w = writer[slot]
            if w == -1:
                status[k], why[k], one[k], other[k] = 1, 1, seen_by, i
                break
            if w < 0 or ret[w] >= 0 or took_effect[w]:
                break
            took_effect[w] = 1
            if kind[w] == 1:
                break
            slot = a[w]
            seen_by = w
            if follower[slot] >= 0:
                status[k], why[k], one[k], other[k] = 1, 2, follower[slot], w
                break
            follower[slot] = w
    # 4. blocks
    blocks = 0
    for head in range(-keys, count):
        w = head
        if head < 0:
            k = head + keys
            slot = initial[k]
            w = -2
        else:
            if kind[head] != 1 or (ret[head] < 0 and not took_effect[head]):
                continue
            k = key[head]
            slot = a[head] if observed[a[head]] else -1
        if status[k] != 0:
            continue
        earliest, latest, first, last = NEVER, -1, -1, -1
        block_head[blocks] = head
        while True:
            if w >= 0:
                returned = ret[w] if ret[w] >= 0 else NEVER
                if returns_too_early(returned, latest):
                    status[k], why[k], one[k], other[k] = 1, 4, w, last
                    break
                if returned < earliest:
                    earliest, first = returned, w
                if call[w] > latest:
                    latest, last = call[w], w
            else:
                earliest = -1
            if slot < 0:
                break
            enter[slot] = latest
            block_of[slot] = blocks
            reader = first_read[slot]
            if reader >= 0:
                if returns_too_early(ret[reader], latest):
                    status[k], why[k], one[k], other[k] = 1, 4, reader, last
                    break
                if ret[reader] < earliest:
                    earliest, first = ret[reader], reader
                reader = last_read[slot]
                if call[reader] > latest:
                    latest, last = call[reader], reader
            w = follower[slot]
            if w < 0:
                break
            chained[w] = 1
            leave[slot] = call[w] if call[w] > latest else latest
            slot = b[w] if observed[b[w]] else -1
        if status[k] != 0:
            continue
        block_key[blocks] = k
        block_f[blocks], block_s[blocks] = earliest, latest
        block_first[blocks], block_last[blocks] = first, last
        if head < 0:
            end[k] = latest
            holder[k] = blocks
            previous[k] = blocks
            block_start[blocks] = -1
        else:
            zone_at[(earliest if earliest < latest else latest)] = blocks
        blocks += 1
    for i in range(count):
        if kind[i] == 2 and not chained[i] and status[key[i]] == 0 and (ret[i] >= 0 or took_effect[i]):
            k = key[i]
            status[k], why[k], one[k], other[k] = 1, 3, i, i
    # 5. zones, in the order in which they start
    for position in range(len(zone_at)):
        block = zone_at[position]
        if block < 0:
            continue
        k = block_key[block]
        if status[k] != 0:
            continue
        start = position
        if block_f[block] < block_s[block]:
            if zones_overlap(end[k], position):
                status[k], why[k], one[k], other[k] = 1, 5, holder[k], block
                continue
            end[k] = block_s[block]
            holder[k] = block
        elif end[k] > position:
            if lies_inside(end[k], block_f[block]):
                status[k], why[k], one[k], other[k] = 1, 6, holder[k], block
                continue
            start = end[k]
        block_start[block] = start
        block_next[previous[k]] = start
        previous[k] = block
    # 6. failed compare-and-set
    for i in range(count):
        if kind[i] != 3 or status[key[i]] != 0:
            continue
        slot = a[i]
        w = writer[slot]
        if w == -1 or (w >= 0 and ret[w] < 0 and not took_effect[w]):
            continue
        block = block_of[slot]
        start = block_start[block]
        begins = enter[slot] if enter[slot] > start else start
        ends = block_next[block]
        if leave[slot] >= 0:
            ends = leave[slot] if leave[slot] > start else start
        if call[i] > begins and ret[i] < ends:
            k = key[i]
            status[k], why[k], one[k], other[k] = 3, 0, i, w
    return blocks


JUDGE_UNIQUE = Kernel(judge_unique, ("returns_too_early", "zones_overlap", "lies_inside"))
