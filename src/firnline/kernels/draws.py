"""Random numbers for kernels: splitmix64, by a state and a counter, so that nothing is kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel

Words = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)


@kernel
def word(state: np.uint64, counter: int) -> np.uint64:
    """Random word number `counter` of the generator with this state."""
    value = state + _GOLDEN * np.uint64(counter)
    value = (value ^ (value >> _30)) * _FIRST
    value = (value ^ (value >> _27)) * _SECOND
    return value ^ (value >> _31)


@kernel
def below(state: np.uint64, counter: int, limit: int) -> int:
    """A number in 0 .. limit - 1."""
    number: int = np.int64(word(state, counter) % np.uint64(limit))  # type: ignore[assignment]  # int to the compiler
    return number


@kernel
def words(states: Words, counters: NDArray[np.int64]) -> Words:
    """One word for each pair of a state and a counter."""
    out = np.empty(len(states), dtype=np.uint64)
    for i in range(len(states)):
        out[i] = word(states[i], counters[i])
    return out
