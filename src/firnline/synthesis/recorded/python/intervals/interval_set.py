"""Sets of whole numbers stored as sorted half-open intervals.

Keeping every member of a large set in memory is wasteful when the members come
in long runs, as they do for allocated disk blocks, seat numbers or message ids
already seen.  ``IntervalSet`` stores only the borders of the runs.  All borders
live in one flat sorted list ``[start, stop, start, stop, ...]``; a number is a
member exactly when an odd number of borders lies at or before it.  That parity
rule turns membership, insertion and removal into two binary searches each.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Iterable, Iterator


class IntervalSet:
    """A mutable set of integers made of disjoint half-open intervals.

    >>> seats = IntervalSet([(1, 4), (3, 6), (10, 12)])
    >>> seats
    IntervalSet([(1, 6), (10, 12)])
    >>> 5 in seats, 6 in seats
    (True, False)
    """

    __slots__ = ("_borders",)

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self._borders: list[int] = []
        for start, stop in spans:
            self.add(start, stop)

    def add(self, start: int, stop: int) -> None:
        """Insert every number in ``range(start, stop)``, joining touching runs."""
        self._check(start, stop)
        left = bisect_left(self._borders, start)
        right = bisect_right(self._borders, stop)
        # An even index is outside every run, so the new border must be kept there.
        patch = ([start] if left % 2 == 0 else []) + ([stop] if right % 2 == 0 else [])
        self._borders[left:right] = patch

    def discard(self, start: int, stop: int) -> None:
        """Remove every number in ``range(start, stop)``; absent numbers are ignored."""
        self._check(start, stop)
        left = bisect_left(self._borders, start)
        right = bisect_right(self._borders, stop)
        patch = ([start] if left % 2 else []) + ([stop] if right % 2 else [])
        self._borders[left:right] = patch

    @staticmethod
    def _check(start: int, stop: int) -> None:
        if start >= stop:
            raise ValueError(f"empty interval: [{start}, {stop})")

    def __contains__(self, number: int) -> bool:
        return bisect_right(self._borders, number) % 2 == 1

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the runs in order as ``(start, stop)`` pairs."""
        pairs = iter(self._borders)
        return zip(pairs, pairs)

    def __len__(self) -> int:
        """Count the member numbers, not the runs."""
        return sum(stop - start for start, stop in self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IntervalSet):
            return NotImplemented
        return self._borders == other._borders

    def __or__(self, other: IntervalSet) -> IntervalSet:
        return IntervalSet([*self, *other])

    def __sub__(self, other: IntervalSet) -> IntervalSet:
        result = IntervalSet(self)
        for start, stop in other:
            result.discard(start, stop)
        return result

    def __and__(self, other: IntervalSet) -> IntervalSet:
        return self - (self - other)

    def gaps(self, start: int, stop: int) -> IntervalSet:
        """Return the numbers of ``range(start, stop)`` that are not members.

        >>> list(IntervalSet([(2, 4), (6, 9)]).gaps(0, 8))
        [(0, 2), (4, 6)]
        """
        return IntervalSet([(start, stop)]) - self

    def first_free(self, size: int, start: int = 0) -> int:
        """Return the lowest position >= ``start`` where ``size`` free numbers fit."""
        for run_start, run_stop in self:
            if run_stop <= start:
                continue
            if run_start - start >= size:
                return start
            start = run_stop
        return start

    def __repr__(self) -> str:
        return f"IntervalSet({list(self)})"


def _compare_with_plain_sets() -> None:
    """Replay a fixed series of edits against an ordinary ``set``."""
    runs, plain, seed = IntervalSet(), set[int](), 7
    for step in range(400):
        seed = (seed * 1103515245 + 12345) % 2**31
        start, width = seed % 60, 1 + (seed >> 8) % 9
        numbers = range(start, start + width)
        if step % 3:
            runs.add(start, start + width)
            plain.update(numbers)
        else:
            runs.discard(start, start + width)
            plain.difference_update(numbers)
        assert {n for n in range(80) if n in runs} == plain
        assert len(runs) == len(plain)


if __name__ == "__main__":
    _compare_with_plain_sets()
    blocks = IntervalSet([(0, 16), (20, 28), (40, 64)])
    print("used blocks:", blocks)
    print("room for 12 blocks at", blocks.first_free(12))
    assert blocks.first_free(4) == 16 and blocks.first_free(100) == 64
    assert blocks & IntervalSet([(10, 22)]) == IntervalSet([(10, 16), (20, 22)])
    try:
        blocks.add(5, 5)
    except ValueError as error:
        print("refused:", error)
