"""Whose turn it is: which source each sample of a mixture comes from, without a table.

Counts are exact over the phase and even in every stretch of it, and both questions, whose sample
*n* is and which *n* is the *i*-th of a source, have closed forms: seeking costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def apportion(total: int, shares: Sequence[Fraction]) -> list[int]:
    """Whole numbers in proportion to the shares that add up to `total` (largest remainder).

    Each is within one of its exact part. Equal remainders: the earlier share first.
    """
    whole = sum(shares, Fraction())
    exact = [total * share / whole for share in shares]
    counts = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda k: counts[k] - exact[k])
    for k in by_remainder[: total - sum(counts)]:
        counts[k] += 1
    return counts


class Turn(NamedTuple):
    """The samples of one source among those asked for."""

    source: int
    places: Integers
    """Which of the samples asked for they are, from 0 on, in order."""
    first: int
    """The first one's number among the source's own; the others follow one by one."""


@dataclass(frozen=True)
class _Fork:
    """Samples go to the left or to the right; `part` of `whole` go to the left."""

    part: int
    whole: int
    left: _Fork | int
    right: _Fork | int

    def before(self, number: int) -> int:
        """How many of the samples 0 to `number - 1` go to the left: rounded, so even."""
        return (number * self.part + self.whole // 2) // self.whole


class Turns:
    """Samples 0 to `sum(counts) - 1`, `counts[k]` of them from source k.

    A tree of forks: at each the samples that come by go left or right in proportion, as even as
    whole numbers can be (a Bresenham line). Forks halve the weight as nearly as they can, so in the
    first n samples each source is within 2 of `n * counts[k] / sum(counts)`. Numbers at or past the
    end go on in the same proportions.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        """Raises ValueError where there is nothing to share out."""
        if min(counts, default=0) < 0 or sum(counts) < 1:
            raise ValueError(f"no turns in {list(counts)}")
        self.counts = tuple(counts)
        self._root = _grow([k for k in range(len(counts)) if counts[k]], self.counts)

    def of(self, start: int, count: int) -> list[Turn]:
        """Whose the samples `start` to `start + count - 1` are; no source has an empty turn."""
        turns: list[Turn] = []
        waiting = [(self._root, start, np.arange(count, dtype=np.int64))]
        while waiting:
            node, first, places = waiting.pop()
            if not len(places):
                continue
            if isinstance(node, int):
                turns.append(Turn(node, places, first))
                continue
            # Of whole numbers, so that numbers of any size are exact; the differences are small.
            so_far = node.before(first)
            rest = first * node.part + node.whole // 2 - so_far * node.whole
            steps = np.arange(len(places) + 1, dtype=np.int64)
            lefts = np.diff((rest + steps * node.part) // node.whole).astype(np.bool_)
            waiting.append((node.right, first - so_far, places[~lefts]))
            waiting.append((node.left, so_far, places[lefts]))
        return turns

    def before(self, number: int) -> list[int]:
        """How many of the samples 0 to `number - 1` each source gives."""
        found = [0] * len(self.counts)
        waiting = [(self._root, number)]
        while waiting:
            node, own = waiting.pop()
            if isinstance(node, int):
                found[node] = own
            else:
                lefts = node.before(own)
                waiting += [(node.left, lefts), (node.right, own - lefts)]
        return found

    def numbers(self, source: int, own: Sequence[int]) -> list[int]:
        """Which samples those are that a source counts as its `own`."""
        path: list[tuple[_Fork, bool]] = []
        if not self.counts[source]:
            raise ValueError(f"source {source} has no samples")
        node = self._root
        while not isinstance(node, int):
            left = source in _leaves(node.left)
            path.append((node, left))
            node = node.left if left else node.right
        return [_climb(path, int(number)) for number in own]


def _climb(path: list[tuple[_Fork, bool]], number: int) -> int:
    for fork, left in reversed(path):
        half = fork.whole // 2
        if left:  # the first m with before(m + 1) > number
            number = -((half - (number + 1) * fork.whole) // fork.part) - 1
        else:  # the first m with m + 1 - before(m + 1) > number
            number = (number * fork.whole + half) // (fork.whole - fork.part)
    return number


def _grow(sources: Sequence[int], counts: Sequence[int]) -> _Fork | int:
    if len(sources) == 1:
        return sources[0]
    whole = sum(counts[k] for k in sources)
    sums = np.cumsum([counts[k] for k in sources][:-1]).tolist()
    cut = min(range(len(sums)), key=lambda place: abs(2 * sums[place] - whole))
    left, right = sources[: cut + 1], sources[cut + 1 :]
    return _Fork(sums[cut], whole, _grow(left, counts), _grow(right, counts))


def _leaves(node: _Fork | int) -> list[int]:
    return [node] if isinstance(node, int) else _leaves(node.left) + _leaves(node.right)
