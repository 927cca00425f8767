"""A keyed permutation of 0 .. size - 1 that keeps no table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)


@kernel
def feistel(numbers: Integers, size: int, half_bits: int, rounds: Words, back: bool) -> Integers:
    """Where a balanced Feistel network of 2 x `half_bits` bits sends each of `numbers`.

    A number that falls outside of 0 .. size - 1 is sent on until it is inside (cycle walking).
    `back`: the inverse.
    """
    half = np.uint64(half_bits)
    mask = (np.uint64(1) << half) - np.uint64(1)
    limit = np.uint64(size)
    sent = np.empty(len(numbers), dtype=np.int64)
    for i in range(len(numbers)):
        number = np.uint64(numbers[i])
        while True:
            left, right = number >> half, number & mask
            for r in range(len(rounds)):
                # The finalizer of splitmix64 is the round's function.
                word = (left ^ rounds[len(rounds) - 1 - r]) if back else (right ^ rounds[r])
                word = (word ^ (word >> _30)) * _FIRST
                word = (word ^ (word >> _27)) * _SECOND
                word = (word ^ (word >> _31)) & mask
                if back:
                    left, right = right ^ word, left
                else:
                    left, right = right, left ^ word
            number = (left << half) | right
            if number < limit:
                break
        sent[i] = number
    return sent
