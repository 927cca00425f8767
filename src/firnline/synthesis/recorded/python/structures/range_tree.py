"""Range queries over a changing array with a generic segment tree.

A segment tree answers "what is the combination of items ``i`` to ``j``?" in
logarithmic time for every operation that is associative: sum, minimum, greatest
common divisor, or something composed for the purpose, such as the best stretch
of consecutive days.  The operation need not be commutative, so the two sides of
a query are collected separately and combined in the right order at the end.

The tree is an array of ``2 * size`` cells: leaves in the upper half, and the
parent of cell ``i`` at ``i // 2``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Generic, TypeVar

T = TypeVar("T")


class RangeTree(Generic[T]):
    """An array that supports point updates and range queries.

    ``combine`` must be associative and ``neutral`` must be its neutral element.

    >>> rain = RangeTree([3, 0, 7, 2], max, 0)
    >>> rain.query(0, 2), rain.query(1, 4)
    (3, 7)
    >>> rain[2] = 1
    >>> rain.query(1, 4)
    2
    """

    def __init__(self, items: Iterable[T], combine: Callable[[T, T], T], neutral: T) -> None:
        leaves = list(items)
        self._size = len(leaves)
        self._combine = combine
        self._neutral = neutral
        # A power of two keeps every inner cell a contiguous stretch in order.
        self._width = 1 << max(0, self._size - 1).bit_length()
        self._cells = [neutral] * self._width + leaves
        self._cells += [neutral] * (2 * self._width - len(self._cells))
        for cell in range(self._width - 1, 0, -1):
            self._refresh(cell)

    def _refresh(self, cell: int) -> None:
        self._cells[cell] = self._combine(self._cells[2 * cell], self._cells[2 * cell + 1])

    def _leaf(self, index: int) -> int:
        if not 0 <= index < self._size:
            raise IndexError(f"index {index} is not in an array of {self._size}")
        return index + self._width

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> T:
        return self._cells[self._leaf(index)]

    def __setitem__(self, index: int, item: T) -> None:
        cell = self._leaf(index)
        self._cells[cell] = item
        while cell := cell // 2:
            self._refresh(cell)

    def query(self, start: int, stop: int) -> T:
        """Combine the items of ``range(start, stop)`` from left to right."""
        if not 0 <= start <= stop <= self._size:
            raise IndexError(f"bad range {start}:{stop} for an array of {self._size}")
        left, right = self._neutral, self._neutral
        low, high = start + self._width, stop + self._width
        while low < high:
            if low & 1:
                left = self._combine(left, self._cells[low])
                low += 1
            if high & 1:
                high -= 1
                right = self._combine(self._cells[high], right)
            low, high = low // 2, high // 2
        return self._combine(left, right)

    def longest_from(self, start: int, accept: Callable[[T], bool]) -> int:
        """Return the largest stop so that ``accept(query(start, stop))`` holds.

        ``accept`` must hold for the neutral element and, once false for some
        range, must stay false for every longer one.
        """
        if not 0 <= start <= self._size:
            raise IndexError(f"start {start} is outside an array of {self._size}")
        total, cell = self._neutral, start + self._width
        while start < self._size:
            while cell % 2 == 0 and cell > 1:
                cell //= 2  # climb while the cell begins at the same place
            grown = self._combine(total, self._cells[cell])
            if not accept(grown):
                while cell < self._width:  # descend into the part that still fits
                    cell *= 2
                    grown = self._combine(total, self._cells[cell])
                    if accept(grown):
                        total, cell = grown, cell + 1
                return cell - self._width
            total, cell = grown, cell + 1
            if cell & (cell - 1) == 0:  # walked past the last leaf
                break
        return self._size


@dataclass(frozen=True)
class Streak:
    """Summary of a stretch of gains, enough to merge two neighbours."""

    total: float
    from_left: float
    from_right: float
    best: float

    @classmethod
    def of(cls, gain: float) -> Streak:
        return cls(gain, gain, gain, gain)

    def __add__(self, other: Streak) -> Streak:
        return Streak(
            self.total + other.total,
            max(self.from_left, self.total + other.from_left),
            max(other.from_right, other.total + self.from_right),
            max(self.best, other.best, self.from_right + other.from_left),
        )


NO_STREAK = Streak(0, -math.inf, -math.inf, -math.inf)

if __name__ == "__main__":
    letters = RangeTree("segment tree", str.__add__, "")
    assert letters.query(2, 9) == "gment t"  # order is kept for a non-commutative operation

    numbers = [(n * 29 + 11) % 23 for n in range(37)]
    sums = RangeTree(numbers, int.__add__, 0)
    for start in range(38):
        for stop in range(start, 38):
            assert sums.query(start, stop) == sum(numbers[start:stop])
        for budget in (0, 5, 60, 10_000):
            stop = sums.longest_from(start, lambda total: total <= budget)
            assert sum(numbers[start:stop]) <= budget
            assert stop == 37 or sum(numbers[start : stop + 1]) > budget

    gains = [2, -5, 4, -1, 3, -9, 6]
    days = RangeTree(map(Streak.of, gains), Streak.__add__, NO_STREAK)
    print("best streak overall:", days.query(0, 7).best)
    assert days.query(0, 7).best == 6 and days.query(0, 4).best == 4
    days[5] = Streak.of(-1)
    expected = reduce(Streak.__add__, map(Streak.of, gains[2:5] + [-1, 6]))
    assert days.query(0, 7).best == expected.best == expected.total
    print("after one better day:", days.query(0, 7).best)
    try:
        sums.query(5, 99)
    except IndexError as error:
        print("rejected:", error)
