"""A frontier of configurations, carried from event to event: what can be true now, given all that returned.

A configuration is a state, the open operations that have been linearized in it, and how many pending operations of
each class it has used. Only open operations are in it, so it does not grow with the history (just-in-time
linearization: Lowe, "Testing for linearizability", 2017). What keeps the frontier small:

- Reads and failed compare-and-set are taken as soon as the state allows: that costs nothing.
- Nothing else happens before somebody returns. Then configurations are extended only until that operation is
  linearized.
- A write or an append during whose interval another write was linearized is *covered*: it may have happened
  just before that write, unseen. It stays usable until it returns, and is then free to go.
- Among open operations that do the same, the one that returns first goes first; pending ones go last.
- Pending operations are counted by class (kind and value), and are used on demand.
- A write that nobody saw is not followed by another write: leaving it out is as good.
- A configuration is dropped when another one, in the same state, has at least its freedom (`dominates`).

Modes: a *beam* keeps the best few and can only prove a history legal. A *relaxed* run lets every operation happen again
and again within its interval, and can only prove it illegal. An exact run proves both.

Everything is a flat array. A row of `cur`, `nxt`, `work` is: state, flag (the last step was of no use yet), done bits,
covered bits, uses of each pending class.
"""

from __future__ import annotations

from typing import Any

from capsize.checker.compiled import Kernel

WORD = 60
"""Slots per word of a bit set: 64-bit signed integers never overflow."""

RUNNING, DEAD_END, OUT_OF_STEPS, OUT_OF_ROOM = 0, 1, 2, 3
EVENT, COUNT, STEPS, STATUS, TRUNCATED, OPEN, PEAK, STAMP = 0, 1, 2, 3, 4, 5, 6, 7
HEAD_SIZE = 8


def put_row(source: Any, at: int, target: Any, count: int, width: int, table: Any, stamps: Any, stamp: int) -> int:
    """Append the row at `at` of `source` to `target` unless it is there; returns the new count."""
    mask = len(table) - 1
    h = 1469598103934665603
    for j in range(width):
        h = ((h ^ source[at + j]) * 1099511627) & 0xFFFFFFFFFFFF
        h ^= h >> 19
    place = h & mask
    while stamps[place] == stamp:
        other = table[place] * width
        same = True
        for j in range(width):
            if target[other + j] != source[at + j]:
                same = False
                break
        if same:
            return count
        place = (place + 1) & mask
    stamps[place] = stamp
    table[place] = count
    base = count * width
    for j in range(width):
        target[base + j] = source[at + j]
    return count + 1


def dominates(rows: Any, one: int, other: int, words: int, width: int, updates: Any, hides: Any, relaxed: bool) -> bool:
    """Whether configuration `one` can do whatever `other` can: then `other` need not be kept. Same state.

    Linearized reads are better than open ones. A covered write that is not used is better than a used one.
    A compare-and-set is an obligation and a means at once, so both must agree on it. Fewer pending uses are better.
    """
    for w in range(words):
        done_one, done_other = rows[one + 2 + w], rows[other + 2 + w]
        if relaxed:
            if done_other & ~done_one:
                return False
            continue
        covered_one, covered_other = rows[one + 2 + words + w], rows[other + 2 + words + w]
        if done_other & ~done_one & ~(covered_one & hides[w]):
            return False
        if done_one & ~done_other & updates[w]:
            return False
        if covered_other & ~covered_one & ~done_one:
            return False
    for j in range(2 + 2 * words, width):  # noqa: SIM110 (compiled: a loop, not a generator)
        if rows[one + j] > rows[other + j]:
            return False
    return True


def bits(word: int) -> int:
    """How many bits are set."""
    count = 0
    while word:
        word &= word - 1
        count += 1
    return count


def absorb(rows: Any, at: int, words: int, read_at: Any, fail_at: Any, fails: Any) -> int:
    """Linearize every open read and failed cas that the state of the row allows; returns 1 if there was one."""
    state = rows[at]
    gained = 0
    for w in range(words):
        now = read_at[state * words + w] | (fails[w] & ~fail_at[state * words + w])
        if now & ~rows[at + 2 + w]:
            rows[at + 2 + w] |= now
            gained = 1
    return gained


