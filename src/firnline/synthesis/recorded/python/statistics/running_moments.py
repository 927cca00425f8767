"""Mean, variance and correlation of data that is seen only once.

The formula "mean of the squares minus square of the mean" fails when the spread is
small compared with the values: it subtracts two nearly equal numbers.  Welford's
update works with differences from the running mean instead and stays accurate.

Two summaries can also be merged (Chan, Golub and LeVeque), so parts of the data may
be summarised on different machines.  Subtracting an old observation again gives
statistics of a sliding window.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass
class Moments:
    """Count, mean and sum of squared deviations of a series of numbers.

    >>> summary = Moments.of([2, 4, 4, 4, 5, 5, 7, 9])
    >>> summary.mean, summary.variance(sample=False)
    (5.0, 4.0)
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Iterable[float]) -> Moments:
        summary = cls()
        for value in values:
            summary.add(value)
        return summary

    def add(self, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError(f"cannot summarise {value}")
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self.squares += delta * (value - self.mean)

    def remove(self, value: float) -> None:
        """Undo the ``add`` of a value that is known to be among the data."""
        if self.count == 0:
            raise ValueError("nothing to remove")
        if self.count == 1:
            self.count, self.mean, self.squares = 0, 0.0, 0.0
            return
        delta = value - self.mean
        self.count -= 1
        self.mean -= delta / self.count
        self.squares = max(0.0, self.squares - delta * (value - self.mean))

    def __or__(self, other: Moments) -> Moments:
        """Return the summary of both series together."""
        count = self.count + other.count
        if count == 0:
            return Moments()
        delta = other.mean - self.mean
        weight = other.count / count
        squares = self.squares + other.squares + delta * delta * self.count * weight
        return Moments(count, self.mean + delta * weight, squares)

    def variance(self, sample: bool = True) -> float:
        divisor = self.count - 1 if sample else self.count
        if divisor < 1:
            raise ValueError("too few values for a variance")
        return self.squares / divisor

    def deviation(self, sample: bool = True) -> float:
        return math.sqrt(self.variance(sample))


@dataclass
class PairMoments:
    """Joint summary of pairs, for the line of best fit and the correlation."""

    x: Moments
    y: Moments
    products: float = 0.0

    @classmethod
    def of(cls, pairs: Iterable[tuple[float, float]]) -> PairMoments:
        summary = cls(Moments(), Moments())
        for x, y in pairs:
            shift = x - summary.x.mean
            summary.x.add(x)
            summary.y.add(y)
            summary.products += shift * (y - summary.y.mean)
        return summary

    def line(self) -> tuple[float, float]:
        """Return slope and intercept of the least-squares line."""
        if not self.x.squares:
            raise ValueError("all the x values are equal")
        slope = self.products / self.x.squares
        return slope, self.y.mean - slope * self.x.mean

    def correlation(self) -> float:
        scale = math.sqrt(self.x.squares * self.y.squares)
        if not scale:
            raise ValueError("correlation needs variation in both series")
        return max(-1.0, min(1.0, self.products / scale))


def rolling(values: Iterable[float], size: int) -> Iterator[Moments]:
    """Yield a copy of the summary of each full window of ``size`` values."""
    if size < 1:
        raise ValueError("a window holds at least one value")
    window: deque[float] = deque()
    summary = Moments()
    for value in values:
        window.append(value)
        summary.add(value)
        if len(window) > size:
            summary.remove(window.popleft())
        if len(window) == size:
            yield Moments(summary.count, summary.mean, summary.squares)


if __name__ == "__main__":
    import statistics

    # A billion added to every value ruins the naive formula, but not this one.
    noise = [4, 7, 13, 16]
    shifted = [1e9 + value for value in noise]
    naive = sum(v * v for v in shifted) / 4 - (sum(shifted) / 4) ** 2
    print(f"true variance 22.5, naive {naive}, running {Moments.of(shifted).variance(False)}")
    assert Moments.of(shifted).variance(sample=False) == 22.5

    data = [math.sin(n * n) * 10 + n / 7 for n in range(200)]
    whole = Moments.of(data)
    assert math.isclose(whole.deviation(), statistics.stdev(data))
    for cut in (0, 1, 57, 200):
        merged = Moments.of(data[:cut]) | Moments.of(data[cut:])
        assert merged.count == 200 and math.isclose(merged.squares, whole.squares)
        assert math.isclose(merged.mean, whole.mean)
    for start, window in enumerate(rolling(data, 9)):
        assert math.isclose(window.mean, statistics.fmean(data[start : start + 9]), abs_tol=1e-9)
        assert math.isclose(window.variance(), statistics.variance(data[start : start + 9]))

    fit = PairMoments.of((n, 3 * n - 2) for n in range(10))
    slope, intercept = fit.line()
    assert math.isclose(slope, 3) and math.isclose(intercept, -2)
    assert math.isclose(fit.correlation(), 1)
    for bad in (lambda: Moments.of([1.0]).variance(), lambda: Moments().add(math.nan)):
        try:
            bad()
        except ValueError as error:
            print("refused:", error)
