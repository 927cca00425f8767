"""Interval arithmetic: calculations that know how wrong they may be.

A measured length of 12.3 cm is really something between 12.25 and 12.35.  Carrying
both bounds through a formula yields bounds for the result that are guaranteed, not
estimated.  Since floating-point results are themselves rounded, each lower bound is
moved down and each upper bound up to the next float, so the guarantee survives.

Intervals also find roots safely.  If the derivative over an interval is known to
lie in another interval, Newton's step maps the first interval to one that contains
every root, so parts without a root are discarded with mathematical certainty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Interval:
    """All real numbers from ``low`` to ``high``.

    >>> Interval(1, 2) * Interval(-3, 5) == Interval(-6, 10).widened()
    True
    >>> 0.3 in Interval.exact(0.1) + Interval.exact(0.2)
    True
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"bounds are out of order: {self.low} .. {self.high}")

    @classmethod
    def exact(cls, value: float) -> Interval:
        return cls(value, value)

    @classmethod
    def measured(cls, value: float, error: float) -> Interval:
        return cls(value - error, value + error).widened()

    def widened(self) -> Interval:
        """Move both bounds outward by one float to cover rounding."""
        return Interval(math.nextafter(self.low, -math.inf), math.nextafter(self.high, math.inf))

    @property
    def middle(self) -> float:
        return self.low + (self.high - self.low) / 2

    @property
    def width(self) -> float:
        return self.high - self.low

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __neg__(self) -> Interval:
        return Interval(-self.high, -self.low)

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high).widened()

    def __sub__(self, other: Interval) -> Interval:
        return self + -other

    def __mul__(self, other: Interval) -> Interval:
        corners = [a * b for a, b in product((self.low, self.high), (other.low, other.high))]
        return Interval(min(corners), max(corners)).widened()

    def __truediv__(self, other: Interval) -> Interval:
        if 0 in other:
            raise ZeroDivisionError(f"{other} contains zero")
        return self * Interval(1 / other.high, 1 / other.low).widened()

    def __pow__(self, exponent: int) -> Interval:
        """Integer power; tighter than repeated multiplication for even powers."""
        if exponent < 0:
            return Interval.exact(1) / self**-exponent
        low, high = sorted((self.low**exponent, self.high**exponent))
        if exponent % 2 == 0 and 0 in self:
            return Interval(0 if exponent else 1, high).widened()
        return Interval(low, high).widened()

    def __and__(self, other: Interval) -> Interval | None:
        low, high = max(self.low, other.low), min(self.high, other.high)
        return Interval(low, high) if low <= high else None

    def halves(self) -> tuple[Interval, Interval]:
        return Interval(self.low, self.middle), Interval(self.middle, self.high)

    def __str__(self) -> str:
        return f"{self.middle:.6g} +/- {self.width / 2:.1g}"


Function = Callable[[Interval], Interval]


def roots(
    f: Function, slope: Function, where: Interval, width: float = 1e-12
) -> Iterator[Interval]:
    """Yield small intervals that together contain every root of ``f`` in ``where``.

    ``slope`` must bound the derivative.  An interval in which the slope has both
    signs is cut in half; any other is shrunk with Newton's method.
    """
    pending = [where]
    while pending:
        box = pending.pop()
        if 0 not in f(box):
            continue
        if box.width <= width:
            yield box
            continue
        rise = slope(box)
        if 0 not in rise:
            centre = Interval.exact(box.middle)
            step = box & (centre - f(centre) / rise)
            if step is None:
                continue
            if step.width < 0.6 * box.width:
                pending.append(step)
                continue
            box = step
        pending += reversed(box.halves())


if __name__ == "__main__":
    # Density of a ball that was weighed and measured.
    mass, radius = Interval.measured(52.0, 0.5), Interval.measured(1.15, 0.005)
    volume = Interval.exact(4 / 3).widened() * Interval(3.14159, 3.1416) * radius**3
    density = mass / volume
    print("density:", density)
    assert 52.0 / (4 / 3 * math.pi * 1.15**3) in density

    def cubic(x: Interval) -> Interval:
        return x**3 - Interval.exact(4) * x + Interval.exact(1)

    def cubic_slope(x: Interval) -> Interval:
        return Interval.exact(3) * x**2 - Interval.exact(4)

    found = list(roots(cubic, cubic_slope, Interval(-10, 10)))
    print("roots:", *(f"{root.middle:.9f}" for root in found))
    assert len(found) == 3 and all(abs(r.middle**3 - 4 * r.middle + 1) < 1e-9 for r in found)
    assert list(roots(lambda x: x**2 + Interval.exact(1), lambda x: x + x, Interval(-9, 9))) == []

    assert (Interval(-2, 1) ** 2).low <= 0 and (Interval(-2, 1) ** 2).low > -1e-300
    try:
        Interval(1, 2) / Interval(-1, 1)
    except ZeroDivisionError as error:
        print("refused:", error)
