"""The loops over strings that are appended to: taken apart into items, or grown into the states they pass through.

Strings are bytes in one buffer, each from `begin` to `finish`; an item is found by a hash of its bytes.
"""

from __future__ import annotations

from typing import Any

from capsize.checker.compiled import Kernel


def find_text(text: Any, begin: Any, finish: Any, table: Any, start: int, stop: int) -> int:
    """The place in `table` of the string text[start:stop], or of the empty entry where it belongs."""
    mask = len(table) - 1
    mix = stop - start
    for at in range(start, stop):
        mix = (mix * 31 + text[at]) & 0xFFFFFFFFFFFF
    mix = (mix * 1099511627) & 0xFFFFFFFFFFFF
    place = (mix ^ (mix >> 23)) & mask
    while table[place] >= 0:
        other = table[place]
        if finish[other] - begin[other] == stop - start:
            same = True
            for offset in range(stop - start):
                if text[begin[other] + offset] != text[start + offset]:
                    same = False
                    break
            if same:
                break
        place = (place + 1) & mask
    return place


def written_once(kind: Any, a: Any, order: Any, start: Any, owner: Any, fits: Any) -> int:
    """Leave in `fits` (per key) only keys that write or append no value twice; returns how many there are.

    `owner` is scratch, -1 per value code; `order` and `start` are the rows by key.
    """
    left = 0
    for k in range(len(fits)):
        if not fits[k]:
            continue
        for at in range(start[k], start[k + 1]):
            i = order[at]
            if kind[i] != 0:
                if owner[a[i]] == k:
                    fits[k] = 0
                    break
                owner[a[i]] = k
        left += fits[k]
    return left


def split_readings(
    key: Any, kind: Any, a: Any, b: Any, initial: Any, fits: Any,  # columns of value codes; per key, in and out
    order: Any, start: Any,  # per row; per key + 1: where its rows begin in `order`
    text: Any, begin: Any, finish: Any, text_of: Any, code_of: Any,  # the strings; per code its string, and back
    table: Any,  # scratch, -1: a power of two above twice the strings
    owner: Any, writer: Any,  # per string: -1; scratch
    parts: Any,  # scratch: as long as the longest string
    predecessor: Any, teller: Any,  # per row: -1; scratch
    out_kind: Any, out_a: Any, out_b: Any,
    one: Any, other: Any,  # per key: -1; two reads that disagree on what an item was appended to
    nobody: int,  # the code of a value that nobody wrote
) -> int:  # fmt: skip
    """Rewrite the keys that fit: appends into compare-and-set, reads to their last item.

    Returns 1 if the items do not all end alike, so that they cannot be told apart this way, else 0.
    """
    count, mask, end = len(key), len(table) - 1, -1
    for i in range(count):
        out_kind[i], out_a[i], out_b[i] = kind[i], a[i], b[i]
        if kind[i] == 0 or not fits[key[i]]:
            continue
        item = text_of[a[i]]
        first, last = begin[item], finish[item]
        if first == last:
            return 1
        if end < 0:
            end = text[last - 1]
        if text[last - 1] != end:
            return 1
        # `find_text` written out, here and below: a call with arrays costs more than what it does.
        mix = last - first
        for at in range(first, last - 1):
            if text[at] == end:
                return 1
            mix = (mix * 31 + text[at]) & 0xFFFFFFFFFFFF
        mix = ((mix * 31 + end) * 1099511627) & 0xFFFFFFFFFFFF
        place = (mix ^ (mix >> 23)) & mask
        while table[place] >= 0 and table[place] != item:
            place = (place + 1) & mask
        table[place] = item
    for k in range(len(initial)):
        if not fits[k]:
            continue
        for at in range(start[k], start[k + 1]):
            i = order[at]
            if kind[i] == 0:
                continue
            item = text_of[a[i]]
            owner[item], writer[item] = k, i
        for at in range(start[k], start[k + 1]):
            i = order[at]
            if kind[i] != 0 or a[i] == initial[k]:
                continue
            whole = text_of[a[i]]
            # First whether all of it was written in this key, then what it tells.
            count_of_parts, since, possible = 0, begin[whole], begin[whole] < finish[whole]
            for at_byte in range(begin[whole], finish[whole]):
                if text[at_byte] == end:
                    mix = at_byte + 1 - since
                    for at_item in range(since, at_byte + 1):
                        mix = (mix * 31 + text[at_item]) & 0xFFFFFFFFFFFF
                    mix = (mix * 1099511627) & 0xFFFFFFFFFFFF
                    place = (mix ^ (mix >> 23)) & mask
                    item = table[place]
                    while item >= 0:
                        offset = begin[item] - since
                        same = finish[item] - begin[item] == at_byte + 1 - since
                        at_item = since
                        while same and at_item < at_byte:
                            same = text[at_item] == text[at_item + offset]
                            at_item += 1
                        if same:
                            break
                        place = (place + 1) & mask
                        item = table[place]
                    if item < 0 or owner[item] != k or (count_of_parts > 0 and kind[writer[item]] != 4):
                        possible = False
                        break
                    parts[count_of_parts] = item
                    count_of_parts += 1
                    since = at_byte + 1
            if not possible or since < finish[whole]:
                out_a[i] = nobody
                continue
            before = -2
            for part in range(count_of_parts):
                w = writer[parts[part]]
                if kind[w] == 4:
                    if predecessor[w] == -1:
                        predecessor[w], teller[w] = before, i
                    elif predecessor[w] != before and one[k] < 0:
                        one[k], other[k] = teller[w], i
                before = code_of[parts[part]]
            out_a[i] = before
    for i in range(count):
        k = key[i]
        if not fits[k] or kind[i] != 4:
            continue
        out_kind[i] = 1
        if predecessor[i] != -1:
            out_kind[i], out_b[i] = 2, a[i]
            out_a[i] = initial[k] if predecessor[i] == -2 else predecessor[i]
    return 0


