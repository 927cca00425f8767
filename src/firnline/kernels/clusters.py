"""Clustering of near-duplicates: candidate pairs, true Jaccard, and who stays.

Rows are numbered by rank, 0 being the row that goes first; a pair is one uint64,
`later << 32 | earlier`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel
from firnline.kernels.shingles import contains, insert, table_size

OPEN, KEEPER, DROPPED = 0, 1, 2
_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def later(pairs: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The later row of each pair."""
    return (pairs >> _32).astype(np.int64)


def earlier(pairs: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The earlier row of each pair."""
    return (pairs & _LOW).astype(np.int64)


@kernel
def front_pairs(
    members: NDArray[np.int32], offsets: NDArray[np.int64], front: int
) -> NDArray[np.uint64]:
    """Pairs of each bucket's first `front` members with all its later members, unsorted."""
    total = 0
    for bucket in range(len(offsets) - 1):
        size = offsets[bucket + 1] - offsets[bucket]
        fronts = min(front, size - 1)
        total += fronts * size - fronts * (fronts + 1) // 2
    pairs = np.empty(total, dtype=np.uint64)
    place = 0
    for bucket in range(len(offsets) - 1):
        for first in range(offsets[bucket], min(offsets[bucket] + front, offsets[bucket + 1])):
            for second in range(first + 1, offsets[bucket + 1]):
                pairs[place] = (np.uint64(members[second]) << _32) | np.uint64(members[first])
                place += 1
    return pairs


@kernel
def decide(
    edges: NDArray[np.uint64],
    edge_jaccard: NDArray[np.float32],
    ready: NDArray[np.bool_],
    state: NDArray[np.uint8],
    keeper: NDArray[np.int64],
    jaccard: NDArray[np.float32],
) -> None:
    """Settles, in order of rank, the rows about which enough is known.

    `edges` are similar pairs (later << 32 | earlier), sorted. A row with a keeper among its
    similar earlier rows is dropped for the most similar of them. A row that was compared with all
    earlier members of its buckets, none of whose similar ones can still become a keeper, stays.
    """
    edge = 0
    for row in range(len(state)):
        open_before = False
        best = np.float32(0)
        chosen = -1
        while edge < len(edges) and np.int64(edges[edge] >> _32) == row:
            before = np.int64(edges[edge] & _LOW)
            if state[before] == OPEN:
                open_before = True
            elif state[before] == KEEPER and edge_jaccard[edge] > best:
                best = edge_jaccard[edge]
                chosen = int(before)
            edge += 1
        if state[row] != OPEN:
            continue
        if chosen >= 0:
            state[row] = DROPPED
            keeper[row] = chosen
            jaccard[row] = best
        elif ready[row] and not open_before:
            state[row] = KEEPER


@kernel
def jaccard(
    hashes: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    threshold: float,
) -> NDArray[np.float64]:
    """Jaccard of sets first[i] and second[i]; 0 where their sizes alone rule `threshold` out."""
    result = np.zeros(len(first), dtype=np.float64)
    largest = 0
    for document in first:
        largest = max(largest, offsets[document + 1] - offsets[document])
    table = np.zeros(table_size(largest), dtype=np.uint64)
    mask = np.uint64(0)
    loaded = -1
    for pair in range(len(first)):
        one = offsets[first[pair] + 1] - offsets[first[pair]]
        other = offsets[second[pair] + 1] - offsets[second[pair]]
        if min(one, other) == 0 or min(one, other) / max(one, other) < threshold:
            continue
        if first[pair] != loaded:
            loaded = int(first[pair])
            size = table_size(one)
            table[:size] = 0
            mask = np.uint64(size - 1)
            for index in range(offsets[loaded], offsets[loaded + 1]):
                insert(table, mask, hashes[index])
        common = 0
        for index in range(offsets[second[pair]], offsets[second[pair] + 1]):
            common += contains(table, mask, hashes[index])
        result[pair] = common / (one + other - common)
    return result


@kernel
def block_stop(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    sizes: NDArray[np.int64],
    stamps: NDArray[np.int32],
    start: int,
    block: int,
    budget: int,
) -> int:
    """How many pairs from `start` on touch documents of at most `budget` bytes; at least one."""
    total = 0
    for pair in range(start, len(first)):
        for row in (first[pair], second[pair]):
            if stamps[row] != block:
                stamps[row] = block
                total += sizes[row]
        if total > budget and pair > start:
            return pair
    return len(first)
