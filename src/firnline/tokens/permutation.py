"""Seeded orders that stay the same on every machine and with every NumPy.

Only raw 64-bit words of a counter-based generator and own integer arithmetic are used: NumPy
promises the words of its bit generators, not the results of its `shuffle`.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from firnline.kernels.feistel import feistel

Words = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]

_ROUNDS = 6


def random_words(count: int, *key: str | int) -> Words:
    """`count` random 64-bit words that depend on `key` alone (Philox, keyed with BLAKE2b)."""
    text = "\0".join(str(part) for part in key)
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    words = np.random.Philox(key=int.from_bytes(digest, "little")).random_raw(count)
    return np.asarray(words, dtype=np.uint64)


def shuffled_groups(
    groups: npt.NDArray[np.integer],
    *key: str | int,
    parts: npt.NDArray[np.integer] | None = None,
    places: npt.NDArray[np.integer] | None = None,
) -> Integers:
    """Row numbers in an order that keeps each group together.

    Groups come in random order, and so do the rows of a group. `groups` numbers the group of
    each row from 0. `parts`, numbered likewise, keeps the parts of a group together, in random
    order; `places` puts the rows of a group (or part) in that order, equal ones at random.
    """
    if len(groups) == 0:
        return np.zeros(0, dtype=np.int64)
    columns: list[npt.NDArray[Any]] = [random_words(len(groups), *key, "rows")]
    if places is not None:
        columns.append(places)
    if parts is not None:
        columns.append(_random_ranks(parts, *key, "parts"))
    columns.append(_random_ranks(groups, *key, "groups"))
    return np.lexsort(columns)


def _random_ranks(numbers: npt.NDArray[np.integer], *key: str | int) -> Integers:
    """A random rank for each number, the same wherever it stands."""
    words = random_words(int(numbers.max()) + 1, *key)
    rank = np.empty(len(words), dtype=np.int64)
    rank[np.argsort(words, kind="stable")] = np.arange(len(words))
    return np.asarray(rank[numbers])


def permute(numbers: Integers, size: int, *key: str | int) -> Integers:
    """Where a keyed permutation of 0 .. size - 1 sends each of `numbers`. No table is kept.

    A balanced Feistel network over the next power of four; a number that falls outside is sent
    on until it is inside (cycle walking), fewer than four times on average.
    """
    return feistel(numbers, size, *_network(size, key), False)


def unpermute(numbers: Integers, size: int, *key: str | int) -> Integers:
    """What `permute` sends to each of `numbers`: its inverse, at the same cost."""
    return feistel(numbers, size, *_network(size, key), True)


@lru_cache(maxsize=64)
def _network(size: int, key: tuple[str | int, ...]) -> tuple[int, Words]:
    """Half the network's bits, and the keys of its rounds."""
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    return half, random_words(_ROUNDS, *key, "permute")


def mix(words: Words) -> Words:
    """The finalizer of splitmix64: a permutation of the 64-bit words that looks random."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