def grow_states(
    text: Any, begin: Any, finish: Any,  # the strings
    item: Any, root: Any, watched: Any, root_nothing: bool,  # per string: 1 or 0; whether a key may begin as nothing
    items: Any,  # scratch, -1: a power of two above twice the strings
    sizes: Any,  # per length up to the longest item: scratch, 0
    nodes: Any, node_of: Any,  # scratch: -1, a power of two above twice all bytes; node and byte -> node
    state: Any, done: Any,  # per node: -1, 0
    path: Any,  # scratch: longer than any string
    edge_from: Any, edge_token: Any, edge_to: Any,
    state_of: Any,  # per string: -1
) -> int:  # fmt: skip
    """Number every beginning of a watched string that roots and items lead to; state 0 is nothing at all.

    Returns the number of edges (state, item, next state), or -1 if they do not fit. `edge_from[-1]` is the number
    of states.
    """
    for s in range(len(begin)):
        if item[s]:
            items[find_text(text, begin, finish, items, begin[s], finish[s])] = s
            sizes[finish[s] - begin[s]] = 1
    # Every string is a path of nodes; a node that is a root begins as a state.
    mask = len(nodes) - 1
    made, states, edges = 1, 1, 0
    for turn in range(2):
        for s in range(len(begin)):
            if (turn == 0 and not root[s]) or (turn == 1 and not watched[s]):
                continue
            node = 0
            path[0] = 0
            for length in range(finish[s] - begin[s] + 1):
                if length > 0:
                    step = node * 256 + text[begin[s] + length - 1]
                    mix = (step * 1099511627) & 0xFFFFFFFFFFFF
                    place = (mix ^ (mix >> 19)) & mask
                    while nodes[place] >= 0 and nodes[place] != step:
                        place = (place + 1) & mask
                    if nodes[place] < 0:
                        nodes[place], node_of[place] = step, made
                        made += 1
                    node = node_of[place]
                    path[length] = node
                if turn == 0 or done[node]:
                    continue
                done[node] = 1
                if state[node] == -2:
                    state[node] = states
                    states += 1
                for size in range(1, len(sizes)):
                    if size > length:
                        break
                    if not sizes[size]:
                        continue
                    before = state[path[length - size]]
                    nothing = root_nothing and size == length
                    if before < 0 and not nothing:
                        continue
                    at = begin[s] + length
                    token = items[find_text(text, begin, finish, items, at - size, at)]
                    if token < 0:
                        continue
                    if edges + 2 >= len(edge_to):
                        return -1
                    if state[node] < 0:
                        state[node] = states
                        states += 1
                    if before >= 0:
                        edge_from[edges], edge_token[edges], edge_to[edges] = before, token, state[node]
                        edges += 1
                    if nothing:
                        edge_from[edges], edge_token[edges], edge_to[edges] = 0, token, state[node]
                        edges += 1
            if turn == 0:
                if state[node] == -1:
                    state[node] = -2
            else:
                state_of[s] = state[node]
    for s in range(len(begin)):
        if root[s] and not watched[s]:
            node = 0
            for at in range(begin[s], finish[s]):
                step = node * 256 + text[at]
                mix = (step * 1099511627) & 0xFFFFFFFFFFFF
                place = (mix ^ (mix >> 19)) & mask
                while nodes[place] != step:
                    place = (place + 1) & mask
                node = node_of[place]
            state_of[s] = state[node]
    for s in range(len(begin)):
        if state_of[s] < 0:
            state_of[s] = -1
    edge_from[len(edge_from) - 1] = states
    return edges


WRITTEN_ONCE = Kernel(written_once)
SPLIT_READINGS = Kernel(split_readings)
GROW_STATES = Kernel(grow_states, ("find_text",))
