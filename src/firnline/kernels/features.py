"""Windows of code tokens and their hashed n-gram features.

Works on token hashes as `firnline.kernels.shingles.token_hashes` gives them. A window's features
are the buckets of its distinct n-grams; there is no count and no vocabulary.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel
from firnline.kernels.shingles import Hashes, Offsets, finish, power, roll

_0 = np.uint64(0)


@kernel
def _features(
    hashes: Hashes, starts: Offsets, stops: Offsets, ngrams: Offsets, buckets: int
) -> tuple[NDArray[np.int32], Offsets]:
    room = 0
    for window in range(len(starts)):
        for n in ngrams:
            room += max(stops[window] - starts[window] - n + 1, 0)
    columns = np.empty(room, dtype=np.int32)
    offsets = np.zeros(len(starts) + 1, dtype=np.int64)
    last_seen = np.full(buckets, -1, dtype=np.int64)  # the window that each bucket was last in
    mask = np.uint64(buckets - 1)
    place = 0
    for window in range(len(starts)):
        for n in ngrams:
            top = power(n)
            total = _0
            for token in range(starts[window], stops[window]):
                leaving = hashes[token - n] if token - starts[window] >= n else _0
                total = roll(total, hashes[token], leaving, top)
                if token - starts[window] >= n - 1:
                    bucket = np.int64(finish(total) & mask)
                    if last_seen[bucket] != window:
                        last_seen[bucket] = window
                        columns[place] = bucket
                        place += 1
        offsets[window + 1] = place
    return columns[:place].copy(), offsets


def window_features(
    hashes: Hashes, starts: Offsets, stops: Offsets, ngrams: tuple[int, ...], buckets: int
) -> tuple[NDArray[np.int32], Offsets]:
    """The distinct buckets of each window's n-grams, in order of appearance: (buckets, offsets).

    Window i is the tokens `starts[i]:stops[i]`; an n-gram inside it goes to the bucket that the
    low bits of its hash (`ngram_hashes`) name. A window shorter than n has no n-grams of n. Raises
    ValueError where `buckets` is not a power of two up to 2**31 or an n is below 1.
    """
    if buckets < 1 or buckets & (buckets - 1) or buckets > 1 << 31:
        raise ValueError(f"{buckets} buckets: a power of two up to 2**31 is needed")
    if min(ngrams, default=0) < 1:
        raise ValueError(f"n-grams {ngrams}: each n must be 1 or more")
    return _features(hashes, starts, stops, np.array(ngrams, dtype=np.int64), buckets)


def file_windows(token_offsets: Offsets, size: int) -> tuple[Offsets, Offsets]:
    """Top, middle and bottom window of each file (Arctic-SnowCoder, section 2.3).

    Returns (starts, stops), each of shape (files, 3), in positions of the token array. A file of
    at most `size` tokens has a top window only and one of at most `2 * size` has no middle: the
    windows that it lacks would repeat the others, and are empty (start == stop).
    """
    first, last = token_offsets[:-1], token_offsets[1:]
    tokens = last - first
    starts = np.repeat(first[:, None], 3, axis=1)
    stops = starts.copy()
    stops[:, 0] = np.minimum(last, first + size)
    middle = tokens > 2 * size
    starts[middle, 1] += (tokens[middle] - size) // 2
    stops[middle, 1] = starts[middle, 1] + size
    bottom = tokens > size
    starts[bottom, 2] = last[bottom] - size
    stops[bottom, 2] = last[bottom]
    return starts, stops
