"""Binary search over answers instead of over a list.

Many planning questions have the form "what is the smallest capacity that still
works?".  Finding the best plan directly is awkward, but checking whether one
given capacity works is easy, and once a capacity works every larger one works
too.  Such a yes/no question is called monotone, and its turning point can be
found with a logarithmic number of checks.

The helpers here search over integers with a known or an unknown upper bound and
over real numbers, and apply the idea to two tasks: splitting a list of parcels
into daily loads, and placing antennas as far apart as possible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


class NoAnswer(LookupError):
    """Raised when no candidate in the searched range passes the check."""


def first_true(low: int, high: int, check: Callable[[int], bool]) -> int:
    """Return the least ``n`` in ``range(low, high + 1)`` for which ``check(n)`` holds.

    >>> first_true(0, 1000, lambda n: n * n >= 200)
    15
    """
    if low > high:
        raise ValueError("the range of candidates is empty")
    if not check(high):
        raise NoAnswer(f"no value from {low} to {high} passes")
    while low < high:
        middle = (low + high) // 2
        if check(middle):
            high = middle
        else:
            low = middle + 1
    return low


def first_true_unbounded(check: Callable[[int], bool], limit: int = 2**62) -> int:
    """Like ``first_true`` from 0 upward, doubling the bound until the check holds."""
    bound = 1
    while not check(bound):
        bound *= 2
        if bound > limit:
            raise NoAnswer(f"nothing up to {limit} passes")
    return first_true(0 if bound == 1 else bound // 2, bound, check)


def turning_point(
    low: float, high: float, check: Callable[[float], bool], digits: int = 9
) -> float:
    """Locate the real number where ``check`` changes from false to true."""
    if check(low) or not check(high):
        raise NoAnswer("the check must be false at low and true at high")
    tolerance = 10.0**-digits
    while high - low > tolerance:
        middle = low + (high - low) / 2
        if middle in (low, high):  # floats have run out between the two ends
            break
        if check(middle):
            high = middle
        else:
            low = middle
    return high


def days_needed(weights: Sequence[int], capacity: int) -> int:
    """Count the trips of one van that must deliver the parcels in order."""
    days, load = 1, 0
    for weight in weights:
        if load + weight > capacity:
            days, load = days + 1, 0
        load += weight
    return days


def smallest_van(weights: Sequence[int], days: int) -> int:
    """Return the least capacity that delivers all parcels within ``days`` trips."""
    if not weights or days < 1:
        raise ValueError("need at least one parcel and one day")
    return first_true(
        max(weights), sum(weights), lambda capacity: days_needed(weights, capacity) <= days
    )


def widest_spacing(sites: Sequence[int], antennas: int) -> int:
    """Return the largest gap that can be kept between ``antennas`` chosen sites.

    The check gets harder as the gap grows, so the search looks for the first gap
    that fails and steps back by one.
    """
    if not 2 <= antennas <= len(sites):
        raise ValueError("need between two antennas and one per site")
    ordered = sorted(sites)

    def too_wide(gap: int) -> bool:
        placed, last = 1, ordered[0]
        for site in ordered[1:]:
            if site - last >= gap:
                placed, last = placed + 1, site
        return placed < antennas

    return first_true(0, ordered[-1] - ordered[0] + 1, too_wide) - 1


if __name__ == "__main__":
    parcels = [7, 2, 5, 10, 8]
    for days in range(1, 6):
        van = smallest_van(parcels, days)
        assert days_needed(parcels, van) <= days
        assert van == max(parcels) or days_needed(parcels, van - 1) > days
        print(f"{days} day(s): capacity {van}")

    assert widest_spacing([1, 2, 8, 4, 9], 3) == 3
    assert widest_spacing([5, 5, 5], 2) == 0

    probes = []
    assert first_true_unbounded(lambda n: probes.append(n) or n >= 10**6) == 10**6
    print("checks for a bound of one million:", len(probes))
    assert len(probes) < 45

    root = turning_point(0, 10, lambda x: x**3 >= 20)
    print(f"cube root of 20 is about {root:.6f}")
    assert abs(root**3 - 20) < 1e-6
    try:
        first_true(0, 9, lambda n: False)
    except NoAnswer as error:
        print("as expected:", error)
