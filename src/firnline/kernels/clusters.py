"""Clustering of near-duplicates: buckets of equal keys, true Jaccard, and who resembles whom.

Rows are numbered by rank, 0 being the row that goes first. A row is *free* while `link[row]` is
the row itself; else `link[row]` is the free, earlier row that it resembles. A row is *fresh* at
a step before `until[row]`: it has not been compared in every band yet. A pair is one uint64,
`later << 32 | earlier`. A word is a key's upper bits with a rank below them, so that sorted words
put the members of a bucket side by side in order of rank.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel
from firnline.kernels.shingles import contains, insert, table_size

Ranks = NDArray[np.uint32]
Words = NDArray[np.uint64]
Offsets = NDArray[np.int64]
Steps = NDArray[np.uint32]

NO_RANK = np.uint32(0xFFFFFFFF)
# Slots of the filter that `mark` fills: 16 MiB of bits, which a last-level cache holds.
FILTER_BITS = 27
_FILTER_SHIFT = np.uint64(64 - FILTER_BITS)
_32 = np.uint64(32)
_64 = np.uint64(64)
_LOW = np.uint64(0xFFFFFFFF)
_BYTE = np.uint64(7)
_3 = np.uint64(3)
_1 = np.uint64(1)
_0 = np.uint64(0)


@kernel
def mark(keys: Words, ranks: Ranks, until: Steps, step: int, found: NDArray[np.uint8]) -> None:
    """Sets the bits of the fresh rows' keys in the filter `found`, 2**FILTER_BITS bits."""
    for row in range(len(keys)):
        rank = ranks[row]
        if rank != NO_RANK and until[rank] > step and keys[row] != _0:
            slot = keys[row] >> _FILTER_SHIFT
            found[slot >> _3] |= np.uint8(_1 << (slot & _BYTE))


@kernel
def pack(
    keys: Words,
    ranks: Ranks,
    link: Ranks,
    found: NDArray[np.uint8],
    part: int,
    part_bits: int,
    rank_bits: int,
    words: Words,
    place: int,
) -> int:
    """Appends the words of the free rows whose key begins with the bits `part`; the new length.

    A key that is not in the filter `found` is left out; an empty filter has every key. The key's
    first `part_bits` are not in the word: one part holds them equal. Words that do not fit into
    `words` are counted and not written.
    """
    part_shift = np.uint64(64 - part_bits)
    for row in range(len(keys)):
        rank = ranks[row]
        key = keys[row]
        if part_bits and key >> part_shift != np.uint64(part):
            continue
        if rank == NO_RANK or key == _0 or link[rank] != rank:
            continue
        if len(found):
            slot = key >> _FILTER_SHIFT
            if not (found[slot >> _3] >> (slot & _BYTE)) & _1:
                continue
        if place < len(words):
            below = (key << np.uint64(part_bits)) >> np.uint64(rank_bits)
            words[place] = (below << np.uint64(rank_bits)) | np.uint64(rank)
        place += 1
    return place


