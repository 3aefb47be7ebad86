"""A first try at every key: one order of its operations, found depth first with a little foresight.

Wing & Gong's search ("Testing and verifying concurrent objects", 1993), carried from return to return: an operation
takes effect at the last moment at which it must (just in time), so what can be taken back is small. At each such
moment the candidates are ranked by what is observed next; a dead end goes back to the nearest choice, and a choice
that came to nothing is not made again. It answers "legal" with an order in hand, or nothing: that a search
like this one found no order proves nothing, and neither does a forgotten or a confused dead end.

A state is any number; -1 is every value that nobody observes. An operation may be *covered*: while it was open,
a write took effect, and it may have happened just before that, seen by nobody.
"""

from __future__ import annotations

from typing import Any

from capsize.checker.compiled import Kernel

LEGAL, UNDECIDED = 0, 1
FAR = 10
"""The rank of a state from which nothing is known to lead to what is observed next."""


def swapped(state: int, a: int, b: int) -> int:
    """The state after a compare-and-set from `a` to `b`; -2 if it cannot happen."""
    return b if state == a else -2


def may_be_covered(kind: int) -> bool:
    """Whether an operation may have happened just before a write, seen by nobody."""
    return kind == 1 or kind == 4


def within_reach(used: int, available: int) -> bool:
    """Whether an operation of a class that never returned is left."""
    return used < available


def follow(state: int, kind: int, a: int, b: int, graph: Any) -> int:
    """The state after an update; -2 if it cannot happen."""
    if kind == 1:
        return a
    if kind == 2:
        return swapped(state, a, b)
    if state < 0:
        return -1
    edge = graph[1 + state]
    while edge >= 0:
        if graph[edge + 1] == a:
            return int(graph[edge + 2])
        edge = graph[edge]
    return -1


def distance(state: int, wanted: int, graph: Any) -> int:
    """How many appends lead from `state` to `wanted`; 10 (FAR) if they cannot."""
    if state == wanted:
        return 0
    steps, states = 1, graph[0]
    while 0 <= wanted < states and steps < 8:
        wanted = graph[1 + states + wanted]
        if state == wanted:
            return steps if state >= 0 else 10
        steps += 1
    return 10


def outlook(state: int, first: int, second: int, third: int, graph: Any) -> int:
    """How far `state` is from what is observed first, or else next."""
    steps = distance(state, first, graph)
    if steps == 10 and graph[0] > 0:
        steps = distance(state, second, graph) + 2
        if steps >= 10:
            steps = distance(state, third, graph) + 4
    return steps if steps < 10 else 10


def is_wanted(state: int, kind: Any, a: Any, status: Any, behind: Any, end_of_list: int, graph: Any) -> bool:
    """Whether an open operation observes `state`, or something that appends lead to from there."""
    op = behind[end_of_list]
    while op != end_of_list:
        if status[op] == 0:
            if kind[op] == 0:
                if distance(state, a[op], graph) < 10:
                    return True
            elif kind[op] == 2 and a[op] == state:
                return True
        op = behind[op]
    return False


def is_last_chance(
    x: int, state: int, kind: Any, a: Any, b: Any, status: Any, behind: Any, end_of_list: int
) -> bool:  # fmt: skip
    """Whether an open operation observes `state`, to which no open operation leads but `x`."""
    waited = False
    op = behind[end_of_list]
    while op != end_of_list:
        if status[op] == 0 and a[op] == state and (kind[op] == 0 or kind[op] == 2):
            waited = True
        if op != x and status[op] != 1 and ((kind[op] == 1 and a[op] == state) or (kind[op] == 2 and b[op] == state)):
            return False
        op = behind[op]
    return waited


def is_first(op: int, kind: Any, a: Any, b: Any, ret: Any, status: Any, behind: Any, end_of_list: int) -> bool:
    """Whether no open operation that does the same returns before `op` (exchange argument)."""
    other = behind[end_of_list]
    while other != end_of_list:
        if (
            ret[other] < ret[op]
            and status[other] != 1
            and kind[other] == kind[op]
            and a[other] == a[op]
            and b[other] == b[op]
            and (kind[op] != 4 or status[other] == status[op])
        ):
            return False
        other = behind[other]
    return True


def group_events(
    key: Any, call: Any, ret: Any, wanted: Any,  # the columns; which keys to lay out
    at: Any,  # per position: scratch, -1
    start: Any, events: Any,  # per key + 1: where its events begin; operation * 2 + (1 for a return)
) -> None:  # fmt: skip
    """Sort the events of the wanted keys by key, and within a key by position."""
    for i in range(len(key)):
        k = key[i]
        if wanted[k]:
            at[call[i]] = 2 * i
            start[k + 1] += 1
            if ret[i] >= 0:
                at[ret[i]] = 2 * i + 1
                start[k + 1] += 1
    for k in range(len(start) - 1):
        start[k + 1] += start[k]
    for position in range(len(at)):
        event = at[position]
        if event >= 0:
            k = key[event >> 1]
            events[start[k]] = event
            start[k] += 1
    for k in range(len(start) - 1, 0, -1):
        start[k] = start[k - 1]
    start[0] = 0


