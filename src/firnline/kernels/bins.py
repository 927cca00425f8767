"""Documents into sequences without cutting what fits: chunks, and best fit decreasing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel

Counts = NDArray[np.int64]
Small = NDArray[np.int32]


@kernel
def cut_chunks(
    tokens: Small, groups: Small, length: int, reserve: int, whole_only: bool
) -> tuple[Small, Small, Small, Small, Small]:
    """Runs of documents, and chunks of such runs that stay together in a sequence.

    `tokens` and `groups` are those of the documents in their order. A sequence holds length + 1
    tokens. A longer document becomes runs of that many (without `whole_only` of `reserve` fewer,
    but no less than half), each beginning with the last token of the one before, and what remains;
    any other document is one run. Runs of one group follow one
    another in a chunk as long as it fits; full ones stand alone. A chunk that leaves a little of a
    sequence, more than a 32nd and less than a quarter, would be hard to fill up: it is parted into
    chunks of at most a quarter. Each run takes `reserve` tokens more, or what there is; with
    `whole_only`, what remains of a long document takes none.

    Returns the document, first token and tokens of each run, the first run of each chunk (one more
    at the end) and the tokens that each chunk takes.
    """
    capacity = length + 1
    step = length if whole_only else max(length - reserve, (length + 1) // 2)
    runs = 0
    for place in range(len(tokens)):
        runs += 1 + (tokens[place] - 1) // step
    document = np.empty(runs, dtype=np.int32)
    start = np.empty(runs, dtype=np.int32)
    taken = np.empty(runs, dtype=np.int32)
    charge = np.empty(runs, dtype=np.int32)
    group = np.empty(runs, dtype=np.int32)
    run = 0
    for place in range(len(tokens)):
        at, left = 0, tokens[place]
        full = step + 1 if left > capacity else capacity
        while left > full:
            document[run], start[run], taken[run] = place, at, full
            charge[run], group[run] = capacity, groups[place]
            run += 1
            at += step
            left -= step
        if at and left == 1:  # it was the last target before
            continue
        document[run], start[run], taken[run] = place, at, left
        charge[run] = min(left + (0 if at and whole_only else reserve), capacity)
        group[run] = groups[place]
        run += 1
    runs = run
    first = np.empty(runs + 1, dtype=np.int32)
    size = np.empty(runs, dtype=np.int32)
    chunk = run = 0
    while run < runs:
        stop, together = run, 0
        while stop < runs and group[stop] == group[run] and together + charge[stop] <= capacity:
            together += charge[stop]
            stop += 1
        room = capacity - together
        largest = capacity // 4 if capacity // 32 < room < capacity // 4 else capacity
        first[chunk], size[chunk] = run, charge[run]
        for k in range(run + 1, stop):
            if size[chunk] + charge[k] <= largest:
                size[chunk] += charge[k]
            else:
                chunk += 1
                first[chunk], size[chunk] = k, charge[k]
        chunk += 1
        run = stop
    first[chunk] = runs
    return document[:runs], start[:runs], taken[:runs], first[: chunk + 1], size[:chunk]


@kernel
def best_fit_decreasing(sizes: Small, capacity: int) -> tuple[Small, Small, int]:
    """(places, bins, number of bins): items by falling size, and the bin of each of those.

    Each item, largest first, goes into the fullest bin that has room for it, else into a new one.
    A segment tree over the room that bins have left finds it in log2(capacity) steps (Ding et al.
    2024, section 3.2). Sizes are 1 to `capacity`.
    """
    items = len(sizes)
    place = np.zeros(capacity + 2, dtype=np.int64)
    for item in range(items):
        place[capacity - sizes[item] + 1] += 1
    for room in range(capacity):
        place[room + 1] += place[room]
    order = np.empty(items, dtype=np.int32)
    for item in range(items):
        order[place[capacity - sizes[item]]] = item
        place[capacity - sizes[item]] += 1
    leaves = 1
    while leaves <= capacity:
        leaves *= 2
    filled = np.zeros(2 * leaves, dtype=np.bool_)  # is there a bin with room below this node?
    latest = np.full(capacity + 1, -1, dtype=np.int32)  # the last bin that came to have this room
    before = np.empty(items, dtype=np.int32)  # the bin that came to have the same room before
    bins = np.empty(items, dtype=np.int32)
    count = 0
    for slot in range(items):
        size = sizes[order[slot]]
        node = leaves + size
        fits = filled[node]
        while node > 1 and not fits:  # up, until there is more room to the right
            fits = node & 1 == 0 and filled[node + 1]
            node = node + 1 if fits else node >> 1
        if fits:
            while node < leaves:
                node *= 2
                node += not filled[node]
            room = node - leaves
            found = latest[room]
            latest[room] = before[found]
            if latest[room] < 0:
                while node >= 1:
                    filled[node] = node < leaves and (filled[2 * node] or filled[2 * node + 1])
                    if filled[node]:
                        break
                    node >>= 1
        else:
            room = capacity
            found = count
            count += 1
        bins[slot] = found
        room -= size
        before[found] = latest[room]
        latest[room] = found
        node = leaves + room
        while node >= 1 and not filled[node]:
            filled[node] = True
            node >>= 1
    return order, bins, count
