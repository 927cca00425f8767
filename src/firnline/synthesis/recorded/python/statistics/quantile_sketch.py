"""Approximate quantiles of a stream in a fixed amount of memory.

"99 out of 100 requests took less than 340 ms" needs the 0.99 quantile of millions
of numbers, and keeping them all is out of the question.  For positive measurements
a relative error is what matters: 340 ms or 343 ms, nobody cares.  This sketch puts
each value in a bucket whose borders grow by a constant factor, so every value in a
bucket is within a chosen relative error of the bucket's centre.

Sketches with the same accuracy can be added, and when the number of buckets
reaches its limit the smallest ones are united: the high quantiles stay accurate.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class QuantileSketch:
    """Counts values in buckets of equal relative width.

    >>> sketch = QuantileSketch(accuracy=0.01)
    >>> sketch.extend(range(1, 1001))
    >>> abs(sketch.quantile(0.5) - 500) <= 5
    True
    """

    accuracy: float = 0.01
    max_buckets: int = 2048
    count: int = 0
    total: float = 0.0
    smallest: float = math.inf
    largest: float = -math.inf
    _zeros: int = 0
    _buckets: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if not 0 < self.accuracy < 1:
            raise ValueError("accuracy must lie between 0 and 1")
        if self.max_buckets < 2:
            raise ValueError("need at least two buckets")
        self._growth = (1 + self.accuracy) / (1 - self.accuracy)
        self._log_growth = math.log(self._growth)

    def add(self, value: float, times: int = 1) -> None:
        if not value >= 0 or math.isinf(value):
            raise ValueError(f"expected a finite value of at least zero, not {value}")
        if times < 1:
            raise ValueError("times must be positive")
        self.count += times
        self.total += value * times
        self.smallest = min(self.smallest, value)
        self.largest = max(self.largest, value)
        if value == 0:
            self._zeros += times
        else:
            self._buckets[math.ceil(math.log(value) / self._log_growth)] += times
            self._shrink()

    def extend(self, values: Iterable[float]) -> None:
        for value in values:
            self.add(value)

    def _shrink(self) -> None:
        """Unite the lowest buckets while there are too many of them."""
        excess = len(self._buckets) - self.max_buckets
        if excess <= 0:
            return
        lowest = sorted(self._buckets)[: excess + 1]
        for index in lowest[:-1]:
            self._buckets[lowest[-1]] += self._buckets.pop(index)

    def _centre(self, index: int) -> float:
        # The point with equal relative distance to both borders of the bucket.
        return 2 * self._growth**index / (self._growth + 1)

    def quantile(self, q: float) -> float:
        """Return a value near the one that has a share ``q`` of the data below it."""
        if not 0 <= q <= 1:
            raise ValueError("a quantile lies between 0 and 1")
        if not self.count:
            raise ValueError("the sketch is empty")
        rank = q * (self.count - 1)
        seen = self._zeros
        if rank < seen:
            return 0.0
        for index in sorted(self._buckets):
            seen += self._buckets[index]
            if rank < seen:
                return min(max(self._centre(index), self.smallest), self.largest)
        return self.largest

    def share_below(self, limit: float) -> float:
        """Estimate which part of the data is at most ``limit``."""
        if limit < 0 or not self.count:
            return 0.0
        below = self._zeros
        if limit > 0:
            border = math.ceil(math.log(limit) / self._log_growth)
            below += sum(n for index, n in self._buckets.items() if index <= border)
        return below / self.count

    def merge(self, other: QuantileSketch) -> None:
        """Add the data of another sketch to this one."""
        if other.accuracy != self.accuracy:
            raise ValueError("sketches of different accuracy cannot be merged")
        self.count += other.count
        self.total += other.total
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)
        self._zeros += other._zeros
        self._buckets.update(other._buckets)
        self._shrink()

    def __len__(self) -> int:
        return len(self._buckets) + bool(self._zeros)


if __name__ == "__main__":
    import random

    rng = random.Random(4)
    delays = [rng.lognormvariate(4, 1) for _ in range(10_000)] + [0.0] * 50
    parts = [QuantileSketch() for _ in range(3)]
    for turn, delay in enumerate(delays):
        parts[turn % 3].add(delay)
    for part in parts[1:]:
        parts[0].merge(part)
    sketch, ordered = parts[0], sorted(delays)

    for q in (0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1):
        exact = ordered[int(q * (len(ordered) - 1))]
        estimate = sketch.quantile(q)
        assert abs(estimate - exact) <= 0.0101 * exact, (q, exact, estimate)
    print(f"median {sketch.quantile(0.5):.1f}, p99 {sketch.quantile(0.99):.1f} ms", end=" ")
    print(f"from {len(sketch)} buckets for {sketch.count} values")
    assert abs(sketch.share_below(60) - sum(d <= 60 for d in delays) / len(delays)) < 0.01

    tight = QuantileSketch(max_buckets=64)
    tight.extend(delays)
    assert len(tight) <= 65
    p99 = ordered[int(0.99 * (len(ordered) - 1))]
    assert abs(tight.quantile(0.99) - p99) <= 0.0101 * p99, "the tail stays accurate"
    for wrong in (lambda: sketch.add(-1), lambda: sketch.quantile(2), QuantileSketch().merge):
        try:
            wrong() if wrong.__name__ != "merge" else wrong(QuantileSketch(accuracy=0.1))
        except ValueError as error:
            print("refused:", error)