def find_orders(
    kind: Any, a: Any, b: Any, ret: Any, initial: Any, wanted: Any,  # the columns, over states; per key
    graph: Any,  # what appending leads to, see `depth_first.Appends`
    start: Any, events: Any, ahead: Any,  # from `group_events`; per event: scratch
    status: Any, before: Any, behind: Any, class_of: Any,  # per operation (before, behind: + 1)
    trail: Any,  # 3 per event of the longest key
    frame_event: Any, frame_trail: Any, frame_state: Any, frame_flag: Any, frame_last: Any, frame_hash: Any,
    class_kind: Any, class_a: Any, class_b: Any, available: Any, used: Any, class_table: Any,  # per pending, 2 per
    failed: Any,  # hashes of choices that came to nothing; a power of two
    patience: int, attempts_max: int, effort: int, thrift: int, steps_max: int,
    answer: Any, steps: Any,  # per key
) -> int:  # fmt: skip
    """Try every wanted key; `answer` is LEGAL or UNDECIDED. Returns the number of legal keys.

    `patience` is how many steps may pass without getting further than ever; `effort` how many per event in all.
    """
    end_of_list = len(status)
    mask = len(failed) - 1
    found = 0
    dirty = False  # whether `failed` holds anything
    for k in range(len(wanted)):
        if not wanted[k]:
            continue
        first, last = start[k], start[k + 1]
        # What is observed by whoever is called next; the classes of what never returned.
        following, classes, size = -1, 0, 1
        for e in range(last - 1, first - 1, -1):
            ahead[e] = following
            op = events[e] >> 1
            if ret[op] < 0:
                size += 2
            if events[e] & 1 == 0 and (kind[op] == 0 or (kind[op] == 2 and ret[op] >= 0)):
                following = e
        for place in range(size):
            class_table[place] = -1
        for e in range(first, last):
            op = events[e] >> 1
            status[op] = 0
            if ret[op] < 0:
                place = ((kind[op] * 1000003 + a[op] + 7) * 1000003 + b[op] + 7) % size
                while True:
                    c = class_table[place]
                    if c < 0:
                        class_kind[classes], class_a[classes], class_b[classes] = kind[op], a[op], b[op]
                        available[classes], used[classes] = 0, 0
                        class_table[place] = classes
                        c = classes
                        classes += 1
                        break
                    if class_kind[c] == kind[op] and class_a[c] == a[op] and class_b[c] == b[op]:
                        break
                    place += 1
                    if place == size:
                        place = 0
                class_of[op] = c
        before[end_of_list], behind[end_of_list] = end_of_list, end_of_list
        state, e, height, depth, flag, uses = initial[k], first, 0, 0, 0, 0
        spent, furthest, since, failures, mode, attempts, stuck_at = 0, first, 0, 0, 2, 0, first
        limit = effort * (last - first) + patience
        pending_costs = 100 if graph[0] > 0 else 3  # what never returned must last: strings use it up
        fresh = True  # a new choice, or one to be made again
        legal = True
        while True:
            spent += 1
            since += 1
            if spent > steps_max:
                legal = False
                break
            if e > furthest:
                furthest, since = e, 0
                if attempts > 0 and e > stuck_at + 32:
                    attempts, mode, failures = 0, 2, 1
                    if dirty:
                        for place in range(len(failed)):
                            failed[place] = 0
                        dirty = False
            elif since == thrift + 1:
                # From here on what never returned may be used; what came to nothing without it may not now.
                failures = 1
                if dirty:
                    for place in range(len(failed)):
                        failed[place] = 0
                    dirty = False
            elif since > patience << (attempts if attempts < 6 else 6):
                # Elsewhere lies the fault: back some way, and on with other preferences.
                attempts += 1
                if attempts > attempts_max or spent > limit or depth == 0:
                    legal = False
                    break
                if attempts == 1 or furthest > stuck_at:
                    stuck_at = furthest
                mode, since, failures = (attempts + 2) % 4, 0, 1
                if dirty:
                    for place in range(len(failed)):
                        failed[place] = 0
                    dirty = False
                while depth > 1 and frame_event[depth - 1] > furthest - (32 << (attempts if attempts < 6 else 6)):
                    depth -= 1
                frame_last[depth - 1] = -1
                fresh = False
            if fresh:
                if e == last:
                    break
                op = events[e] >> 1
                if events[e] & 1 == 0:
                    if ret[op] < 0:
                        available[class_of[op]] += 1
                    else:
                        tail = before[end_of_list]
                        before[op], behind[op] = tail, end_of_list
                        behind[tail], before[end_of_list] = op, op
                        if (kind[op] == 0 and a[op] == state) or (kind[op] == 3 and a[op] != state):
                            status[op] = 1
                            trail[height] = op * 4
                            height += 1
                    e += 1
                    continue
                if status[op] == 1:
                    behind[before[op]], before[behind[op]] = behind[op], before[op]
                    e += 1
                    flag = 0
                    continue
                mix = 0
                if failures:
                    mix = ((e * 1099511627 + state * 2 + flag + 99991) * 1099511627 + uses) & 0xFFFFFFFFFFFF
                    other = behind[end_of_list]
                    while other != end_of_list:
                        mix = ((mix ^ (mix >> 17)) * 1099511627 + status[other] + 1) & 0xFFFFFFFFFFFF
                        other = behind[other]
                    place = (mix ^ (mix >> 23)) & mask
                    while failed[place] != 0 and failed[place] != mix + 1:
                        place = (place + 1) & mask
                    if failed[place] == mix + 1:
                        fresh = False
                if fresh:
                    frame_event[depth], frame_trail[depth], frame_state[depth] = e, height, state
                    frame_flag[depth], frame_last[depth], frame_hash[depth] = flag, -1, mix
                    depth += 1
            if not fresh:
                # Back to the nearest choice.
                if depth == 0 and since > thrift:
                    attempts += 1
                    if attempts > attempts_max or spent > limit:
                        legal = False
                        break
                    stuck_at = furthest
                    mode = (attempts + 2) % 4
                top = depth - 1
                back_to, low = first, 0
                if depth > 0:
                    back_to, low = frame_event[top], frame_trail[top]
                while e > back_to:
                    e -= 1
                    op = events[e] >> 1
                    if events[e] & 1:
                        behind[before[op]], before[behind[op]] = op, op
                    elif ret[op] < 0:
                        available[class_of[op]] -= 1
                    else:
                        behind[before[op]], before[behind[op]] = behind[op], before[op]
                while height > low:
                    height -= 1
                    entry = trail[height]
                    if entry < 0:
                        used[-1 - entry] -= 1
                        uses -= (1 - entry) * 48271 * (1 - entry)
                    else:
                        status[entry >> 2] = entry & 3
                if depth == 0:
                    # Nothing, without what never returned or in this mode: from the start again.
                    state, flag, since, failures, fresh = initial[k], 0, thrift + 1, 1, True
                    if dirty:
                        for place in range(len(failed)):
                            failed[place] = 0
                        dirty = False
                    continue
                state, flag = frame_state[top], frame_flag[top]
            # Choose the best candidate after the last one that was tried.
            top = depth - 1
            x = events[e] >> 1
            tried = frame_last[top]
            best = 1 << 62
            chosen, chosen_state = -1, state
            sought = a[x] if kind[x] == 0 or (kind[x] == 2 and state != a[x]) else -3
            next_0, next_1, next_2 = sought, -3, -3
            if sought == -3 and ahead[e] >= 0:
                next_0 = a[events[ahead[e]] >> 1]
                if graph[0] > 0 and ahead[ahead[e]] >= 0:
                    next_1 = a[events[ahead[ahead[e]]] >> 1]
                    if ahead[ahead[ahead[e]]] >= 0:
                        next_2 = a[events[ahead[ahead[ahead[e]]]] >> 1]
            if classes == 0 and status[x] == 0 and sought == -3 and kind[x] != 3:
                # Nothing else can happen: no choice to come back to.
                op = behind[end_of_list]
                while op != end_of_list and (op == x or status[op] == 1 or kind[op] == 0 or kind[op] == 3):
                    op = behind[op]
                if op == end_of_list:
                    result = a[x] if kind[x] == 1 else b[x]
                    if kind[x] == 4:
                        result, at = -1, -1
                        if state >= 0:
                            at = graph[1 + state]
                        while at >= 0 and graph[at + 1] != a[x]:
                            at = graph[at]
                        if at >= 0:
                            result = graph[at + 2]
                    chosen, best, chosen_state = x, 0, result
                    depth -= 1
            if chosen == -1 and status[x] == 2:
                rank = 20 * outlook(state, next_0, next_1, next_2, graph) + 2 << 40
                if tried < rank:
                    best, chosen = rank, -2
            # What is not x costs more, except where x needs something else to happen first.
            other_costs = 0 if sought != -3 else (10 if kind[x] == 3 else 210)
            op = behind[end_of_list] if best > 0 else end_of_list
            while op != end_of_list:
                if status[op] != 1 and kind[op] != 0 and kind[op] != 3 and not (kind[op] == 1 and flag):
                    result = a[op]
                    if kind[op] == 2:
                        result = swapped(state, a[op], b[op])
                    elif kind[op] == 4:
                        # Written out: a call costs more than it does.
                        result, at = -1, -1
                        if state >= 0:
                            at = graph[1 + state]
                        while at >= 0 and graph[at + 1] != a[op]:
                            at = graph[at]
                        if at >= 0:
                            result = graph[at + 2]
                    after = result
                    if result != -2:
                        far = 0
                        if result != next_0:
                            far = outlook(result, next_0, next_1, next_2, graph) if graph[0] > 0 else 10
                        if op == x:
                            rank = 20 * far + 2
                            alone = behind[x] == before[x]
                            if far > 0 and mode != 1 and not alone:
                                waited = is_last_chance(x, result, kind, a, b, status, behind, end_of_list)
                                rank = 0 if waited else rank
                        elif (mode == 2 and kind[op] == 2) or (
                            mode == 3 and is_wanted(result, kind, a, status, behind, end_of_list, graph)
                        ):
                            rank = 0
                        elif kind[x] == 4 and kind[op] == 4:
                            # One more item before x.
                            far = outlook(follow(result, 4, a[x], 0, graph), next_0, next_1, next_2, graph)
                            rank = 20 * far + 12
                        else:
                            rank = 20 * far + 2 + other_costs
                        rank = (rank << 40) + ret[op]
                        if (
                            tried < rank < best
                            and (tried < 0 or is_first(op, kind, a, b, ret, status, behind, end_of_list))
                        ) and (
                            mode != 1
                            or op == x
                            or far < 10
                            or kind[x] == 3
                            or is_wanted(result, kind, a, status, behind, end_of_list, graph)
                        ):
                            best, chosen, chosen_state = rank, op, after
                op = behind[op]
            if best >= 3 << 40 and since > thrift and (sought != -3 or kind[x] >= 3 or tried >= 0):
                for c in range(classes):
                    if within_reach(used[c], available[c]) and not (class_kind[c] == 1 and flag):
                        result = follow(state, class_kind[c], class_a[c], class_b[c], graph)
                        if result != -2 and result != state:
                            if kind[x] == 4 and class_kind[c] == 4:
                                far = distance(follow(result, 4, a[x], 0, graph), next_0, graph)
                                rank = 20 * far + 10 + pending_costs
                            else:
                                far = distance(result, next_0, graph)
                                rank = 20 * far + pending_costs + 2 * other_costs
                            rank = (rank << 40) + (1 << 39) + c
                            if tried < rank < best and (
                                far < 10
                                or kind[x] == 3
                                or attempts > 3
                                or is_wanted(result, kind, a, status, behind, end_of_list, graph)
                            ):
                                best, chosen, chosen_state = rank, -3 - c, result
            if chosen == -1:
                # Every choice came to nothing.
                depth -= 1
                fresh = False
                mix = frame_hash[depth]
                if mix:
                    place = (mix ^ (mix >> 23)) & mask
                    while failed[place] != 0 and failed[place] != mix + 1:
                        place = (place + 1) & mask
                    failed[place] = mix + 1
                    dirty = True
                failures += 1
                if 2 * failures > mask:
                    failures = 1
                    if dirty:
                        for place in range(len(failed)):
                            failed[place] = 0
                        dirty = False
                continue
            frame_last[top] = best
            fresh = True
            if chosen == -2:
                behind[before[x]], before[behind[x]] = behind[x], before[x]
                e += 1
                flag = 0
                continue
            state = chosen_state
            if chosen >= 0:
                trail[height] = chosen * 4 + status[chosen]
                height += 1
                status[chosen] = 1
                k_kind = kind[chosen]
                gained = k_kind == 2
            else:
                c = -3 - chosen
                trail[height] = -1 - c
                height += 1
                used[c] += 1
                uses += (2 + c) * 48271 * (2 + c)
                k_kind = class_kind[c]
                gained = False
            op = behind[end_of_list]
            while op != end_of_list:
                if status[op] == 0:
                    if (kind[op] == 0 and a[op] == state) or (kind[op] == 3 and a[op] != state):
                        status[op] = 1
                        trail[height] = op * 4
                        height += 1
                        gained = True
                    elif k_kind == 1 and may_be_covered(kind[op]):
                        status[op] = 2
                        trail[height] = op * 4
                        height += 1
                op = behind[op]
            flag = 0 if gained else 1
        steps[k] = spent
        answer[k] = 0 if legal else 1
        if legal:
            found += 1
        if dirty:
            for place in range(len(failed)):
                failed[place] = 0
            dirty = False
    return found


GROUP_EVENTS = Kernel(group_events)
FIND_ORDERS = Kernel(
    find_orders,
    (
        *("swapped", "may_be_covered", "within_reach"),
        *("follow", "distance", "outlook", "is_wanted", "is_last_chance", "is_first"),
    ),
)
