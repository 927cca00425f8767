"""Best rational approximations with continued fractions.

A clockmaker needs two gears whose teeth are in the ratio 365.2422 to 1, or as near
as possible with at most 200 teeth each.  Searching all pairs works, but continued
fractions answer at once: the convergents of a number, together with the fractions
between neighbouring convergents, are exactly the best approximations for their size.

Everything is computed with integers and ``Fraction``, so no rounding can spoil it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from math import isqrt


def terms(number: Fraction) -> Iterator[int]:
    """Yield the continued fraction of a rational number.

    >>> list(terms(Fraction(415, 93)))
    [4, 2, 6, 7]
    """
    top, bottom = number.numerator, number.denominator
    while bottom:
        whole, rest = divmod(top, bottom)
        yield whole
        top, bottom = bottom, rest


def root_terms(n: int) -> Iterator[int]:
    """Yield the terms of the square root of ``n``, which repeat for ever.

    >>> list(islice(root_terms(7), 9))
    [2, 1, 1, 1, 4, 1, 1, 1, 4]
    """
    if n < 0:
        raise ValueError("square root of a negative number")
    floor = isqrt(n)
    yield floor
    if floor * floor == n:
        return
    # The remainder always has the form (root + offset) / divisor.
    offset, divisor, term = 0, 1, floor
    while True:
        offset = divisor * term - offset
        divisor = (n - offset * offset) // divisor
        term = (floor + offset) // divisor
        yield term


def convergents(parts: Iterable[int]) -> Iterator[Fraction]:
    """Yield the fraction after each term; neighbours lie on both sides of the limit."""
    top, bottom, last_top, last_bottom = 1, 0, 0, 1
    for part in parts:
        top, last_top = part * top + last_top, top
        bottom, last_bottom = part * bottom + last_bottom, bottom
        yield Fraction(top, bottom)


def best_approximations(number: Fraction) -> Iterator[Fraction]:
    """Yield every fraction that is closer than all those with smaller denominators."""
    top, bottom, last_top, last_bottom = 1, 0, 0, 1
    best: Fraction | None = None
    for part in terms(number):
        # Values below half of the term can never win, so they need not be tried.
        for count in range(max(1, (part + 1) // 2) if bottom else part, part + 1):
            candidate = Fraction(count * top + last_top, count * bottom + last_bottom)
            if best is None or abs(candidate - number) < abs(best - number):
                best = candidate
                yield candidate
        top, last_top = part * top + last_top, top
        bottom, last_bottom = part * bottom + last_bottom, bottom


def gear_pair(ratio: Fraction, max_teeth: int) -> Fraction:
    """Return the closest ratio of two gears with at most ``max_teeth`` teeth.

    A large ratio limits the numerator rather than the denominator.  The reciprocal
    has the same best pairs as far as the size of the larger gear is concerned.
    """
    if ratio <= 0 or max_teeth < 1:
        raise ValueError("need a positive ratio and at least one tooth")
    if ratio > 1:
        return 1 / gear_pair(1 / ratio, max_teeth)
    fitting = [f for f in best_approximations(ratio) if f and f.denominator <= max_teeth]
    return fitting[-1] if fitting else Fraction(1, max_teeth)


def pell(n: int) -> tuple[int, int]:
    """Return the least positive x, y with ``x*x - n*y*y == 1``.

    >>> pell(61)
    (1766319049, 226153980)
    """
    if isqrt(n) ** 2 == n:
        raise ValueError(f"{n} is a square, so there is no solution")
    for fraction in convergents(root_terms(n)):
        x, y = fraction.numerator, fraction.denominator
        if x * x - n * y * y == 1:
            return x, y
    raise AssertionError("the terms of an irrational root never end")


if __name__ == "__main__":
    pi = Fraction("3.14159265358979323846")
    print("pi:", *islice(best_approximations(pi), 12))

    # Check the claim "closer than all smaller denominators" by brute force.
    expected, record = [], None
    for bottom in range(1, 300):
        nearest = Fraction(round(pi * bottom), bottom)
        if record is None or abs(nearest - pi) < record:
            record = abs(nearest - pi)
            expected.append(nearest)
    assert [f for f in best_approximations(pi) if f.denominator < 300] == expected

    for number in (Fraction(-7, 3), Fraction(5), Fraction(355, 113)):
        assert list(convergents(terms(number)))[-1] == number
        assert list(best_approximations(number))[-1] == number

    ratio = Fraction("29.530588") / 24  # a moon dial driven once per hour
    pair = gear_pair(ratio, 100)
    print(f"gears {pair.numerator}:{pair.denominator}, error {float(abs(pair - ratio)):.1e}")
    assert max(pair.numerator, pair.denominator) <= 100
    assert all(pell(n)[0] ** 2 - n * pell(n)[1] ** 2 == 1 for n in (2, 3, 13, 46, 61))
    try:
        pell(49)
    except ValueError as error:
        print("rejected:", error)