def after(state: int, kind: int, a: int, b: int, child: Any, sibling: Any, token: Any, target: Any) -> int:
    """The state after an update, -1 if it cannot happen in `state`."""
    if kind == 1:
        return a
    if kind == 2:
        return b if state == a else -1
    edge = child[state]
    while edge >= 0 and token[edge] != a:
        edge = sibling[edge]
    return target[edge] if edge >= 0 else len(child) - 1


def advance(
    events: Any, until: int,  # operation * 2 + (1 for a return), in order
    kind: Any, a: Any, b: Any, group: Any, slot: Any, deadline: Any,  # per operation; slot -1: never returned
    group_kind: Any, group_a: Any, group_b: Any, pending_group: Any, pending_of: Any,  # per group; its pending class
    child: Any, sibling: Any, token: Any, target: Any,  # per state its first edge (appending); per edge
    into: Any, into_next: Any, origin: Any,  # the same edges backwards
    head: Any, available: Any, open_ops: Any, opened: Any, read_at: Any, fail_at: Any, fails: Any, updates: Any,
    hides: Any,
    cur: Any, nxt: Any, work: Any, table: Any, stamps: Any, work_table: Any, work_stamps: Any,
    tried: Any, bucket: Any, bucket_stamp: Any, aim: Any, link: Any, gone: Any,
    words: int, beam: int, shallow: bool, thrifty: bool, relaxed: bool, steps_max: int,
) -> int:  # fmt: skip
    """Carry the frontier over the events up to `until`; returns the status, which is also in `head`.

    beam 0 is exact. Stops before the event that leaves nothing (DEAD_END), or that the budget does not allow.
    A beam may be `shallow` (a covered operation is not made visible at its last moment in more than one step)
    and `thrifty` (pending operations are used only when nobody can do without).
    """
    classes = len(pending_group)
    width = 2 + 2 * words + classes
    room = len(cur) // width - 1
    work_room = len(work) // width - 2
    while head[0] < until:
        event = events[head[0]]
        x = event >> 1
        count = head[1]
        head[2] += count >> 4
        if event & 1 == 0:
            if slot[x] < 0:
                available[pending_of[group[x]]] += 1
            else:
                w, bit = slot[x] // 60, 1 << (slot[x] % 60)
                opened[w] |= bit
                if kind[x] == 0 or kind[x] == 3:
                    if kind[x] == 0:
                        read_at[a[x] * words + w] |= bit
                    else:
                        fails[w] |= bit
                        fail_at[a[x] * words + w] |= bit
                    for c in range(count):
                        if (cur[c * width] == a[x]) == (kind[x] == 0):
                            cur[c * width + 2 + w] |= bit
                else:
                    updates[w] |= bit
                    if kind[x] != 2:
                        hides[w] |= bit
                    place = head[5]
                    while place > 0 and deadline[open_ops[place - 1]] > deadline[x]:
                        open_ops[place] = open_ops[place - 1]
                        place -= 1
                    open_ops[place] = x
                    head[5] += 1
            head[0] += 1
            continue
        xw, xbit = slot[x] // 60, 1 << (slot[x] % 60)
        update = kind[x] == 1 or kind[x] == 2 or kind[x] == 4
        spare = False  # another open operation does the same: no hurry to use x
        if update and (relaxed or shallow):
            for place in range(head[5]):
                if open_ops[place] != x and group[open_ops[place]] == group[x]:
                    spare = True
            if relaxed and pending_of[group[x]] >= 0 and available[pending_of[group[x]]] > 0:
                spare = True
        head[7] += 1
        stamp = head[7]
        fresh, queued = 0, 0
        for c in range(count):
            at = c * width
            done = cur[at + 2 + xw] & xbit
            covered = cur[at + 2 + words + xw] & xbit
            if done | covered:
                if (done == 0 and not spare) or (relaxed and update and not spare):
                    queued = put_row(cur, at, work, queued, width, work_table, work_stamps, stamp)
                cur[at + 2 + xw] &= ~xbit
                cur[at + 2 + words + xw] &= ~xbit
                fresh = put_row(cur, at, nxt, fresh, width, table, stamps, stamp)
                cur[at + 2 + xw] |= done
                cur[at + 2 + words + xw] |= covered
            else:
                queued = put_row(cur, at, work, queued, width, work_table, work_stamps, stamp)
        # A beam that must explain a read goes only where that leads to what was read.
        aiming = beam > 0 and kind[x] == 0 and queued > 0 and into[a[x]] >= 0
        if aiming:
            bucket[0], aim[a[x]], i = a[x], stamp, 1
            while i > 0:
                i -= 1
                edge = into[bucket[i]]
                while edge >= 0:
                    if aim[origin[edge]] != stamp:
                        aim[origin[edge]] = stamp
                        bucket[i] = origin[edge]
                        i += 1
                    edge = into_next[edge]
        i = 0
        full = False
        usable = 0 if thrifty else classes
        while not full:
            if i == queued:
                if fresh > 0 or usable == classes:
                    break
                i, usable = 0, classes  # nobody can go on without a pending operation
                if queued == 0:
                    break
            base = i * width
            i += 1
            head[2] += 1
            settled = work[base + 2 + xw] & xbit if relaxed else work[base + 2 + words + xw] & xbit
            head[6] += 1
            for candidate in range(head[5] + usable):
                if candidate < head[5]:
                    op = open_ops[candidate]
                    g = group[op]
                    ow, obit = slot[op] // 60, 1 << (slot[op] % 60)
                    mark = head[6] * 2
                    if not relaxed:
                        if work[base + 2 + ow] & obit:
                            continue
                        if kind[op] == 4 and work[base + 2 + words + ow] & obit:
                            mark += 1
                            if tried[g * 2 + 1] == mark:
                                continue
                            tried[g * 2 + 1] = mark
                        else:
                            if tried[g * 2] == mark:
                                continue
                            tried[g * 2] = mark
                    else:
                        if tried[g * 2] == mark:
                            continue
                        tried[g * 2] = mark
                    p = -1
                else:
                    p = candidate - head[5]
                    g = pending_group[p]
                    if tried[g * 2] == head[6] * 2 or tried[g * 2 + 1] == head[6] * 2 + 1:
                        continue
                    if available[p] == 0 or (not relaxed and work[base + 2 + 2 * words + p] >= available[p]):
                        continue
                    op, ow, obit = -1, 0, 0
                k = group_kind[g]
                if k == 1 and work[base + 1]:
                    continue
                if settled != 0 and shallow and g != group[x]:
                    continue
                state = after(work[base], k, group_a[g], group_b[g], child, sibling, token, target)
                if state < 0:
                    continue
                head[2] += 1
                if queued >= work_room or fresh >= room:
                    full = True
                    break
                at = queued * width
                gained = 0
                for j in range(width):
                    work[at + j] = work[base + j]
                work[at] = state
                if relaxed:
                    if k == 1:
                        for w in range(words):
                            if hides[w] & ~work[at + 2 + w]:
                                work[at + 2 + w] |= hides[w]
                                gained = 1
                    else:
                        for place in range(head[5]):
                            like = open_ops[place]
                            if group[like] == g:
                                lw, lbit = slot[like] // 60, 1 << (slot[like] % 60)
                                if work[at + 2 + lw] & lbit == 0:
                                    work[at + 2 + lw] |= lbit
                                    gained = 1
                else:
                    if op >= 0:
                        work[at + 2 + ow] |= obit
                        work[at + 2 + words + ow] &= ~obit
                        if k == 2:
                            gained = 1
                    else:
                        work[at + 2 + 2 * words + p] += 1
                    if k == 1:
                        for w in range(words):
                            work[at + 2 + words + w] |= hides[w] & ~work[at + 2 + w]
                if absorb(work, at, words, read_at, fail_at, fails):
                    gained = 1
                if aiming and gained == 0 and aim[state] != stamp:
                    continue
                work[at + 1] = 0 if gained else 1
                if relaxed:
                    met = work[at + 2 + xw] & xbit
                    last = g == group[x] or (met != 0 and not update)
                else:
                    last = (work[at + 2 + xw] & xbit) != 0
                    met = (work[at + 2 + words + xw] | work[at + 2 + xw]) & xbit
                if met != 0 and (last or settled == 0):
                    # out with x, without disturbing the row that goes on
                    flag, done, covered = work[at + 1], work[at + 2 + xw], work[at + 2 + words + xw]
                    work[at + 1] = 0
                    work[at + 2 + xw] &= ~xbit
                    work[at + 2 + words + xw] &= ~xbit
                    fresh = put_row(work, at, nxt, fresh, width, table, stamps, stamp)
                    work[at + 1], work[at + 2 + xw], work[at + 2 + words + xw] = flag, done, covered
                if (not last and not (met != 0 and (spare or shallow))) or (relaxed and update and not spare):
                    queued = put_row(work, at, work, queued, width, work_table, work_stamps, stamp)
            if beam > 0 and fresh >= 4 * beam:
                break
            if head[2] > steps_max:
                head[3] = 2
                return 2
        if i < queued:
            head[4] = 1
            if beam == 0:
                head[3] = 3
                return 3
        if fresh == 0:
            head[3] = 1
            return 1
        # x is gone
        opened[xw] &= ~xbit
        if kind[x] == 0:
            read_at[a[x] * words + xw] &= ~xbit
        elif kind[x] == 3:
            fails[xw] &= ~xbit
            fail_at[a[x] * words + xw] &= ~xbit
        else:
            updates[xw] &= ~xbit
            hides[xw] &= ~xbit
            place = 0
            while open_ops[place] != x:
                place += 1
            head[5] -= 1
            while place < head[5]:
                open_ops[place] = open_ops[place + 1]
                place += 1
        # drop what is dominated
        kept = fresh
        if fresh > 1:
            head[7] += 1
            stamp = head[7]
            for c in range(fresh):
                gone[c] = 0
                state = nxt[c * width]
                if bucket_stamp[state] != stamp:
                    bucket_stamp[state] = stamp
                    bucket[state] = -1
                other = bucket[state]
                looked = 0
                while other >= 0 and looked < 256:
                    looked += 1
                    if gone[other] == 0:
                        if dominates(nxt, other * width, c * width, words, width, updates, hides, relaxed):
                            gone[c] = 1
                            kept -= 1
                            break
                        if dominates(nxt, c * width, other * width, words, width, updates, hides, relaxed):
                            gone[other] = 1
                            kept -= 1
                    other = link[other]
                if gone[c] == 0:
                    link[c] = bucket[state]
                    bucket[state] = c
                head[2] += looked >> 2
        if beam > 0 and kept > beam:
            # keep those with the fewest pending uses and the fewest debts
            head[4] = 1
            for c in range(fresh):
                if gone[c] == 0:
                    at = c * width
                    score = 0
                    for j in range(2 + 2 * words, width):
                        score += 16 * nxt[at + j]
                    for w in range(words):
                        undone = opened[w] & ~nxt[at + 2 + w]
                        score += 2 * bits(undone & ~hides[w])
                        score += bits(hides[w] & ~(undone & nxt[at + 2 + words + w]))
                    link[c] = score
            low, high = 0, 1 << 40
            while low < high:
                middle = (low + high) // 2
                under = 0
                for c in range(fresh):
                    if gone[c] == 0 and link[c] <= middle:
                        under += 1
                if under >= beam:
                    high = middle
                else:
                    low = middle + 1
            limit = low
            under = 0
            for c in range(fresh):
                if gone[c] == 0 and link[c] < limit:
                    under += 1
            ties = beam - under
            for c in range(fresh):
                if gone[c] == 0:
                    if link[c] > limit:
                        gone[c] = 1
                    elif link[c] == limit:
                        if ties <= 0:
                            gone[c] = 1
                        ties -= 1
        kept = 0
        for c in range(fresh):
            if fresh == 1 or gone[c] == 0:
                for j in range(width):
                    cur[kept * width + j] = nxt[c * width + j]
                kept += 1
        head[1] = kept
        head[0] += 1
    head[3] = 0
    return 0


ADVANCE = Kernel(advance, ("put_row", "dominates", "bits", "absorb", "after"))