@kernel
def buckets(
    words: Words, rank_bits: int, link: Ranks, until: Steps, step: int
) -> tuple[Ranks, Offsets]:
    """Buckets of two or more free rows, one of them fresh, from sorted words: (members, offsets).

    Members ascend inside a bucket. `words` is written over.
    """
    shift = np.uint64(rank_bits)
    low = (_1 << shift) - _1
    place = buckets = start = 0
    offsets = np.empty(len(words) // 2 + 1, dtype=np.int64)
    offsets[0] = 0
    while start < len(words):
        key = words[start] >> shift
        stop = start + 1
        while stop < len(words) and words[stop] >> shift == key:
            stop += 1
        first = place
        any_fresh = False
        for index in range(start if stop - start > 1 else stop, stop):
            rank = words[index] & low
            if link[rank] == rank:
                words[place] = rank  # never ahead of what has been read
                place += 1
                any_fresh |= until[rank] > step
        if place - first > 1 and any_fresh:
            buckets += 1
            offsets[buckets] = place
        else:
            place = first
        start = stop
    return words[:place].astype(np.uint32), offsets[: buckets + 1].copy()


@kernel
def front_pairs(
    members: Ranks,
    offsets: Offsets,
    until: Steps,
    step: int,
    front: int,
    start: int,
    stop: int,
) -> Words:
    """Pairs of members[start:stop] with the first `front` members of their buckets before them.

    Only pairs of which one is fresh. They stand in order of the later row and, inside it, of the
    earlier one; with one member in front, those of an earlier row stand together too.
    """
    pairs = np.empty(front * (stop - start), dtype=np.uint64)
    place = 0
    bucket = np.searchsorted(offsets, start, side="right") - 1
    for second in range(start, stop):
        while second >= offsets[bucket + 1]:
            bucket += 1
        for first in range(offsets[bucket], min(offsets[bucket] + front, second)):
            if until[members[first]] > step or until[members[second]] > step:
                pairs[place] = (np.uint64(members[second]) << _32) | np.uint64(members[first])
                place += 1
    return pairs[:place]


@kernel
def connect(
    pairs: Words,
    similarity: NDArray[np.float64],
    threshold: float,
    link: Ranks,
    jaccard: NDArray[np.float32],
) -> None:
    """Links each later row to the most similar of the free rows before it that it resembles."""
    pair = 0
    while pair < len(pairs):
        later = pairs[pair] >> _32
        best = 0.0
        chosen = later
        while pair < len(pairs) and pairs[pair] >> _32 == later:
            earlier = pairs[pair] & _LOW
            near = similarity[pair] >= threshold and link[earlier] == earlier
            if near and similarity[pair] > best:
                best = similarity[pair]
                chosen = earlier
            pair += 1
        if chosen != later:
            link[later] = chosen
            jaccard[later] = best


@kernel
def without_front(
    members: Ranks,
    offsets: Offsets,
    link: Ranks,
    until: Steps,
    step: int,
    front: int,
) -> tuple[Ranks, Offsets]:
    """The buckets without their first `front` members and without rows that have been linked.

    Buckets that are left with one row, or without a fresh row, go.
    """
    place = buckets = 0
    left = np.empty(len(members), dtype=np.uint32)
    left_offsets = np.zeros(len(offsets), dtype=np.int64)
    for bucket in range(len(offsets) - 1):
        first = place
        any_fresh = False
        for index in range(offsets[bucket] + front, offsets[bucket + 1]):
            row = members[index]
            if link[row] == row:
                left[place] = row
                place += 1
                any_fresh |= until[row] > step
        if place - first > 1 and any_fresh:
            buckets += 1
            left_offsets[buckets] = place
        else:
            place = first
    return left[:place].copy(), left_offsets[: buckets + 1].copy()


@kernel
def reopen(link: Ranks, jaccard: NDArray[np.float32], until: Steps, step: int) -> int:
    """Frees the rows that are linked to a linked row, fresh until `step`; their number."""
    count = 0
    for row in range(len(link)):
        if link[row] != row and link[link[row]] != link[row]:
            link[row] = row
            jaccard[row] = 1
            until[row] = step
            count += 1
    return count


@kernel
def jaccard(
    hashes: Words,
    offsets: Offsets,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    threshold: float,
) -> NDArray[np.float64]:
    """Jaccard of sets first[i] and second[i]; 0 where it is less than `threshold`, which shows
    from their sizes or part of their members.

    Fast where equal numbers stand together in `first`.
    """
    result = np.zeros(len(first), dtype=np.float64)
    largest = 0
    for document in first:
        largest = max(largest, offsets[document + 1] - offsets[document])
    # Twice as large as it must be: fewer probes that a branch predictor cannot foresee.
    table = np.zeros(2 * table_size(largest), dtype=np.uint64)
    mask = _0
    loaded = -1
    for pair in range(len(first)):
        one = offsets[first[pair] + 1] - offsets[first[pair]]
        other = offsets[second[pair] + 1] - offsets[second[pair]]
        if min(one, other) == 0 or min(one, other) / max(one, other) < threshold:
            continue
        if first[pair] != loaded:
            loaded = int(first[pair])
            size = 2 * table_size(one)
            table[:size] = _0
            mask = np.uint64(size - 1)
            for index in range(offsets[loaded], offsets[loaded + 1]):
                insert(table, mask, hashes[index])
        # common / (one + other - common) < threshold where more of `second` than this is missing.
        spare = other - threshold * (one + other) / (1 + threshold) + 1
        missing = 0
        for index in range(offsets[second[pair]], offsets[second[pair] + 1]):
            missing += not contains(table, mask, hashes[index])
            if missing > spare:
                break
        common = other - missing
        similarity = common / (one + other - common)
        result[pair] = similarity if similarity >= threshold else 0.0
    return result


@kernel
def block_stop(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    sizes: NDArray[np.uint32],
    start: int,
    budget: int,
) -> int:
    """How many pairs from `start` on ask for at most `budget` bytes of documents; at least one.

    A row of `first` counts once for each run of it.
    """
    total = 0
    before = -1
    for pair in range(start, len(first)):
        if first[pair] != before:
            before = int(first[pair])
            total += sizes[before]
        total += sizes[second[pair]]
        if total > budget and pair > start:
            return pair
    return len(first)


@kernel
def equal(hashes: Words, rows: Ranks, ranks: Ranks, keeper: Ranks) -> None:
    """Writes for rows of equal hashes the one of smallest rank into `keeper`.

    `hashes` is (rows, 2), ascending in the first column; `rows` says whose they are.
    """
    done = np.zeros(len(hashes), dtype=np.bool_)
    start = 0
    while start < len(hashes):
        stop = start + 1
        while stop < len(hashes) and hashes[stop, 0] == hashes[start, 0]:
            stop += 1
        # Rows that share the first half share the second too, but for chance: one turn.
        for first in range(start, stop):
            if done[first]:
                continue
            best = rows[first]
            for other in range(first + 1, stop):
                if hashes[other, 1] == hashes[first, 1] and ranks[rows[other]] < ranks[best]:
                    best = rows[other]
            for other in range(first, stop):
                if hashes[other, 1] == hashes[first, 1]:
                    done[other] = True
                    keeper[rows[other]] = best
        start = stop
